"""A service that is none, or a bad one: web pages, redirects to strangers, endless answers, garbage on the WebSocket."""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
from typing import Iterator

import pytest

from tests.service.client import Client

from .conftest import Runs
from .support.agent import Wherry
from .test_jobs import steps

ECHO = steps("run: echo fine")
PAGE = "<!DOCTYPE html><html><body>Please sign in to the network</body></html>"


class Stranger:
    """Takes connections at another port, keeps what they say, answers nothing good."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}") -> None:
        self._answer, self.heard = answer, b""
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=32)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer = self._socket.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        with peer:
            try:
                self.heard += peer.recv(1 << 20)
                self.speak(peer)
            except OSError:
                pass

    def speak(self, peer: socket.socket) -> None:
        peer.sendall(self._answer)

    def stop(self) -> None:
        self._socket.close()


class Babbler(Stranger):
    """Accepts a WebSocket, then sends what is no frame of one."""

    def __init__(self, garbage: bytes) -> None:
        self.garbage, self.connects = garbage, 0
        super().__init__()

    def speak(self, peer: socket.socket) -> None:
        key = next(line.split(b":")[1].strip() for line in self.heard.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        proof = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        self.connects += 1
        self.heard = b""
        peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + proof + b"\r\n\r\n")
        peer.sendall(self.garbage)
        while peer.recv(65536):
            pass


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    made = Stranger()
    yield made
    made.stop()


# -- web pages -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("at", ["oauth.token", "broker.session", "broker.message", "run.acquire", "run.renew", "run.complete", "results.steps",
                                "results.GetJobLogsSignedBlobURL"])
def test_a_web_page_is_no_answer(wherry: Wherry, runs: Runs, client: Client, at: str) -> None:
    """A sign-in page of the network says 200 to everything; nothing of it may count."""
    wherry.register(client)
    client.fault(at, "status", status=200, body=PAGE, content_type="text/html")
    wherry.start()
    client.wait_runners(timeout=60)
    job = runs.run(ECHO, timeout=90, lenient=["renew"])
    assert job["conclusion"] == "succeeded"
    if not at.startswith("results."):
        assert "a web page, not" in wherry.log_text()
    client.check()


# -- redirects -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("at", ["oauth.token", "broker.message", "run.acquire", "run.complete"])
def test_credentials_follow_no_redirect(wherry: Wherry, runs: Runs, client: Client, stranger: Stranger, at: str) -> None:
    wherry.register(client)
    client.fault(at, "status", status=307, body="", headers={"Location": stranger.url + "/elsewhere"})
    wherry.start()
    client.wait_runners(timeout=60)
    job = runs.run(ECHO, timeout=90)
    assert job["conclusion"] == "succeeded"
    assert stranger.heard == b"", "nothing was sent there, not even without credentials"
    assert f"redirected to {stranger.url}: not followed" in wherry.log_text()
    client.check()


def test_registration_follows_no_redirect(wherry: Wherry, client: Client, stranger: Stranger) -> None:
    client.fault("api.*", "status", status=307, body="", headers={"Location": stranger.url + "/"}, times=None)
    token, url = client.token("acme/web")
    done = wherry.run("register", "--url", url, "--name", "box1", env={"ACTIONS_RUNNER_INPUT_TOKEN": token})
    assert done.returncode == 1 and stranger.heard == b""
    assert "redirect" in done.stderr


# -- too much ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("at,limit", [("broker.session", "session"), ("broker.message", "message"), ("oauth.token", "token")])
def test_endless_answers(wherry: Wherry, runs: Runs, client: Client, at: str, limit: str) -> None:
    """100 MB where a few hundred bytes are due: cut off, said, and no memory for it."""
    wherry.register(client)
    client.fault(at, "status", status=200, body="x" * 100_000_000)
    wherry.start()
    client.wait_runners(timeout=60)
    assert runs.run(ECHO, timeout=90)["conclusion"] == "succeeded"
    assert "the answer is longer than" in wherry.log_text()
    status = dict(line.split(":", 1) for line in open(f"/proc/{wherry.pid}/status", encoding="utf-8") if ":" in line)
    assert int(status["VmHWM"].split()[0]) < 200_000


# -- broken JSON ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("body", ["{\"access_tok", "\"text\"", "[]", "{\"access_token\": 5}", "\0\0\0", "{}"])
def test_broken_token_answers(wherry: Wherry, runs: Runs, client: Client, body: str) -> None:
    wherry.register(client)
    client.fault("oauth.token", "status", status=200, body=body)
    wherry.start()
    client.wait_runners(timeout=60)
    assert runs.run(ECHO)["conclusion"] == "succeeded"
    client.check()


# -- the live feed -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("garbage", [b"\xff" * 5000, b"GET / HTTP/1.1\r\n\r\n" * 50, b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", b"\x83\x05hello",
                                     b"\x88\x7e\x01\x00" + b"x" * 256],
                         ids=["ones", "http", "endless frame", "reserved opcode", "long close"])
def test_garbage_on_the_websocket(online: Wherry, runs: Runs, client: Client, garbage: bytes) -> None:
    """The live feed is lost, the job and its log are not."""
    babbler = Babbler(garbage)
    client.options(feed_url="ws" + babbler.url[4:])
    job = client.wait(runs.queue(steps("run: |\n  for n in $(seq 30); do echo line $n; sleep 0.05; done")))
    assert job["conclusion"] == "succeeded" and babbler.connects >= 1
    assert "line 30" in job["log"]["text"]
    babbler.stop()
    client.check()


# -- the blob host -------------------------------------------------------------------------------------------------------
def test_blob_host_refuses_for_ever(online: Wherry, runs: Runs, client: Client) -> None:
    """Logs are lost and named; the job is as it was."""
    client.fault("blob.put", "status", status=403, times=None, body="<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code></Error>")
    job = runs.run(ECHO, timeout=120, lenient=["logs"])
    assert job["conclusion"] == "succeeded"
    said = online.log_text()
    assert "not everything reached the results service" in said and "403" in said
    assert "sig=" not in said, "a signed URL is a secret"
