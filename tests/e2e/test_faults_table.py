"""Every fault of the protocol's list (§9.4): the state that the agent reaches and the words that it says.

A case names a fault of tests/service/plan.py, when it begins, and what must come of it. Time runs fast (support/fast.py), so that
minutes of patience pass in seconds; what the agent may say or send wrong meanwhile, the double notes by itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator

import pytest

from tests.service import plan

from .support.fast import ECHO, Fast

# Faults that need more than a row; the tests that have them.
ELSEWHERE = {
    "tls-failure": "test_faults_more.py", "session-delete-hangs": "test_sigterm.py", "broker-migration-each-poll": "test_faults_v1.py",
    "broker-migration-in-session": "test_faults_v1.py", "oaep-wrong-hash": "test_faults_v1.py",
}


@dataclass(frozen=True)
class Case:
    """``at`` is where the fault begins: at the agent's ``start``, when it is ``idle``, or ``busy`` with a job."""

    fault: str
    at: str
    says: tuple[str, ...] = ()
    # None: the agent serves on, and its next job succeeds.
    exit: int | None = None
    # How the job ends that runs into the fault; None: it does not end (the next one does).
    job: str | None = "succeeded"
    spec: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    scale: int = 40
    # Requests that must have been made at least so often.
    count: dict[str, int] = field(default_factory=dict)
    name: str = ""

    def __str__(self) -> str:
        return self.name or f"{self.fault}-{self.at}" + "".join(f"-{v}" for k, v in self.spec.items() if k == "at")


def case(fault: str, at: str, *says: str, **more: Any) -> Case:
    return Case(fault, at, says, **more)


POLLS = {"hold": 3}
ANSWERED = r"GET \S+/message answered "
NO_STEP = ("logs", "step")
# A renewal that was made wait is late by the double's own doing.
LATE = ("renew",)

