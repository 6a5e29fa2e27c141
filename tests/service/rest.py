"""The few REST calls that a runner or an action makes: releases, repository facts, source archives."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

from .endpoint import Call, Refuse, Route, answer


def _repository(call: Call) -> tuple[str, Path | None]:
    """Full name and, if the service was told where, the bare repository on disk."""
    name = f"{call.request.match_info['owner']}/{call.request.match_info['repo']}"
    root = call.service.options.repositories
    path = Path(root) / f"{name}.git" if root else None
    return name, path if path and path.is_dir() else None


async def run_git(path: Path, *arguments: str) -> bytes:
    process = await asyncio.create_subprocess_exec("git", "-C", str(path), *arguments, stdout=asyncio.subprocess.PIPE,
                                                   stderr=asyncio.subprocess.DEVNULL)
    output, _ = await process.communicate()
    if process.returncode:
        raise Refuse(answer(404, {"message": "Not Found"}))
    return output


async def release(call: Call) -> web.Response:
    version = call.service.options.runner_version
    return answer(200, {"tag_name": f"v{version}", "name": f"v{version}", "draft": False, "prerelease": False,
                        "published_at": call.service.clock.iso(-86400), "assets": []})


async def repository(call: Call) -> web.Response:
    name, path = _repository(call)
    if name.lower() in call.service.options.absent:
        return answer(404, {"message": "Not Found"})
    branch = "main"
    if path:
        branch = (await run_git(path, "symbolic-ref", "--short", "HEAD")).decode().strip()
    return answer(200, {"id": 1, "full_name": name, "name": name.split("/")[1], "default_branch": branch, "private": True})


async def hash_algorithm(call: Call) -> web.Response:
    _, path = _repository(call)
    kind = (await run_git(path, "rev-parse", "--show-object-format")).decode().strip() if path else "sha1"
    return answer(200, {"hash_algorithm": kind})


async def tarball(call: Call) -> web.Response:
    name, path = _repository(call)
    ref = call.request.match_info["ref"] or "HEAD"
    if path is None or ref.startswith("-"):
        return answer(404, {"message": "Not Found"})
    call.service.tarballs.append([f"{name}@{ref}", call.request.headers.get("Authorization", "")])
    if elsewhere := call.service.options.tarball_host:
        return web.Response(status=302, headers={"Location": f"{elsewhere}/{name}/{ref}"})
    sha = (await run_git(path, "rev-parse", "--verify", f"{ref}^{{commit}}")).decode().strip()
    prefix = f"{name.replace('/', '-')}-{sha[:7]}/"
    return web.Response(body=await run_git(path, "archive", "--format=tar.gz", f"--prefix={prefix}", sha), content_type="application/x-gzip")


async def commit(call: Call) -> web.Response:
    _, path = _repository(call)
    ref = call.request.match_info["ref"]
    if path is None or ref.startswith("-"):
        return answer(404, {"message": "Not Found"})
    sha = await run_git(path, "rev-parse", "--verify", f"{ref}^{{commit}}")
    return web.Response(body=sha.strip(), content_type="application/vnd.github.sha")


def routes() -> list[Route]:
    listed: list[Route] = []
    # The runner's releases are public: with and without the GHES prefix.
    for prefix in ("/api/v3", ""):
        listed.append(("GET", prefix + "/repos/actions/runner/releases/latest", "rest.release", release))
    return listed + [
        ("GET", "/api/v3/repos/{owner}/{repo}", "rest.repository", repository),
        ("GET", "/repos/{owner}/{repo}", "rest.repository", repository),
        ("GET", "/api/v3/repos/{owner}/{repo}/hash-algorithm", "rest.hash-algorithm", hash_algorithm),
        ("GET", "/api/v3/repos/{owner}/{repo}/tarball/{ref:.*}", "rest.tarball", tarball),
        ("GET", "/api/v3/repos/{owner}/{repo}/commits/{ref:.*}", "rest.commit", commit),
    ]
