"""The figures of the agent and of small builds: ``/usr/bin/python3 -m tests.bench`` on a release build.

Medians of five, each beside what is to be reached. Layer export and the start of a RUN have programs of their own
(tests/bench/*.c); peers are compared where they can run.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

from tests.e2e.support import agent, ociimage
from tests.e2e.support.gitserver import GitServer
from tests.e2e.support.registry import PASSWORD, USER, Registry
from tests.e2e.support.repository import sample
from tests.e2e.test_image_job import DOCKERFILE, WORKFLOW
from tests.service.client import step_log
from tests.service.process import ServiceProcess
from tests.service.workflow import Event, Inputs

ROUNDS = 5
FIRST = "on: push\njobs:\n  a:\n    runs-on: self-hosted\n    steps:\n      - name: first\n        run: echo \"at $EPOCHREALTIME\"\n"


def idle_memory(place: Path) -> list[float]:
    """RSS in MB of an agent whose one runner polls over TLS."""
    found = []
    for number in range(ROUNDS):
        with ServiceProcess(place / "service.log", tls=True) as service:
            wherry = agent.Wherry(place / f"idle{number}", SSL_CERT_FILE=service.ca)
            wherry.folder.mkdir()
            wherry.register(service.client)
            wherry.start(client=service.client)
            time.sleep(2)
            found.append(agent.memory(wherry.pid)["VmRSS"] / 1024)
            wherry.stop()
    return found


def first_process(service: ServiceProcess, git: GitServer, head: str) -> list[float]:
    """Milliseconds from the job message's answer to the first process of the first step (its own clock reading)."""
    found = []
    for _ in range(ROUNDS):
        wall = time.time() - time.monotonic()
        ident = service.client.queue_workflow("ci.yml", text=FIRST, event=Event(sha=head, server_url=git.url))
        job = service.client.wait(ident)
        line = next(line for line in step_log(job, "first").splitlines() if line.startswith("at "))
        found.append((float(line[3:].replace(",", ".")) - wall - job["times"]["acquired"]) * 1000)
    return found


def image_jobs(service: ServiceProcess, git: GitServer, head: str, registry: Registry, base: str) -> list[float]:
    """Milliseconds from message to completion of the sample workflow when nothing changed (a cold run goes before)."""
    inputs = Inputs(vars={"REGISTRY": registry.host, "REGISTRY_USER": USER, "BASE": base}, secrets={"REGISTRY_PASSWORD": PASSWORD},
                    github_token="ghs_bench0bench0")
    found = []
    for _ in range(ROUNDS + 1):
        ident = service.client.queue_workflow("ci.yml", text=WORKFLOW, event=Event(sha=head, server_url=git.url), inputs=inputs)
        job = service.client.wait(ident, 300)
        if job["conclusion"] != "succeeded":
            raise RuntimeError(f"the sample job ended {job['conclusion']}: {job['log']['text'][-2000:]}")
        found.append((job["times"]["completed"] - job["times"]["delivered"]) * 1000)
        service.client.check()
    return found[1:]


def no_op_build(wherry: agent.Wherry, base: str) -> list[float]:
    """Milliseconds of ``wherry build`` of 25 instructions in 4 stages, all of them in the store."""
    context = wherry.folder / "noop"
    context.mkdir()
    lines = []
    for stage in range(3):
        lines.append(f"FROM {base} AS s{stage}")
        (context / f"f{stage}").write_text(str(stage))
        lines += [f"ENV S={stage}", "WORKDIR /w", f"COPY f{stage} .", f"RUN echo {stage} > out", "LABEL a=b", "RUN cat out"]
    lines += [f"FROM {base}", *(f"COPY --from=s{stage} /w/out /o{stage}" for stage in range(3))]
    (context / "Dockerfile").write_text("\n".join(lines) + "\n")
    found = []
    for _ in range(ROUNDS + 1):
        began = time.monotonic()
        wherry.run("build", "--progress", "plain", context, check=True)
        found.append((time.monotonic() - began) * 1000)
    return found[1:]


def main() -> int:
    os.environ.setdefault("WHERRY", str(agent.ROOT / "build/release/wherry"))
    place = Path(tempfile.mkdtemp(prefix="wherry-bench-", dir="/var/tmp"))
    place.chmod(0o755)
    ociimage.busybox(place / "busybox")
    registry = Registry(place / "registry")
    base = registry.push_layout(place / "busybox", "base/busybox:latest")
    git = GitServer(place / "git")
    git.allow("ghs_bench0bench0")
    repo = sample(git.root, "acme/web", place / "source")
    repo.write({"Dockerfile": DOCKERFILE})
    repo.commit()
    rows: list[tuple[str, str, str, Callable[[], list[float]]]] = []
    with ServiceProcess(place / "service.log") as service:
        wherry = agent.Wherry(place)

        def measured(title: str, unit: str, reach: str, work: Callable[..., list[float]], *arguments: Any) -> None:
            rows.append((title, unit, reach, lambda: work(*arguments)))

        measured("agent idle, one runner polling over TLS (RSS)", "MB", "<= 16", idle_memory, place)
        measured("job message received -> first process of the first step", "ms", "<= 50", first_process, service, git, repo.head)
        measured("second identical job, message -> complete", "ms", "<= 500", image_jobs, service, git, repo.head, registry, base)
        measured("no-op build of 25 instructions, 4 stages", "ms", "<= 50", no_op_build, wherry, base)
        wherry.register(service.client)
        wherry.start(client=service.client)
        try:
            for title, unit, reach, work in rows:
                values = sorted(work())
                print(f"| {title} | {reach} {unit} | {statistics.median(values):.1f} {unit} | {values[0]:.1f} to {values[-1]:.1f} |", flush=True)
        finally:
            wherry.stop()
            git.stop()
            registry.stop()
    shutil.rmtree(place, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
