"""The broker: sessions, the long poll and acknowledgements (protocol §3)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

from aiohttp import web

from . import schema
from .endpoint import Call, Refuse, Route, answer, broker_error
from .model import Job, Message, Runner, Session, guid

ZERO = "00000000-0000-0000-0000-000000000000"
POLL_QUERY = {"sessionId", "status", "runnerVersion", "os", "architecture", "disableUpdate"}
ACK_QUERY = {"sessionId", "status", "runnerVersion", "os", "architecture"}

SESSION = schema.record(
    {
        "sessionId": schema.one_of(ZERO),
        "ownerName": schema.text,
        "agent": schema.record(
            {
                "id": schema.at_least(1),
                "name": schema.text,
                "version": schema.text,
                "osDescription": schema.text,
                "ephemeral": schema.nullable(schema.boolean),
                "status": schema.one_of(0),
                "provisioningState": schema.nullable(schema.string),
            }
        ),
        "useFipsEncryption": schema.one_of(False),
    }
)
_ACK = schema.record({"runnerRequestId": schema.text})


async def create_session(call: Call) -> web.Response:
    service, runner = call.service, call.runner()
    body = call.json(SESSION)
    agent = body["agent"]
    if agent["id"] != runner.id or agent["name"] != runner.name:
        call.error("session", f"agent is {agent['id']} {agent['name']!r}, the token is of {runner.id} {runner.name!r}")
    now = service.clock.stamp()
    live = runner.session
    if live is not None and now - live.last_seen < service.options.session_idle:
        return answer(409, {"source": "actions-broker-listener", "errorKind": "", "statusCode": 409,
                            "errorMessage": f"A session for this runner already exists ({live.owner})."})
    runner.session = Session(guid(), runner.id, body["ownerName"], now)
    runner.status = "Online"
    service.notify()
    return answer(201, {"sessionId": runner.session.id, "ownerName": body["ownerName"], "agent": agent})


async def delete_session(call: Call) -> web.Response:
    runner = call.runner()
    query = call.query(set(), {"sessionId"})
    if runner.session is None:
        return broker_error(404, "RunnerSessionInvalid", "no session")
    if query.get("sessionId", runner.session.id) != runner.session.id:
        call.error("session", "the query names another session")
    runner.session, runner.status = None, "Offline"
    call.service.notify()
    return web.Response(status=204)


def check_values(call: Call, query: dict[str, str]) -> None:
    for name, allowed in (("status", ("Online", "Busy")), ("os", ("Linux",)), ("architecture", ("X64", "ARM64", "ARM")),
                          ("disableUpdate", ("true", "false"))):
        if name in query and query[name] not in allowed:
            call.error("query", f"{name} is {query[name]!r}, expected one of {', '.join(allowed)}")


def _check_identity(call: Call, runner: Runner, query: dict[str, str]) -> Session:
    """The session that the query names; the other parameters are held against what is known of the runner."""
    check_values(call, query)
    session = runner.session
    if session is None or query.get("sessionId") != session.id:
        raise Refuse(broker_error(403, "RunnerSessionInvalid", "the session is unknown or expired"))
    if session.v1 and not session.migrated:
        call.error("session", "a V1 session is used at the broker, although no message sent it there")
    session.last_seen = call.service.clock.stamp()
    return session


def gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def take(call: Call, runner: Runner, status: str) -> Message | None:
    """The next message for this poll: control messages first, then a job if the runner is free."""
    if runner.queue:
        message = runner.queue[0]
        job = call.service.jobs.get(message.job or "")
        if message.repeat and not (job and job.ended):
            return message
        runner.queue.popleft()
        if not message.repeat:
            return message
        return take(call, runner, status)
    return (_unheard(call, runner) or call.service.assign(runner)) if status == "Online" else None


def _unheard(call: Call, runner: Runner) -> Message | None:
    """A job's announcement that the runner never acknowledged: its poll had gone when the answer came."""
    now = call.service.clock.stamp()
    for found in list(runner.delivered.values()):
        job = call.service.jobs.get(found.job or "")
        if job is None or found.type != "RunnerJobRequest" or job.state != "assigned" or not job.acknowledge or "acknowledged" in job.times:
            continue
        if now - job.announced > call.service.options.repeat_seconds:
            return replace(found, copies=found.copies + 1)
    return None


def note_poll(call: Call, runner: Runner, session: Session, query: dict[str, str]) -> str:
    """A poll begins; returns its status."""
    service, status = call.service, query.get("status", "")
    running = service.running_job(runner)
    if status == "Busy" and running is None and not service.options.full_box and service.clock.stamp() - service.last_completion(runner) > 5 + service.clock.slack:
        call.error("poll", "status is Busy, but this runner has no job")
    runner.status, runner.polls = status, runner.polls + 1
    session.poll += 1
    service.notify()  # also for those who wait until a runner polls
    return status


