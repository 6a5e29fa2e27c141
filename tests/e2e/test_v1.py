"""A V1 server: its sessions, messages and jobs, and the ways from there to a broker and back."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.service.client import Client, step_log

from .conftest import Runs
from .support.agent import Wherry
from .support.gitserver import GitServer
from .test_foreign import Actions, composite
from .test_jobs import steps

HELLO = steps("name: hello\nrun: echo hello from $RUNNER_NAME")


@pytest.fixture
def listening(wherry: Wherry, client: Client) -> Callable[..., Wherry]:
    """A runner of a server with these options, online."""

    def start(**options: Any) -> Wherry:
        client.options(**{"registration": "v1", "listener": "v1", **options})
        wherry.register(client)
        wherry.start(client=client)
        return wherry

    return start


@pytest.mark.parametrize("options", [
    {}, {"v1_hash": "sha256", "v1_fips": True}, {"v1_hash": "sha256"}, {"v1_fips": True}, {"v1_key": "plain"}, {"v1_key": "none"},
    {"v1_empty": 204}, {"v1_options_only": True}, {"v1_max_version": "5.0"}])
def test_a_job_of_the_run_service(listening, runs: Runs, client: Client, options: dict[str, Any]) -> None:
    """Every form of the session's key and of the server's map: RunnerJobRequest on a V1 session."""
    listening(**options)
    job = runs.run(HELLO)
    assert job["conclusion"] == "succeeded" and "hello from box1" in step_log(job, "hello")
    client.check()


def test_a_job_of_v1(listening, runs: Runs, client: Client) -> None:
    """PipelineAgentJobRequest: the message is the job; lock, records, logs and end are V1's."""
    listening(job_flow="pipelines")
    job = runs.run(HELLO)
    assert job["conclusion"] == "succeeded" and "hello from box1" in step_log(job, "hello")
    assert job["renewals"]
    client.check()


@pytest.mark.parametrize("results", [False, True])
def test_a_failing_job_of_v1(listening, runs: Runs, client: Client, results: bool) -> None:
    """Results, annotations and outputs are the same as of the run service; with a results service beside, too."""
    listening(job_flow="pipelines", v1_results=results)
    job = runs.run(steps("name: bad\nrun: |\n  echo '::error file=a.c,line=3::broken here'\n  exit 3", "name: never\nrun: echo no"))
    by = {r["name"]: r for r in job["results"]}
    assert job["conclusion"] == "failed" and by["bad"]["conclusion"] == "failed" and by["never"]["conclusion"] == "skipped"
    assert {"level": "failure", "message": "broken here", "path": "a.c", "startLine": 3}.items() <= by["bad"]["annotations"][0].items()
    client.check()


def test_telemetry_of_steps(listening, runs: Runs, client: Client) -> None:
    """What the service counts steps and actions by: kind, result, times, the first three errors and warnings, cut."""
    listening(job_flow="pipelines")
    issues = "\n".join(f"  echo '::{kind}::{text}'" for kind, text in (
        ("notice", "no trouble"), ("warning", "first"), ("error", "x" * 300), ("error", "third"), ("error", "fourth")))
    job = runs.run(steps(f"name: bad\nid: bad\nrun: |\n{issues}\n  exit 3", "name: never\nrun: echo no"))
    by = {r["external_id"]: r["name"] for r in job["results"]}
    told = {by[t["stepId"]]: t for t in job["completion"]["stepsTelemetry"]}
    bad = told["bad"]
    assert (bad["type"], bad["result"], bad["stepContextName"]) == ("run", "failed", "bad")
    assert bad["errorMessages"] == ["first", "x" * 256, "third"] and bad["executionTimeInSeconds"] >= 1
    assert bad["startTime"] <= bad["finishTime"] and told["Set up job"]["type"] == "runner"
    client.check()


def test_cancel_a_job_of_v1(listening, runs: Runs, client: Client) -> None:
    listening(job_flow="pipelines")
    ident = runs.queue(steps("name: long\nrun: echo started; sleep 60", "name: last\nif: always()\nrun: echo the last"))
    client.wait_for_text(ident, "started")
    client.cancel(ident)
    job = client.wait(ident)
    assert job["conclusion"] == "canceled" and "the last" in step_log(job, "last")
    client.check()


