"""The results service: step updates, signed upload URLs and log metadata over twirp (protocol §5.1)."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from . import schema
from .endpoint import Call, Refuse, Route, answer
from .model import Blob, Job, StepSeen, guid, new_secret
from .passing import PassingLog

RECEIVER = "/twirp/results.services.receiver.Receiver/"
STEPS = "/twirp/github.actions.results.api.v1.WorkflowStepUpdateService/WorkflowStepsUpdate"
URL_SECONDS = 3600
SOFT_LIMIT = {"step-log": 1 << 30, "job-log": 1 << 30, "summary": 1 << 20, "diag": 1 << 30}

_IDS = {"workflow_run_backend_id": schema.guid, "workflow_job_run_backend_id": schema.guid}
_STEP_IDS = {**_IDS, "step_backend_id": schema.guid}
_LOG_META = {"uploaded_at": schema.millis, "line_count": schema.at_least(0)}
_SUMMARY_META = {"size": schema.at_least(1), "uploaded_at": schema.millis}

_STEP = schema.record(
    {"external_id": schema.guid, "number": schema.at_least(1), "name": schema.text, "status": schema.one_of(0, 3, 5, 6),
     "started_at": schema.nullable(schema.millis), "completed_at": schema.nullable(schema.millis),
     "conclusion": schema.one_of(0, 2, 3, 4, 7)},
    {"is_background": schema.boolean, "background_control_type": schema.text,
     "background_control_step_ids": schema.list_of(schema.text), "parallel_group_id": schema.text},
)
_UPDATE = schema.record({**_IDS, "change_order": schema.at_least(1), "steps": schema.list_of(_STEP)})


def _twirp_error(status: int, code: str, text: str) -> Refuse:
    return Refuse(answer(status, {"code": code, "msg": text}))


def _open_job(call: Call, body: dict[str, Any]) -> Job:
    """The token's job, checked against the ids in the body; it must have been renewed and not be completed."""
    job = call.service.jobs[call.record.job or ""]
    if body["workflow_run_backend_id"] != job.plan or body["workflow_job_run_backend_id"] != job.id:
        call.error("ids", "backend ids are not the token's plan and job", job)
        raise _twirp_error(403, "permission_denied", "ids do not match the token")
    if not job.renewals:
        call.error("order", "results call before the first renew", job)
    if job.state == "completed":
        call.error("order", "results call after completejob", job)
        raise _twirp_error(404, "not_found", "job is completed")
    return job


def _check_step(call: Call, job: Job, update: dict[str, Any]) -> None:
    """One step of an update: identity must not change, state only moves forwards, times fit the state."""
    name = f"step {update['number']} {update['name']!r}"
    status, conclusion = update["status"], update["conclusion"]
    if status == 6 and (conclusion == 0 or update["completed_at"] is None):
        call.error("step", f"{name} is completed without conclusion or completed_at", job)
    if status != 6 and (conclusion != 0 or update["completed_at"] is not None):
        call.error("step", f"{name} has status {status} and a conclusion or completed_at", job)
    if status == 3 and update["started_at"] is None:
        call.error("step", f"{name} is in progress without started_at", job)
    if status == 5 and update["started_at"] is not None:
        call.error("step", f"{name} is pending with a started_at", job)
    if update["external_id"] == job.id:
        call.error("step", "the job's own record must not be in a step update", job)
    old = job.steps.get(update["external_id"])
    order = {5: 0, 0: 1, 3: 2, 6: 3}
    if old is not None:
        if old.number != update["number"]:
            call.error("step", f"{name} was number {old.number} before", job)
        if order[status] < order[old.status]:
            call.error("step", f"{name} goes back from status {old.status} to {status}", job)
        if old.status == 6 and old.conclusion != conclusion:
            call.error("step", f"{name} changes its conclusion from {old.conclusion} to {conclusion}", job)
    twin = next((s for s in job.steps.values() if s.number == update["number"] and s.id != update["external_id"]), None)
    if twin is not None:
        call.error("step", f"{name} has the number of {twin.name!r}", job)


