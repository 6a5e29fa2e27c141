"""The run service: acquire, renew and complete a job (protocol §4)."""

from __future__ import annotations

from aiohttp import web

from . import broker, checks, schema
from .endpoint import Call, Refuse, Route, answer, run_error
from .model import ACQUIRE_SECONDS, LOCK_SECONDS, Job

_ACQUIRE = schema.record({"jobMessageId": schema.text, "runnerOS": schema.one_of("Linux")}, {"billingOwnerId": schema.text})
_RENEW = schema.record({"planId": schema.guid, "jobId": schema.guid})

RESULTS = ("succeeded", "succeededWithIssues", "failed", "canceled", "skipped", "abandoned")
_ANNOTATION = schema.record(
    {"level": schema.one_of("notice", "warning", "failure"), "message": schema.text},
    {"title": schema.text, "rawDetails": schema.text, "path": schema.text, "isInfrastructureIssue": schema.boolean,
     "startLine": schema.at_least(1), "endLine": schema.at_least(1), "startColumn": schema.at_least(1),
     "endColumn": schema.at_least(1), "stepNumber": schema.at_least(1)},
)
_STEP_TYPE = schema.one_of("runner", "run", "node12", "node16", "node20", "node24", "composite", "docker", "repository", "Dockerfile", "plugin")
_STEP = schema.record(
    {"external_id": schema.guid, "number": schema.at_least(1), "name": schema.text, "status": schema.one_of("completed"),
     "conclusion": schema.nullable(schema.one_of(*RESULTS)), "started_at": schema.time, "completed_at": schema.time},
    {"action_name": schema.text, "ref": schema.text, "type": _STEP_TYPE, "completed_log_url": schema.text,
     "completed_log_lines": schema.at_least(0), "annotations": schema.list_of(_ANNOTATION), "is_background": schema.boolean,
     "background_control_type": schema.text, "background_control_step_ids": schema.list_of(schema.text)},
)
_TELEMETRY = schema.record({"message": schema.string, "type": schema.one_of("General", "ActionCommand", "ConnectivityCheck")})
_COMPLETE = schema.record(
    {"planId": schema.guid, "jobId": schema.guid, "conclusion": schema.one_of(*RESULTS)},
    {"outputs": schema.map_of(schema.record({"value": schema.string})), "stepResults": schema.list_of(_STEP),
     "annotations": schema.list_of(_ANNOTATION), "telemetry": schema.list_of(_TELEMETRY), "environmentUrl": schema.text,
     "billingOwnerId": schema.text, "infrastructureFailureCategory": schema.text},
)


async def acquire(call: Call) -> web.Response:
    service, runner = call.service, call.runner()
    body = call.json(_ACQUIRE)
    job = service.by_request(body["jobMessageId"])
    if job is None:
        call.error("acquire", "jobMessageId names no job that was announced")
        return run_error(404, "job not found")
    call.record.job = job.id
    if job.runner != runner.id:
        call.error("acquire", "this job was announced to another runner", job)
        return run_error(409, "job assignment is invalid")
    # One try is all that an acknowledgement gets.
    # A V1 session without a broker has nobody to acknowledge to.
    nobody = runner.session is not None and runner.session.v1 and not runner.session.migrated
    if job.acknowledge and not nobody and "acknowledged" not in job.times and "broker.acknowledge" not in service.unheard:
        call.error("order", "acquirejob before acknowledge", job)
    if body.get("billingOwnerId") != job.billing:
        call.error("acquire", f"billingOwnerId is {body.get('billingOwnerId')!r}, expected {job.billing!r}", job)
    now = service.clock.stamp()
    if now - job.times["delivered"] > ACQUIRE_SECONDS + service.clock.slack:
        job.state = "lost"
        service.notify()
        return run_error(404, "the job is no longer available")
    if job.state not in ("assigned",):
        if job.lost_answers == 0:
            call.error("acquire", f"the job is already {job.state}", job)
        return run_error(409, "job assignment is invalid")
    job.state = "acquired"
    job.locked_until = now + LOCK_SECONDS
    if job.raw is not None:
        # A message that cannot be read names no job: nothing further can be expected of the runner.
        job.mark("acquired", service.clock.stamp())
        return web.Response(status=200, body=job.raw, headers={"Content-Type": job.raw_type})
    response = answer(200, job.message)
    job.mark("acquired", service.clock.stamp())
    service.notify()
    return response


def _locked(call: Call, job: Job, plan: str, ident: str) -> None:
    """Refuse unless the body names the token's job and its lock is still held."""
    if plan != job.plan or ident != job.id:
        call.error("ids", "planId or jobId is not the token's job", job)
        raise Refuse(run_error(404, "job not found"))
    if job.state in ("queued", "assigned"):
        call.error("order", f"the job is {job.state}, not acquired", job)
        raise Refuse(run_error(404, "job not found"))
    if job.locked_until is not None and call.service.clock.stamp() > job.locked_until:
        if job.state != "completed":
            job.state = "lost"
            call.error("renew", "the lock had expired", job)
            call.service.notify()
        raise Refuse(run_error(404, "the job's lock has expired"))


async def renew(call: Call) -> web.Response:
    service, job = call.service, call.job()
    body = call.json(_RENEW)
    _locked(call, job, body["planId"], body["jobId"])
    if job.state == "completed":
        return run_error(404, "the job is completed")
    now = service.clock.stamp()
    broker.check_renewal(call, job, now)
    job.renewals.append(now)
    job.mark("first-renew", now)
    job.state = "running"
    job.locked_until = now + service.options.lock_seconds
    service.notify()
    return answer(200, {"lockedUntil": service.clock.iso(service.options.lock_seconds)})


async def complete(call: Call) -> web.Response:
    service, job = call.service, call.job()
    body = call.json(_COMPLETE)
    job.completions += 1
    _locked(call, job, body["planId"], body["jobId"])
    if job.state == "completed":
        if job.lost_answers == 0:
            call.error("order", "completejob although the job is completed", job)
        return run_error(404, "the job is completed")
    now = service.clock.stamp()
    if not job.renewals:
        call.error("order", "completejob before the first renew", job)
    elif now - job.renewals[-1] > service.options.renew_late + service.clock.slack and not job.lenient & {"renew"}:
        call.error("renew", f"completejob {now - job.renewals[-1]:.1f} s after the last renew", job)
    if body.get("billingOwnerId") != job.billing:
        call.error("complete", f"billingOwnerId is {body.get('billingOwnerId')!r}, expected {job.billing!r}", job)
    job.completion, job.state = body, "completed"
    job.mark("completed", now)
    checks.at_completion(service, call, job)
    service.job_ended(job)
    return web.Response(status=204)


def routes() -> list[Route]:
    return [
        ("POST", "/_run/7/acquirejob", "run.acquire", acquire),
        ("POST", "/_run/7/renewjob", "run.renew", renew),
        ("POST", "/_run/7/completejob", "run.complete", complete),
    ]
