"""SIGTERM, once and twice, in each state of a runner and of its job (the tables of docs/protocol.md).

Whatever the agent was doing: it ends with 0 and within its bound, no session stays, and no job stays "in progress" that could be ended.
"""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from .support.fast import ECHO, Fast, workflow

ROOT = Path(__file__).resolve().parents[2]
DEAF = "trap '' INT TERM\necho started"


@dataclass
class Scene:
    """An agent that was brought into a state; what belongs to it."""

    fast: Fast
    job: str = ""
    gate: Path | None = None


def until(done: Callable[[], Any], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def in_state(fast: Fast, name: str) -> None:
    until(lambda: re.search(rf"\b{re.escape(name)} +", fast.wherry.run("status").stdout))


# -- a runner without a job ------------------------------------------------------------------------------------------


def starting(scene: Scene) -> None:
    """A killed agent left a session, whose deletion is not answered."""
    scene.fast.online()
    scene.fast.wherry.kill()
    scene.fast.client.fault("broker.session-delete", "hang")
    scene.fast.wherry.start()
    in_state(scene.fast, "starting")


def connecting_token(scene: Scene) -> None:
    scene.fast.wherry.register(scene.fast.client)
    scene.fast.client.plan("error-503", at="oauth.token", times=None)
    scene.fast.wherry.start()
    until(lambda: scene.fast.count("oauth.token") > 0)


def connecting_hang(scene: Scene) -> None:
    scene.fast.wherry.register(scene.fast.client)
    scene.fast.client.fault("broker.session", "hang", times=None)
    scene.fast.wherry.start()
    until(lambda: scene.fast.count("broker.session") > 0)


def connecting_conflict(scene: Scene) -> None:
    scene.fast.wherry.register(scene.fast.client)
    scene.fast.client.plan("session-conflict-forever")
    scene.fast.wherry.start()
    until(lambda: scene.fast.count("broker.session") > 0)


def listening(scene: Scene) -> None:
    scene.fast.online()


def listening_after_errors(scene: Scene) -> None:
    """It waits before its next try."""
    scene.fast.client.options(hold=3)
    scene.fast.online()
    scene.fast.client.plan("error-502", at="broker.message", times=None)
    scene.fast.said("answered 502")


def leaving(scene: Scene) -> None:
    scene.fast.online()
    scene.fast.client.fault("broker.session-delete", "hang")
    scene.fast.wherry.run("drain", check=True)
    until(lambda: scene.fast.count("broker.session-delete") > 0)


def drained(scene: Scene) -> None:
    scene.fast.online()
    scene.fast.wherry.run("drain", check=True)
    in_state(scene.fast, "drained")


def ending(scene: Scene) -> None:
    """The session's end is never answered."""
    scene.fast.online()
    scene.fast.client.plan("session-delete-hangs")


# -- a job -----------------------------------------------------------------------------------------------------------


def waiting(scene: Scene) -> None:
    """One place, and a job that was on its way to the other runner when the box became full."""
    fast = scene.fast
    fast.client.options(full_box=True, late="late")
    for name in ("box1", "box2"):
        fast.wherry.register(fast.client, "--work", str(fast.place / f"work-{name}"), name=name)
    fast.wherry.start("--max-jobs", "1")
    fast.client.wait_runners(2)
    scene.job = fast.queue(ECHO, name="late")
    _, scene.gate = fast.gated()
    in_state(fast, "waiting")


def taking(at: str, seconds: float, mark: str) -> Callable[[Scene], None]:
    def bring(scene: Scene) -> None:
        scene.fast.online()
        scene.fast.client.fault(at, "delay", seconds=seconds)
        scene.job = scene.fast.queue(ECHO)
        scene.fast.client.wait(scene.job, 20, until=mark)
        until(lambda: scene.fast.count(at) > 0)

    return bring


def acquiring_between_tries(scene: Scene) -> None:
    scene.fast.online()
    scene.fast.client.plan("acquire-500", times=None)
    scene.job = scene.fast.queue(ECHO)
    scene.fast.said("acquire the job: .*trying again")


def acquiring_silent(scene: Scene) -> None:
    """The service takes the request and never answers: the agent waits for its bound, and no longer."""
    scene.fast.online()
    scene.fast.client.fault("run.acquire", "hang", times=None)
    scene.job = scene.fast.queue(ECHO)
    until(lambda: scene.fast.count("run.acquire") > 0)


def running(scene: Scene) -> None:
    scene.fast.online()
    scene.job, scene.gate = scene.fast.gated()


def running_deaf(scene: Scene) -> None:
    scene.fast.online()
    scene.job, scene.gate = scene.fast.gated(DEAF)


def cancelling(scene: Scene) -> None:
    scene.fast.online()
    scene.job, scene.gate = scene.fast.gated(DEAF)
    scene.fast.client.plan("cancel-mid-step")
    scene.fast.said("is being cancelled")


def lost(scene: Scene) -> None:
    scene.fast.online()
    scene.job, scene.gate = scene.fast.gated(DEAF)
    scene.fast.client.plan("renew-404")
    scene.fast.said("is lost")


def recovering(scene: Scene) -> None:
    """The worker was killed, and the second one has trouble to hand in what that left."""
    scene.fast.online()
    scene.job, _ = scene.fast.gated(lenient=["logs", "restart", "renew"])
    scene.fast.client.plan("error-500", at="results.*", times=6)
    os.kill(scene.fast.wherry.wait_child("worker"), signal.SIGKILL)
    scene.fast.said("handing in what its worker left")


def completing(scene: Scene) -> None:
    """The agent itself completes a job that was cancelled before its first step, against refusals."""
    scene.fast.online()
    scene.fast.client.plan("cancel-at-first-renew")
    scene.fast.client.plan("complete-500", times=3)
    scene.job = scene.fast.queue(ECHO)
    scene.fast.said("completing the job: .*trying again")


def finishing(scene: Scene) -> None:
    """The worker's completion is refused for a while."""
    scene.fast.online()
    scene.fast.client.plan("complete-500", times=3)
    scene.job = scene.fast.queue(ECHO)
    scene.fast.said("completing the job: .*trying again")


@dataclass(frozen=True)
class Case:
    state: str  # of docs/protocol.md
    bring: Callable[[Scene], None]
    # What becomes of the job by one signal (its conclusion, or "left": not taken), and by two.
    once: str = ""
    twice: str = ""
    scale: int = 20
    bound: float = 60  # seconds of the protocol, from the (second) signal to the end
    ignore: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.bring.__name__ if self.bring.__name__ != "bring" else self.state.replace(" ", "-") + f"-{self.bound:.0f}"


CASES = [
    Case("starting", starting),
    Case("connecting", connecting_token), Case("connecting", connecting_hang), Case("connecting", connecting_conflict),
    Case("listening", listening), Case("listening", listening_after_errors),
    Case("leaving", leaving), Case("drained", drained), Case("ending", ending),
    Case("waiting", waiting, "left", "left"),
    Case("acknowledging", taking("broker.acknowledge", 3, "delivered"), "left", "left", 5),
    Case("acquiring", taking("run.acquire", 3, "acknowledged"), "succeeded", "failed", 5, 61, ignore=("order", "step")),
    Case("acquiring", taking("run.acquire", 20, "acknowledged"), "succeeded", "failed", 20, 62, ignore=("order", "step")),
    Case("acquiring", acquiring_between_tries, "left", "left"),
    Case("acquiring", acquiring_silent, "left", "left"),
    Case("first renewal", taking("run.renew", 3, "acquired"), "succeeded", "failed", 5, ignore=("order", "step")),
    Case("running", running, "succeeded", "failed"),
    Case("running", running_deaf, "succeeded", "failed"),
    Case("cancelling", cancelling, "canceled", "canceled", 20, 90),
    Case("lost", lost, "abandoned", "abandoned", 20, 120, ignore=("renew",)),
    Case("recovering", recovering, "failed", "failed", 20),
    Case("completing", completing, "canceled", "canceled", ignore=("order", "step", "renew")),
    Case("running", finishing, "succeeded", "succeeded"),
]
# States that pass at once, or in which there is nobody to be stopped.
ELSEWHERE = {"configured", "announced", "cleaning up", "unusable", "stopped", "removed", "refused", "deprecated", "taken"}


@pytest.fixture
def scene(request: pytest.FixtureRequest, place: Path) -> Iterator[Scene]:
    given: Case = request.node.callspec.params["given"]
    fast = Fast(place, given.scale, **given.options)
    yield Scene(fast)
    fast.stop()


@pytest.fixture
def wherry(scene: Scene) -> Any:
    return scene.fast.wherry  # whose log a failure shows


def check_job(scene: Scene, wanted: str) -> None:
    job = scene.fast.client.job(scene.job)
    if wanted == "left":
        assert job["state"] in ("queued", "assigned") and not job["completions"], job["state"]
    else:
        assert job["conclusion"] == wanted, (job["state"], job["conclusion"])
        if wanted == "failed" and job["annotations"]:
            assert any(word in a["message"] for a in job["annotations"] for word in ("shutdown", "worker")), job["annotations"]


def ends(scene: Scene, given: Case, wanted: str) -> None:
    began = time.monotonic()
    assert scene.fast.wherry.wait(60) == 0
    took = (time.monotonic() - began) * scene.fast.scale
    assert took < given.bound + 5 * scene.fast.scale, f"{took:.0f} s of the protocol"  # a busy machine's own seconds
    if scene.job:
        check_job(scene, wanted)
    scene.fast.client.check(ignore=given.ignore)


@pytest.mark.parametrize("given", CASES, ids=str)
def test_once(scene: Scene, wherry: Any, given: Case) -> None:
    """What runs is finished, nothing else is taken."""
    given.bring(scene)
    scene.fast.wherry.signal(signal.SIGTERM)
    if scene.gate and given.state in ("running", "waiting"):
        scene.fast.said("finishing the running jobs|ending")
        scene.gate.touch()
    ends(scene, given, given.once)


@pytest.mark.parametrize("given", [given for given in CASES if given.twice], ids=str)
def test_twice(scene: Scene, wherry: Any, given: Case) -> None:
    """What runs is ended, and the service is told."""
    given.bring(scene)
    scene.fast.wherry.signal(signal.SIGTERM)
    scene.fast.said("finishing the running jobs|ending")
    if scene.fast.wherry.alive:
        scene.fast.wherry.signal(signal.SIGTERM)
    ends(scene, given, given.twice)


def test_no_state_is_forgotten() -> None:
    text = (ROOT / "docs/protocol.md").read_text()
    lives = text[text.index("### A runner"):text.index("**Places.**")]
    states = set(re.findall(r"^\| `([^`]+)` \| .* \| .* \| .* \|$", lives, re.M)) | {"ending"}
    assert states - ELSEWHERE == {given.state for given in CASES}
