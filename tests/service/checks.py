"""Checks over a whole log or a whole job, made when the runner says that it is complete.

A job's ``lenient`` set names what a test knows to be missing: ``logs`` (a killed worker cannot finish them), ``renew``,
``restart`` (an agent that was killed may ask once more for what it had got already).
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from .model import Blob, Job
from .passing import PassingLog

if TYPE_CHECKING:
    from .endpoint import Call
    from .service import Service

_STAMPED = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z ")
_CONCLUSION = {"succeeded": 2, "succeededWithIssues": 2, "failed": 3, "canceled": 4, "skipped": 7, "abandoned": 0, None: 0}


def log_lines(data: bytes) -> list[bytes]:
    """A log's lines without their time stamps."""
    return [_STAMPED.sub(b"", line, count=1) for line in bytes(data).split(b"\n")[:-1]]


def at_seal(service: "Service", call: "Call", job: Job, blob: Blob) -> None:
    if isinstance(blob.data, PassingLog):
        return
    data = bytes(blob.data)
    service.recorder.scan(data, f"the whole {blob.kind}", call.record, job.id)
    if data.startswith(b"\xef\xbb\xbf"):
        call.error("log", f"the {blob.kind} starts with a BOM", job)
    if blob.kind in ("step-log", "job-log"):
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            call.error("log", f"the {blob.kind} is not UTF-8: {error}", job)
        if not data.endswith(b"\n"):
            call.error("log", f"the {blob.kind} does not end with a newline", job)
        if not _STAMPED.match(data):
            call.error("log", f"the {blob.kind} does not start with a time stamp: {data[:40]!r}", job)


def at_completion(service: "Service", call: "Call", job: Job) -> None:
    """The job as a whole: ids, states and logs must tell the same story everywhere."""
    _blobs_finished(call, job)
    if "logs" in job.lenient:
        return
    body = job.completion or {}
    results = body.get("stepResults", [])
    _results_match_updates(call, job, results)
    _step_ids(call, job, results)
    _all_steps_reported(call, job, results)
    _logs_present(call, job, results)
    _job_log_is_whole(call, job)
    _feed_matches_logs(call, job)
    _annotations(call, job, results)


def _blobs_finished(call: "Call", job: Job) -> None:
    for blob in job.blobs.values():
        if blob.kind == "diag" or "logs" in job.lenient:
            continue
        where = f"the {blob.kind} of {job.steps[blob.step].name!r}" if blob.step in job.steps else f"a {blob.kind}"
        if not blob.sealed:
            call.error("order", f"completejob although {where} lacks its last block", job)
        elif blob.metadata is None:
            call.error("order", f"completejob although {where} lacks its metadata", job)


def _results_match_updates(call: "Call", job: Job, results: list[dict[str, Any]]) -> None:
    for result in results:
        seen = job.steps.get(result["external_id"])
        name = f"step {result['number']} {result['name']!r}"
        if seen is None:
            call.error("ids", f"{name} of stepResults was never in a step update", job)
            continue
        if seen.number != result["number"] or seen.name != result["name"]:
            call.error("ids", f"{name} of stepResults is {seen.number} {seen.name!r} in the updates", job)
        if seen.status != 6:
            call.error("order", f"{name}: its last update before completejob has status {seen.status}, not 6", job)
        elif seen.conclusion != _CONCLUSION[result["conclusion"]]:
            call.error("step", f"{name} ends {result['conclusion']}, its update says {seen.conclusion}", job)
        if result["started_at"] > result["completed_at"]:
            call.error("step", f"{name} ends before it starts", job)
    numbers = Counter(r["number"] for r in results)
    for number, count in numbers.items():
        if count > 1:
            call.error("ids", f"stepResults hold number {number} {count} times", job)


