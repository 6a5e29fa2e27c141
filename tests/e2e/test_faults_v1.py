"""Faults of the older generation of servers (V1): broker migration both ways, a session key in another hash than announced, errors."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from .support.fast import Fast

V1 = {"registration": "v1", "listener": "v1", "job_flow": "pipelines"}


@pytest.fixture
def fast(place: Path) -> Iterator[Fast]:
    made = Fast(place, 40, **V1)
    yield made
    made.stop()


@pytest.mark.parametrize("fault,options,polled", [
    ("oaep-wrong-hash", {}, "v1.message"),
    ("broker-migration-each-poll", {"job_flow": "run"}, "broker.message"),
    ("broker-migration-in-session", {"job_flow": "run"}, "broker.message"),
])
def test_fault_at_the_session(fast: Fast, fault: str, options: dict[str, Any], polled: str) -> None:
    fast.client.options(**options)
    fast.client.plan(fault)
    fast.online()
    assert fast.run()["conclusion"] == "succeeded"
    assert fast.run()["conclusion"] == "succeeded", "and once more"
    assert fast.count(polled) > 0
    fast.client.check()


@pytest.mark.parametrize("at,do,spec", [
    ("v1.message", "status", {"status": 500, "times": 2}),
    ("v1.message", "reset", {"when": "inside"}),
    ("v1.message-delete", "status", {"status": 500}),
    ("v1.connection", "status", {"status": 503, "times": 2}),
    ("v1.jobrequest", "status", {"status": 500, "times": 2}),
    ("v1.records", "status", {"status": 500, "times": 3}),
    ("v1.log-create", "status", {"status": 500}),
    ("v1.log-append", "status", {"status": 503}),
    ("v1.event", "status", {"status": 500, "times": 3}),
    ("v1.event", "reset", {"when": "after"}),
    ("v1.*", "shape", {"how": "bom", "times": None}),
    ("v1.*", "shape", {"how": "pascal", "times": None}),
    ("v1.*", "shape", {"how": "strings", "times": None}),
], ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v.values())))
def test_fault_in_a_job(fast: Fast, at: str, do: str, spec: dict[str, Any]) -> None:
    fast.online()
    fast.client.fault(at, do, **spec)
    job = fast.run(lenient=["renew"])
    assert job["conclusion"] == "succeeded" and [line for line in job["log"]["lines"] if line == "fine"] == ["fine"]
    assert fast.run()["conclusion"] == "succeeded"
    fast.client.check()


@pytest.mark.parametrize("fault", ["runner-not-found", "session-invalid", "cancel-mid-step", "force-token-refresh", "message-twice-same-id"])
def test_named_faults(fast: Fast, fault: str) -> None:
    fast.client.options(hold=3)
    fast.online()
    if fault == "cancel-mid-step":
        ident, _ = fast.gated()
        fast.client.plan(fault)
        assert fast.client.wait(ident, 30)["conclusion"] == "canceled"
    else:
        fast.client.plan(fault)
    if fault == "runner-not-found":
        assert fast.wherry.wait(30) == 0
        fast.said("the registration is gone; deleting its files here")
    else:
        assert fast.run(timeout=40)["conclusion"] == "succeeded"
    fast.client.check()


def test_conflict_that_ends(fast: Fast) -> None:
    fast.client.fault("v1.session", "status", status=409, times=3)
    fast.online()
    fast.said("create a session: another process serves as this runner.*409.*trying again in half a minute")
    assert fast.count("v1.session") == 4
    assert fast.run()["conclusion"] == "succeeded"
    fast.client.check()


def test_conflict_for_ever(place: Path) -> None:
    """Eight tries in four minutes, then exit code 5."""
    fast = Fast(place, 100, **V1)
    try:
        fast.wherry.register(fast.client)
        fast.client.fault("v1.session", "status", status=409, times=None)
        fast.wherry.start()
        assert fast.wherry.wait(30) == 5
        assert fast.count("v1.session") == 8
        fast.said("another agent has this runner's session")
        fast.client.check()
    finally:
        fast.stop()


def test_fifty_empty_answers(place: Path) -> None:
    """A server that holds polls too briefly is asked each 15 to 30 s, from the 51st on; a message ends that."""
    fast = Fast(place, 60, hold=3, v1_empty=204, **V1)
    try:
        fast.online()
        deadline = time.monotonic() + 40
        while fast.count("v1.message") < 56 and time.monotonic() < deadline:
            time.sleep(0.05)
        at = [r["at"] for r in fast.client.requests(endpoint="v1.message")]
        gaps = [later - former for former, later in zip(at, at[1:])]
        assert len(gaps) > 54
        assert sorted(gaps[:45])[22] < 12, "at once, at first"
        assert all(15 <= gap <= 60 for gap in gaps[52:55]), gaps[48:56]
        assert fast.run(timeout=40)["conclusion"] == "succeeded"
        fast.client.check()
    finally:
        fast.stop()
