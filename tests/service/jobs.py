"""From a job message as a test wrote it to a job of the service: ids, endpoint and tokens filled in."""

from __future__ import annotations

import base64
import copy
from typing import TYPE_CHECKING, Any

from .model import Job, guid, new_secret
from .v1 import JOBS

if TYPE_CHECKING:
    from .service import Service

_OFTEN_PUBLIC = {"", "true", "false"}


def create(service: "Service", spec: dict[str, Any]) -> Job:
    """A queued job from ``{"message": …}`` or ``{"raw": base64, "content_type": …}`` and the options beside it."""
    plan, ident = guid(), guid()
    name = spec.get("name", "job")
    token = service.tokens.issue("job", ident, service.options.job_token_seconds,
                                 {"scp": f"Actions.Results:{plan}:{ident} Actions.GenericRead:00000000-0000-0000-0000-000000000000",
                                  "ac": spec.get("access_controls", "[]"), "orch_id": f"{plan}.{name}"}).value
    job = Job(ident, plan, guid(), None, None, spec.get("content_type", "application/json; charset=utf-8"),
              spec.get("repo", "acme/web"), spec.get("labels", ["self-hosted"]), token, name, set(spec.get("lenient", [])),
              spec.get("billing", "U_1"), spec.get("acknowledge", True))
    flow = spec.get("flow", service.options.job_flow)
    job.announced = {"run": "RunnerJobRequest", "pipelines": "PipelineAgentJobRequest"}.get(flow, flow)
    if job.announced == "PipelineAgentJobRequest":
        job.number = service.next_request()
    if "restart" in job.lenient:
        job.lost_answers = 1  # of a process that was killed before it read one
    if "raw" in spec:
        job.raw = base64.b64decode(spec["raw"])
    else:
        job.message = _fill(service, job, copy.deepcopy(spec["message"]))
        job.sdk_upload = str(_value(job.message, "system.github.results_upload_with_sdk")).lower() == "true"
    _watch_secrets(service, job)
    job.mark("queued", service.clock.stamp())
    service.jobs[job.id] = job
    service.notify()
    return job


def _value(message: dict[str, Any], variable: str) -> Any:
    return (message.get("variables", {}).get(variable) or {}).get("value")


def _v1_endpoint(service: "Service", job: Job) -> dict[str, Any]:
    data = {"PipelinesServiceUrl": service.url + JOBS + "/"}
    if service.options.v1_results:
        data["ResultsServiceUrl"] = service.url + "/_results/"
    if service.options.v1_websocket:
        data["FeedStreamUrl"] = service.url.replace("http", "ws", 1) + "/_results/_ws/ingest.sock"
    return {"name": "SystemVssConnection", "url": service.url + JOBS + "/", "isShared": False, "isReady": True,
            "authorization": {"scheme": "OAuth", "parameters": {"AccessToken": job.token}}, "data": data}


def _fill_v1(service: "Service", job: Job, message: dict[str, Any]) -> None:
    """What is other in the message of a V1 job."""
    message.setdefault("messageType", "PipelineAgentJobRequest")
    message.setdefault("plan", {"scopeIdentifier": guid(), "planType": "Build", "planId": job.plan, "version": service.options.v1_plan_version,
                                "artifactUri": None, "definition": None, "owner": None})
    message.setdefault("timeline", {"id": guid(), "changeId": 1, "location": None})
    message.setdefault("requestId", job.number)
    message.setdefault("lockedUntil", service.clock.iso(600))
    message.setdefault("resources", {"endpoints": [_v1_endpoint(service, job)]})
    variables = message.setdefault("variables", {})
    if not service.options.v1_results:
        variables.setdefault("system.github.results_endpoint", {"value": ""})
        variables.setdefault("system.github.launch_endpoint", {"value": ""})


def _fill(service: "Service", job: Job, message: dict[str, Any]) -> dict[str, Any]:
    """Whatever the test left out of the message."""
    ws = service.url.replace("http", "ws", 1)
    if job.announced == "PipelineAgentJobRequest":
        job.billing = None
        _fill_v1(service, job, message)
    message.setdefault("messageType", "RunnerJobRequest")
    message.setdefault("plan", {"scopeIdentifier": "00000000-0000-0000-0000-000000000000", "planType": "actions", "planId": job.plan,
                                "version": 0})
    message.setdefault("timeline", {"id": job.plan, "changeId": 0})
    message.setdefault("jobId", job.id)
    message.setdefault("jobDisplayName", job.name)
    message.setdefault("jobName", "__default")
    message.setdefault("requestId", 0)
    if job.billing:
        message.setdefault("billingOwnerId", job.billing)
    message.setdefault("resources", {"endpoints": [{
        "name": "SystemVssConnection", "url": service.url + "/_run/7/", "isShared": False, "isReady": True,
        "authorization": {"scheme": "OAuth", "parameters": {"AccessToken": job.token}},
        "data": {"FeedStreamUrl": service.options.feed_url or ws + "/_results/_ws/ingest.sock", "ResultsServiceUrl": service.url + "/_results/"}}]})
    variables = message.setdefault("variables", {})
    github_token = _value(message, "system.github.token") or new_secret("ghs_")
    for name, value, secret in (
        ("system.github.token", github_token, True), ("github_token", github_token, True), ("system.github.job", job.name, False),
        ("system.github.results_endpoint", service.url + "/_results/", False), ("system.github.launch_endpoint", service.url, False),
        ("system.orchestrationId", f"{job.plan}.{job.name}.__default", False), ("system.runnerGroupName", "Default", False),
        ("system.github.token.permissions", '{"Contents":"read","Metadata":"read"}', False), ("system.culture", "en-US", False),
        ("DistributedTask.EnhancedAnnotations", "true", False), ("actions_uses_cache_service_v2", "true", False),
    ):
        variables.setdefault(name, {"value": value, "isSecret": True} if secret else {"value": value})
    message.setdefault("mask", []).extend([{"type": "regex", "value": github_token}])
    message.setdefault("contextData", {})
    message.setdefault("fileTable", [])
    message.setdefault("environmentVariables", [])
    message.setdefault("steps", [])
    for step in message["steps"]:
        step.setdefault("id", guid())
    if job.announced == "PipelineAgentJobRequest" and not service.options.v1_results:
        for name in ("system.github.results_endpoint", "system.github.launch_endpoint"):
            del variables[name]
    return message


def _watch_secrets(service: "Service", job: Job) -> None:
    service.recorder.add_secret(job.token, "the job token")
    for name, variable in ((job.message or {}).get("variables") or {}).items():
        if isinstance(variable, dict) and variable.get("isSecret") and str(variable.get("value", "")).lower() not in _OFTEN_PUBLIC:
            service.recorder.add_secret(str(variable["value"]), f"the secret {name}")
            job.secrets[name] = str(variable["value"])
    github_token = job.secrets.get("system.github.token")
    if github_token:
        basic = base64.b64encode(f"x-access-token:{github_token}".encode()).decode()
        service.recorder.add_secret(basic, "the GitHub token's basic form")
