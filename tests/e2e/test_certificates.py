"""Certificates: whom an agent trusts, and the sentence for each way in which a server's is none."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Iterator

import pytest

from tests.service import tls
from tests.service.process import ServiceProcess
from tests.service.workflow import Event, Inputs

from .support.agent import Wherry
from .support.fast import ECHO


@pytest.fixture
def secure(place: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(place / "tls.log", tls=True) as started:
        yield started


def register(wherry: Wherry, url: str, token: str, *extra: str, **env: str):  # noqa: ANN201 what Wherry.run gives
    user = ["--job-user", str(wherry.job_user)] if wherry.job_user is not None else []
    return wherry.run("register", "--url", url, "--token-file", "-", "--name", "box1", "--work", str(wherry.folder / "work"), *user, *extra,
                      given=token, env=env)


def by_file(place: Path, ca: str) -> dict[str, str]:
    copy = place / "ca.pem"  # where the job's user can read it too
    copy.write_bytes(Path(ca).read_bytes())
    return {"SSL_CERT_FILE": str(copy)}


def by_folder(place: Path, ca: str) -> dict[str, str]:
    folder = place / "authorities"
    folder.mkdir()
    (folder / "ours.pem").write_bytes(Path(ca).read_bytes())
    subprocess.run(["openssl", "rehash", folder], check=True)
    return {"SSL_CERT_DIR": str(folder)}


@pytest.mark.parametrize("trust", [by_file, by_folder], ids=["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_authorities_of_the_environment(wherry: Wherry, place: Path, secure: ServiceProcess, trust) -> None:  # noqa: ANN001
    """For commands, the agent, and its workers."""
    token, url = secure.client.token()
    refused = register(wherry, url, token)
    assert refused.returncode == 1 and "the peer's certificate is not trusted" in refused.stderr
    env = trust(place, secure.ca)
    done = register(wherry, url, token, **env)
    assert done.returncode == 0, done.stderr
    wherry.start(client=secure.client, **env)
    ident = secure.client.queue_workflow(".github/workflows/ci.yml", text=ECHO, event=Event(repository="acme/web"), inputs=Inputs())
    job = secure.client.wait(ident, 60)
    assert job["conclusion"] == "succeeded" and "fine" in job["log"]["lines"]
    secure.client.check()


class Server:
    """Takes connections, by TLS or not; says nothing of use."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context, self._listener = context, socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
                with connection:
                    if self._context:
                        self._context.wrap_socket(connection, server_side=True).recv(1)
                    else:
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                        connection.recv(65536)
            except OSError:  # of ssl, too
                if self._listener.fileno() < 0:
                    return

    def stop(self) -> None:
        self._listener.close()


@pytest.mark.parametrize("kind,words", [
    ("expired", "the peer's certificate is not valid now"), ("of tomorrow", "the peer's certificate is not valid now"),
    ("plain", "no TLS connection"), ("other name", "the peer's certificate is not"),
])
def test_servers_that_are_none(wherry: Wherry, place: Path, kind: str, words: str) -> None:
    context, extra = None, []
    if kind != "plain":
        name = "elsewhere.example" if kind == "other name" else "localhost"
        address = "192.0.2.1" if kind == "other name" else "127.0.0.1"
        context, ca = tls.make(place / "tls", name, address, {"expired": -60, "of tomorrow": 2}.get(kind, 0))
        extra = ["--ca-file", str(ca)]
    server = Server(context)
    try:
        done = register(wherry, f"https://localhost:{server.port}/acme/web", "AXTOKEN", *extra)
        assert done.returncode == 1 and words in done.stderr, done.stderr
        assert "AXTOKEN" not in done.stderr
    finally:
        server.stop()
