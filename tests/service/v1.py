"""V1: where its resources are (connectionData), and what is common to all its calls (protocol §0.2, §0.3, §1.5, appendix A).

The templates are not GitHub's: a runner that builds a path by itself, in place of asking, does not find anything.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Awaitable, Callable, Iterable

from aiohttp import web

from . import headers
from .endpoint import Call, Refuse, Route, answer
from .model import Job, Runner, guid

TENANT, JOBS = "/_tenant", "/_jobs/3"
AREA = "distributedtask"
_PLAN = "{scopeIdentifier}/_plans/{HubName}/{planId}/"


@dataclass(frozen=True)
class Resource:
    """A definition; ``path`` is what its template comes to, as aiohttp's router writes it."""

    id: str
    name: str
    template: str
    version: str
    revision: int

    @property
    def path(self) -> str:
        return "/" + self.template.lstrip("/").replace("{area}", AREA).replace("{resource}", self.name)


def _resource(ident: str, name: str, template: str, version: str = "5.1", revision: int = 1) -> Resource:
    return Resource(ident, name, template, version, revision)


POOLS = _resource("a8c47e17-4d56-4a56-92bb-de7ea7dc65be", "pools", "_apis/{area}/v1-{resource}/{poolId}")
AGENTS = _resource("e298ef32-5878-4cab-993c-043836571f42", "agents", "/_apis/{area}/v1-pools/{PoolID}/{resource}/{agentId}", "6.0", 2)
SESSIONS = _resource("134e239e-2df3-4794-a6f6-24f1f19ec8dc", "sessions", "_apis/{area}/v1-pools/{poolId}/{resource}/{sessionId}")
MESSAGES = _resource("c3a054f6-7a8a-49c0-944e-3a8e5d7adfd7", "messages", "_apis/{area}/v1-pools/{poolId}/{resource}/{messageId}", "6.0")
JOBREQUESTS = _resource("fc825784-c92a-4299-9221-998a02d1b54f", "jobrequests", "_apis/{area}/v1-pools/{poolId}/{resource}/{requestId}")
UPDATES = _resource("8cc1b02b-ae49-4516-b5ad-4f9b29967c30", "updates", "_apis/{area}/v1-pools/{poolId}/agents/{agentId}/{resource}")
CONFIG = _resource("13b5d709-74aa-470b-a8e9-bf9f3ded3f18", "runnerconfig", "_apis/{area}/{resource}/{agentId}/{configType}", "6.0")
JOB_MESSAGE = _resource("25adab70-1379-4186-be8e-b643061ebe3a", "jobmessage", "_apis/{area}/{resource}/{messageId}", "6.0")
TIMELINES = _resource("83597576-cc2c-453c-bea6-2882ae6a1653", "timelines", _PLAN + "{resource}/{timelineId}")
RECORDS = _resource("8893bc5b-35b2-4be7-83cb-99e683551db4", "records", _PLAN + "timelines/{timelineId}/{resource}/{recordId}")
FEED = _resource("858983e4-19bd-4c5e-864c-507b59b58b12", "feed", _PLAN + "timelines/{timelineId}/records/{recordId}/{resource}")
LOGS = _resource("46f5667d-263a-4684-91b1-dff7fdcf64e2", "logs", _PLAN + "{resource}/{logId}")
ATTACHMENTS = _resource("7898f959-9cdf-4096-b29e-7f293031629e", "attachments",
                        _PLAN + "timelines/{timelineId}/records/{recordId}/{resource}/{type}/{name}")
EVENTS = _resource("557624af-b29e-4c20-8ab0-0399d2204f3f", "events", _PLAN + "{resource}", "2.0")
DOWNLOADS = _resource("27d7f831-88c1-4719-8ca1-6a061dad90eb", "actiondownloadinfo", _PLAN + "{resource}", "6.0")

OF_TENANT = (POOLS, AGENTS, SESSIONS, MESSAGES, JOBREQUESTS, UPDATES, CONFIG, JOB_MESSAGE)
OF_JOBS = (TIMELINES, RECORDS, FEED, LOGS, ATTACHMENTS, EVENTS, DOWNLOADS)


# -- errors ----------------------------------------------------------------------------------------------------------
def v1_error(status: int, kind: str, text: str, code: int = 0) -> web.Response:
    """The body of an error as V1 writes it; the header says the same."""
    return answer(status, {"$id": "1", "innerException": None, "message": text, "typeName": f"GitHub.DistributedTask.WebApi.{kind}, GitHub",
                           "typeKey": kind, "errorCode": code, "eventId": 3000}, headers={"X-TFS-ServiceError": kind})


# -- what every call is held against ---------------------------------------------------------------------------------
def _versions(call: Call, wanted: str) -> None:
    """The version of this resource (headers.py sees to it that it is the same wherever it is named)."""
    accept = call.request.headers.get("Accept", "")
    if headers.parameter(accept, "api-version") != wanted:
        call.error("api-version", f"Accept is {accept!r}, expected application/json; api-version={wanted}")


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


def negotiated(call: Call, resource: Resource, version: str) -> str:
    """The version that a right runner names: ours, or the server's newest where that is older."""
    newest = call.service.options.v1_max_version
    if newest and tuple(map(int, newest.split("."))) < tuple(map(int, version.split("."))):
        return newest
    return f"{version}-preview.{resource.revision}"


