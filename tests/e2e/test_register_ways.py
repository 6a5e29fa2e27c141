"""Every way to register: personal access token, App, enterprise, organisation, both generations of servers; and to go again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat

from tests.service.client import Client
from tests.service.process import ServiceProcess

from .support import app
from .support.agent import Wherry


@pytest.fixture(autouse=True)
def quick(wherry: Wherry) -> None:
    """Waits between tries are not what is tested here."""
    wherry.env["WHERRY_TEST_CLOCK"] = "50"


def scope_url(client: Client, scope: str) -> str:
    return f"{client.status()['url']}/{scope}"


def register(wherry: Wherry, client: Client, *arguments: str | Path, scope: str = "acme/web", **options: Any) -> str:
    done = wherry.run("register", "--url", scope_url(client, scope), "--name", "box1", "--work", str(wherry.folder / "work"),
                      *arguments, check=True, **options)
    return done.stdout + done.stderr


def endpoints(client: Client) -> list[str]:
    return [r["endpoint"] for r in client.requests()]


@pytest.fixture
def pat(place: Path, client: Client) -> Path:
    file = place / "pat"
    file.write_text(client.status()["pat"] + "\n")
    return file


# -- personal access token -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("scope", ["acme/web", "acme", "enterprises/big"])
def test_pat_of_a_file(wherry: Wherry, client: Client, pat: Path, scope: str) -> None:
    said = register(wherry, client, "--pat", pat, scope=scope)
    assert pat.read_text().strip() not in said
    assert client.runner("box1")["scope"].endswith("/" + scope)
    wherry.run("unregister", "--pat", pat, check=True)
    assert client.status()["runners"] == []
    client.check()


def test_pat_of_standard_input(wherry: Wherry, client: Client, pat: Path) -> None:
    register(wherry, client, "--pat", "-", given=pat.read_text())
    wherry.run("unregister", "--pat", "-", given=pat.read_text(), check=True)
    client.check()


def test_pat_of_the_environment(wherry: Wherry, client: Client, pat: Path) -> None:
    register(wherry, client, env={"ACTIONS_RUNNER_INPUT_PAT": pat.read_text().strip()})
    client.check()


def test_pat_never_of_the_command_line(wherry: Wherry, client: Client, pat: Path) -> None:
    done = wherry.run("register", "--url", scope_url(client, "acme/web"), "--pat", pat.read_text().strip())
    assert done.returncode == 1 and "file" in done.stderr and pat.read_text().strip() not in done.stderr
    assert "api.registration-token" not in endpoints(client)


def test_two_rights_are_one_too_many(wherry: Wherry, client: Client, pat: Path) -> None:
    done = wherry.run("register", "--url", scope_url(client, "acme/web"), "--pat", pat, "--token-file", pat)
    assert done.returncode == 1 and "not several" in done.stderr


# -- App -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("scope, installed", [("acme/web", "acme/web"), ("acme", "acme"), ("enterprises/big", "enterprises/big")])
def test_app_finds_its_installation(wherry: Wherry, client: Client, place: Path, scope: str, installed: str) -> None:
    key = app.install(client, place, installed)
    register(wherry, client, "--app-id", "12345", "--app-key", key, scope=scope)
    assert client.runner("box1")["name"] == "box1"
    client.check()


def test_app_with_its_installation(wherry: Wherry, client: Client, place: Path) -> None:
    """The App of the organisation registers at its repository; its key's file is remembered, not the key."""
    key = app.install(client, place)
    register(wherry, client, "--app-id", "12345", "--app-key", key, "--app-installation", "678")
    assert "api.installation" not in endpoints(client)
    settings = (wherry.state / "runners/box1/runner.json").read_text()
    assert json.loads(settings)["appKeyFile"] == str(key)
    assert "PRIVATE" not in settings
    wherry.run("unregister", check=True)
    assert client.status()["runners"] == []
    client.check()


def test_app_key_in_pkcs8(wherry: Wherry, client: Client, place: Path) -> None:
    file = place / "app8.pem"
    client.options(app_key=app.make_key(file, form=PrivateFormat.PKCS8))
    register(wherry, client, "--app-id", "12345", "--app-installation", "678", "--app-key", file)


def test_app_token_is_renewed(wherry: Wherry, client: Client, place: Path) -> None:
    """A token that is about to end is not used: the call for the group and that for the runner get one each."""
    key = app.install(client, place, app_seconds=200)
    wherry.run("jit", "--url", scope_url(client, "acme"), "--app-id", "12345", "--app-key", key, "--labels", "a", check=True)
    assert endpoints(client).count("api.app-token") == 2
    assert endpoints(client).count("api.installation") == 1
    client.check()


@pytest.mark.parametrize("offset", [-3600, 3600])
def test_app_by_a_wrong_clock(wherry: Wherry, client: Client, place: Path, offset: int) -> None:
    """An hour off: the first answer tells the time, and the second try goes by it."""
    key = app.install(client, place)
    client.set_clock(offset)
    done = wherry.run("jit", "--url", scope_url(client, "acme"), "--app-id", "12345", "--app-key", key, "--labels", "a", check=True)
    assert "s off GitHub's" in done.stderr
    register(wherry, client, "--app-id", "12345", "--app-key", key, scope="acme")


