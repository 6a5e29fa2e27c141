"""V1 reporting of a job: timeline records, logs, feed, attachments, plan events, action download info (protocol §4.3, §4.6, §4.7).

What it takes is kept in the form of the results service too (steps, blobs, completion), so that tests and checks read one story.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from . import checks, feed, resolve, schema
from .endpoint import Call, Refuse, Route, answer
from .model import Blob, Job, StepSeen, V1Log, guid
from .runservice import RESULTS
from .v1 import ATTACHMENTS, DOWNLOADS, EVENTS, FEED, JOBS, LOGS, RECORDS, Handler, Resource, route, v1_error, v1_job

STATES = {"pending": 5, "inProgress": 3, "completed": 6, "delayed": 0}
CONCLUSIONS = {"succeeded": 2, "succeededWithIssues": 2, "failed": 3, "canceled": 4, "skipped": 7, "abandoned": 0, None: 0}
MAX_RECORDS = 26

_ISSUE = schema.record(
    {"type": schema.one_of("error", "warning", "notice"), "message": schema.string},
    {"category": schema.nullable(schema.string), "isInfrastructureIssue": schema.nullable(schema.boolean),
     "data": schema.map_of(schema.string)},
)
_RECORD = schema.record(
    {"id": schema.guid},
    {"parentId": schema.nullable(schema.guid), "type": schema.one_of("Job", "Task"), "name": schema.text,
     "refName": schema.nullable(schema.string), "order": schema.nullable(schema.at_least(1)), "state": schema.one_of(*STATES),
     "result": schema.nullable(schema.one_of(*RESULTS)), "startTime": schema.nullable(schema.time), "finishTime": schema.nullable(schema.time),
     "currentOperation": schema.nullable(schema.string), "percentComplete": schema.nullable(schema.at_least(0)),
     "workerName": schema.nullable(schema.text), "attempt": schema.at_least(0), "identifier": schema.nullable(schema.string),
     "log": schema.nullable(schema.record({"id": schema.at_least(1)}, {"location": schema.nullable(schema.string)})),
     "errorCount": schema.at_least(0), "warningCount": schema.at_least(0), "noticeCount": schema.at_least(0),
     "issues": schema.list_of(_ISSUE), "agentPlatform": schema.text, "resultCode": schema.nullable(schema.string),
     "variables": schema.map_of(schema.record({"value": schema.nullable(schema.string)}, {"isSecret": schema.boolean})),
     "isBackground": schema.boolean, "backgroundControlType": schema.text, "backgroundControlStepIds": schema.list_of(schema.text)},
)
_PATCH = schema.record({"count": schema.at_least(1), "value": schema.list_of(_RECORD)})
_LOG = schema.record({"path": schema.text, "createdOn": schema.time, "lastChangedOn": schema.time})
_OUTPUT = schema.record({"value": schema.string}, {"isSecret": schema.boolean})
_STEP_TELEMETRY = schema.record(
    {"type": schema.text, "stepId": schema.guid, "errorMessages": schema.list_of(schema.text, 3)},
    {"action": schema.text, "ref": schema.text, "stage": schema.one_of("Pre", "Main", "Post"), "stepContextName": schema.text,
     "hasRunsStep": schema.boolean, "hasUsesStep": schema.boolean, "isEmbedded": schema.boolean, "hasPreStep": schema.boolean,
     "hasPostStep": schema.boolean, "stepCount": schema.at_least(0), "result": schema.one_of(*RESULTS),
     "executionTimeInSeconds": schema.at_least(0), "startTime": schema.time, "finishTime": schema.time, "containerHookData": schema.string})
_EVENT = schema.record(
    {"name": schema.one_of("JobCompleted"), "jobId": schema.guid, "requestId": schema.at_least(1), "result": schema.one_of(*RESULTS)},
    {"outputs": schema.map_of(_OUTPUT),
     "actionsEnvironment": schema.nullable(schema.record({"name": schema.text}, {"url": schema.nullable(schema.string)})),
     "actionsStepsTelemetry": schema.list_of(_STEP_TELEMETRY), "jobTelemetry": schema.list_of(
         schema.record({"message": schema.string, "type": schema.one_of("general", "actionCommand", "connectivityCheck")}))},
)
_DOWNLOAD = schema.record({"nameWithOwner": schema.text, "ref": schema.text}, {"path": schema.nullable(schema.string)})
_ACTIONS = schema.record({"actions": schema.list_of(_DOWNLOAD)}, {"dependencies": schema.list_of(schema.text)})


def _open(call: Call) -> Job:
    """The token's job, which must have been renewed and not be completed."""
    job = v1_job(call)
    timeline = (job.message or {}).get("timeline", {}).get("id")
    if call.request.match_info.get("timelineId", timeline) != timeline:
        call.error("ids", "the path's timeline is not the job's", job)
    if not job.renewals:
        call.error("order", "a V1 call of the job before the first renew", job)
    if job.state == "completed":
        call.error("order", "a V1 call of the job after its completion", job)
        raise Refuse(v1_error(404, "TaskOrchestrationPlanTerminatedException", "The job is completed."))
    return job


