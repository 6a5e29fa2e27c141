"""Faults that need more than a row of a table: killed processes, proxies, certificates, clocks that jump."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from .support.agent import Wherry
from .support.fast import ECHO, Fast, workflow

Make = Callable[..., Fast]


@pytest.fixture
def make(place: Path) -> Iterator[Make]:
    made: list[Fast] = []

    def build(scale: int = 40, **options: Any) -> Fast:
        made.append(Fast(place, scale, **options))
        return made[-1]

    build.made = made  # type: ignore[attr-defined]
    yield build
    for fast in made:
        fast.stop()


# -- TLS, proxies ----------------------------------------------------------------------------------------------------


def test_certificate_of_a_stranger(make: Make) -> None:
    fast = make(60, tls=True)
    fast.online()
    fast.client.plan("tls-failure", seconds=60)
    fast.said(r"GET https://\S+/message: .*certificate")
    assert fast.run()["conclusion"] == "succeeded"
    fast.client.check()


class Refusing:
    """A proxy that answers every request so."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.asked: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(65536))
                connection.sendall(self._answer)

    def stop(self) -> None:
        self._listener.close()


def test_proxy_wants_a_password(make: Make) -> None:
    """407: the proxy's own word, not the service's; loopback goes round the proxy, so the service is named otherwise."""
    proxy = Refusing(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n")
    fast = make(60)
    fast.wherry.register(fast.client)
    config = next((fast.wherry.state / "runners").glob("*/*"), None)
    assert config is not None
    for file in (fast.wherry.state / "runners").rglob("*"):
        if file.is_file() and b"127.0.0.1" in file.read_bytes():
            file.write_bytes(file.read_bytes().replace(b"127.0.0.1", b"service.test"))
    fast.wherry.start(http_proxy=f"http://user:wrong-password@127.0.0.1:{proxy.port}")
    fast.said(r"(proxy|407)")
    until(lambda: any(asked.startswith(b"POST http://service.test:") for asked in proxy.asked))
    assert "wrong-password" not in fast.wherry.log_text()
    assert fast.wherry.alive, "a proxy in trouble is no reason to end"
    fast.wherry.signal(signal.SIGTERM)
    assert fast.wherry.wait(15) == 0
    proxy.stop()


def until(done: Callable[[], bool], timeout: float = 20) -> None:
    deadline = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


# -- kill -9 ---------------------------------------------------------------------------------------------------------


def test_killed_worker(make: Make) -> None:
    fast = make()
    fast.online()
    ident, _ = fast.gated(lenient=["logs", "restart"])
    os.kill(fast.wherry.wait_child("worker"), signal.SIGKILL)
    job = fast.client.wait(ident, 30)
    assert job["conclusion"] == "failed" and job["completions"] == 1
    assert any("worker" in a["message"] for a in job["annotations"]), job["annotations"]
    assert fast.run()["conclusion"] == "succeeded"
    fast.client.check()


def test_killed_agent(make: Make) -> None:
    """Its next life completes the job that it held."""
    fast = make(20, session_idle=40)
    fast.online()
    ident, _ = fast.gated(lenient=["logs", "renew", "restart"])
    fast.wherry.kill()
    time.sleep(0.3)
    fast.wherry.start()
    job = fast.client.wait(ident, 40)
    assert job["conclusion"] == "failed" and job["completions"] == 1
    assert fast.run(timeout=40)["conclusion"] == "succeeded"


# -- clocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [7200, -7200])
def test_wall_clock_jumps(make: Make, jump: int) -> None:
    """Neither an idle agent nor a job under way minds; its lock lives by the service's clock."""
    fast = make(40, token_seconds=160)
    fast.online()
    ident, gate = fast.gated(lenient=["step"])
    fast.wall_clock_error(jump)
    renewed = fast.count("run.renew")
    until(lambda: fast.count("run.renew") > renewed + 1)
    gate.touch()
    assert fast.client.wait(ident, 30)["conclusion"] == "succeeded"
    until(lambda: fast.count("oauth.token") >= 2, 30)
    assert fast.run(workflow("echo later"))["conclusion"] == "succeeded"
    assert fast.wherry.alive
    fast.client.check()


# -- a job that an ephemeral runner was to run -----------------------------------------------------------------------


def test_ack_404_ends_an_ephemeral_runner(make: Make) -> None:
    fast = make()
    fast.wherry.register(fast.client, "--ephemeral")
    fast.wherry.start(client=fast.client)
    fast.client.plan("ack-404")
    fast.queue(ECHO)
    assert fast.wherry.wait(30) == 0
    assert not any(path.is_dir() for path in (fast.wherry.state / "runners").glob("*")), "an ephemeral runner leaves no files"


def test_two_agents_on_one_state_folder(make: Make) -> None:
    fast = make()
    fast.online()
    second = Wherry(fast.place, **{k: v for k, v in fast.wherry.env.items() if k.startswith("WHERRY_")})
    done = second.run("run", timeout=30)
    assert done.returncode and "another agent" in done.stderr and "on this machine already" in done.stderr
    assert fast.run()["conclusion"] == "succeeded"
    fast.client.check()
