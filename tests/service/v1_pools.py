"""V1 registration: pools and agents (protocol §1.5)."""

from __future__ import annotations

import base64
from typing import Any

from aiohttp import web

from . import schema
from .endpoint import Call, Refuse, Route, answer
from .model import Runner, guid
from .v1 import AGENTS, POOLS, route, v1_error

_LABEL = schema.record({"id": schema.one_of(0), "name": schema.text, "type": schema.one_of("system", "user")})
_KEY = schema.record({"exponent": schema.text, "modulus": schema.text})
_AGENT = schema.record(
    {"id": schema.at_least(0), "name": schema.text, "version": schema.text, "osDescription": schema.text, "ephemeral": schema.boolean,
     "disableUpdate": schema.boolean, "maxParallelism": schema.one_of(1), "labels": schema.list_of(_LABEL, most=100),
     "authorization": schema.record({"publicKey": _KEY}), "status": schema.one_of(0), "provisioningState": schema.one_of("Provisioned"),
     "createdOn": schema.one_of("0001-01-01T00:00:00")},
)


def _scope(call: Call) -> str:
    """The scope of a tenant token (or of a listener that tests its credentials)."""
    value = call.bearer()
    for kind in ("tenant", "listener"):
        token, _ = call.service.tokens.check(value, kind)
        if token is not None and kind == "tenant":
            return token.owner
        if token is not None:
            runner = call.service.runners.get(int(token.owner))
            return runner.scope if runner else ""
    return call.token("tenant").owner


def _pool(call: Call, zero: bool) -> int:
    pool = int(call.request.match_info["PoolID"])
    if pool not in [g["id"] for g in call.service.options.groups] and not (zero and pool == 0):
        raise Refuse(v1_error(404, "TaskAgentPoolNotFoundException", f"No pool was found with identifier {pool}."))
    return pool


async def pools(call: Call) -> web.Response:
    _scope(call)
    query = call.query(set(), {"poolType"})
    if query.get("poolType", "Automation") != "Automation":
        call.error("query", f"poolType is {query['poolType']!r}")
    listed = [{"id": g["id"], "name": g["name"], "isInternal": g["default"], "isHosted": g["is_hosted"], "scope": guid(), "size": 1,
               "poolType": "automation"} for g in call.service.options.groups]
    return answer(200, {"count": len(listed), "value": listed})


def _shown(call: Call, runner: Runner) -> dict[str, Any]:
    service = call.service
    listener = service.options.listener
    properties: dict[str, Any] = {"ServerUrl": {"$type": "System.String", "$value": service.url + "/_tenant/"},
                                  "RequireFipsCryptography": {"$type": "System.Boolean", "$value": runner.algorithm == "PS256"}}
    if listener == "v2":
        properties["UseV2Flow"] = {"$type": "System.Boolean", "$value": True}
        properties["ServerUrlV2"] = service.url + "/_broker/"
    shown = {"id": runner.id, "name": runner.name, "version": runner.version, "enabled": True,
             "status": "online" if runner.session else "offline", "ephemeral": runner.ephemeral, "disableUpdate": runner.disable_update,
             "maxParallelism": 1, "labels": [{"id": i + 1, "name": n, "type": "user"} for i, n in enumerate(runner.labels)],
             "authorization": {"clientId": runner.client_id, "authorizationUrl": service.authorization_url(runner)},
             "properties": properties}
    if service.options.v1_old:  # a server of before these two existed
        del shown["ephemeral"], shown["disableUpdate"]
    return shown


async def find(call: Call) -> web.Response:
    scope = _scope(call)
    _pool(call, True)
    query = call.query({"agentName"}, {"includeCapabilities"})
    found = [_shown(call, r) for r in call.service.runners.values()
             if r.scope == scope and r.name.lower() == query.get("agentName", "").lower()]
    return answer(200, {"count": len(found), "value": found})


def _key(call: Call, given: dict[str, str]) -> tuple[int, int]:
    try:
        modulus, exponent = (base64.b64decode(given[k], validate=True) for k in ("modulus", "exponent"))
    except ValueError as error:
        call.error("public-key", f"publicKey: {error}")
        raise Refuse(v1_error(400, "ArgumentException", "bad public key")) from None
    if modulus[:1] == b"\0" or len(modulus) not in (256, 384, 512):
        call.error("public-key", f"the modulus has {len(modulus)} bytes (first {modulus[:1].hex()})")
    if exponent != b"\x01\x00\x01":
        call.error("public-key", f"the exponent is {exponent.hex()}, expected 010001")
    return int.from_bytes(modulus, "big"), int.from_bytes(exponent, "big")


def _enter(call: Call, ident: int | None) -> web.Response:
    service, scope = call.service, call.token("tenant").owner
    pool, body = _pool(call, False), call.json(_AGENT)
    names = [label["name"] for label in body["labels"]]
    if len({n.lower() for n in names}) != len(names):
        call.error("labels", f"labels repeat: {', '.join(names)}")
    old = next((r for r in service.runners.values() if r.scope == scope and r.name.lower() == body["name"].lower()), None)
    if body["id"] != (ident or 0):
        call.error("ids", f"id is {body['id']}, the path's is {ident or 0}")
    if ident is None and old is not None:
        return v1_error(409, "TaskAgentExistsException", f"Pool {pool} already contains an agent with name {old.name}.")
    if ident is not None and (old is None or old.id != ident):
        return v1_error(404, "TaskAgentNotFoundException", f"No agent {ident} was found.")
    runner = Runner(ident or service.next_runner(), body["name"], names, scope, guid(), *_key(call, body["authorization"]["publicKey"]),
                    body["version"], body["ephemeral"], pool, service.options.algorithm, disable_update=body["disableUpdate"])
    service.runners[runner.id] = runner
    return answer(200, _shown(call, runner))


async def add(call: Call) -> web.Response:
    return _enter(call, None)


async def replace(call: Call) -> web.Response:
    return _enter(call, int(call.request.match_info["agentId"]))


async def remove(call: Call) -> web.Response:
    scope, ident = call.token("tenant").owner, int(call.request.match_info["agentId"])
    _pool(call, True)
    runner = call.service.runners.get(ident)
    if runner is None or runner.scope != scope:
        return v1_error(404, "TaskAgentNotFoundException", f"No agent {ident} was found.")
    call.service.drop_runner(ident)
    return web.Response(status=204)


def routes() -> list[Route]:
    return [
        route("GET", POOLS, "poolId", "v1.pools", pools),
        route("GET", AGENTS, "agentId", "v1.agents", find),
        route("POST", AGENTS, "agentId", "v1.agent-add", add),
        route("PUT", AGENTS, "", "v1.agent-replace", replace),
        route("DELETE", AGENTS, "", "v1.agent-delete", remove),
    ]