# -- records ---------------------------------------------------------------------------------------------------------
def _see_step(call: Call, job: Job, before: str | None, record: dict[str, Any]) -> None:
    """A task's record as a step of the job."""
    name = f"record {record.get('order')} {record.get('name')!r}"
    if record.get("parentId") != job.id:
        call.error("record", f"{name}: parentId is not the job", job)
    for field in ("name", "order", "state"):
        if record.get(field) is None:
            call.error("record", f"{name} has no {field}", job)
            return
    done = record["state"] == "completed"
    if done != (record.get("finishTime") is not None) or done != (record.get("result") is not None):
        call.error("record", f"{name} is {record['state']} with finishTime {record.get('finishTime')} and result {record.get('result')}", job)
    seen = job.steps.setdefault(record["id"], StepSeen(record["id"], record["order"], record["name"]))
    status, order = STATES[record["state"]], {5: 0, 0: 1, 3: 2, 6: 3}
    if before is not None and order[status] < order[STATES[before]]:
        call.error("record", f"{name} goes back to {record['state']}", job)
    if seen.number != record["order"]:
        call.error("record", f"{name} had order {seen.number} before", job)
    if job.change_order:
        return  # a results service beside has told of this step, and maybe of more
    seen.name, seen.status, seen.conclusion = record["name"], status, CONCLUSIONS[record.get("result")]
    seen.started_at, seen.completed_at = record.get("startTime"), record.get("finishTime")
    seen.history.append((call.service.clock.stamp(), seen.status, seen.conclusion))
    if status == 3:
        job.mark("first-step-seen", call.service.clock.stamp())


def _see_job(call: Call, job: Job, record: dict[str, Any]) -> None:
    if record.get("parentId") is not None or record.get("order") is not None:
        call.error("record", "the job's record has a parent or an order", job)
    if record.get("refName") != (job.message or {}).get("jobName"):
        call.error("record", f"the job's refName is {record.get('refName')!r}", job)


async def records(call: Call) -> web.Response:
    job = _open(call)
    body = call.json(_PATCH)
    if body["count"] != len(body["value"]):
        call.error("record", f"count is {body['count']}, value has {len(body['value'])}", job)
    if len({r["id"] for r in body["value"]}) != len(body["value"]):
        call.error("record", "a record is twice in one call", job)
    for change in body["value"]:
        before = job.records.get(change["id"], {}).get("state")
        merged = {**job.records.get(change["id"], {}), **{k: v for k, v in change.items() if v is not None}}
        job.records[change["id"]] = merged
        log = (change.get("log") or {}).get("id")
        if log is not None and (log not in job.v1_logs or job.v1_logs[log].record != change["id"]):
            call.error("record", f"log {log} is none of this record's", job)
        elif log is not None:
            job.v1_logs[log].named = True
        if merged.get("type") == "Job":
            if change["id"] != job.id:
                call.error("record", "the job's record must have the job's id", job)
            _see_job(call, job, merged)
        elif merged.get("type") == "Task":
            _see_step(call, job, before, merged)
        else:
            call.error("record", f"a record of type {merged.get('type')!r}", job)
    call.service.notify()
    return answer(200, {"count": len(body["value"]), "value": [job.records[r["id"]] for r in body["value"]]})


# -- logs ------------------------------------------------------------------------------------------------------------
async def create_log(call: Call) -> web.Response:
    job = _open(call)
    path = call.json(_LOG)["path"]
    folder, _, record = path.partition("\\")
    if folder != "logs" or (record != job.id and record not in job.records):
        call.error("log", f"the path is {path!r}, expected logs\\<a record's id>", job)
    ident = len(job.v1_logs) + 7
    job.v1_logs[ident] = V1Log(ident, record)
    return answer(200, {"id": ident, "path": path, "createdOn": call.service.clock.iso(), "lastChangedOn": call.service.clock.iso(),
                        "lineCount": 0, "location": f"{call.service.url}{JOBS}/logs/{ident}"})


