"""Peers that never answer: the agent's loop goes on, whatever one request waits for."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Iterator

import pytest

from tests.service.client import Client

from .conftest import Runs
from .support.agent import Wherry
from .support.blackhole import FullPort, SilentNameServer, SilentPort
from .test_jobs import steps


@pytest.fixture
def silent_names(wherry: Wherry, place: Path) -> Iterator[SilentNameServer]:
    """An agent (not the machine) whose name server reads questions and answers none."""
    if os.getuid() != 0:
        pytest.skip("a private /etc/resolv.conf needs root")
    server = SilentNameServer()
    resolv = place / "resolv.conf"
    resolv.write_text(f"nameserver {server.address}\noptions timeout:30 attempts:3\n")
    wherry.prefix = ["unshare", "-m", "sh", "-c", f'mount --bind {resolv} /etc/resolv.conf && exec "$@"', "sh"]
    yield server
    server.stop()


def bounded_end(wherry: Wherry, client: Client, seconds: float) -> None:
    began = time.monotonic()
    wherry.signal(signal.SIGTERM)
    assert wherry.wait(60) == 0
    assert time.monotonic() - began < seconds
    assert not client.runner()["session"]


def test_name_server_never_answers_an_acquire(wherry: Wherry, silent_names: SilentNameServer, client: Client, runs: Runs) -> None:
    wherry.register(client)
    wherry.start(client=client)
    client.options(run_url="http://run.never-answers.test/7/")
    ident = runs.queue(steps("run: echo x"))
    client.wait(ident, until="delivered")
    deadline = time.monotonic() + 10
    while silent_names.questions == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert silent_names.questions > 0
    polls = client.runner()["polls"]
    time.sleep(12)
    assert client.runner()["polls"] > polls, "polls go on while a look-up hangs"
    bounded_end(wherry, client, 10)  # nobody was asked: nobody has given us the job


@pytest.mark.parametrize("kind", [SilentPort, pytest.param(FullPort, marks=pytest.mark.long)])
def test_run_service_never_answers(online: Wherry, client: Client, runs: Runs, kind: type) -> None:
    port = kind()
    client.options(run_url=f"http://127.0.0.1:{port.port}/7/")
    ident = runs.queue(steps("run: echo x"))
    client.wait(ident, until="delivered")
    polls = client.runner()["polls"]
    time.sleep(12)
    assert client.runner()["polls"] > polls
    bounded_end(online, client, 40)  # the question is out: an answer may make the job ours, within 30 s
    port.stop()


def test_feed_never_answers(online: Wherry, client: Client, runs: Runs) -> None:
    """The live console is no reason for a job to wait."""
    client.fault("feed.connect", "hang", times=None)
    began = time.monotonic()
    assert runs.run(steps("run: echo x"), timeout=60)["conclusion"] == "succeeded"
    assert time.monotonic() - began < 20
    client.check()
