"""V1 listening: sessions with an encryption key, messages, the lock of a job (protocol §3, §4.4)."""

from __future__ import annotations

import base64
import json
import os
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives import hashes, padding as pkcs
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from . import broker, schema
from .endpoint import Call, Refuse, Route, answer
from .model import Job, Message, Runner, Session, guid
from .v1 import CONFIG, JOB_MESSAGE, JOBREQUESTS, MESSAGES, SESSIONS, UPDATES, route, v1_error, v1_runner

ZERO = "00000000-0000-0000-0000-000000000000"
_QUERY = {"sessionId", "status", "runnerVersion", "os", "architecture", "disableUpdate"}
_REQUEST = schema.record({"requestId": schema.at_least(1)})
_RESULT = schema.record({"requestId": schema.at_least(1), "finishTime": schema.time, "result": schema.text})


# -- the session's key -----------------------------------------------------------------------------------------------
def wrap_key(runner: Runner, key: bytes, name: str) -> bytes:
    """The AES key under the agent's public key."""
    digest = hashes.SHA1() if name == "sha1" else hashes.SHA256()  # noqa: S303 the protocol's own choice
    public = rsa.RSAPublicNumbers(runner.exponent, runner.modulus).public_key()
    return public.encrypt(key, padding.OAEP(padding.MGF1(digest), digest, None))


def encrypt(key: bytes, text: str) -> tuple[str, str]:
    """Body and iv, both base64."""
    iv = os.urandom(16)
    pad = pkcs.PKCS7(128).padder()
    data = pad.update(b"\xef\xbb\xbf" + text.encode()) + pad.finalize()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return base64.b64encode(encryptor.update(data) + encryptor.finalize()).decode(), base64.b64encode(iv).decode()


def _encryption_key(call: Call, runner: Runner, session: Session) -> dict[str, Any] | None:
    options = call.service.options
    if options.v1_key == "none":
        return None
    session.key = os.urandom(32)
    if options.v1_key == "plain":
        return {"encrypted": False, "value": base64.b64encode(session.key).decode()}
    return {"encrypted": True, "value": base64.b64encode(wrap_key(runner, session.key, options.v1_hash)).decode()}


# -- sessions --------------------------------------------------------------------------------------------------------
async def create_session(call: Call) -> web.Response:
    service, runner = call.service, v1_runner(call)
    body = call.json(broker.SESSION)
    agent = body["agent"]
    if agent["id"] != runner.id or agent["name"] != runner.name:
        call.error("session", f"agent is {agent['id']} {agent['name']!r}, the token is of {runner.id} {runner.name!r}")
    now, live = service.clock.stamp(), runner.session
    if live is not None and now - live.last_seen < service.options.session_idle:
        return v1_error(409, "TaskAgentSessionConflictException", f"The agent {runner.name} already has an active session for owner {live.owner}.")
    runner.session = session = Session(guid(), runner.id, body["ownerName"], now, v1=True)
    runner.status = "Online"
    given: dict[str, Any] = {"sessionId": session.id, "ownerName": body["ownerName"], "agent": agent,
                             "encryptionKey": _encryption_key(call, runner, session), "useFipsEncryption": service.options.v1_fips}
    if service.options.v1_migrate == "session":
        session.migrated = True
        given["brokerMigrationMessage"] = {"brokerBaseUrl": service.url + "/_broker2/"}
    service.notify()
    return answer(200, given)


async def delete_session(call: Call) -> web.Response:
    runner = v1_runner(call)
    if runner.session is None or runner.session.id != call.request.match_info["sessionId"]:
        return v1_error(404, "TaskAgentSessionExpiredException", "The session does not exist.")
    runner.session, runner.status = None, "Offline"
    call.service.notify()
    return web.Response(status=200)


# -- messages --------------------------------------------------------------------------------------------------------
def _session(call: Call, runner: Runner, query: dict[str, str]) -> Session:
    broker.check_values(call, query)
    session = runner.session
    if session is None or query.get("sessionId") != session.id:
        raise Refuse(v1_error(403, "TaskAgentSessionExpiredException", "The session has expired."))
    if not session.v1:
        call.error("session", "a broker's session is used at the V1 server")
    session.last_seen = call.service.clock.stamp()
    return session