CASES = [
    # -- errors of the transport and the host ------------------------------------------------------------------------
    case("error-500", "start", r"create a session: POST \S+ answered 500 .*; trying again in half a minute", "listening for jobs",
         spec={"at": "broker.session"}),
    case("error-500", "idle", ANSWERED + "500", spec={"at": "broker.message", "times": 2}, options=POLLS, count={"broker.message": 3}),
    case("error-502", "idle", ANSWERED + "502", spec={"at": "broker.message", "times": 6}, options=POLLS, count={"broker.message": 7}, scale=100),
    case("error-503", "start", spec={"at": "oauth.token", "times": 3}, count={"oauth.token": 4}),
    case("error-504", "idle", ANSWERED + "504", "listening for jobs.*", spec={"at": "broker.message", "times": 11}, options=POLLS,
         count={"broker.session": 2}, scale=100, name="ten-poll-errors-make-a-new-session"),
    case("error-503", "idle", r"GET \S+/message answered 503", spec={"at": "*", "times": 3}, options=POLLS, name="error-503-anywhere"),
    case("too-many-requests", "idle", ANSWERED + "429", spec={"at": "broker.message"}, options=POLLS),
    case("too-many-requests", "idle", spec={"at": "results.*", "times": 4}),
    case("reset-before", "idle", r"GET \S+/message: ", spec={"at": "broker.message", "times": 2}, options=POLLS),
    case("reset-inside", "idle", spec={"at": "broker.session-delete"}),
    case("reset-inside", "start", r"create a session: .*trying again in half a minute", spec={"at": "broker.session"},
         options={"session_idle": 20}),
    case("reset-inside", "idle", spec={"at": "results.Get*", "times": 2}),
    case("reset-inside", "idle", r"renew", spec={"at": "run.renew"}, ignore=LATE),
    case("reset-after", "idle", spec={"at": "results.*", "times": 3}),
    case("outage", "idle", r"GET \S+/message: cannot connect: Connection refused", spec={"seconds": 120}, scale=100),
    case("outage", "busy", r"GET \S+/message: cannot connect: Connection refused", r"renew the job's lock: .*trying again",
         "the job's lock is renewed again", spec={"seconds": 150}, ignore=LATE, scale=60),
    # -- tokens and clocks -------------------------------------------------------------------------------------------
    case("unauthorized-once", "idle", options=POLLS, count={"oauth.token": 2}),
    case("unauthorized-forever", "start", "the service refuses this runner's credentials: .* answered 401", exit=1),
    case("unauthorized-forever", "idle", "the service refuses this runner's credentials: .* answered 401", exit=1, options=POLLS),
    case("unauthorized-forever", "busy", "the service refuses this runner's credentials: .* answered 401", exit=1, options=POLLS),
    case("token-expired-in-poll", "idle", options=POLLS, count={"oauth.token": 2}),
    case("token-expired-in-poll", "busy", options=POLLS, count={"oauth.token": 2}),
    case("invalid-client", "start", "does not take this runner's credentials .*register again.*invalid_client", exit=1),
    case("token-server-error", "start", "gives no token to this runner: .*server_error: try again; trying again in half a minute"),
    case("clock-ahead", "start", r"this machine's clock is \d+ s behind the service's; going by the service's"),
    case("clock-behind", "start", r"this machine's clock is \d+ s ahead of the service's; going by the service's"),
    case("clock-ahead", "busy", spec={"seconds": 600}),
    case("assertion-too-long", "start", "the service finds the times of the token request wrong .*300 seconds"),
    case("force-token-refresh", "idle", count={"oauth.token": 2}),
    case("force-token-refresh", "busy", count={"oauth.token": 2}),
    # -- polls and spellings -----------------------------------------------------------------------------------------
    case("poll-held", "start", options={"session_idle": 400}),
    case("poll-instant", "idle", spec={"times": 6}, options=POLLS, count={"broker.message": 7}, scale=100),
    case("body-truncated", "idle", r"GET \S+/message: .*", spec={"at": "broker.message"}, options=POLLS, job=None),
    case("body-truncated", "idle", spec={"at": "results.*", "times": 3}),
    case("body-not-json", "start", r"create a session: .*answered with a web page", spec={"at": "broker.session"}, options={"session_idle": 20}),
    case("body-not-json", "idle", r"renew", spec={"at": "run.renew", "times": 1}, ignore=LATE),
    case("body-bom", "start"),
    case("body-pascal-case", "start"),
    case("body-number-strings", "start"),
    # -- messages ----------------------------------------------------------------------------------------------------
    case("message-twice-same-id", "idle", "announced again"),
    case("message-twice-new-id", "idle", "announced again"),
    case("message-negative-id", "start"),
    case("message-unknown-type", "idle", "a message of type SomethingNew is not known and passed over"),
    case("broker-migration", "idle", r"the broker is now \S+/_broker2/"),
    case("runner-shutdown", "idle", "the service asks this runner to end: maintenance", exit=0),
    case("runner-shutdown", "busy", "the service asks this runner to end: maintenance", exit=0),
    # -- sessions ----------------------------------------------------------------------------------------------------
    case("session-conflict-thrice", "start", "create a session: another process serves as this runner.*409.*trying again in half a minute",
         count={"broker.session": 4}),
    case("session-conflict-forever", "start", "create a session: another process serves as this runner", exit=5, scale=100,
         count={"broker.session": 8}),
    case("session-invalid", "idle", "the session is over; making a new one", options=POLLS, count={"broker.session": 2}),
    case("session-invalid", "busy", "the session is over; making a new one", options=POLLS, count={"broker.session": 2}),
    case("runner-not-found", "idle", "answered 404 .*is not registered", "the registration is gone; deleting its files here", exit=0,
         options=POLLS),
    case("runner-version-too-old", "start", "asking for the newest", "refuses runner version .*--runner-version.*deprecated", exit=1),
    case("hosted-runner-deprovisioned", "idle", "the service ends this runner: .*gone", exit=0, options=POLLS),
    # -- taking a job ------------------------------------------------------------------------------------------------
    case("ack-404", "idle"),
    case("ack-slow", "idle"),
    case("acquire-404", "idle", "answered 404", job=None),
    case("acquire-409", "idle", "answered 409", job=None),
    case("acquire-422", "idle", "answered 422", job=None),
    case("acquire-500", "idle", "acquire the job: .*500.*; trying again", count={"run.acquire": 5}),
    case("acquire-500", "idle", "a job is given up: acquire the job: .*500", job=None, spec={"times": 5}, count={"run.acquire": 5}, name="acquire-500-for-ever"),
    case("renew-500", "idle", "first renew: .*500.*; trying again", ignore=LATE, count={"run.renew": 4}),
    case("renew-500", "busy", "renew the job's lock: .*500.*; trying again", "the job's lock is renewed again", spec={"times": 8}, ignore=LATE, scale=100),
    case("renew-404", "idle", "is given up: .*404", job=None),
    case("renew-404", "busy", "the service does not know the job any more", job=None, ignore=LATE),
    case("renew-silent", "idle", "first renew: .*timed out.*; trying again", "is given up", job=None, scale=100),
    case("renew-silent", "busy", "renew the job's lock: .*timed out", "the job's lock ran out: the service could not be reached", job=None,
         options={"lock_seconds": 100}, ignore=LATE, scale=60),
    # -- cancelling --------------------------------------------------------------------------------------------------
    case("cancel-before-acquire", "idle", "is being cancelled", job="canceled"),
    case("cancel-at-first-renew", "idle", "is being cancelled", job="canceled"),
    case("cancel-mid-step", "busy", "is being cancelled", job="canceled"),
    case("cancel-repeated", "busy", "is being cancelled", job="canceled"),
    case("cancel-unknown", "idle"),
    case("cancel-unknown", "busy"),
    # -- logs and results --------------------------------------------------------------------------------------------
    case("blob-403", "idle", "blob.* answered 403"),
    case("blob-500", "idle", "blob.* answered 500", spec={"times": 5}),
    case("blob-slow", "idle"),
    case("blob-reset-after", "idle", spec={"times": 3}),
    case("metadata-500", "idle", "Metadata answered 500"),
    case("steps-500", "idle", "WorkflowStepsUpdate answered 500"),
    case("feed-refused", "idle", "live log: .*503.*off for 10 minutes"),
    case("feed-closed", "busy", spec={"times": 2}),
    case("feed-stalled", "idle"),
    # -- completing --------------------------------------------------------------------------------------------------
    case("complete-500", "idle", "completing the job: .*500.*; trying again", count={"run.complete": 5}),
    case("complete-lost", "idle"),
    case("complete-404", "idle", "the job's completion was not accepted: .*404", job=None),
]


