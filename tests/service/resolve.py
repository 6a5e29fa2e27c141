"""Resolving actions to archives (protocol §4.3). The archives themselves are served by rest.py."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from aiohttp import web

from . import schema
from .endpoint import Call, Refuse, Route, answer
from .rest import run_git

_BODY = schema.record(
    {"actions": schema.list_of(schema.record({"action": schema.text, "version": schema.text}, {"path": schema.string}))},
    {"actions_dependencies": schema.list_of(schema.text)},
)


async def commit_of(call: Call, name: str, ref: str) -> str | None:
    """The commit of a repository that the service has; a made-up one where it has none at all."""
    root = call.service.options.repositories
    if not root:
        return hashlib.sha1(f"{name}@{ref}".encode()).hexdigest()
    bare = Path(root) / f"{name}.git"
    if not bare.is_dir() or ref.startswith("-"):
        return None
    try:
        return (await run_git(bare, "rev-parse", "--verify", f"{ref}^{{commit}}")).decode().strip()
    except Refuse:
        return None


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
        elif (sha := await commit_of(call, wanted["action"], wanted["version"])) is None:
            missing[key] = {"message": f"Unable to resolve action `{key}`, unable to find version `{wanted['version']}`"}
        else:
            base = f"{service.url}/api/v3/repos/{wanted['action']}"
            found[key] = {"name": wanted["action"], "resolved_name": wanted["action"], "resolved_sha": sha,
                          "version": wanted["version"], "tar_url": f"{base}/tarball/{sha}", "zip_url": f"{base}/zipball/{sha}"}
            if token := service.options.action_tokens.get(wanted["action"]):
                found[key]["authentication"] = {"token": token, "expires_at": service.clock.iso(3600)}
            if archive := service.options.action_archives.get(key):
                found[key]["tar_url"] = archive
    if missing:
        return answer(422, {"errors": missing})
    return answer(200, {"actions": found})


def routes() -> list[Route]:
    return [("POST", "/actions/build/{plan}/jobs/{job}/runnerresolve/actions", "launch.resolve", resolve)]