def versioned(resource: Resource, handler: Handler, version: str = "") -> Handler:
    async def run(call: Call) -> web.StreamResponse:
        _versions(call, negotiated(call, resource, version or resource.version))
        return await handler(call)

    return run


def route(verb: str, resource: Resource, unset: str, name: str, handler: Handler, *, base: str = TENANT, version: str = "") -> Route:
    """The route of a resource with the last ``unset`` parameters dropped, as a template without their values gives it."""
    path = resource.path
    for parameter in filter(None, unset.split(",")):
        path = path.replace("/{" + parameter + "}", "")
    return (verb, base + path, name, versioned(resource, handler, version))


def v1_runner(call: Call) -> Runner:
    """The runner that the listener token names."""
    owner = int(call.token("listener").owner)
    found = call.service.runners.get(owner)
    if found is None:
        raise Refuse(v1_error(404, "TaskAgentNotFoundException", f"The agent {owner} is not registered."))
    call.record.runner = found.id
    pool = call.request.match_info.get("poolId")
    if pool is not None and pool != str(found.group):
        call.error("pool", f"pool {pool} in the path, the runner is in pool {found.group}")
        raise Refuse(v1_error(404, "TaskAgentPoolNotFoundException", f"No pool was found with identifier {pool}."))
    return found


def v1_job(call: Call) -> Job:
    """The job that the job token names; the path must be of its plan."""
    job = call.job()
    info = call.request.match_info
    plan = (job.message or {}).get("plan", {})
    for name, mine in (("scopeIdentifier", plan.get("scopeIdentifier")), ("HubName", plan.get("planType")), ("planId", job.plan)):
        if info.get(name, mine) != mine:
            call.error("ids", f"{name} in the path is {info[name]!r}, expected {mine!r}", job)
            raise Refuse(v1_error(404, "TaskOrchestrationPlanNotFoundException", "No plan was found."))
    return job


# -- connectionData --------------------------------------------------------------------------------------------------
def _definition(call: Call, resource: Resource) -> dict[str, Any]:
    newest = call.service.options.v1_max_version or "6.1"
    return {"serviceType": AREA, "identifier": resource.id.upper() if resource is LOGS else resource.id, "displayName": resource.name,
            "relativeToSetting": 1, "relativePath": resource.template, "resourceVersion": resource.revision, "minVersion": "1.0",
            "maxVersion": newest, "releasedVersion": newest if call.service.options.v1_max_version else "1.0"}


def _definitions(call: Call, resources: Iterable[Resource]) -> list[dict[str, Any]]:
    listed = [_definition(call, resource) for resource in resources]
    # What no runner may take: an older twin of another name, and one that the server has withdrawn.
    listed.insert(0, {"serviceType": "LocationService2", "identifier": guid(), "displayName": "Location", "relativePath": "/",
                      "resourceVersion": 0, "minVersion": None})
    listed.append({**_definition(call, POOLS), "relativePath": "_apis/withdrawn", "resourceVersion": 0})
    return listed


def _knows(call: Call, kind: str) -> None:
    """The token of this server, or none."""
    if "Authorization" in call.request.headers:
        token = call.bearer()
        live = [k for k in (("job",) if kind == "job" else ("listener", "tenant")) if call.service.tokens.check(token, k)[0]]
        if not live:
            call.token("job" if kind == "job" else "listener")
        if kind == "job":
            call.job()
    elif kind == "job":
        call.error("token", "connectionData of a job's server wants the job token")


def _connection(kind: str, resources: tuple[Resource, ...]) -> Handler:
    async def handler(call: Call) -> web.Response:
        _knows(call, kind)
        query = call.query({"connectOptions", "lastChangeId", "lastChangeId64"})
        for name, wanted in (("connectOptions", "1"), ("lastChangeId", "-1"), ("lastChangeId64", "-1")):
            if query.get(name) != wanted:
                call.error("query", f"{name} is {query.get(name)!r}, expected {wanted}")
        listed = [] if call.service.options.v1_options_only else _definitions(call, resources)
        return answer(200, {"instanceId": str(uuid.uuid5(uuid.NAMESPACE_URL, call.service.url)), "authenticatedUser": {"id": guid()},
                            "locationServiceData": {"lastChangeId": 1, "lastChangeId64": 1, "serviceDefinitions": listed}})

    return handler


def _options(kind: str, resources: tuple[Resource, ...]) -> Handler:
    async def handler(call: Call) -> web.Response:
        _knows(call, kind)
        listed = [{"id": d["identifier"], "area": d["serviceType"], "resourceName": d["displayName"], "routeTemplate": d["relativePath"],
                   "resourceVersion": d["resourceVersion"], "minVersion": d["minVersion"], "maxVersion": d.get("maxVersion"),
                   "releasedVersion": d.get("releasedVersion")} for d in _definitions(call, resources)]
        return answer(200, {"count": len(listed), "value": listed})

    return handler


def routes() -> list[Route]:
    listed: list[Route] = []
    for base, kind, resources in ((TENANT, "listener", OF_TENANT), (JOBS, "job", OF_JOBS)):
        listed += [("GET", base + "/_apis/connectionData", "v1.connection", _connection(kind, resources)),
                   ("OPTIONS", base + "/_apis/", "v1.options", _options(kind, resources))]
    return listed
