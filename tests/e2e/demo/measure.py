"""One run of the sample workflow and what it took, from the service's stamps, the logs and the registry."""

from __future__ import annotations

import re
import time
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from tests.service.client import step_log
from tests.service.workflow import Event, Inputs

from ..support.agent import ROOT
from ..support.registry import PASSWORD, USER, Upload
from .stage import REPOSITORY, TOKEN, Stage, StepFailed

WORKFLOW = ROOT / ".github/workflows/image.yml"
BUILD_STEP = "docker/build-push-action@v6"
_VERTEX = re.compile(r"#(\d+) (?:\[[^\]]+\] (?:RUN|COPY|ADD|WORKDIR)\b|(CACHED)\b)")
_PUSH = re.compile(r"#\d+ (?:exporting to image|exporting layers|pushing|uploading)")


@dataclass
class Run:
    """The figures of one run; times in seconds."""

    title: str
    job: dict[str, Any]
    digest: str
    first_step: float
    steps: dict[str, float]
    build: float
    push: float
    total: float
    built: int
    reused: int
    uploads: list[Upload] = field(default_factory=list)
    log: str = ""

    @property
    def uploaded(self) -> int:
        return sum(upload.size for upload in self.uploads)


def _epoch(text: str) -> float:
    head, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(head + "+00:00").timestamp() + float(f"0.{fraction or 0}")


def _result(job: dict[str, Any], name: str) -> dict[str, Any]:
    for result in job["results"]:
        if result["name"].removeprefix("Run ") == name:
            return result
    raise StepFailed(f"the job has no step {name!r}, only {', '.join(r['name'] for r in job['results'])}")


def _seconds(result: dict[str, Any]) -> float:
    return _epoch(result["completed_at"]) - _epoch(result["started_at"])


def _steps_of_the_build(lines: list[str]) -> tuple[int, int]:
    """How many instructions that make layers ran, and how many came from the store."""
    named: dict[str, bool] = {}
    for line in lines:
        match = _VERTEX.match(line)
        # A base image is CACHED too, but it is no step that makes a layer.
        if match and (match[2] is None or match[1] in named):
            named[match[1]] = named.get(match[1], False) or match[2] is not None
    cached = sum(named.values())
    return len(named) - cached, cached


def _split(job: dict[str, Any], result: dict[str, Any]) -> tuple[float, float]:
    """Seconds of the build step before and after its first line about exporting or pushing."""
    text = job["logs"][result["external_id"]]["text"]
    for line in text.splitlines():
        stamp, _, rest = line.partition(" ")
        if _PUSH.match(rest):
            return _epoch(stamp) - _epoch(result["started_at"]), _epoch(result["completed_at"]) - _epoch(stamp)
    return _seconds(result), 0.0


def to_keep(run: Run) -> dict[str, Any]:
    return {**asdict(run), "job": {}}


def from_kept(values: dict[str, Any]) -> Run:
    fields: dict[str, Any] = {**values, "uploads": [Upload(**upload) for upload in values["uploads"]]}
    return Run(**fields)


def run(stage: Stage, title: str) -> Run:
    client = stage.service.client
    # Stamps of the service are monotonic, those of steps are wall time; both clocks are this machine's.
    wall = time.time() - time.monotonic()
    event = Event(repository=REPOSITORY, sha=stage.repo.head, server_url=stage.git.url, api_url=stage.service.url + "/api/v3",
                  actor="dev")
    inputs = Inputs(secrets={"REGISTRY_PASSWORD": PASSWORD}, github_token=TOKEN,
                    vars={"REGISTRY": stage.registry.host, "REGISTRY_USER": USER, "BASE": stage.base, "RUNNER": "self-hosted"})
    ident = client.queue_workflow(WORKFLOW, "image", event=event, inputs=inputs)
    log = stage.place / f"{title.split(':')[0].replace(' ', '-')}.log"
    try:
        job = client.wait(ident, timeout=900)
    except TimeoutError as error:
        raise StepFailed(f"{title}: {error}", stage.wherry.log) from None
    log.write_text(job["log"]["text"] if job["log"] else "")
    if job["conclusion"] != "succeeded":
        notes = "; ".join(a["message"] for a in job["annotations"]) or "no annotation"
        raise StepFailed(f"{title}: the job ended {job['conclusion']}: {notes}", log)
    result = _result(job, BUILD_STEP)
    text = step_log(job, result["name"])
    built, reused = _steps_of_the_build(text.splitlines())
    build, push = _split(job, result)
    times = job["times"]
    first = sorted(job["results"], key=lambda r: r["number"])[1]
    return Run(title, job, job["outputs"].get("digest", ""), _epoch(first["started_at"]) - (times["acquired"] + wall),
               {name: _seconds(_result(job, step)) for name, step in (
                   ("checkout", "actions/checkout@v4"), ("setup-buildx", "docker/setup-buildx-action@v3"), ("login", "docker/login-action@v3"))},
               build, push, times["completed"] - times["delivered"], built, reused, stage.registry.uploads(), str(log))