def _empty(call: Call) -> web.Response:
    return answer(200, None) if call.service.options.v1_empty == 204 else web.Response(status=200, body=b"null", content_type="application/json")


def _given(call: Call, session: Session, message: Message) -> web.Response:
    body: dict[str, Any] = {"messageId": message.id, "messageType": message.type, "body": message.body}
    if session.key is not None and message.iv is None:
        body["body"], body["iv"] = encrypt(session.key, message.body)
    elif message.iv is not None:
        body["iv"] = message.iv
    return answer(200, body)


def _next(call: Call, runner: Runner, session: Session, status: str) -> Message | None:
    """What was not deleted comes again; then a migration, control messages, and a job if the runner is free."""
    if call.service.options.v1_migrate == "message":
        session.migrated = True
        return Message(1, "BrokerMigration", json.dumps({"brokerBaseUrl": call.service.url + "/_broker2/"}))
    held = next(iter(session.undeleted.values()), None)
    if held is not None and call.service.clock.stamp() - held[1] > call.service.options.v1_redeliver:
        session.undeleted[held[0].id] = (held[0], call.service.clock.stamp())
        return held[0]
    found = broker.take(call, runner, status)
    if found is not None:
        session.undeleted[found.id] = (found, call.service.clock.stamp())
    return found


async def message(call: Call) -> web.Response:
    service, runner = call.service, v1_runner(call)
    query = call.query(_QUERY, {"lastMessageId"})
    session = _session(call, runner, query)
    last = query.get("lastMessageId")
    if last is not None and (not last.lstrip("-").isdigit() or int(last) not in runner.delivered):
        call.error("poll", f"lastMessageId is {last!r}, which was never delivered")
    if last is None and session.delivered:
        call.error("poll", "lastMessageId is missing although a message was delivered")
    status = broker.note_poll(call, runner, session, query)
    mine, ends = session.poll, service.clock.stamp() + service.options.hold
    while True:
        if session.poll != mine or runner.session is not session or broker.gone(call.request):
            return _empty(call)
        found = _next(call, runner, session, status)
        if found is not None:
            if found.type != "BrokerMigration":
                session.delivered = True
                broker.note_delivery(call, runner, found)
            return _given(call, session, found)
        left = ends - service.clock.stamp()
        if left <= 0:
            return _empty(call)
        session.last_seen = service.clock.stamp()
        await service.wait(min(service.clock.real(left), 0.5))


async def delete_message(call: Call) -> web.Response:
    runner = v1_runner(call)
    session = _session(call, runner, call.query({"sessionId"}))
    ident = int(call.request.match_info["messageId"])
    held = session.undeleted.pop(ident, None)
    if held is None:
        call.error("delete", f"message {ident} is not there to be deleted")
        return v1_error(404, "TaskAgentMessageNotFoundException", "No such message.")
    if held[0].type == "RunnerShutdown":
        call.error("delete", "a RunnerShutdown must not be deleted")
    runner.deleted.append(ident)
    call.service.notify()
    return web.Response(status=200)


# -- jobs ------------------------------------------------------------------------------------------------------------
def _requested(call: Call) -> Job:
    runner = v1_runner(call)
    number = int(call.request.match_info["requestId"])
    job = next((j for j in call.service.jobs.values() if j.number == number), None)
    if job is None or job.runner != runner.id:
        call.error("ids", f"request {number} is no job of this runner")
        raise Refuse(v1_error(404, "TaskAgentJobNotFoundException", f"The job request {number} was not found."))
    call.record.job = job.id
    return job


