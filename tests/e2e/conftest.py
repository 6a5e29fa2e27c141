"""Fixtures: the service, a git server with a sample repository, a registry with base images, and an agent."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

import pytest

from tests.service.client import Client
from tests.service.process import ServiceProcess
from tests.service.workflow import Event, Inputs

from .support import agent, ociimage, registry as registries, repository as repositories
from .support.gitserver import GitServer

TOKEN = "ghs_token0for0the0tests"


@pytest.fixture(scope="session")
def session_place() -> Iterator[Path]:
    yield from _place()


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that unprivileged job users can reach too (pytest's own tmp_path is root's alone)."""
    yield from _place()


def _place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="wherry-e2e-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    # Trees of layers may belong to sub-ids; as root rmtree takes them all.
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def service(place: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(place / "service.log", hold=10) as started:
        yield started


@pytest.fixture
def client(service: ServiceProcess) -> Client:
    return service.client


@pytest.fixture
def git_server(place: Path) -> Iterator[GitServer]:
    server = GitServer(place / "git")
    server.allow(TOKEN)
    yield server
    server.stop()


@pytest.fixture
def repo(place: Path, git_server: GitServer) -> repositories.Repository:
    """acme/web: private, with branches main and feature/x, tag v1, and pull request 1."""
    git_server.private.add("acme/web")
    return repositories.sample(git_server.root, "acme/web", place / "source")


@pytest.fixture(scope="session")
def registry(session_place: Path) -> Iterator[registries.Registry]:
    started = registries.Registry(session_place / "registry")
    yield started
    started.stop()


@pytest.fixture(scope="session")
def busybox(session_place: Path, registry: registries.Registry) -> str:
    """Reference of a small image, for anonymous pulls."""
    layout = session_place / "busybox"
    ociimage.busybox(layout)
    return registry.push_layout(layout, "base/busybox:latest")


@pytest.fixture
def wherry(place: Path) -> Iterator[agent.Wherry]:
    """The binary, with a state folder of its own; a running agent is stopped at the end."""
    made = agent.Wherry(place)
    yield made
    made.stop()


@pytest.fixture
def online(wherry: agent.Wherry, client: Client) -> agent.Wherry:
    """A registered agent that polls."""
    wherry.register(client)
    wherry.start(client=client)
    return wherry


@dataclass
class Runs:
    """Queues jobs for the sample repository and waits for them."""

    client: Client
    git: GitServer
    repo: repositories.Repository

    def event(self, **change: Any) -> Event:
        settings: dict[str, Any] = {"repository": "acme/web", "sha": self.repo.head, "server_url": self.git.url, **change}
        return Event(**settings)

    def queue(self, text: str, event: Event | None = None, job: str | None = None, **inputs: Any) -> str:
        inputs.setdefault("github_token", TOKEN)
        options = {k: inputs.pop(k) for k in ("lenient", "labels", "acknowledge") if k in inputs}
        return self.client.queue_workflow(".github/workflows/ci.yml", job, text=text, event=event or self.event(),
                                          inputs=Inputs(**inputs), **options)

    def run(self, text: str, timeout: float = 60, **options: Any) -> dict[str, Any]:
        return self.client.wait(self.queue(text, **options), timeout)


@pytest.fixture
def runs(client: Client, git_server: GitServer, repo: repositories.Repository) -> Runs:
    return Runs(client, git_server, repo)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A failed test shows the agent's log and the protocol errors."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    funcargs = getattr(item, "funcargs", {})
    if report.when != "call" or not report.failed:
        return
    if "wherry" in funcargs:
        report.sections.append(("agent log", funcargs["wherry"].log_text()[-6000:]))
    if "fast" in funcargs or "make" in funcargs:
        made = [funcargs["fast"]] if "fast" in funcargs else getattr(funcargs["make"], "made", [])
        for fast in made:
            report.sections.append(("agent log", fast.wherry.log_text()[-8000:]))
            report.sections.append(("protocol errors", "\n".join(fast.client.error_lines()) or "none"))
    if "service" in funcargs:
        try:
            report.sections.append(("protocol errors", "\n".join(funcargs["service"].client.error_lines()) or "none"))
        except OSError as error:
            report.sections.append(("protocol errors", str(error)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [tool for tool in ("git", "docker-registry", "skopeo", "htpasswd") if shutil.which(tool) is None]
    if missing:
        raise pytest.UsageError(f"missing tools: {', '.join(missing)}; run ./toolchain/setup --test")
