"""The agent as a service: several runners, places for jobs, status, orders, reload, the service manager, two agents."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import Any, Callable

from tests.service.client import Client

from tests.service.workflow import Inputs

from .conftest import Runs
from .support.agent import Wherry
from .test_jobs import steps

WAIT_FOR_GO = "run: |\n  echo started\n  while [ ! -e \"$GO\" ]; do sleep 0.1; done"


def status(wherry: Wherry) -> dict[str, Any]:
    done = wherry.run("status", "--json")
    return dict(json.loads(done.stdout))


def runner(wherry: Wherry, name: str) -> dict[str, Any]:
    return next((dict(r) for r in status(wherry)["runners"] if r["name"] == name), {})


def until(what: Callable[[], Any], timeout: float = 30) -> Any:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come to that in time")


def blocking(place: Path) -> str:
    return steps(WAIT_FOR_GO.replace("$GO", str(place / "go")))


def register_two(wherry: Wherry, client: Client) -> None:
    for name in ("box1", "box2"):
        wherry.register(client, "--work", str(wherry.folder / f"work-{name}"), name=name)


def test_one_bad_runner_does_not_touch_another(wherry: Wherry, client: Client, runs: Runs) -> None:
    register_two(wherry, client)
    file = wherry.state / "runners/box1/runner.json"
    good = file.read_bytes()
    file.write_bytes(good[: len(good) // 2])
    wherry.start(client=client)
    assert runs.run(steps("run: echo fine"))["conclusion"] == "succeeded"
    assert runner(wherry, "box1")["state"] == "unusable" and "runner.json" in runner(wherry, "box1")["lastError"]["text"]
    assert runner(wherry, "box2")["lifetime"]["succeeded"] == 1
    file.write_bytes(good)
    wherry.signal(signal.SIGHUP)
    until(lambda: runner(wherry, "box1")["state"] == "listening")
    wherry.signal()
    assert wherry.wait() == 0


def test_places_are_kept_in_line(wherry: Wherry, client: Client, runs: Runs, place: Path) -> None:
    """With one place the second job is not run beside the first, and is run after it."""
    client.options(full_box=True)
    register_two(wherry, client)
    wherry.start("--max-jobs", "1")
    client.wait_runners(2)
    first = runs.queue(blocking(place))
    client.wait(first, until="first-renew")
    second = runs.queue(steps("run: echo second"))
    time.sleep(1)
    assert status(wherry)["agents"][0]["jobs"] == 1
    assert "acquired" not in client.job(second)["times"]
    (place / "go").touch()
    assert client.wait(first)["conclusion"] == "succeeded"
    assert client.wait(second)["conclusion"] == "succeeded"
    client.check()


def test_a_job_announced_while_the_box_becomes_full(wherry: Wherry, client: Client, runs: Runs, place: Path) -> None:
    """The idle runner says Busy, and a job was on its way to it: it is not lost, though nobody announces it again."""
    client.options(full_box=True, late="late", repeat_seconds=3600)
    register_two(wherry, client)
    wherry.start("--max-jobs", "1")
    client.wait_runners(2)
    second = client.queue_workflow(".github/workflows/ci.yml", text=steps("run: echo second"), event=runs.event(), inputs=Inputs(), name="late")
    first = runs.queue(blocking(place))
    client.wait(first, until="first-renew")
    client.wait(second, until="delivered")
    until(lambda: any(r.get("job", {}).get("state") == "waiting" for r in status(wherry)["runners"]))
    assert "acquired" not in client.job(second)["times"]
    (place / "go").touch()
    assert client.wait(first)["conclusion"] == "succeeded"
    assert client.wait(second)["conclusion"] == "succeeded"
    client.check()


def test_drain_and_resume(wherry: Wherry, client: Client, runs: Runs, place: Path) -> None:
    wherry.register(client)
    wherry.start(client=client)
    first = runs.queue(blocking(place))
    client.wait(first, until="first-renew")
    assert "box1 drains" in wherry.run("drain", "box1", check=True).stdout
    (place / "go").touch()
    assert client.wait(first)["conclusion"] == "succeeded"
    until(lambda: runner(wherry, "box1")["state"] == "drained")
    second = runs.queue(steps("run: echo second"))
    time.sleep(1)
    assert client.job(second)["state"] == "queued"
    assert "box1 takes jobs again" in wherry.run("resume", check=True).stdout
    assert client.wait(second)["conclusion"] == "succeeded"
    client.check()


def test_cancel_by_an_operator(wherry: Wherry, client: Client, runs: Runs) -> None:
    wherry.register(client)
    wherry.start(client=client)
    assert "nothing to cancel" in wherry.run("cancel", check=True).stdout
    ident = runs.queue(steps("run: sleep 100", "if: always()\nrun: echo still"))
    client.wait(ident, until="first-renew")
    until(lambda: runner(wherry, "box1").get("job", {}).get("step", "").startswith("Run sleep"))
    assert "is being cancelled" in wherry.run("cancel", "box1", check=True).stdout
    job = client.wait(ident)
    assert job["conclusion"] == "canceled" and "still" in job["log"]["text"]
    until(lambda: runner(wherry, "box1")["lifetime"]["canceled"] == 1)
    assert wherry.run("cancel", "nobody").returncode == 1


def test_reload_keeps_jobs(wherry: Wherry, client: Client, runs: Runs, place: Path) -> None:
    wherry.register(client)
    wherry.start(client=client)
    ident = runs.queue(blocking(place))
    client.wait(ident, until="first-renew")
    wherry.register(client, "--work", str(wherry.folder / "work-box2"), name="box2")
    shutil.rmtree(wherry.state / "runners/box1")
    wherry.signal(signal.SIGHUP)
    until(lambda: runner(wherry, "box2").get("state") == "listening")
    (place / "go").touch()
    assert client.wait(ident)["conclusion"] == "succeeded"
    until(lambda: runner(wherry, "box1").get("state") == "stopped")
    assert wherry.alive


def test_counts_outlive_the_agent(wherry: Wherry, client: Client, runs: Runs) -> None:
    wherry.register(client)
    wherry.start(client=client)
    assert runs.run(steps("run: exit 1"))["conclusion"] == "failed"
    until(lambda: runner(wherry, "box1")["lifetime"]["failed"] == 1)
    wherry.signal()
    assert wherry.wait() == 0
    wherry.start(client=client)
    lifetime = runner(wherry, "box1")["lifetime"]
    assert (lifetime["jobs"], lifetime["failed"], lifetime["lastJob"], lifetime["lastResult"]) == (1, 1, "one", "failed")
    table = wherry.run("status", check=True).stdout
    assert "RUNNER" in table and "box1" in table and "listening" in table


def test_a_second_agent(wherry: Wherry, client: Client) -> None:
    """It takes what the first one has not, and refuses where that is nothing."""
    register_two(wherry, client)
    wherry.start("--name", "box1", client=client)
    other = Wherry(wherry.folder)
    other.log = wherry.folder / "other.log"
    done = other.run("run", "--name", "box1")
    assert done.returncode == 5 and f"another agent (process {wherry.pid}) runs \"box1\"" in done.stderr
    other.start()
    try:
        client.wait_runners(2)
        all_of = until(lambda: len(status(wherry)["agents"]) == 2 and status(wherry))
        assert {r["name"]: r["agent"] for r in all_of["runners"]} == {"box1": wherry.pid, "box2": other.pid}
        wherry.kill()
        until(lambda: len(status(wherry)["agents"]) == 1)
    finally:
        other.stop()


def test_the_service_manager_is_told(wherry: Wherry, client: Client, place: Path) -> None:
    wherry.register(client)
    path = place / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        os.chmod(path, 0o777)
        manager.settimeout(30)

        def told(text: str) -> str:
            while True:
                got = manager.recv(4096).decode()
                if text in got:
                    return got

        wherry.start(NOTIFY_SOCKET=str(path), WATCHDOG_USEC="200000")
        told("READY=1")
        told("STATUS=1 of 1 runners online")
        told("WATCHDOG=1")
        told("WATCHDOG=1")
        wherry.signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in told("RELOADING=1")
        told("READY=1")
        wherry.signal()
        told("STOPPING=1")
    assert wherry.wait() == 0


# -- one work folder -------------------------------------------------------------------------------------------------


def test_two_agents_in_one_work_folder(wherry: Wherry, client: Client, runs: Runs, place: Path) -> None:
    """Of two state folders: the second agent refuses, and the first one's job is not touched."""
    wherry.register(client)
    wherry.start(client=client)
    ident = runs.queue(blocking(place))
    client.wait(ident, until="first-renew")
    other = Wherry(place, WHERRY_STATE=str(place / "other-state"))
    other.state, other.log = place / "other-state", place / "other.log"
    other.register(client, name="box2")
    done = other.run("run")
    assert done.returncode == 5
    assert f"another agent (process {wherry.pid}) works in {place / 'work'} already" in done.stderr and "--work DIR" in done.stderr
    (place / "go").touch()
    assert client.wait(ident)["conclusion"] == "succeeded"
    wherry.signal()
    assert wherry.wait() == 0
    other.start()
    try:
        until(lambda: any(r["name"] == "box2" and r["session"] for r in client.status()["runners"]))
    finally:
        other.stop()
    client.check()


def test_two_runners_in_one_work_folder(wherry: Wherry, client: Client, runs: Runs) -> None:
    """Of one agent: the second is unusable, and says why; the first serves."""
    wherry.register(client, name="box1")
    wherry.register(client, name="box2")
    wherry.start(client=client)
    assert runs.run(steps("run: echo fine"))["conclusion"] == "succeeded"
    assert runner(wherry, "box2")["state"] == "unusable"
    assert "another runner of this agent works in" in runner(wherry, "box2")["lastError"]["text"]
    client.check()


# -- the version -----------------------------------------------------------------------------------------------------


def test_exit_code_of_a_refused_version(wherry: Wherry, client: Client) -> None:
    """1, or 7 where whoever started the agent wants to know it apart."""
    wherry.register(client, "--runner-version", "2.300.0")
    client.plan("runner-version-too-old")
    wherry.start()
    assert wherry.wait() == 1
    wherry.start(ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE="1")
    assert wherry.wait() == 7
    assert "the service refuses runner version 2.300.0" in wherry.log_text() and "--runner-version" in wherry.log_text()