async def job_request(call: Call) -> web.Response:
    """The lock: renewed, or (plans before version 8) the result."""
    service, job = call.service, _requested(call)
    query = call.query({"lockToken"})
    if query.get("lockToken") != ZERO:
        call.error("query", f"lockToken is {query.get('lockToken')!r}, expected zeros")
    runner, now = service.runners[job.runner or 0], service.clock.stamp()
    if b'"result"' in call.body:
        body = call.json(_RESULT)
        from . import v1_plan

        if body["requestId"] != job.number:
            call.error("ids", "requestId is not the path's", job)
        if (job.message or {})["plan"]["version"] >= 8:
            call.error("order", "the request is ended although the plan takes an event", job)
        job.completions += 1
        if job.ended:
            if job.lost_answers == 0:
                call.error("order", "the request is ended although the job is completed", job)
            return v1_error(404, "TaskAgentJobNotFoundException", "The job request is over.")
        v1_plan.finish(call, job, body["result"], {})
        return answer(200, {"requestId": job.number, "result": body["result"]})
    call.json(_REQUEST)
    if job.ended or (job.locked_until is not None and now > job.locked_until):
        if not job.ended:
            job.state = "lost"
            service.notify()
        return v1_error(404, "TaskAgentJobTokenExpiredException", "The job's lock has expired.")
    broker.check_renewal(call, job, now)
    job.renewals.append(now)
    job.mark("first-renew", now)
    job.state = "running"
    job.locked_until = now + service.options.lock_seconds
    service.notify()
    return answer(200, {"requestId": job.number, "lockedUntil": service.clock.iso(service.options.lock_seconds),
                        "reservedAgent": {"id": runner.id, "name": service.options.v1_rename or runner.name, "version": runner.version}})


async def job_message(call: Call) -> web.Response:
    """The job of an announcement that names no run service."""
    v1_runner(call)
    job = call.service.by_request(call.request.match_info["messageId"])
    if job is None or job.runner != call.record.runner:
        call.error("acquire", "the message names no job of this runner")
        return v1_error(404, "TaskAgentJobNotFoundException", "No such job.")
    call.record.job = job.id
    job.state = "acquired"
    job.mark("acquired", call.service.clock.stamp())
    return answer(200, job.message)


# -- configuration ---------------------------------------------------------------------------------------------------
async def config(call: Call) -> web.Response:
    """What the runner has, for what the service wants it to have; empty: no change."""
    service, runner = call.service, v1_runner(call)
    kind = call.request.match_info["configType"]
    text = call.json(schema.text)
    try:
        given = json.loads(base64.b64decode(text, validate=True))
    except ValueError as error:
        call.error("config", f"the body is no base64 of JSON: {error}")
        return v1_error(400, "ArgumentException", "bad configuration")
    wanted = ("agentId", "agentName", "poolId", "serverUrl") if kind == "runner" else ("scheme", "data")
    for name in wanted:
        if name not in given:
            call.error("config", f"the {kind} file has no {name}")
    if kind == "runner" and str(given.get("agentId")) != str(runner.id):
        call.error("config", f"agentId is {given.get('agentId')!r}")
    service.configs.append({"type": kind, "given": given})
    change = service.options.v1_config.get(kind)
    if not change:
        return answer(200, "")
    return answer(200, base64.b64encode(json.dumps({**given, **change}).encode()).decode())


async def update_state(call: Call) -> web.Response:
    """What [an official] runner says of an update, and of a refreshed configuration."""
    runner = v1_runner(call)
    query = call.query({"currentState", "updateTrace"})
    if call.body:
        call.error("body", "an update state has no body")
    call.service.updates.append({"runner": runner.id, **query})
    return answer(200, {"id": runner.id, "name": runner.name})


def routes() -> list[Route]:
    return [
        route("POST", SESSIONS, "sessionId", "v1.session", create_session),
        route("DELETE", SESSIONS, "", "v1.session-delete", delete_session),
        route("GET", MESSAGES, "messageId", "v1.message", message),
        route("DELETE", MESSAGES, "", "v1.message-delete", delete_message, version="5.1"),
        route("PATCH", JOBREQUESTS, "", "v1.jobrequest", job_request),
        route("GET", JOB_MESSAGE, "", "v1.job-message", job_message),
        route("POST", CONFIG, "", "v1.config", config),
        route("PUT", UPDATES, "", "v1.update-state", update_state),
    ]
