"""Resolving actions to archives (protocol §4.3). The archives themselves are served by rest.py."""

from __future__ import annotations

import hashlib
from typing import Any

from aiohttp import web

from . import schema
from .endpoint import Call, Route, answer

_BODY = schema.record(
    {"actions": schema.list_of(schema.record({"action": schema.text, "version": schema.text}, {"path": schema.string}))},
    {"actions_dependencies": schema.list_of(schema.text)},
)


async def resolve(call: Call) -> web.Response:
    service, job = call.service, call.job()
    info = call.request.match_info
    if info["plan"] != job.plan or info["job"] != job.id:
        call.error("ids", "the path's plan and job are not the token's", job)
    found: dict[str, Any] = {}
    missing: dict[str, Any] = {}
    for wanted in call.json(_BODY)["actions"]:
        key = f"{wanted['action']}@{wanted['version']}"
        if wanted["action"].count("/") != 1:
            missing[key] = {"message": f"Unable to resolve action {key}: expected owner/repo"}
        elif key in service.options.unknown_actions:
            missing[key] = {"message": f"Unable to resolve action `{key}`, unable to find version `{wanted['version']}`"}
        else:
            sha = hashlib.sha1(key.encode()).hexdigest()
            base = f"{service.url}/api/v3/repos/{wanted['action']}"
            found[key] = {"name": wanted["action"], "resolved_name": wanted["action"], "resolved_sha": sha,
                          "version": wanted["version"], "tar_url": f"{base}/tarball/{sha}", "zip_url": f"{base}/zipball/{sha}"}
    if missing:
        return answer(422, {"errors": missing})
    return answer(200, {"actions": found})


def routes() -> list[Route]:
    return [("POST", "/actions/build/{plan}/jobs/{job}/runnerresolve/actions", "launch.resolve", resolve)]
