"""An agent that dies: the next one finishes its job, once, and cleans up what it left."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.service.client import Client, step_log

from .conftest import Runs
from .support.agent import Wherry, descendants
from .test_cancel import started
from .test_jobs import steps

SEED = int(os.environ.get("WHERRY_SEED", "1"))
LENIENT = ["renew", "restart"]
LONG = steps("name: before\nrun: echo first step", "name: long\nrun: |\n  echo started\n  while :; do sleep 0.1; done", "name: after\nrun: echo no")


def kept(wherry: Wherry) -> list[str]:
    """The files that speak of a job under way."""
    return sorted(path.name for path in wherry.state.glob("runners/box1/*.sealed") if path.name != "credentials.sealed")


def forgotten(wherry: Wherry) -> bool:
    """The note of a job goes just after the service has taken its completion."""
    deadline = time.monotonic() + 10
    while kept(wherry) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not kept(wherry)


def kill_all(wherry: Wherry) -> None:
    """The agent and all below it at one blow, as a service manager or a power cut does."""
    victims = [wherry.pid, *descendants(wherry.pid)]
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    wherry.wait()


@pytest.mark.parametrize("everything", [True, False], ids=["with its worker", "alone"])
def test_killed_agent_finishes_its_job_after_the_restart(online: Wherry, runs: Runs, client: Client, everything: bool) -> None:
    client.options(session_idle=1)
    ident = started(runs, LONG, lenient=LENIENT)
    assert kept(online) == ["job.sealed"]
    assert all((path.stat().st_mode & 0o777) == 0o600 for path in online.state.glob("runners/box1/*.sealed"))
    kill_all(online) if everything else online.kill()
    online.start()
    job = client.wait(ident, 30)
    assert job["conclusion"] == "failed"
    assert [a["message"] for a in job["completion"]["annotations"]] == [
        "The runner was restarted while the job ran: its process ended without notice (a crash, kill -9, or the machine lost its power)."]
    assert runs.run(steps("run: echo fine"), timeout=60)["conclusion"] == "succeeded"
    assert forgotten(online)
    assert not list((online.folder / "work" / "_temp").iterdir())
    client.check(ignore=["body"])


@pytest.mark.parametrize("results", [False, True], ids=["V1 alone", "results beside"])
def test_killed_agent_of_a_v1_server(wherry: Wherry, runs: Runs, client: Client, results: bool) -> None:
    client.options(registration="v1", listener="v1", job_flow="pipelines", v1_results=results, session_idle=1)
    wherry.register(client)
    wherry.start(client=client)
    ident = started(runs, LONG, lenient=LENIENT)
    kill_all(wherry)
    wherry.start()
    job = client.wait(ident, 60)
    by = {r["name"]: r for r in job["results"]}
    assert job["conclusion"] == "failed"
    assert (by["before"]["conclusion"], by["long"]["conclusion"], by["after"]["conclusion"]) == ("succeeded", "failed", "skipped")
    assert "The runner was restarted while the job ran" in step_log(job, "long")
    assert runs.run(steps("run: echo fine"), timeout=60)["conclusion"] == "succeeded"
    client.check(ignore=["body"])


def test_a_result_that_was_reached_is_handed_in(online: Wherry, runs: Runs, client: Client) -> None:
    """The steps are over and the completion is not accepted yet when everything dies."""
    client.options(session_idle=1)
    fault = client.fault("run.complete", "status", status=503, times=None)
    ident = runs.queue(steps("id: a\nrun: echo n=42 >> \"$GITHUB_OUTPUT\"", top="    outputs:\n      n: ${{ steps.a.outputs.n }}\n"), lenient=LENIENT)
    deadline = time.monotonic() + 30
    while kept(online) != ["completion.sealed", "job.sealed"] and time.monotonic() < deadline:
        time.sleep(0.02)
    kill_all(online)
    assert fault
    client.clear_faults()
    online.start()
    job = client.wait(ident, 30)
    assert job["conclusion"] == "succeeded" and job["outputs"] == {"n": "42"}
    assert [r["name"] for r in job["results"]][0] == "Set up job" and len(job["results"]) == 3
    client.check(ignore=["body"])


def test_an_accepted_completion_is_not_made_twice(online: Wherry, runs: Runs, client: Client) -> None:
    """The service has it, but its answer was lost and the agent died: 404 is what was wanted."""
    client.options(session_idle=1)
    client.fault("run.complete", "hang", seconds=60, times=None, skip=1)
    client.fault("run.complete", "reset", when="after")
    ident = runs.queue(steps("run: echo fine"), lenient=LENIENT)
    client.wait(ident, 30)
    kill_all(online)
    client.clear_faults()
    online.start(client=client)
    assert runs.run(steps("run: echo next"), timeout=60)["conclusion"] == "succeeded"
    assert client.job(ident)["conclusion"] == "succeeded" and forgotten(online)
    client.check(ignore=["body"])


def test_a_job_that_was_only_announced_is_run(wherry: Wherry, runs: Runs, client: Client) -> None:
    client.options(session_idle=1)
    wherry.register(client)
    client.fault("run.acquire", "hang", seconds=60)
    wherry.start(client=client)
    ident = runs.queue(steps("run: echo fine"), lenient=LENIENT)
    client.wait(ident, until="acknowledged")
    time.sleep(0.2)
    kill_all(wherry)
    client.clear_faults()
    wherry.start()
    assert client.wait(ident, 30)["conclusion"] == "succeeded"
    client.check(ignore=["body"])


def test_a_job_that_is_over_at_the_service_is_let_go(online: Wherry, runs: Runs, client: Client) -> None:
    client.options(session_idle=1)
    ident = started(runs, LONG, lenient=LENIENT)
    kill_all(online)
    client.call("POST", f"/jobs/{ident}/lock-expired")
    online.start(client=client)
    assert runs.run(steps("run: echo fine"), timeout=60)["conclusion"] == "succeeded"
    assert forgotten(online)


def test_killed_worker_leaves_a_finished_job(online: Wherry, runs: Runs, client: Client) -> None:
    ident = started(runs, LONG, lenient=LENIENT)
    os.kill(online.wait_child("worker"), signal.SIGKILL)
    job = client.wait(ident, 30)
    assert job["conclusion"] == "failed"
    assert "signal 9" in job["completion"]["annotations"][0]["message"]
    client.check(ignore=["body"])


CONTAINERS = """    container: {{image: '{image}'}}
    services:
      web:
        image: {image}
        options: --entrypoint /srv
        volumes: ['{place}/srv:/srv:ro']
