"""The demo's parts: folders, base image, registry, git server, service and agent, started in this order."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Callable

from tests.service.process import ServiceProcess

from ..support import agent, debian
from ..support.gitserver import GitServer
from ..support.registry import Registry
from ..support.repository import Repository, git
from .kept import Kept, forget, key_of, load

REPOSITORY = "demo/wherry"
TOKEN = "ghs_demo0demo0demo0demo0"
# The source line that the third run changes.
CHANGED_FILE, CHANGED_FROM, CHANGED_TO = "agent/cmd/version.c", '"wherry %s\\n"', '"wherry %s, one line changed ({})\\n"'
# The same tree gives the same commit.
_DATE = {"GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"}

JOB_USER = 59198

Say = Callable[[str], None]


class StepFailed(Exception):
    """A step of the demo failed; ``log`` is where to read on."""

    def __init__(self, text: str, log: Path | None = None) -> None:
        super().__init__(text + (f"\n  log: {log}" if log else ""))


def folder() -> Path:
    """Where the demo keeps its things: a folder that the unprivileged job user can reach."""
    named = os.environ.get("WHERRY_DEMO")
    return Path(named) if named else Path(f"/var/tmp/wherry-demo-{os.getuid()}")


@dataclass
class Stage:
    place: Path
    registry: Registry
    git: GitServer
    repo: Repository
    service: ServiceProcess
    wherry: agent.Wherry
    base: str
    key: str
    kept: Kept | None

    @property
    def ports(self) -> list[int]:
        return [int(url.rpartition(":")[2]) for url in (self.registry.host, self.registry.pull_host, self.git.url)]

    @property
    def call(self) -> int:
        """Which call this is since the cold run."""
        return self.kept.calls + 1 if self.kept else 1

    def stop(self) -> None:
        self.wherry.stop()
        self.service.stop()
        self.git.stop()
        self.registry.stop()


def _clear(place: Path, standing: bool) -> None:
    """Everything of an earlier call goes, but for the base image; a store and a registry that stand stay too."""
    stays = {"cache", "state", "work", "registry", "kept.json"} if standing else {"cache"}
    for entry in place.iterdir():
        if entry.name in stays:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink()
        if entry.exists():
            raise StepFailed(f"cannot remove {entry} of an earlier call")


def _source(place: Path) -> Repository:
    """A repository with the project's own tree (its last commit), a branch, a tag and a pull request."""
    repo = Repository.create(place / "git", REPOSITORY, place / "source")
    archive = subprocess.run(["git", "-C", str(agent.ROOT), "-c", f"safe.directory={agent.ROOT}", "archive", "HEAD"], check=True,
                             stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(repo.work)
    git(repo.work, "add", "-A")
    git(repo.work, "commit", "-q", "-m", "The tree to build", **_DATE)
    for ref in ("refs/heads/main", "refs/heads/feature/x", "refs/tags/v0", "refs/pull/1/head", "refs/pull/1/merge"):
        repo.publish(ref)
    return repo


def change_a_line(repo: Repository, call: int) -> str:
    """Commit the one-line change (another one in each call); the new commit."""
    path = repo.work / CHANGED_FILE
    text = path.read_text()
    if text.count(CHANGED_FROM) != 1:
        raise StepFailed(f"{CHANGED_FILE} does not hold the line that the demo changes: {CHANGED_FROM}")
    path.write_text(text.replace(CHANGED_FROM, CHANGED_TO.format(call)))
    return repo.commit("Change one source line")


def build_packages() -> list[str]:
    listed = subprocess.run([agent.ROOT / "toolchain/setup", "--build", "--list"], check=True, stdout=subprocess.PIPE, text=True)
    return listed.stdout.split()


def _tree() -> str:
    """The id of the tree that is built: that of the last commit."""
    return git(agent.ROOT, "-c", f"safe.directory={agent.ROOT}", "rev-parse", "HEAD^{tree}")


def start(place: Path, say: Say, cold: bool) -> Stage:
    place.mkdir(parents=True, exist_ok=True)
    place.chmod(0o755)
    say("base image (mmdebstrap, made once)")
    try:
        layout = debian.layout(build_packages(), place / "mmdebstrap.log", place / "cache")
    except RuntimeError as error:
        raise StepFailed(f"making the base image: {error}") from None
    key = key_of(_tree(), layout.name, agent.binary())
    kept = None if cold else load(place, key)
    if kept is None:
        forget(place)
    _clear(place, kept is not None)
    ports = kept.ports if kept else [0, 0, 0]
    say("registry (docker-registry, with a password for pushes)")
    registry = Registry(place / "registry", port=ports[0], pull_port=ports[1])
    base = registry.push_layout(layout, "base/debian-build:latest")
    registry.uploads()
    say("git server (smart HTTP, with a token)")
    server = GitServer(place / "git", port=ports[2])
    server.allow(TOKEN)
    server.private.add(REPOSITORY)
    repo = _source(place)
    say("service (tests/service, strict)")
    service = ServiceProcess(place / "service.log")
    say("wherry register, wherry run")
    wherry = agent.Wherry(place)
    # The work folder of a call before this one belongs to its job user.
    wherry.job_user = JOB_USER if os.getuid() == 0 else None
    # The service is a new one, which knows no runner of an earlier call.
    shutil.rmtree(wherry.state / "runners", ignore_errors=True)
    stage = Stage(place, registry, server, repo, service, wherry, base, key, kept)
    try:
        wherry.register(service.client, scope=REPOSITORY, name="demo")
        wherry.start(client=service.client)
    except AssertionError as error:
        stage.stop()
        raise StepFailed(f"{error}", wherry.log) from None
    return stage
