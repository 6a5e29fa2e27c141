"""The control API: what tests use to queue jobs, set faults and read what was seen. Never part of the protocol."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aiohttp import web

from . import chaos, jobs, plan
from .checks import log_lines
from .model import Blob, Job, Message
from .passing import PassingLog

if TYPE_CHECKING:
    from .service import Service

MAX_WAIT = 600.0


def _blob(blob: Blob, times: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"text": blob.data.decode("utf-8", "replace"), "lines": [line.decode("utf-8", "replace") for line in log_lines(blob.data)],
                             "type": blob.type, "sealed": blob.sealed, "metadata": blob.metadata, "size": len(blob.data)}
    if isinstance(blob.data, PassingLog):
        shown["passing"] = blob.data.told()
    if times:
        shown["blocks"] = blob.blocks
    return shown


def describe(job: Job) -> dict[str, Any]:
    """Everything that a job uploaded, by step id where it belongs to one."""
    kinds: dict[str, dict[str, Any]] = {"step-log": {}, "summary": {}}
    for (kind, step), blob in job.blobs.items():
        if kind in kinds:
            kinds[kind][step or ""] = _blob(blob, True)
    whole = job.blobs.get(("job-log", None))
    diagnostics = job.blobs.get(("diag", None))
    completion = job.completion or {}
    return {
        "id": job.id, "plan": job.plan, "name": job.name, "state": job.state, "runner": job.runner, "times": job.times,
        "renewals": job.renewals, "conclusion": completion.get("conclusion"), "completion": job.completion,
        "completions": job.completions,
        "outputs": {k: v["value"] for k, v in completion.get("outputs", {}).items()}, "steps": [asdict(s) for s in job.steps.values()],
        "results": completion.get("stepResults", []), "annotations": [
            {**a, "step": r["name"]} for r in completion.get("stepResults", []) for a in r.get("annotations", [])]
        + completion.get("annotations", []),
        "logs": kinds["step-log"], "summaries": kinds["summary"], "log": _blob(whole, True) if whole else None,
        "diagnostics": base64.b64encode(diagnostics.data).decode() if diagnostics else None,
        "feed": [asdict(m) for m in job.feed], "feed_connects": job.feed_connects, "feed_closes": job.feed_closes,
    }


class Control:
    def __init__(self, service: "Service") -> None:
        self._service = service

    def _job(self, request: web.Request) -> Job:
        job = self._service.jobs.get(request.match_info["id"])
        if job is None:
            raise web.HTTPNotFound(text="no such job")
        return job

    async def status(self, _request: web.Request) -> web.Response:
        service = self._service
        return web.json_response({
            "tarballs": service.tarballs, "url": service.url, "port": service.port, "pat": service.options.pat, "now": service.clock.stamp(),
            "configs": service.configs, "updates": service.updates, "errors": len(service.recorder.errors), "requests": len(service.recorder.requests),
            "runners": [{"id": r.id, "name": r.name, "labels": r.labels, "status": r.status, "session": bool(r.session), "polls": r.polls,
                         "version": r.version, "ephemeral": r.ephemeral, "scope": r.scope, "group": r.group}
                        for r in service.runners.values()],
            "jobs": [{"id": j.id, "name": j.name, "state": j.state} for j in service.jobs.values()]})

    async def token(self, request: web.Request) -> web.Response:
        """A registration or remove token for a scope: {"kind", "scope": "owner/repo" | "owner", "seconds"}."""
        spec = await request.json()
        scope = f"{self._service.url}/{spec.get('scope', 'acme/web')}"
        token = self._service.tokens.issue(spec.get("kind", "registration"), scope, spec.get("seconds", 3600))
        return web.json_response({"token": token.value, "url": scope})

    async def queue(self, request: web.Request) -> web.Response:
        job = jobs.create(self._service, await request.json())
        self._service.recorder.note(f"queues job {job.id} ({job.name}) of {job.repo}")
        return web.json_response({"id": job.id, "plan": job.plan, "at": job.times["queued"]})

    async def job(self, request: web.Request) -> web.Response:
        return web.json_response(describe(self._job(request)))

    async def wait(self, request: web.Request) -> web.Response:
        """Until the job is in one of the given states (default: ended), or ``for=`` is in its times, or a runner is online."""
        service, query = self._service, request.query
        ends = time.monotonic() + min(float(query.get("timeout", "60")), MAX_WAIT)
        job = self._job(request) if "id" in request.match_info else None
        while True:
            if job is None:
                done = sum(1 for r in service.runners.values() if r.session and r.polls) >= int(query.get("runners", "1"))
            elif "for" in query:
                done = query["for"] in job.times
            else:
                done = job.ended
            left = ends - time.monotonic()
            if done or left <= 0:
                return web.json_response({"done": done, "state": job.state if job else None})
            await service.wait(left)

    async def wait_log(self, request: web.Request) -> web.Response:
        """Until the live feed or a log of the job holds a text."""
        service, job = self._service, self._job(request)
        text, ends = request.query["text"], time.monotonic() + float(request.query.get("timeout", "60"))
        while True:
            seen = any(text in line for message in job.feed for line in message.lines)
            left = ends - time.monotonic()
            if seen or left <= 0 or job.ended:
                return web.json_response({"done": seen or any(text.encode() in b.data for b in job.blobs.values())})
            await service.wait(left)

    async def cancel(self, request: web.Request) -> web.Response:
        spec = await request.json() if request.can_read_body else {}
        job = self._job(request)
        body = json.dumps({"jobId": job.id, "timeout": spec.get("timeout", "00:05:00")})
        self._send(job.runner or 0, "JobCancellation", body, job.id, spec.get("repeat", False))
        return web.json_response({"at": self._service.clock.stamp()})

    def _send(self, runner: int, kind: str, body: str, job: str | None = None, repeat: bool = False, ident: int | None = None,
              iv: str | None = None) -> None:
        service = self._service
        target = service.runners.get(runner)
        if target is None:
            raise web.HTTPNotFound(text="no such runner")
        service.recorder.note(f"sends {kind} to {target.name}: {body}")
        target.queue.append(Message(service.next_message() if ident is None else ident, kind, body, job, repeat, iv))
        service.notify()

    async def message(self, request: web.Request) -> web.Response:
        """Any message to a runner: {"type", "body": object or string, "id"?, "repeat"?, "iv"?}."""
        spec = await request.json()
        body = spec.get("body", "")
        self._send(int(request.match_info["id"]), spec["type"], body if isinstance(body, str) else json.dumps(body), spec.get("job"),
                   spec.get("repeat", False), spec.get("id"), spec.get("iv"))
        return web.json_response({"at": self._service.clock.stamp()})

    async def expire_session(self, request: web.Request) -> web.Response:
        runner = self._service.runners[int(request.match_info["id"])]
        runner.session = None
        self._service.recorder.note(f"ends the session of {runner.name}")
        self._service.notify()
        return web.json_response({})

    async def drop_runner(self, request: web.Request) -> web.Response:
        self._service.drop_runner(int(request.match_info["id"]))
        return web.json_response({})

    async def revoke(self, request: web.Request) -> web.Response:
        spec = await request.json()
        return web.json_response({"count": self._service.tokens.revoke(spec["kind"], spec.get("owner"))})

    async def add_fault(self, request: web.Request) -> web.Response:
        try:
            fault = self._service.faults.add(await request.json())
            self._service.recorder.note(f"will fail: {fault.do} at {fault.at}, {fault.times or 'any number of'} times")
            return web.json_response(asdict(fault))
        except (TypeError, ValueError) as error:
            raise web.HTTPBadRequest(text=str(error)) from None

    async def plan(self, request: web.Request) -> web.Response:
        """A fault of the protocol's list by name: {"name", "after" | "when", ...} (plan.py)."""
        try:
            plan.start(self._service, await request.json())
        except (TypeError, ValueError) as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        return web.json_response({"at": self._service.clock.stamp()})

    async def list_plan(self, _request: web.Request) -> web.Response:
        return web.json_response({name: entry.says for name, entry in plan.FAULTS.items()})

    async def set_chaos(self, request: web.Request) -> web.Response:
        """From now on a share of all requests fails: {"seed", "share", "only" (patterns of endpoints)}; a share of 0 ends it. Answers with what was done before."""
        spec, faults = await request.json(), self._service.faults
        done = faults.chaos.describe() if faults.chaos else {}
        faults.chaos = chaos.Chaos(int(spec["seed"]), float(spec["share"]), spec.get("only")) if spec.get("share") else None
        return web.json_response(done)

    async def list_faults(self, _request: web.Request) -> web.Response:
        return web.json_response(self._service.faults.list())

    async def clear_faults(self, request: web.Request) -> web.Response:
        ident = request.query.get("id")
        self._service.faults.clear(int(ident) if ident else None)
        return web.json_response({})

    async def options(self, request: web.Request) -> web.Response:
        for name, value in (await request.json()).items():
            if not hasattr(self._service.options, name):
                raise web.HTTPBadRequest(text=f"no option {name}")
            setattr(self._service.options, name, value)
        return web.json_response(asdict(self._service.options))

    async def clock(self, request: web.Request) -> web.Response:
        self._service.recorder.note("its clock changes")
        self._service.clock.offset = float((await request.json())["offset"])
        return web.json_response({"now": self._service.clock.now()})

    async def outage(self, request: web.Request) -> web.Response:
        seconds = float((await request.json())["seconds"])
        self._service.recorder.note(f"is gone for {seconds:.0f} s")
        self._service.later(self._service.outage(seconds))
        return web.json_response({"at": self._service.clock.stamp()})

    async def drop_connections(self, _request: web.Request) -> web.Response:
        self._service.drop_connections()
        return web.json_response({})

    async def lock_expired(self, request: web.Request) -> web.Response:
        self._job(request).locked_until = self._service.clock.stamp() - 1
        return web.json_response({})

    async def errors(self, request: web.Request) -> web.Response:
        return web.json_response(self._service.recorder.list_errors(request.query.get("job")))

    async def clear_errors(self, _request: web.Request) -> web.Response:
        self._service.recorder.errors.clear()
        return web.json_response({})

    async def requests(self, request: web.Request) -> web.Response:
        query = request.query
        return web.json_response(self._service.recorder.list_requests(query.get("job"), query.get("endpoint"), int(query.get("since", "0"))))