def note_delivery(call: Call, runner: Runner, found: Message) -> None:
    runner.delivered[found.id] = found
    if found.job in call.service.jobs:
        call.service.jobs[found.job].announced = call.service.clock.stamp()
    job = call.service.jobs.get(found.job or "")
    if call.fault and call.fault.spoils_answer:
        # Nobody got it: it comes again.
        runner.queue.appendleft(replace(found, copies=found.copies + 1))
    if job is None or found.copies:
        return
    if found.type in ("RunnerJobRequest", "PipelineAgentJobRequest"):
        job.mark("delivered", call.service.clock.stamp())
        if found.type == "PipelineAgentJobRequest":
            job.state = "acquired"
            job.mark("acquired", call.service.clock.stamp())
        _announce_again(call, runner, found)


def _announce_again(call: Call, runner: Runner, found: Message) -> None:
    again = call.service.options.announce_again
    if again:
        ident = found.id if again == "same" else call.service.next_message()
        runner.queue.append(replace(found, id=ident, copies=1))
        call.service.notify()


async def _late(call: Call, runner: Runner) -> web.Response:
    """A job is given to a poll just as its runner asks by another status."""
    service = call.service
    late, service.options.late = service.options.late, ""
    if not any(job.name == late and job.state == "queued" for job in service.jobs.values()):
        service.options.late = late
        return web.Response(status=202)
    found = service.assign(runner, late)
    assert found is not None
    note_delivery(call, runner, found)
    await asyncio.sleep(0.3)  # on its way
    return answer(200, {"messageId": found.id, "messageType": found.type, "body": found.body})


async def message(call: Call) -> web.Response:
    service, runner = call.service, call.runner()
    query = call.query(POLL_QUERY)
    session = _check_identity(call, runner, query)
    status = note_poll(call, runner, session, query)
    mine, ends = session.poll, service.clock.stamp() + service.options.hold
    while True:
        if session.poll != mine and service.options.late and status == "Online":
            return await _late(call, runner)
        if session.poll != mine or runner.session is not session or gone(call.request):
            return web.Response(status=202)
        found = take(call, runner, status)
        if found is not None:
            note_delivery(call, runner, found)
            body = {"messageId": found.id, "messageType": found.type, "body": found.body}
            return answer(200, body if found.iv is None else {**body, "iv": found.iv})
        left = ends - service.clock.stamp()
        if left <= 0:
            return web.Response(status=202)
        session.last_seen = service.clock.stamp()
        # The half second only notices clients that left; messages wake the poll at once.
        await service.wait(min(service.clock.real(left), 0.5))


async def acknowledge(call: Call) -> web.Response:
    service, runner = call.service, call.runner()
    query = call.query(ACK_QUERY, {"disableUpdate"})
    _check_identity(call, runner, query)
    body = call.json(_ACK)
    job = service.by_request(body["runnerRequestId"])
    if job is None or job.runner != runner.id:
        call.error("acknowledge", "no such request was delivered to this runner")
        return broker_error(404, "AcknowledgeJobNotFound", "job not found")
    call.record.job = job.id
    if not job.acknowledge:
        call.error("acknowledge", "should_acknowledge was false", job)
    if "acknowledged" in job.times and not (call.fault or job.lost_answers):
        call.error("acknowledge", "acknowledged twice", job)
    job.mark("acknowledged", service.clock.stamp())
    return answer(200, {})


def v1_job_request(message_id: int, job: Job) -> Message:
    """The job itself."""
    return Message(message_id, "PipelineAgentJobRequest", json.dumps(job.message), job.id)


def check_renewal(call: Call, job: Job, now: float) -> None:
    """Renewals come each minute; the first at once."""
    slack = call.service.clock.slack
    late = call.service.options.renew_late + slack
    if job.renewals and now - job.renewals[-1] > late and not job.lenient & {"renew"}:
        call.error("renew", f"{now - job.renewals[-1]:.1f} s after the last renew (every 60 s is due)", job)
    if not job.renewals and now - job.times["acquired"] > 30 + slack and not job.lenient & {"renew"}:
        call.error("renew", f"first renew {now - job.times['acquired']:.1f} s after acquire", job)


def job_request(run_url: str, message_id: int, request: str, acknowledge_it: bool, billing: str | None, job: str) -> Message:
    """The small message that announces a job."""
    body: dict[str, object] = {"id": guid(), "runner_request_id": request, "should_acknowledge": acknowledge_it}
    if run_url:
        body["run_service_url"] = run_url
    if billing:
        body["billing_owner_id"] = billing
    return Message(message_id, "RunnerJobRequest", json.dumps(body), job)


def routes() -> list[Route]:
    listed: list[Route] = []
    # The second prefix is where a BrokerMigration message may send a runner.
    for prefix in ("/_broker", "/_broker2"):
        listed += [
            ("POST", prefix + "/session", "broker.session", create_session),
            ("DELETE", prefix + "/session", "broker.session-delete", delete_session),
            ("GET", prefix + "/message", "broker.message", message),
            ("POST", prefix + "/acknowledge", "broker.acknowledge", acknowledge),
        ]
    return listed