@pytest.mark.parametrize("flow", ["run", "pipelines", "message"])
@pytest.mark.parametrize("migrate", ["message", "session"])
def test_migration_to_a_broker(listening, runs: Runs, client: Client, migrate: str, flow: str) -> None:
    """A V1 session polls the broker that it is sent to, and goes back when that word is taken back."""
    listening(v1_migrate=migrate, job_flow=flow)
    assert runs.run(HELLO)["conclusion"] == "succeeded"
    assert client.requests(endpoint="broker.message")
    client.options(v1_migrate="")
    assert runs.run(HELLO)["conclusion"] == "succeeded"
    client.check()


@pytest.mark.long
def test_back_from_a_broker_that_fails(listening, runs: Runs, client: Client) -> None:
    listening(v1_migrate="session", job_flow="pipelines")
    client.options(v1_migrate="")
    client.fault("broker.message", "status", status=500)
    assert runs.run(HELLO)["conclusion"] == "succeeded"
    assert client.requests(endpoint="v1.message")
    client.check()


@pytest.mark.parametrize("listener,flow", [("v2", "pipelines"), ("v2", "message"), ("v1", "message")])
def test_mixed(listening, runs: Runs, client: Client, listener: str, flow: str) -> None:
    """Registration, listener and kind of job are chosen apart from each other."""
    listening(listener=listener, job_flow=flow)
    assert runs.run(HELLO)["conclusion"] == "succeeded"
    client.check()


def test_messages_are_deleted(listening, runs: Runs, client: Client) -> None:
    """Each message is deleted once it was dealt with; what is for GitHub's own programs does not disturb."""
    wherry = listening(job_flow="pipelines")
    runner = client.runner()["id"]
    for kind, body in (("AgentRefresh", {"agentId": runner, "targetVersion": "2.999.0"}), ("RunnerRefresh", {"target_version": "2.999.0"}),
                       ("HostedRunnerShutdown", {}), ("SomethingNew", {"a": 1}), ("ForceTokenRefresh", {}), ("BrokenOne", "{")):
        client.message(runner, kind, body)
    assert runs.run(HELLO, timeout=90)["conclusion"] == "succeeded"
    assert len(client.requests(endpoint="v1.message-delete")) == 7
    assert wherry.alive
    client.check()


def test_a_job_that_comes_again(listening, runs: Runs, client: Client) -> None:
    """The deletion of a job's message is lost: it is not run twice, and its message goes."""
    listening(job_flow="pipelines", v1_redeliver=0.5)
    client.fault("v1.message-delete", "status", status=500)
    job = runs.run(steps("name: hello\nrun: sleep 3"))
    assert job["conclusion"] == "succeeded" and job["completions"] == 1
    assert len(client.requests(endpoint="v1.message-delete")) == 2
    client.check()


def test_a_key_that_does_not_fit(listening, runs: Runs, client: Client) -> None:
    """A message under another key: it goes, and a new session is made."""
    wherry = listening()
    client.message(client.runner()["id"], "JobCancellation", "x" * 32, iv="AAAAAAAAAAAAAAAAAAAAAA==")
    assert runs.run(HELLO)["conclusion"] == "succeeded"
    assert len(client.requests(endpoint="v1.session")) == 2 and "session's key" in wherry.log_text()
    client.check()


def test_session_expired(listening, runs: Runs, client: Client) -> None:
    listening(job_flow="pipelines")
    time.sleep(1.2)  # an answer that comes sooner is a service that does not hold polls
    client.expire_session(client.runner()["id"])
    assert runs.run(HELLO)["conclusion"] == "succeeded"
    client.check()


def test_the_agent_was_deleted(listening, client: Client) -> None:
    wherry = listening()
    client.call("DELETE", f"/runners/{client.runner()['id']}")
    assert wherry.wait(30) in (0, 1)
    assert "not registered" in wherry.log_text()


def test_renamed(listening, runs: Runs, client: Client) -> None:
    """A renewal tells the runner's new name."""
    wherry = listening(job_flow="pipelines", v1_rename="box-of-ann")
    assert runs.run(HELLO)["conclusion"] == "succeeded"
    assert "box-of-ann" in (wherry.state / "runners/box1/runner.json").read_text()
    wherry.run("export", wherry.folder / "to", check=True)
    assert json.loads((wherry.folder / "to/.runner").read_text("utf-8-sig"))["agentName"] == "box-of-ann", "as the official runner has it"


