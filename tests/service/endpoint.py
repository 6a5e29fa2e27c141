"""From an aiohttp request to a handler: recording, general checks, secret scan and fault injection around it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Awaitable, Callable

from aiohttp import web

from . import headers, schema
from .faults import Fault
from .model import Job, Runner, Token
from .recorder import RequestRecord

if TYPE_CHECKING:
    from .service import Service

MAX_BODY = 64 << 20
_TRACED = ("user-agent", "accept", "content-type", "content-length", "retry-after", "x-ms-blob-type", "x-ms-blob-sealed",
           "x-ms-blob-condition-appendpos", "x-ms-version", "if-none-match", "transfer-encoding", "expect")


class Refuse(Exception):
    """Ends a handler with this answer."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response


@dataclass
class Call:
    """One request in the hands of a handler."""

    service: "Service"
    request: web.Request
    record: RequestRecord
    body: bytes = b""
    fault: Fault | None = None
    body_read: bool = False
    query_read: bool = False

    def error(self, rule: str, text: str, job: Job | None = None) -> None:
        self.service.recorder.error(rule, text, self.record, job.id if job else None)

    @property
    def json_headers(self) -> bool:
        return self.request.content_type == "application/json"

    def json(self, shape: schema.Shape) -> Any:
        """The body, checked; a wrong type or a missing field is recorded and answered with 400."""
        self.body_read = True
        if not self.json_headers:
            self.error("content-type", f"Content-Type is {self.request.content_type!r}, expected application/json")
        try:
            value = json.loads(self.body.decode("utf-8"))
        except ValueError as error:
            self.error("json", f"the body is not JSON: {error}")
            raise Refuse(answer(400, {"message": "malformed body"})) from None
        faults = schema.verify(value, shape)
        for fault in faults:
            self.error("shape", fault)
        if not schema.is_unknown_only(faults):
            raise Refuse(answer(400, {"message": "; ".join(faults)[:500]}))
        return value

    def query(self, required: set[str], optional: set[str] | None = None) -> dict[str, str]:
        """The query's parameters; missing, unknown, empty and repeated ones are recorded."""
        self.query_read = True
        given = self.request.query
        for name in sorted(required):
            if name not in given:
                self.error("query", f"parameter {name} is missing")
            elif given[name] == "":
                self.error("query", f"parameter {name} is empty")
        for name in sorted(set(given)):
            if name not in required and name not in (optional or set()):
                self.error("query", f"parameter {name} is unknown")
            if len(given.getall(name)) > 1:
                self.error("query", f"parameter {name} is given {len(given.getall(name))} times")
        return dict(given)

    def bearer(self) -> str:
        scheme, _, value = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not value:
            self.error("token", "Authorization: Bearer is missing" if not scheme else f"Authorization scheme is {scheme!r}")
            raise Refuse(answer(401, {"message": "unauthorized"}))
        return value

    def token(self, kind: str) -> Token:
        """The request's bearer token; missing, unknown, expired or of another kind is recorded and answered with 401."""
        token, complaint = self.service.tokens.check(self.bearer(), kind)
        if complaint:
            self.error("token", complaint)
        if token is None:
            raise Refuse(answer(401, {"message": "unauthorized"}, headers={"WWW-Authenticate": "Bearer"}))
        if self.fault and self.fault.do == "revoke":
            token.revoked_at = self.service.clock.stamp()
            token.refused += 1
            raise Refuse(answer(401, {"message": "token expired"}, headers={"WWW-Authenticate": "Bearer"}))
        return token

    def runner(self) -> Runner:
        """The runner that the listener token names."""
        owner = int(self.token("listener").owner)
        runner = self.service.runners.get(owner)
        if runner is None:
            raise Refuse(broker_error(404, "RunnerNotFound", f"runner {owner} is not registered"))
        self.record.runner = runner.id
        return runner

    def job(self) -> Job:
        """The job that the job token names."""
        job = self.service.jobs[self.token("job").owner]
        self.record.job, self.record.runner = job.id, job.runner
        return job


Handler = Callable[[Call], Awaitable[web.StreamResponse]]
Route = tuple[str, str, str, Handler]


def answer(status: int, value: Any = None, headers: dict[str, str] | None = None) -> web.Response:
    if value is None:
        return web.Response(status=status, headers=headers)
    return web.Response(status=status, body=json.dumps(value).encode(), content_type="application/json", charset="utf-8",
                        headers=headers)


def broker_error(status: int, kind: str, text: str) -> web.Response:
    return answer(status, {"source": "actions-broker-listener", "errorKind": kind, "statusCode": status, "errorMessage": text})


def run_error(status: int, text: str) -> web.Response:
    return answer(status, {"source": "actions-run-service", "statusCode": status, "errorMessage": text})


def abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def check_leftovers(call: Call) -> None:
    """A body or a query that the handler had no use for is one that the service does not know."""
    if call.record.endpoint.startswith((*headers.FOREIGN, "blob.", "feed.")):
        return
    if call.body and not call.body_read:
        call.error("body", f"a body of {len(call.body)} bytes where the call has none")
    if call.request.query_string and not call.query_read:
        call.query(set())