@pytest.fixture
def fast(request: pytest.FixtureRequest, place: Path) -> Iterator[Fast]:
    given: Case = request.node.callspec.params["given"]
    made = Fast(place, given.scale, **given.options)
    yield made
    made.stop()


def begins(fast: Fast, given: Case) -> str:
    """The fault begins; returns the job that meets it."""
    if given.at == "start":
        fast.wherry.register(fast.client)
        fast.client.plan(given.fault, **given.spec)
        fast.wherry.start()
        return fast.queue(ECHO, lenient=list(given.ignore))
    fast.online()
    if given.at == "idle":
        fast.client.plan(given.fault, **given.spec)
        if given.exit is not None:
            return ""
        if given.options:
            fast.client.wait_runners()
            polls = fast.count("broker.message") + given.count.get("broker.message", 2)
            for _ in range(600):
                if fast.count("broker.message") >= polls:
                    break
                time.sleep(0.02)
        return fast.queue(ECHO, lenient=list(given.ignore))
    ident, gate = fast.gated(lenient=list(given.ignore))
    fast.client.plan(given.fault, **given.spec)
    for words in given.says[: -1 if given.exit is not None else None]:
        fast.said(words)
    if given.job == "succeeded":
        gate.touch()
    return ident


@pytest.mark.parametrize("given", CASES, ids=str)
def test_fault(fast: Fast, given: Case) -> None:
    ident = begins(fast, given)
    if ident and given.job and not (given.exit is not None and given.at == "start"):
        done = fast.client.wait(ident, 40)
        assert done["conclusion"] == given.job and done["completions"] >= 1
        if given.job == "succeeded":
            assert sum(line in ("fine", "over") for line in done["log"]["lines"]) == 1, done["log"]["lines"]
    for words in given.says:
        fast.said(words)
    if given.exit is not None:
        assert fast.wherry.wait(30) == given.exit
    else:
        fast.client.clear_faults()
        assert fast.run(timeout=40)["conclusion"] == "succeeded", "the agent serves on"
        assert fast.wherry.alive
    for endpoint, least in given.count.items():
        assert fast.count(endpoint) >= least, f"{fast.count(endpoint)} requests to {endpoint}"
    fast.client.check(ignore=given.ignore)


def test_no_fault_is_forgotten() -> None:
    named = {given.fault for given in CASES} | set(ELSEWHERE)
    assert named == set(plan.FAULTS)
    for fault, file in ELSEWHERE.items():
        assert f'"{fault}"' in (Path(__file__).parent / file).read_text(), f"{file} has no test of {fault}"