def _step_ids(call: "Call", job: Job, results: list[dict[str, Any]]) -> None:
    known = set(job.steps) | {r["external_id"] for r in results}
    for blob in job.blobs.values():
        if blob.step is not None and blob.step not in known:
            call.error("ids", f"a {blob.kind} is for step {blob.step}, which no update names", job)
    for step in {m.step for m in job.feed} - known:
        call.error("ids", f"feed lines are for step {step}, which no update names", job)
    reported = {r["external_id"] for r in results}
    for seen in job.steps.values():
        if seen.status == 6 and seen.id not in reported:
            call.error("ids", f"step {seen.number} {seen.name!r} is completed, but not in stepResults", job)


def _all_steps_reported(call: "Call", job: Job, results: list[dict[str, Any]]) -> None:
    reported = {r["external_id"]: r for r in results}
    if not results and (job.completion or {}).get("conclusion") == "canceled":
        return  # cancelled before its worker
    setup = next((r for r in results if r["name"] == "Set up job"), None)
    if setup is None:
        call.error("step", "stepResults have no step 'Set up job'", job)
        return
    if setup["conclusion"] != "succeeded":
        return
    for step in (job.message or {}).get("steps", []):
        if step.get("id") not in reported:
            call.error("step", f"step {step.get('name')} of the message is not in stepResults", job)


def _logs_present(call: "Call", job: Job, results: list[dict[str, Any]]) -> None:
    for result in results:
        if result["conclusion"] != "skipped" and ("step-log", result["external_id"]) not in job.blobs:
            call.error("log", f"step {result['number']} {result['name']!r} has no log", job)
    if results and ("job-log", None) not in job.blobs:
        call.error("log", "the job has no log", job)


def _job_log_is_whole(call: "Call", job: Job) -> None:
    whole = job.blobs.get(("job-log", None))
    if whole is None:
        return
    if isinstance(whole.data, PassingLog):
        for what in ("size", "lines", "numbered", "gaps"):
            in_steps = sum(b.data.told()[what] for b in job.blobs.values() if b.kind == "step-log" and isinstance(b.data, PassingLog))
            if whole.data.told()[what] != in_steps:
                call.error("log", f"the job log's {what} is {whole.data.told()[what]}, the steps' are {in_steps}", job)
        return
    steps: Counter[bytes] = Counter()
    for blob in job.blobs.values():
        if blob.kind == "step-log":
            steps.update(bytes(blob.data).split(b"\n")[:-1])
    lines = Counter(bytes(whole.data).split(b"\n")[:-1])
    for what, rest in (("misses", steps - lines), ("has more than the step logs:", lines - steps)):
        if rest:
            line = next(iter(rest))
            call.error("log", f"the job log {what} {sum(rest.values())} lines, such as {line[:80]!r}", job)


def _feed_matches_logs(call: "Call", job: Job) -> None:
    logs: dict[str, set[str]] = {}
    for blob in job.blobs.values():
        if blob.kind == "step-log" and blob.step is not None and not isinstance(blob.data, PassingLog):
            logs[blob.step] = {line.decode("utf-8", "replace") for line in log_lines(blob.data)}
    for message in job.feed:
        known = logs.get(message.step)
        if known is None:
            continue
        for line in (part for value in message.lines for part in value.split("\n") if part):
            if line not in known and not (line.endswith("...") and any(k.startswith(line[:-3]) for k in known)):
                call.error("feed", f"the line {line[:80]!r} is not in the step's log", job)
                return


def _annotations(call: "Call", job: Job, results: list[dict[str, Any]]) -> None:
    for result in results:
        levels = Counter(a["level"] for a in result.get("annotations", []))
        for level, count in levels.items():
            if count > 10:
                call.error("annotation", f"step {result['name']!r} has {count} annotations of level {level}, at most 10", job)
        for item in result.get("annotations", []):
            if len(item["message"]) > 4096:
                call.error("annotation", f"an annotation has {len(item['message'])} characters, at most 4096", job)
            if item.get("stepNumber", result["number"]) != result["number"]:
                call.error("annotation", f"stepNumber {item['stepNumber']} in step {result['number']}", job)
