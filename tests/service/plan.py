"""The fault plan: every fault of the protocol's list (§9.4) by its name, at once or at a time.

``{"name": "renew-500", "times": 3}`` is armed at once; ``"after": 20`` arms it 20 seconds later, ``"when": "first-renew"`` when the
job has come that far (the marks are those of a job's ``times``). ``at``, ``times``, ``seconds``, ``status``, ``skip`` and
``job`` replace what the entry has.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable

from .model import Job, Message, Runner, guid

if TYPE_CHECKING:
    from .service import Service

_OVERRIDES = ("at", "times", "seconds", "status", "skip", "job", "retry_after", "query")
_FOREVER = None

Act = Callable[["Service", dict[str, Any]], None]


@dataclass(frozen=True)
class Entry:
    """One named fault: faults of single requests, something that the service does, or both."""

    says: str
    faults: tuple[dict[str, Any], ...] = ()
    act: Act | None = None
    # The mark of a job at which it acts, if it isn't told otherwise.
    when: str | None = None


def _status(at: str, status: int, body: Any = None, **more: Any) -> dict[str, Any]:
    text = None if body is None else json.dumps(body)
    return {"at": at, "do": "status", "status": status, "body": text, **more}


def _broker(status: int, kind: str, text: str) -> dict[str, Any]:
    return {"source": "actions-broker-listener", "errorKind": kind, "statusCode": status, "errorMessage": text}


def _run(status: int, text: str) -> dict[str, Any]:
    return {"source": "actions-run-service", "statusCode": status, "errorMessage": text}


# -- things that the service does ------------------------------------------------------------------------------------


def _runner(service: "Service", spec: dict[str, Any]) -> Runner:
    """The runner that the spec names, or the only one."""
    found = [r for r in service.runners.values() if spec.get("runner") in (None, r.id, r.name)]
    if not found:
        raise ValueError(f"no runner {spec.get('runner')}")
    return found[0]


def _job(service: "Service", spec: dict[str, Any]) -> Job:
    jobs = [j for j in service.jobs.values() if spec.get("job") in (None, j.id)]
    if not jobs:
        raise ValueError(f"no job {spec.get('job')}")
    return jobs[-1]


def send(service: "Service", runner: Runner, kind: str, body: Any, **more: Any) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    runner.queue.append(Message(more.pop("id", None) or service.next_message(), kind, text, **more))
    service.recorder.note(f"sends {kind} to {runner.name}: {text}")
    service.notify()


def _message(kind: str, body: Any) -> Act:
    def act(service: "Service", spec: dict[str, Any]) -> None:
        send(service, _runner(service, spec), kind, body)

    return act


def _cancel(repeat: bool = False) -> Act:
    def act(service: "Service", spec: dict[str, Any]) -> None:
        job = _job(service, spec)
        runner = service.runners[job.runner or 0]
        send(service, runner, "JobCancellation", {"jobId": job.id, "timeout": spec.get("timeout", "00:05:00")}, job=job.id, repeat=repeat)

    return act


def _cancel_unknown(service: "Service", spec: dict[str, Any]) -> None:
    send(service, _runner(service, spec), "JobCancellation", {"jobId": guid(), "timeout": "00:05:00"})


def _migration(service: "Service", spec: dict[str, Any]) -> None:
    send(service, _runner(service, spec), "BrokerMigration", {"brokerBaseUrl": service.url + "/_broker2/"})


def _option(name: str, value: Any) -> Act:
    def act(service: "Service", spec: dict[str, Any]) -> None:
        setattr(service.options, name, spec.get("seconds", value))

    return act


def _clock(offset: float) -> Act:
    def act(service: "Service", spec: dict[str, Any]) -> None:
        service.clock.offset = spec.get("seconds", offset)

    return act


def _end_session(service: "Service", spec: dict[str, Any]) -> None:
    _runner(service, spec).session = None
    service.notify()


def _drop_runner(service: "Service", spec: dict[str, Any]) -> None:
    service.drop_runner(_runner(service, spec).id)


def _end_tokens(service: "Service", spec: dict[str, Any]) -> None:
    service.tokens.revoke("listener", str(_runner(service, spec).id))


def _task(make: Callable[["Service", float], Any], seconds: float) -> Act:
    def act(service: "Service", spec: dict[str, Any]) -> None:
        service.later(make(service, spec.get("seconds", seconds)))

    return act


# -- the list, in the protocol's order -------------------------------------------------------------------------------

CLOCK_WORDS = "The token is not valid until 1. Current server time is 2."
FAULTS: dict[str, Entry] = {
    "error-500": Entry("500, which no lower layer repeats", (_status("*", 500),)),
    "error-502": Entry("502", (_status("*", 502),)),
    "error-503": Entry("503", (_status("*", 503),)),
    "error-504": Entry("504", (_status("*", 504),)),
    "too-many-requests": Entry("429 with Retry-After", (_status("*", 429, retry_after=2),)),
    "unauthorized-once": Entry("401 once: the token is used up", ({"at": "broker.*", "do": "revoke"},)),
    "unauthorized-forever": Entry("401 for ever", (_status("broker.*", 401, times=_FOREVER),)),
    "token-expired-in-poll": Entry("the token expires while a poll is held", act=_end_tokens),
    "invalid-client": Entry("the registration is gone for the token service", (
        _status("oauth.token", 400, {"error": "invalid_client", "error_description": "The client is not registered"}, times=_FOREVER),)),
    "token-server-error": Entry("the token service is in trouble", (
        _status("oauth.token", 400, {"error": "server_error", "error_description": "try again"}),)),
    "clock-ahead": Entry("the service's clock is 10 minutes ahead of the machine's", act=_clock(600)),
    "clock-behind": Entry("the service's clock is 10 minutes behind the machine's", act=_clock(-600)),
    "assertion-too-long": Entry("the service finds the assertion's life too long", (
        _status("oauth.token", 400, {"error": "invalid_client", "error_description": "assertion lifetime exceeds 300 seconds"}),)),
    "reset-before": Entry("the connection is reset before an answer", ({"at": "*", "do": "reset", "when": "before"},)),
    "reset-inside": Entry("… inside the answer", ({"at": "*", "do": "reset", "when": "inside"},)),
    "reset-after": Entry("… after the request was handled, its answer lost", ({"at": "*", "do": "reset", "when": "after"},)),
    "tls-failure": Entry("a certificate of an authority that nobody knows", act=_task(lambda s, t: s.wrong_certificate(t), 60)),
    "outage": Entry("nobody listens", act=_task(lambda s, t: s.outage(t), 60)),
    "poll-held": Entry("a poll is held longer than a client waits", act=_option("hold", 150.0)),
    "poll-instant": Entry("polls are answered empty at once", (_status("broker.message", 202, times=20),)),
    "body-truncated": Entry("an answer ends early", ({"at": "*", "do": "truncate", "keep": 15},)),
    "body-not-json": Entry("an answer is a page", ({"at": "*", "do": "body", "body": "<html><body>Service Unavailable</body></html>",
                                                    "content_type": "text/html"},)),
    "body-bom": Entry("JSON with a byte order mark", ({"at": "*", "do": "shape", "how": "bom", "times": _FOREVER},)),
    "body-pascal-case": Entry("names in PascalCase", ({"at": "*", "do": "shape", "how": "pascal", "times": _FOREVER},)),
    "body-number-strings": Entry("numbers and booleans as strings", ({"at": "*", "do": "shape", "how": "strings", "times": _FOREVER},)),
    "message-twice-same-id": Entry("a job message comes twice", act=_option("announce_again", "same")),
    "message-twice-new-id": Entry("… the second time under another id", act=_option("announce_again", "new")),
    "message-negative-id": Entry("message ids are negative", act=_option("message_sign", -1)),
    "message-unknown-type": Entry("a message of a type that nobody knows", act=_message("SomethingNew", {"x": 1})),
    "session-conflict-thrice": Entry("409 to the first sessions", (_status("broker.session", 409, {}, times=3),)),
    "session-conflict-forever": Entry("409 to every session", (_status("broker.session", 409, {}, times=_FOREVER),)),
    "session-invalid": Entry("the session is over", act=_end_session),
    "runner-not-found": Entry("the registration is deleted", act=_drop_runner),
    "runner-version-too-old": Entry("the version is refused", (
        _status("broker.message", 403, _broker(403, "RunnerVersionTooOld", "Runner version v2.336.0 is deprecated and cannot receive messages"),
                times=_FOREVER),)),
    "hosted-runner-deprovisioned": Entry("the service wants this runner away", (
        _status("broker.message", 403, _broker(403, "HostedRunnerDeprovisioned", "gone")),)),
    "runner-shutdown": Entry("the service asks the runner to end", act=_message("RunnerShutdown", {"reason": "maintenance"})),
    "broker-migration": Entry("the broker has another address", act=_migration),
    "broker-migration-each-poll": Entry("a V1 server names a broker at each poll", act=_option("v1_migrate", "message")),
    "broker-migration-in-session": Entry("… in its session's answer", act=_option("v1_migrate", "session")),
    "oaep-wrong-hash": Entry("the session key is wrapped with another hash than announced", act=_option("v1_hash", "sha256")),
    "force-token-refresh": Entry("a new token is asked for", act=_message("ForceTokenRefresh", "")),
    "ack-404": Entry("the acknowledged job is gone", (
        _status("broker.acknowledge", 404, _broker(404, "AcknowledgeJobNotFound", "job not found")),)),
    "ack-slow": Entry("the acknowledgement takes longer than it may", ({"at": "broker.acknowledge", "do": "delay", "seconds": 20},)),
    "acquire-404": Entry("the job is gone", (_status("run.acquire", 404, _run(404, "job not found")),)),
    "acquire-409": Entry("another runner has the job", (_status("run.acquire", 409, _run(409, "job assignment is invalid")),)),
    "acquire-422": Entry("the job cannot be had", (_status("run.acquire", 422, _run(422, "unprocessable")),)),
    "acquire-500": Entry("four tries to acquire fail", (_status("run.acquire", 500, times=4),)),
    "renew-500": Entry("renews fail", (_status("run.renew", 500, times=3),)),
    "renew-404": Entry("the job's lock is lost", (_status("run.renew", 404, _run(404, "job not found"), times=_FOREVER),)),
    "renew-silent": Entry("no renew is answered until the lock has run out", ({"at": "run.renew", "do": "hang", "times": _FOREVER},)),
    "cancel-before-acquire": Entry("a cancellation before the job is acquired", ({"at": "run.acquire", "do": "delay", "seconds": 10},),
                                   _cancel(), "acknowledged"),
    "cancel-at-first-renew": Entry("… before the first renew is answered", ({"at": "run.renew", "do": "delay", "seconds": 10},),
                                   _cancel(), "acquired"),
    "cancel-mid-step": Entry("… in mid step", act=_cancel()),
    "cancel-repeated": Entry("… again at each poll", act=_cancel(repeat=True)),
    "cancel-unknown": Entry("… of a job that nobody knows", act=_cancel_unknown),
    "blob-403": Entry("the signed URL has expired", (_status("blob.put", 403),)),
    "blob-500": Entry("the blob store is in trouble", (_status("blob.put", 500),)),
    "blob-slow": Entry("the blob store is slow", ({"at": "blob.put", "do": "delay", "seconds": 20},)),
    "blob-reset-after": Entry("a block is stored, its answer lost", ({"at": "blob.put", "do": "reset", "when": "after"},)),
    "metadata-500": Entry("metadata calls fail", (_status("results.Create*Metadata", 500, times=2),)),
    "steps-500": Entry("a step update fails", (_status("results.steps", 500, times=2),)),
    "feed-refused": Entry("the live console refuses", (_status("feed.connect", 503, times=4),)),
    "feed-closed": Entry("… closes in mid message", ({"at": "feed.message", "do": "reset"},)),
    "feed-stalled": Entry("… takes nothing more", ({"at": "feed.message", "do": "hang"},)),
    "complete-500": Entry("four completions fail", (_status("run.complete", 500, times=4),)),
    "complete-lost": Entry("the completion's answer is lost", ({"at": "run.complete", "do": "reset", "when": "after"},)),
    "complete-404": Entry("the job is gone when it is completed", (_status("run.complete", 404, _run(404, "job not found")),)),
    "session-delete-hangs": Entry("the session's end is never answered", ({"at": "broker.session-delete", "do": "hang"},)),
}


# -- arming ----------------------------------------------------------------------------------------------------------


def _arm(service: "Service", entry: Entry, spec: dict[str, Any]) -> None:
    for fault in entry.faults:
        service.faults.add({**fault, **{k: spec[k] for k in _OVERRIDES if k in spec}})


async def _at_mark(service: "Service", mark: str, spec: dict[str, Any], act: Callable[[], None]) -> None:
    """Wait for a job (of the spec, or any) that gets there."""
    while True:
        found = next((j for j in service.jobs.values() if mark in j.times and spec.get("job") in (None, j.id)), None)
        if found is not None:
            spec["job"] = found.id
            act()
            return
        await service.wait(3600)


def start(service: "Service", spec: dict[str, Any]) -> None:
    """Arm the fault that the spec names; ValueError if there is no such one."""
    spec = dict(spec)
    name = spec.pop("name", None)
    if name not in FAULTS:
        raise ValueError(f"no fault {name!r}; known: {', '.join(FAULTS)}")
    entry = FAULTS[name]
    unknown = set(spec) - {*_OVERRIDES, "after", "when", "runner", "timeout"}
    if unknown:
        raise ValueError(f"{name}: unknown {', '.join(sorted(unknown))}")
    after, when = spec.pop("after", None), spec.pop("when", None)

    def act() -> None:
        service.recorder.note(f"fault {name}: {entry.says}")
        if entry.act:
            entry.act(service, spec)

    def everything() -> None:
        _arm(service, entry, spec)
        act()

    async def later() -> None:
        await service.clock.sleep(after)
        everything()

    if after is not None:
        service.later(later())
    elif when is not None:
        service.later(_at_mark(service, when, spec, everything))
    elif entry.when is not None:
        _arm(service, entry, spec)
        service.later(_at_mark(service, entry.when, spec, act))
    else:
        everything()
