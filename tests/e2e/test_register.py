"""Registration: good and bad tokens, replace, labels, groups, removal, what is kept on disk."""

from __future__ import annotations

import stat

import pytest

from tests.service.client import Client

from .support.agent import Wherry


def test_registers_and_polls(wherry: Wherry, client: Client) -> None:
    wherry.register(client, "--labels", "gpu,big")
    wherry.start(client=client)
    runner = client.runner("box1")
    labels = {label.lower() for label in runner["labels"]}
    assert {"self-hosted", "linux", "gpu", "big"} <= labels
    assert labels & {"x64", "arm64", "arm"}
    assert runner["version"] == "2.336.0", "the newest release that the service names"
    client.check()


def test_bad_token_is_told(wherry: Wherry, client: Client) -> None:
    _, url = client.token()
    done = wherry.run("register", "--url", url, "--token", "AWRONG", "--name", "box1")
    assert done.returncode == 1
    assert "token" in done.stderr and "404" in done.stderr
    assert "AWRONG" not in done.stderr
    assert client.status()["runners"] == []
    client.check()


def test_expired_token(wherry: Wherry, client: Client) -> None:
    token, url = client.token(seconds=-1)
    assert wherry.run("register", "--url", url, "--token", token, "--name", "box1").returncode == 1


@pytest.mark.parametrize("url", ["not-a-url", "ftp://127.0.0.1/acme/web", "http://127.0.0.1:1/acme/web/extra/deep", ""])
def test_bad_url(wherry: Wherry, url: str) -> None:
    done = wherry.run("register", "--url", url, "--token", "A1")
    assert done.returncode in (1, 2) and done.stderr.strip()


def test_service_not_there(wherry: Wherry) -> None:
    done = wherry.run("register", "--url", "http://127.0.0.1:9/acme/web", "--token", "A1", timeout=60)
    assert done.returncode == 1 and "127.0.0.1" in done.stderr


def test_same_name_needs_replace(wherry: Wherry, client: Client, place) -> None:
    wherry.register(client)
    other = Wherry(place / "other")
    token, url = client.token()
    done = other.run("register", "--url", url, "--token", token, "--name", "box1", "--work", str(place / "other/work"))
    assert done.returncode == 1 and "--replace" in done.stderr
    other.register(client, "--replace")
    assert len(client.status()["runners"]) == 1
    client.check()


def test_group(wherry: Wherry, client: Client) -> None:
    wherry.register(client, "--group", "Builders")
    assert client.runner()["group"] == 3


def test_unknown_group(wherry: Wherry, client: Client) -> None:
    token, url = client.token()
    done = wherry.run("register", "--url", url, "--token", token, "--name", "box1", "--group", "nobody")
    assert done.returncode == 1 and "nobody" in done.stderr


def test_bearer_scheme(wherry: Wherry, client: Client) -> None:
    """Services that want the tenant token for the V2 calls get it after a 401."""
    client.options(register_scheme="Bearer")
    wherry.register(client)


def test_unregister(wherry: Wherry, client: Client) -> None:
    wherry.register(client)
    token, _ = client.token(kind="remove")
    wherry.run("unregister", "--token", token, check=True)
    assert client.status()["runners"] == []
    assert wherry.run("run", "--once").returncode != 0
    client.check()


def test_credentials_are_sealed(wherry: Wherry, client: Client) -> None:
    wherry.register(client)
    keys = [p for p in wherry.state.rglob("*") if p.is_file()]
    for path in keys:
        data = path.read_bytes()
        assert b"PRIVATE KEY" not in data, path
        assert not path.suffix == ".key" or stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(wherry.state.stat().st_mode) & 0o077 == 0
