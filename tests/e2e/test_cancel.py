"""Ends that nobody planned: cancellation, shutdown, killed processes."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from tests.service.client import Client, step_log

from .conftest import Runs
from .support.agent import Wherry
from .test_jobs import by_name, steps

SLEEP = steps("name: long\nrun: |\n  echo started\n  trap 'echo got-int; exit 130' INT\n  while :; do sleep 0.1; done",
              "name: skipped\nrun: echo no", "name: cleanup\nif: always()\nrun: echo cleaned")


def started(runs: Runs, text: str = SLEEP, **options: Any) -> str:
    ident = runs.queue(text, **options)
    runs.client.wait_for_text(ident, "started", 30)
    return ident


def test_cancel_in_mid_step(online: Wherry, runs: Runs) -> None:
    ident = started(runs)
    began = time.monotonic()
    runs.client.cancel(ident)
    job = runs.client.wait(ident, 30)
    assert time.monotonic() - began < 7, "the step leaves on SIGINT, so no grace is used up"
    assert job["conclusion"] == "canceled"
    results = by_name(job)
    assert (results["long"]["conclusion"], results["skipped"]["conclusion"], results["cleanup"]["conclusion"]) == (
        "canceled", "skipped", "succeeded")
    log = step_log(job, "long")
    assert "got-int" in log and "##[error]The operation was canceled." in log
    runs.client.check()


def test_cancel_of_a_deaf_step_takes_the_whole_ladder(online: Wherry, runs: Runs) -> None:
    ident = started(runs, steps("name: deaf\nrun: |\n  trap '' INT TERM\n  echo started\n  while :; do sleep 0.1; done"))
    began = time.monotonic()
    runs.client.cancel(ident)
    job = runs.client.wait(ident, 40)
    assert 9 < time.monotonic() - began < 20
    assert job["conclusion"] == "canceled"
    runs.client.check()


def test_cancel_repeated_at_each_poll(online: Wherry, runs: Runs) -> None:
    ident = started(runs)
    runs.client.cancel(ident, repeat=True)
    job = runs.client.wait(ident, 30)
    polls = [r for r in runs.client.requests(endpoint="broker.message") if r["status"] == 200]
    assert job["conclusion"] == "canceled" and len(polls) < 30
    runs.client.check()


def test_cancel_of_an_unknown_job(online: Wherry, runs: Runs, client: Client) -> None:
    client.message(client.runner()["id"], "JobCancellation", {"jobId": "11111111-2222-4333-8444-555555555555", "timeout": "00:05:00"})
    assert runs.run(steps("run: echo fine"))["conclusion"] == "succeeded"
    client.check()


def test_sigterm_drains(online: Wherry, runs: Runs) -> None:
    ident = started(runs, steps("run: |\n  echo started\n  sleep 2\n  echo finished"))
    online.signal(signal.SIGTERM)
    job = runs.client.wait(ident, 30)
    assert job["conclusion"] == "succeeded" and "finished" in job["log"]["text"]
    assert online.wait(20) == 0
    assert not runs.client.runner()["session"], "the session is deleted on exit"
    runs.client.check()


def test_second_sigterm_stops(online: Wherry, runs: Runs) -> None:
    ident = started(runs)
    online.signal(signal.SIGTERM)
    time.sleep(0.5)
    online.signal(signal.SIGTERM)
    job = runs.client.wait(ident, 40)
    assert job["conclusion"] in ("failed", "canceled")
    online.wait(40)
    runs.client.check(ignore={"log"})


def test_idle_sigterm(online: Wherry, client: Client) -> None:
    began = time.monotonic()
    online.signal(signal.SIGTERM)
    assert online.wait(10) == 0 and time.monotonic() - began < 3
    assert not client.runner()["session"]
    client.check()


def test_killed_worker_fails_its_job_and_the_agent_lives(online: Wherry, runs: Runs) -> None:
    ident = started(runs, lenient=["logs", "restart"])
    os.kill(online.wait_child("worker"), signal.SIGKILL)
    job = runs.client.wait(ident, 30)
    assert job["conclusion"] == "failed"
    assert any("worker" in a["message"] for a in job["annotations"]), job["annotations"]
    assert runs.run(steps("run: echo next"))["conclusion"] == "succeeded"
    runs.client.check()


def test_killed_agent_leaves_no_job_processes(online: Wherry, runs: Runs, client: Client) -> None:
    client.options(session_idle=2)
    ident = started(runs, lenient=["logs", "renew", "restart"])
    worker = online.wait_child("worker")
    online.kill()
    deadline = time.monotonic() + 30
    while os.path.exists(f"/proc/{worker}") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not os.path.exists(f"/proc/{worker}"), "a worker ends when its agent is gone"
    del ident
    time.sleep(2)
    online.start(client=client)
    assert runs.run(steps("run: echo back"))["conclusion"] == "succeeded"


def test_run_once(wherry: Wherry, runs: Runs, client: Client) -> None:
    wherry.register(client)
    wherry.start("--once")
    assert runs.run(steps("run: echo once"))["conclusion"] == "succeeded"
    assert wherry.wait(20) == 0
    client.check()


def test_ephemeral(wherry: Wherry, runs: Runs, client: Client) -> None:
    wherry.register(client, "--ephemeral")
    wherry.start(client=client)
    assert runs.run(steps("run: echo once"))["conclusion"] == "succeeded"
    assert wherry.wait(20) == 0
    assert client.status()["runners"] == []
    client.check()