def application(service: "Service") -> web.Application:
    app = web.Application(client_max_size=256 << 20)
    control = Control(service)
    for verb, path, handler in (
        ("GET", "", control.status), ("POST", "/tokens", control.token), ("POST", "/jobs", control.queue),
        ("GET", "/jobs/{id}", control.job), ("GET", "/jobs/{id}/wait", control.wait), ("GET", "/jobs/{id}/wait-log", control.wait_log),
        ("POST", "/jobs/{id}/cancel", control.cancel), ("POST", "/jobs/{id}/lock-expired", control.lock_expired),
        ("GET", "/wait-runners", control.wait), ("POST", "/runners/{id}/message", control.message),
        ("POST", "/runners/{id}/expire-session", control.expire_session), ("DELETE", "/runners/{id}", control.drop_runner),
        ("POST", "/revoke", control.revoke), ("POST", "/chaos", control.set_chaos), ("POST", "/plan", control.plan), ("GET", "/plan", control.list_plan), ("POST", "/faults", control.add_fault), ("GET", "/faults", control.list_faults),
        ("DELETE", "/faults", control.clear_faults), ("PATCH", "/options", control.options), ("POST", "/clock", control.clock),
        ("POST", "/outage", control.outage), ("POST", "/drop-connections", control.drop_connections),
        ("GET", "/errors", control.errors), ("DELETE", "/errors", control.clear_errors), ("GET", "/requests", control.requests),
    ):
        app.router.add_route(verb, "/_control" + path, handler)
    return app