def test_actions_are_resolved(listening, runs: Runs, client: Client, git_server: GitServer, place: Path) -> None:
    """By the V1 server's action download info; an action that is not there has the server's sentence."""
    actions = Actions(client, git_server, place)
    sha = actions.add("acme/greet", {"action.yml": composite("run: echo greetings from an action\nshell: bash")})
    listening(job_flow="pipelines")
    job = runs.run(steps("uses: acme/greet@v1"))
    assert job["conclusion"] == "succeeded" and "greetings from an action" in job["log"]["text"] and sha in job["log"]["text"]
    assert client.requests(endpoint="v1.downloads") and not client.requests(endpoint="launch.resolve")
    job = runs.run(steps("uses: acme/greet@v9"))
    assert job["conclusion"] == "failed" and "unable to find version `v9`" in job["log"]["text"]
    client.check()


def fault(client: Client, at: str, kind: str, text: str, status: int = 403, code: int = 0, **spec: Any) -> None:
    """An error as V1 writes it."""
    client.fault(at, "status", status=status, body=json.dumps({"typeKey": kind, "message": text, "errorCode": code}), **spec)


def test_a_version_that_is_refused(wherry: Wherry, client: Client) -> None:
    client.options(registration="v1", listener="v1")
    wherry.register(client, "--runner-version", "2.300.0")
    fault(client, "v1.session", "AccessDeniedException", "Runner version v2.300.0 is deprecated and cannot receive messages", code=1)
    wherry.start()
    assert wherry.wait(30) == 1
    assert "deprecated" in wherry.log_text() and "--runner-version" in wherry.log_text()


def test_a_lock_that_is_lost(listening, runs: Runs, client: Client) -> None:
    """Whatever status it comes with: the type says that the lock is gone."""
    wherry = listening(job_flow="pipelines")
    fault(client, "v1.jobrequest", "TaskAgentJobTokenExpiredException", "The lock has expired.", status=400, times=1)
    ident = runs.queue(HELLO)
    client.wait(ident, 60, until="delivered")
    time.sleep(3)
    assert client.job(ident)["conclusion"] is None and "lock has expired" in wherry.log_text()


def test_a_worker_that_dies(listening, runs: Runs, client: Client) -> None:
    """The agent completes a V1 job whose worker was killed."""
    wherry = listening(job_flow="pipelines")
    ident = runs.queue(steps("name: long\nrun: echo started; sleep 60"), lenient=["logs"])
    client.wait_for_text(ident, "started")
    os.kill(wherry.children("worker")[0], signal.SIGKILL)
    assert client.wait(ident)["conclusion"] == "failed"
    client.check()


def test_a_server_that_wants_a_pause(listening, runs: Runs, client: Client) -> None:
    listening(job_flow="pipelines", v1_results=False)
    client.fault("v1.records", "status", status=503, headers={"X-RateLimit-Delay": "1"})
    assert runs.run(HELLO)["conclusion"] == "succeeded"
    client.check()


def test_a_token_that_ends(listening, runs: Runs, client: Client) -> None:
    """A 401 of the long poll gets a new token, in the same session."""
    listening(job_flow="pipelines")
    client.revoke("listener")
    assert runs.run(HELLO)["conclusion"] == "succeeded"
    assert len(client.requests(endpoint="v1.session")) == 1
    client.check()


@pytest.mark.parametrize("flow", ["pipelines", "run"])
@pytest.mark.parametrize("ephemeral", [True, False])
def test_cancellations_of_others(listening, wherry: Wherry, runs: Runs, client: Client, flow: str, ephemeral: bool) -> None:
    """A runner that has its only job leaves what is for another one at the server; any other deletes it."""
    client.options(registration="v1", listener="v1", job_flow=flow)
    wherry.register(client, *(["--ephemeral"] if ephemeral else []))
    wherry.start(client=client)
    ident = runs.queue(steps("run: echo started; sleep 30"))
    client.wait_for_text(ident, "started")
    mine = len(client.requests(endpoint="v1.message-delete"))
    client.message(client.runner()["id"], "JobCancellation", {"jobId": "00000000-0000-4000-8000-000000000009", "timeout": "00:05:00"})
    time.sleep(3)  # it comes with the poll under way
    assert len(client.requests(endpoint="v1.message-delete")) == mine + (0 if ephemeral else 1)
    client.cancel(ident)
    assert client.wait(ident)["conclusion"] == "canceled"
    assert len(client.requests(endpoint="v1.message-delete")) == mine + (1 if ephemeral else 2), "its own is dealt with"
    client.check()


# -- plans before version 8: the agent ends the job's request --------------------------------------------------------