@pytest.mark.parametrize("make, words", [
    (lambda f: f.write_text("no key"), "no private key in PEM form"),
    (lambda f: app.make_key(f, bits=1024), "1024 bits"),
    (lambda f: app.make_key(f, password=b"x"), "password"),
    (lambda f: f.unlink(), "No such file"),
])
def test_bad_app_key(wherry: Wherry, client: Client, place: Path, make: Any, words: str) -> None:
    key = app.install(client, place)
    make(key)
    done = wherry.run("register", "--url", scope_url(client, "acme"), "--app-id", "12345", "--app-key", key)
    assert done.returncode == 1 and words in done.stderr and str(key) in done.stderr


# -- hosts -----------------------------------------------------------------------------------------------------------
def test_hosted_has_its_api_beside_it(wherry: Wherry, client: Client) -> None:
    """github.localhost is to the official runner what github.com is: the API is api.HOST, without a path."""
    token, _ = client.token()
    url = f"http://github.localhost:{client.status()['port']}/acme/web"
    wherry.run("register", "--url", url, "--name", "box1", check=True, env={"ACTIONS_RUNNER_INPUT_TOKEN": token})
    assert all(not r["path"].startswith("/api/v3") for r in client.requests(endpoint="api.register"))
    assert json.loads((wherry.state / "runners/box1/runner.json").read_text())["url"] == url


def test_address_for_git_and_slash(wherry: Wherry, client: Client) -> None:
    token, url = client.token()
    wherry.run("register", "--url", url + ".git/", "--name", "box1", check=True, env={"ACTIONS_RUNNER_INPUT_TOKEN": token})
    assert json.loads((wherry.state / "runners/box1/runner.json").read_text())["url"] == url
    client.check()


def test_authority_of_ones_own(wherry: Wherry, place: Path) -> None:
    with ServiceProcess(place / "tls.log", tls=True) as secure:
        token, url = secure.client.token()
        refused = wherry.run("register", "--url", url, "--token-file", "-", "--name", "box1", given=token)
        assert refused.returncode == 1 and "certificate" in refused.stderr
        wherry.run("register", "--url", url, "--token-file", "-", "--name", "box1", "--ca-file", secure.ca, given=token, check=True)
        secure.client.check()


# -- V1 --------------------------------------------------------------------------------------------------------------
def test_v1(wherry: Wherry, client: Client) -> None:
    client.options(registration="v1", listener="v1")
    wherry.register(client, "--labels", "gpu", "--group", "Builders")
    kept = json.loads((wherry.state / "runners/box1/runner.json").read_text())
    assert not kept["useV2Flow"] and not kept["useRunnerAdminFlow"] and kept["serverUrl"].endswith("/_tenant/")
    assert client.runner("box1")["group"] == 3 and "gpu" in client.runner("box1")["labels"]
    assert "oauth.token" in endpoints(client), "the new credentials were tried"
    token, _ = client.token(kind="remove")
    wherry.run("unregister", "--token-file", "-", given=token, check=True)
    assert client.status()["runners"] == []
    client.check()


def test_v1_registers_for_the_broker(wherry: Wherry, client: Client) -> None:
    client.options(registration="v1", listener="v2")
    wherry.register(client)
    wherry.start(client=client)
    client.check()


def test_v1_replace(wherry: Wherry, client: Client, place: Path) -> None:
    client.options(registration="v1", listener="v1")
    wherry.register(client)
    other = Wherry(place / "other")
    token, url = client.token()
    done = other.run("register", "--url", url, "--name", "box1", env={"ACTIONS_RUNNER_INPUT_TOKEN": token})
    assert done.returncode == 1 and "--replace" in done.stderr
    other.register(client, "--replace")
    assert len(client.status()["runners"]) == 1
    client.check()


def test_v1_by_a_wrong_clock(wherry: Wherry, client: Client) -> None:
    """The credentials are tried by the service's clock, which its answers tell."""
    client.options(registration="v1", listener="v1")
    token, url = client.token()
    client.set_clock(1800)
    wherry.run("register", "--url", url, "--name", "box1", check=True, env={"ACTIONS_RUNNER_INPUT_TOKEN": token})


def test_unregister_twice(wherry: Wherry, client: Client, pat: Path) -> None:
    register(wherry, client, "--pat", pat)
    client.call("DELETE", f"/runners/{client.runner('box1')['id']}")
    done = wherry.run("unregister", "--pat", pat, check=True)
    assert "did not know it" in done.stdout
    assert not (wherry.state / "runners/box1").exists()


def test_unregister_local(wherry: Wherry, client: Client) -> None:
    wherry.register(client)
    before = len(client.requests())
    wherry.run("unregister", "--local", check=True)
    assert len(client.requests()) == before and len(client.status()["runners"]) == 1


@pytest.mark.parametrize("flow, endpoint", [("v2", "api.register"), ("v1", "v1.agent-add")])
def test_lost_answer_does_not_lose_the_runner(wherry: Wherry, client: Client, flow: str, endpoint: str) -> None:
    """The service registered us, but its answer was lost: the next try finds the name taken, by us."""
    client.options(registration=flow)
    client.fault(endpoint, "reset", when="after")
    wherry.register(client)
    assert len(client.status()["runners"]) == 1
    wherry.start(client=client)
    client.check()


def test_a_running_agent_keeps_its_identity(wherry: Wherry, client: Client, pat: Path) -> None:
    wherry.register(client)
    wherry.start(client=client)
    done = wherry.run("register", "--url", scope_url(client, "acme/web"), "--pat", pat, "--name", "box1", "--replace")
    assert done.returncode == 1 and "stop it first" in done.stderr
    assert wherry.run("unregister", "--local").returncode == 1
    client.check()