# Their members' names are data, not the protocol's.
_DICTIONARIES = {"variables", "contextData", "data", "parameters", "outputs", "actions", "d"}


def _respelled(value: Any, how: str, names: bool = True) -> Any:
    if isinstance(value, dict):
        return {(k[:1].upper() + k[1:] if how == "pascal" and names else k): _respelled(v, how, k not in _DICTIONARIES) for k, v in value.items()}
    if isinstance(value, list):
        return [_respelled(v, how, names) for v in value]
    if how == "strings" and isinstance(value, (bool, int)):
        return str(value)
    return value


def respell(body: bytes, how: str) -> bytes:
    """The same JSON as other services of this kind spell it."""
    if how == "bom":
        return b"\xef\xbb\xbf" + body
    value = _respelled(json.loads(body), how)
    # A broker's message has JSON in a string.
    for name in ("body", "Body"):
        if isinstance(value, dict) and str(value.get(name, "")).startswith("{"):
            value[name] = json.dumps(_respelled(json.loads(value[name]), how))
    return json.dumps(value).encode()


async def apply_before(call: Call, fault: Fault) -> web.StreamResponse | None:
    """The part of a fault that replaces the handler; None lets it run."""
    call.record.fault = f"{fault.do} {fault.status if fault.do == 'status' else fault.when if fault.do == 'reset' else ''}".strip()
    if fault.do == "delay":
        call.service.unheard.add(call.record.endpoint)
        await call.service.clock.sleep(fault.seconds or 1.0)
    elif fault.do == "hang":
        call.service.unheard.add(call.record.endpoint)
        await call.service.clock.sleep(fault.seconds or 3600.0)
        abort(call.request)
        return web.Response(status=500)
    elif fault.do == "status":
        extra = dict(fault.headers)
        if fault.retry_after is not None:
            extra["Retry-After"] = str(fault.retry_after)
        return web.Response(status=fault.status, body=(fault.body or "").encode(), content_type=fault.content_type, headers=extra)
    elif fault.do == "reset" and fault.when == "before":
        abort(call.request)
        return web.Response(status=500)
    return None


async def apply_after(call: Call, fault: Fault, response: web.StreamResponse) -> web.StreamResponse:
    """The part of a fault that spoils the handler's answer."""
    body = response.body if isinstance(response, web.Response) and isinstance(response.body, bytes) else b""
    job = call.service.jobs.get(call.record.job or "")
    if fault.spoils_answer and job is not None:
        job.lost_answers += 1
    if fault.do == "body":
        return web.Response(status=response.status, body=(fault.body or "").encode(), content_type=fault.content_type)
    if fault.do == "shape" and response.content_type == "application/json":
        return web.Response(status=response.status, body=respell(body, fault.how), content_type="application/json", charset="utf-8")
    if fault.do == "reset" and fault.when == "after":
        abort(call.request)
    elif fault.do == "truncate" or (fault.do == "reset" and fault.when == "inside"):
        keep = fault.keep if fault.do == "truncate" else len(body) // 2
        partial = web.StreamResponse(status=response.status, headers={"Content-Length": str(max(len(body), keep + 1)),
                                                                      "Content-Type": "application/json; charset=utf-8"})
        await partial.prepare(call.request)
        await partial.write(body[:keep])
        await asyncio.sleep(0.05)
        abort(call.request)
        return partial
    return response


def wrap(service: "Service", name: str, handler: Handler, api: bool) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The aiohttp handler for one endpoint."""

    async def run(request: web.Request) -> web.StreamResponse:
        record = service.recorder.begin(name, request.method, request.path_qs)
        call = Call(service, request, record)
        record.headers = {k: v for k, v in request.headers.items() if k.lower() in _TRACED}
        response: web.StreamResponse | None = None
        try:
            try:
                call.body = await request.read()
            except (ConnectionError, web.RequestPayloadError) as error:
                call.error("body", f"the body ended early: {error}")
                raise
            record.size, record.body = len(call.body), service.recorder.excerpt(call.body)
            record.path = request.path_qs
            headers.check(call, api)
            service.recorder.scan(b"\n".join((call.body, request.path_qs.encode(), headers.scanned(call))), f"a request to {name}", record)
            fault = call.fault = service.faults.take(name, request.path_qs, service.job_of(request))
            response = await apply_before(call, fault) if fault else None
            if response is not None:
                service.unheard.add(name)
            if response is None:
                try:
                    response = await handler(call)
                    if response.status < 400:  # what was refused at once was not read
                        check_leftovers(call)
                except Refuse as refusal:
                    response = refusal.response
                if fault:
                    response = await apply_after(call, fault, response)
            return response
        finally:
            sent = response.body if isinstance(response, web.Response) and isinstance(response.body, bytes) else b""
            record.answer = service.recorder.excerpt(sent)
            service.recorder.end(record, None if response is None else response.status, len(sent))

    return run