async def steps_update(call: Call) -> web.Response:
    call.job()
    body = call.json(_UPDATE)
    job = _open_job(call, body)
    order = body["change_order"]
    # A request that was answered with an error before anyone read it took a number too.
    skipped = ("results.steps" in call.service.unheard or "restart" in job.lenient) and order > job.change_order
    if order != job.change_order + 1 and not skipped and not (job.order_retry and order > job.change_order - 1):
        call.error("change-order", f"change_order is {order}, expected {job.change_order + 1}", job)
    job.change_order, job.order_retry = max(order, job.change_order), call.fault is not None
    now = call.service.clock.stamp()
    for update in body["steps"]:
        _check_step(call, job, update)
        seen = job.steps.setdefault(update["external_id"], StepSeen(update["external_id"], update["number"], update["name"]))
        seen.number, seen.name, seen.status, seen.conclusion = (update[k] for k in ("number", "name", "status", "conclusion"))
        seen.started_at, seen.completed_at = update["started_at"], update["completed_at"]
        seen.history.append((now, seen.status, seen.conclusion))
        if seen.status == 3:
            job.mark("first-step-seen", now)
    call.service.notify()
    return answer(200, {"ok": True})


def _signed(call: Call, kind: str, shape: dict[str, schema.Shape]) -> tuple[Job, str, Blob]:
    call.job()
    body = call.json(schema.record(shape))
    job = _open_job(call, body)
    step = body.get("step_backend_id")
    blob = job.blobs.get((kind, step))
    if blob is None:
        blob = Blob(guid(), job.id, kind, step, call.service.clock.stamp())
        if call.service.options.passing_logs and kind.endswith("-log"):
            blob.data = PassingLog()
        job.blobs[(kind, step)] = blob
        call.service.blobs[blob.id] = blob
    if blob.metadata is not None:
        call.error("order", f"signed URL for {kind} after its metadata", job)
    signature = new_secret("")
    blob.urls[signature] = call.service.clock.stamp() + call.service.options.url_seconds
    call.service.recorder.hide_value(signature)
    return job, f"{call.service.url}/_blob/{blob.id}?sv=2024-11-04&sp=cw&sig={signature}", blob


def _signer(kind: str, field: str, shape: dict[str, schema.Shape]) -> Any:
    async def handler(call: Call) -> web.Response:
        _, url, _ = _signed(call, kind, shape)
        return answer(200, {field: url, "blob_storage_type": call.service.options.blob_storage, "soft_size_limit": str(SOFT_LIMIT[kind])})

    return handler


def _metadata(kind: str, shape: dict[str, schema.Shape]) -> Any:
    async def handler(call: Call) -> web.Response:
        call.job()
        body = call.json(schema.record(shape))
        job = _open_job(call, body)
        blob = job.blobs.get((kind, body.get("step_backend_id")))
        if blob is None:
            call.error("order", f"metadata for a {kind} that has no signed URL", job)
            raise _twirp_error(404, "not_found", "no such log")
        if not blob.sealed:
            call.error("order", f"metadata for a {kind} whose last block is missing", job)
        if blob.metadata is not None and not job.may_repeat:
            call.error("order", f"metadata for a {kind} given twice", job)
        blob.metadata = {"at": call.service.clock.stamp(), **{k: v for k, v in body.items() if k not in _STEP_IDS}}
        size = len(blob.data)
        if "size" in body and body["size"] != size:
            call.error("metadata", f"size is {body['size']}, the blob has {size} bytes", job)
        if "line_count" in body and blob.sealed and body["line_count"] != blob.data.count(b"\n"):
            call.error("metadata", f"line_count is {body['line_count']}, the blob has {blob.data.count(b'%c' % 10)} lines", job)
        return answer(200, {"ok": True})

    return handler


def routes() -> list[Route]:
    listed: list[Route] = [("POST", STEPS, "results.steps", steps_update)]
    for method, kind, field, shape in (
        ("GetStepLogsSignedBlobURL", "step-log", "logs_url", _STEP_IDS),
        ("GetJobLogsSignedBlobURL", "job-log", "logs_url", _IDS),
        ("GetStepSummarySignedBlobURL", "summary", "summary_url", _STEP_IDS),
        ("GetJobDiagLogsSignedBlobURL", "diag", "diag_logs_url", _IDS),
    ):
        listed.append(("POST", RECEIVER + method, "results." + method, _signer(kind, field, shape)))
    for method, kind, shape in (
        ("CreateStepLogsMetadata", "step-log", {**_STEP_IDS, **_LOG_META}),
        ("CreateJobLogsMetadata", "job-log", {**_IDS, **_LOG_META}),
        ("CreateStepSummaryMetadata", "summary", {**_STEP_IDS, **_SUMMARY_META}),
    ):
        listed.append(("POST", RECEIVER + method, "results." + method, _metadata(kind, shape)))
    return [(verb, "/_results" + path, name, handler) for verb, path, name, handler in listed]