"""


def leftovers(wherry: Wherry, pid: int) -> dict[str, list[str]]:
    """What containers and builds of the agent that had this pid left on the machine."""
    ingest = wherry.state / "ingest"
    groups = [os.path.join(folder, name) for folder, names, _ in os.walk("/sys/fs/cgroup") for name in names
              if name.startswith((f"wherry-build-{pid}-", f"wherry-job-{pid}-"))]
    found = {"sessions": [path.name for path in ingest.iterdir()] if ingest.exists() else [],
             "groups": groups,
             "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if str(wherry.folder) in line],
             "processes": [str(p) for p in in_folder(wherry.folder)],
             "engine": [str(path) for path in (wherry.folder / "work/_temp").glob("_engine*")]}
    return {what: names for what, names in found.items() if names}


def in_folder(folder: Path) -> list[int]:
    """Processes of containers: their root is a tree below the folder, as the command line of a service says."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"serving-" + folder.name.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            pass
    return found


@pytest.mark.parametrize("everything", [True, False], ids=["with all below it", "alone"])
def test_killed_agent_leaves_no_containers(online: Wherry, runs: Runs, client: Client, busybox: str, everything: bool) -> None:
    """A job container and a service run while the agent dies; the next one finds and leaves nothing of them."""
    client.options(session_idle=1)
    mark = f"serving-{online.folder.name}"
    (online.folder / "srv").write_text(f"#!/bin/sh\nwhile :; do sh -c 'sleep 1; : {mark}'; done\n")
    (online.folder / "srv").chmod(0o755)
    ident = started(runs, steps(f"name: long\nrun: |\n  echo started\n  while :; do sh -c 'sleep 1; : {mark}'; done",
                                top=CONTAINERS.format(image=busybox, place=online.folder)), lenient=LENIENT)
    dead = online.pid
    deadline = time.monotonic() + 20
    while len(in_folder(online.folder)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    before = leftovers(online, dead)
    assert {"sessions", "groups", "processes", "engine"} <= set(before), before
    kill_all(online) if everything else online.kill()
    online.start()
    assert client.wait(ident, 60)["conclusion"] == "failed"
    deadline = time.monotonic() + 30
    while leftovers(online, dead) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not leftovers(online, dead)
    assert forgotten(online)
    job = runs.run(steps("name: next\nrun: echo fine", top=CONTAINERS.format(image=busybox, place=online.folder)), timeout=90)
    assert job["conclusion"] == "succeeded"
    online.verify_store()
    client.check(ignore=["body"])


def test_damaged_note_of_a_job(online: Wherry, runs: Runs, client: Client) -> None:
    """A file that does not open is told and dropped; the runner works."""
    client.options(session_idle=1)
    started(runs, LONG, lenient=LENIENT)
    kill_all(online)
    file = online.state / "runners/box1/job.sealed"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    online.start(client=client)
    assert runs.run(steps("run: echo fine"), timeout=60)["conclusion"] == "succeeded"
    assert "does not open with this machine's key" in online.log_text()


def killed_agents(wherry: Wherry, runs: Runs, client: Client, rounds: int) -> dict[str, int]:
    """kill -9 at a random instant between the announcement of a job and some time after its end."""
    chance = random.Random(SEED)
    client.options(session_idle=1)
    wherry.register(client)
    wherry.start(client=client)
    text = steps("uses: actions/checkout@v4", "run: |\n  echo started\n  sleep 0.4", "run: echo two")
    ends: dict[str, int] = {}
    for number in range(rounds):
        ident = runs.queue(text, lenient=LENIENT)
        client.wait(ident, until="delivered")
        time.sleep(chance.uniform(0.0, 1.0))
        kill_all(wherry) if chance.random() < 0.7 else wherry.kill()
        wherry.start()
        end = ended(client, ident)
        ends[end] = ends.get(end, 0) + 1
        assert forgotten(wherry) or end == "unknown", f"round {number}"
    assert runs.run(steps("run: echo fine"), timeout=90)["conclusion"] == "succeeded"
    client.check(ignore=["body"])
    return ends


def ended(client: Client, ident: str) -> str:
    """How the job ended. Two instants leave a job that no runner can end: killed before the announcement was read (the service
    gives it to another runner after two minutes), or before the acquired message was on our disk (it ends with its lock)."""
    began = time.monotonic()
    while time.monotonic() < began + 90:
        job: dict[str, Any] = client.job(ident)
        if job["conclusion"]:
            return str(job["conclusion"])
        asked = client.requests(job=ident, endpoint="run.acquire")
        if job["state"] == "acquired" and not job["renewals"] and any(r["status"] == 409 for r in asked):
            return "unknown"
        if job["state"] == "assigned" and time.monotonic() > began + 8 and not asked:
            return "unknown"
        time.sleep(0.05)
    raise AssertionError(f"job {ident} is {client.job(ident)['state']}")


def test_killed_agents(wherry: Wherry, runs: Runs, client: Client) -> None:
    ends = killed_agents(wherry, runs, client, 8)
    assert sum(ends.values()) == 8 and ends.get("unknown", 0) <= 1, ends


@pytest.mark.long
def test_killed_agents_long(wherry: Wherry, runs: Runs, client: Client) -> None:
    ends = killed_agents(wherry, runs, client, 100)
    assert sum(ends.values()) == 100 and ends.get("unknown", 0) <= 5, ends