async def append_log(call: Call) -> web.Response:
    job = _open(call)
    if call.request.content_type != "application/octet-stream":
        call.error("content-type", f"Content-Type is {call.request.content_type!r}, expected application/octet-stream", job)
    ident = call.request.match_info["logId"]
    log = job.v1_logs.get(int(ident)) if ident.isdigit() else None
    if log is None:
        call.error("log", f"log {ident} was not created", job)
        return v1_error(404, "TaskLogNotFoundException", "No such log.")
    log.data += call.body
    call.body_read = True
    kind = ("job-log", None) if log.record == job.id else ("step-log", log.record)
    blob = job.v1_blobs.setdefault(kind, Blob(guid(), job.id, kind[0], kind[1], call.service.clock.stamp(), type="V1"))
    blob.data += call.body
    blob.blocks.append((call.service.clock.stamp(), len(call.body)))
    return answer(200, {"id": log.id, "lineCount": log.data.count(b"\n")})


async def append_feed(call: Call) -> web.Response:
    job = _open(call)
    if call.request.match_info["recordId"] not in (job.id, *job.records):
        call.error("feed", "the path's record is not known", job)
    call.body_read = True
    feed.take(call, job, call.body.decode("utf-8", "replace"))
    return web.Response(status=200)


async def attachment(call: Call) -> web.Response:
    job = _open(call)
    info = call.request.match_info
    call.body_read = True
    if call.request.content_type != "application/octet-stream":
        call.error("content-type", f"Content-Type is {call.request.content_type!r}, expected application/octet-stream", job)
    if info["type"] not in ("Checks.Step.Summary", "DistributedTask.Core.DiagnosticLog"):
        call.error("attachment", f"type {info['type']!r} is not known", job)
    if info["recordId"] != job.id:
        call.error("attachment", "attachments belong to the job's record", job)
    kind = ("summary", info["name"]) if info["type"] == "Checks.Step.Summary" else ("diag", None)
    job.v1_blobs[kind] = Blob(guid(), job.id, kind[0], kind[1], call.service.clock.stamp(), type="V1", data=bytearray(call.body), sealed=True,
                              metadata={"name": info["name"]})
    return answer(200, {"type": info["type"], "name": info["name"], "recordId": info["recordId"], "timelineId": info["timelineId"]})


# -- the end ---------------------------------------------------------------------------------------------------------
_LEVELS = {"error": "failure", "warning": "warning", "notice": "notice"}
_PLACES = (("line", "startLine"), ("endLine", "endLine"), ("col", "startColumn"), ("endColumn", "endColumn"))


def _annotation(issue: dict[str, Any]) -> dict[str, Any]:
    data = issue.get("data", {})
    shown = {"level": _LEVELS[issue["type"]], "message": issue["message"]}
    shown.update({k: data[n] for n, k in (("file", "path"), ("title", "title")) if data.get(n)})
    shown.update({k: int(data[n]) for n, k in _PLACES if str(data.get(n, "")).isdigit()})
    if "startLine" not in shown and str(data.get("logFileLineNumber", "")).isdigit():
        shown["startLine"] = int(data["logFileLineNumber"])
    return shown


def _result(record: dict[str, Any]) -> dict[str, Any]:
    return {"external_id": record["id"], "number": record["order"], "name": record["name"], "status": "completed",
            "conclusion": record.get("result"), "started_at": record.get("startTime") or record["finishTime"],
            "completed_at": record["finishTime"], "annotations": [_annotation(i) for i in record.get("issues", [])]}