@pytest.mark.parametrize("results", [False, True], ids=["V1 alone", "results beside"])
@pytest.mark.parametrize("script,result", [("echo fine", "succeeded"), ("exit 3", "failed")])
def test_an_old_plan(listening, runs: Runs, client: Client, script: str, result: str, results: bool) -> None:
    listening(job_flow="pipelines", v1_plan_version=7, v1_results=results)
    job = runs.run(steps(f"name: hello\nrun: {script}"))
    assert job["conclusion"] == result and job["completions"] == 1
    assert not client.requests(endpoint="v1.event")
    assert runs.run(HELLO)["conclusion"] == "succeeded"
    client.check()


def test_the_end_of_an_old_plan_is_tried_again(listening, runs: Runs, client: Client) -> None:
    """The lock is renewed (first) and the request ended (then) at one resource."""
    listening(job_flow="pipelines", v1_plan_version=7)
    client.fault("v1.jobrequest", "status", skip=1, times=2, status=500)
    client.fault("v1.jobrequest", "reset", skip=1, when="after")
    job = runs.run(HELLO)
    assert job["conclusion"] == "succeeded"
    assert runs.run(HELLO)["conclusion"] == "succeeded"
    client.check(ignore=["poll"])  # Busy until it knows that the answer that was lost was a yes


def test_cancel_a_job_of_an_old_plan(listening, runs: Runs, client: Client) -> None:
    listening(job_flow="pipelines", v1_plan_version=7)
    ident = runs.queue(steps("name: long\nrun: echo started; sleep 60"))
    client.wait_for_text(ident, "started")
    client.cancel(ident)
    assert client.wait(ident)["conclusion"] == "canceled"
    client.check()


def test_a_worker_of_an_old_plan_dies(listening, runs: Runs, client: Client) -> None:
    wherry = listening(job_flow="pipelines", v1_plan_version=7)
    ident = runs.queue(steps("run: echo started; sleep 60"), lenient=["logs"])
    client.wait_for_text(ident, "started")
    os.kill(wherry.wait_child("worker"), signal.SIGKILL)
    job = client.wait(ident)
    assert job["conclusion"] == "failed" and job["completions"] == 1
    client.check()


def test_an_agent_dies_before_the_end_of_an_old_plan(listening, runs: Runs, client: Client) -> None:
    """Its worker has told all; the next life of the agent ends the request."""
    wherry = listening(job_flow="pipelines", v1_plan_version=7)
    client.fault("v1.jobrequest", "hang", skip=1)
    ident = runs.queue(HELLO, lenient=["logs", "restart"])
    deadline = time.monotonic() + 30
    while "job one: succeeded" not in wherry.log_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    wherry.kill()
    wherry.start(client=client)
    job = client.wait(ident, 60)
    assert job["conclusion"] == "succeeded"
    client.check()


def test_a_killed_agent_asks_a_v1_server_again(listening, runs: Runs, client: Client) -> None:
    """The announcement named no run service: the server itself is asked for the job once more."""
    wherry = listening(job_flow="message")
    client.fault("v1.job-message", "hang")
    ident = runs.queue(HELLO)
    client.wait(ident, until="delivered")
    deadline = time.monotonic() + 20
    while not client.requests(endpoint="v1.job-message") and time.monotonic() < deadline:
        time.sleep(0.05)
    wherry.kill()
    wherry.start(client=client)
    assert client.wait(ident, 60)["conclusion"] == "succeeded"
    assert len(client.requests(endpoint="v1.job-message")) == 2
    client.check()


def test_a_killed_agent_has_the_v1_job(listening, runs: Runs, client: Client) -> None:
    """The message was the job: whatever became of its deletion, the next life ends the job, once."""
    wherry = listening(job_flow="pipelines", session_idle=2)
    client.fault("v1.jobrequest", "hang")
    client.fault("v1.message-delete", "hang")
    ident = runs.queue(HELLO, lenient=["logs", "restart", "renew"])
    client.wait(ident, until="delivered")
    deadline = time.monotonic() + 20
    while not client.requests(endpoint="v1.jobrequest") and time.monotonic() < deadline:
        time.sleep(0.05)
    wherry.kill()
    wherry.start()
    job = client.wait(ident, 60)
    assert job["conclusion"] == "failed" and job["completions"] == 1
    assert "job-message" not in str(client.requests(endpoint="v1.job-message"))
    client.wait_runners()