def finish(call: Call, job: Job, result: str, outputs: dict[str, Any], told: list[dict[str, Any]] | None = None) -> None:
    """The job is over: what was reported, in the form that completejob has."""
    now, service = call.service.clock.stamp(), call.service
    done = [r for r in job.records.values() if r.get("type") == "Task" and r.get("state") == "completed"]
    mine = job.records.get(job.id, {})
    job.completion = {"conclusion": result, "outputs": outputs, "stepResults": [_result(r) for r in sorted(done, key=lambda r: r["finishTime"])],
                      "annotations": [_annotation(i) for i in mine.get("issues", [])], "stepsTelemetry": told}
    for item in told or []:
        if item["stepId"] not in job.records:
            call.error("ids", f"telemetry of step {item['stepId']}, which has no record", job)
        if any(len(message) > 256 for message in item["errorMessages"]):
            call.error("telemetry", "a message has more than 256 characters", job)
    for key, blob in job.v1_blobs.items():
        if key[0] in ("job-log", "step-log"):
            # What nobody names is not shown: a page whose answer was lost, and that went into another log.
            record = blob.step or job.id
            blob.data = bytearray(b"".join(bytes(log.data) for log in job.v1_logs.values() if log.named and log.record == record))
        blob.sealed = True
        blob.metadata = blob.metadata or {"line_count": blob.data.count(b"\n")}
        service.recorder.scan(bytes(blob.data), f"the whole {blob.kind}", call.record, job.id)
        if key not in job.blobs:
            job.blobs[key] = blob
    if "logs" not in job.lenient and (mine.get("state"), mine.get("result")) != ("completed", result):
        call.error("order", f"the job ends {result}, its record says {mine.get('state')} {mine.get('result')}", job)
    for record in done + ([mine] if mine else []):
        if "log" not in record and record.get("result") != "skipped" and "logs" not in job.lenient:
            call.error("log", f"record {record.get('name')!r} does not name its log", job)
    job.state = "completed"
    job.mark("completed", now)
    checks.at_completion(service, call, job)
    service.job_ended(job)


async def event(call: Call) -> web.Response:
    job = v1_job(call)
    job.completions += 1
    if job.state == "completed":
        if job.lost_answers == 0:
            call.error("order", "JobCompleted although the job is completed", job)
        return v1_error(404, "TaskOrchestrationPlanTerminatedException", "The job is completed.")
    _open(call)
    body = call.json(_EVENT)
    if body["jobId"] != job.id or body["requestId"] != job.number:
        call.error("ids", "jobId or requestId is not the job's", job)
    if (job.message or {})["plan"]["version"] < 8:
        call.error("order", "an event for a plan that is too old for it", job)
    finish(call, job, body["result"], body.get("outputs", {}), body.get("actionsStepsTelemetry"))
    return web.Response(status=200)


# -- actions ---------------------------------------------------------------------------------------------------------
async def downloads(call: Call) -> web.Response:
    service, job = call.service, v1_job(call)
    if call.query({"jobId"}).get("jobId") != job.id:
        call.error("ids", "jobId of the query is not the job's", job)
    found: dict[str, Any] = {}
    for wanted in call.json(_ACTIONS)["actions"]:
        key = f"{wanted['nameWithOwner']}@{wanted['ref']}"
        sha = None if key in service.options.unknown_actions else await resolve.commit_of(call, wanted["nameWithOwner"], wanted["ref"])
        if sha is None:
            return v1_error(422, "UnresolvableActionDownloadInfoException", f"Unable to resolve action `{key}`, unable to find version `{wanted['ref']}`")
        base = f"{service.url}/api/v3/repos/{wanted['nameWithOwner']}"
        found[key] = {"nameWithOwner": wanted["nameWithOwner"], "resolvedNameWithOwner": wanted["nameWithOwner"], "resolvedSha": sha,
                      "ref": wanted["ref"], "tarballUrl": f"{base}/tarball/{sha}", "zipballUrl": f"{base}/zipball/{sha}"}
        if token := service.options.action_tokens.get(wanted["nameWithOwner"]):
            found[key]["authentication"] = {"token": token, "expiresAt": service.clock.iso(3600)}
    return answer(200, {"actions": found})


def routes() -> list[Route]:
    def at(verb: str, resource: Resource, unset: str, name: str, handler: Handler) -> Route:
        return route(verb, resource, unset, name, handler, base=JOBS)

    return [
        at("PATCH", RECORDS, "recordId", "v1.records", records),
        at("POST", LOGS, "logId", "v1.log-create", create_log),
        at("POST", LOGS, "", "v1.log-append", append_log),
        at("POST", FEED, "", "v1.feed", append_feed),
        at("PUT", ATTACHMENTS, "", "v1.attachment", attachment),
        at("POST", EVENTS, "", "v1.event", event),
        at("POST", DOWNLOADS, "", "v1.downloads", downloads),
    ]
