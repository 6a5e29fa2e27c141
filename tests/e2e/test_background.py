"""Background steps and the steps that control them: a service that has the feature sends them in the job message (no workflow file of
today says so), and a runner reports them."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from tests.service import workflow
from tests.service.client import step_log

from .conftest import Runs
from .support.agent import Wherry
from .test_jobs import by_name, steps


def control(kind: str, name: str, *ids: str, title: str | None = None) -> dict[str, Any]:
    step: dict[str, Any] = {"type": "backgroundStepControl", "id": str(uuid.uuid4()), "name": name, "controlType": kind}
    return step | ({"stepIds": list(ids)} if ids else {}) | ({"displayNameToken": title} if title else {})


def queue(runs: Runs, *texts: str, background: tuple[str, ...], controls: dict[int, dict[str, Any]] | None = None, most: int | None = None,
          group: str | None = None) -> str:
    """The steps of a workflow, those with these ids in the background, and control steps put before step N."""
    message = workflow.build(Path(".github/workflows/ci.yml"), text=steps(*texts), event=runs.event(), inputs=workflow.Inputs()).message
    for step in message["steps"]:
        if step.get("contextName") in background:
            step |= {"background": True} | ({"parallelGroupId": group} if group else {})
    for place, step in sorted((controls or {}).items(), reverse=True):
        message["steps"].insert(place, step)
    if most:
        message["variables"]["system.runner.maxbackgroundsteps"] = {"value": str(most)}
    return runs.client.queue(message)


def test_what_it_leaves_is_seen_by_who_waits(online: Wherry, runs: Runs) -> None:
    ident = queue(runs,
                  "id: server\nname: Server\nrun: |\n  echo begin; while [ ! -e go ]; do sleep 0.05; done; echo port=80 >> $GITHUB_OUTPUT\n"
                  "  echo B=1 >> $GITHUB_ENV; mkdir -p p; echo $PWD/p >> $GITHUB_PATH; echo end",
                  "name: beside\nrun: |\n  echo \"before [${{ steps.server.outputs.port }}] [${{ steps.server.outcome }}] [$B]\"; touch go; sleep 1\n"
                  "  echo main",
                  "name: still\nrun: echo \"still [${{ steps.server.outputs.port }}] [$B]\"",
                  "name: after\nrun: |\n  echo \"after [${{ steps.server.outputs.port }}] [${{ steps.server.conclusion }}] [$B]\"\n"
                  "  case $PATH in $PWD/p:*) echo path;; esac",
                  background=("server",), controls={3: control("wait", "w", "server", title="Wait for it")}, group="g1")
    job = runs.client.wait(ident, 60)
    assert job["conclusion"] == "succeeded"
    log = lambda name: step_log(job, name)  # noqa: E731
    assert "before [] [] []" in log("beside") and "still [] []" in log("still")
    assert "after [80] [success] [1]" in log("after") and "\n" in log("after") and "path" in log("after").splitlines()[-1]
    assert "begin" in log("Server") and "end" in log("Server") and "main" not in log("Server") and "begin" not in log("beside")
    waited = log("Wait for it")
    assert "Waiting for background step(s) to complete: Server" in waited
    assert "Finished waiting for background step(s)." in waited and "  Server: Succeeded" in waited
    records = by_name(job)
    server = records["Server"]
    assert server["is_background"] is True and "is_background" not in records["beside"]
    assert records["Wait for it"]["background_control_type"] == "wait"
    assert records["Wait for it"]["background_control_step_ids"] == [server["external_id"].replace("-", "")]
    assert "Wait for all background steps" not in records
    assert server["started_at"] < records["beside"]["completed_at"] and records["beside"]["started_at"] < server["completed_at"]
    runs.client.check()


def test_cancelled_by_a_step(online: Wherry, runs: Runs) -> None:
    ident = queue(runs, "id: server\nname: Server\nrun: |\n  echo up; touch up; exec sleep 1000", "name: use\nrun: while [ ! -e up ]; do sleep 0.05; done; echo used",
                  "name: last\nrun: echo \"${{ steps.server.outcome }}\"",
                  background=("server",), controls={2: control("cancel", "stop", "server")})
    job = runs.client.wait(ident, 60)
    records = by_name(job)
    assert job["conclusion"] == "succeeded" and records["Server"]["conclusion"] == "canceled" and records["stop"]["conclusion"] == "succeeded"
    assert "cancelled" in step_log(job, "last")
    assert "Cancelling background step(s): Server" in step_log(job, "stop") and "  Server: Canceled" in step_log(job, "stop")
    runs.client.check()


def test_nobody_waits_for_a_failure(online: Wherry, runs: Runs) -> None:
    ident = queue(runs, "id: bad\nname: Bad\nrun: sleep 0.5; exit 3", "name: beside\nrun: sleep 1; echo runs",
                  "name: unharmed\nrun: echo runs", background=("bad",))
    job = runs.client.wait(ident, 60)
    records = by_name(job)
    assert job["conclusion"] == "failed"
    assert records["Bad"]["conclusion"] == "failed" and records["unharmed"]["conclusion"] == "succeeded"
    waited = records["Wait for all background steps"]
    assert waited["conclusion"] == "failed" and waited["background_control_type"] == "wait-all"
    assert "Process completed with exit code 3." in step_log(job, "Bad")
    assert "  Bad: Failed" in step_log(job, "Wait for all background steps")
    runs.client.check()


def test_failures_that_may_be_and_steps_that_are_skipped(online: Wherry, runs: Runs) -> None:
    ident = queue(runs, "id: may\nname: May\nrun: exit 1\ncontinue-on-error: true", "id: not\nname: Not\nif: false\nrun: exit 1",
                  "name: after\nrun: echo \"[${{ steps.may.outcome }}] [${{ steps.may.conclusion }}] [${{ steps.not.outcome }}]\"",
                  background=("may", "not"), controls={2: control("wait-all", "all")})
    job = runs.client.wait(ident, 60)
    records = by_name(job)
    assert job["conclusion"] == "succeeded" and records["Not"]["conclusion"] == "skipped" and records["all"]["conclusion"] == "succeeded"
    assert "[failure] [success] []" in step_log(job, "after")
    runs.client.check()


def test_one_at_a_time(online: Wherry, runs: Runs) -> None:
    """WH_BACKGROUND_STEPS, as the message sets it: the second waits for its place."""
    ident = queue(runs, "id: a\nname: A\nrun: echo a >> list; sleep 0.7; echo b >> list", "id: c\nname: C\nrun: echo c >> list",
                  "name: main\nrun: echo goes on", "name: list\nrun: tr -d '\\n' < list",
                  background=("a", "c"), controls={3: control("wait", "w", "a", "c", "nosuch")}, most=1)
    job = runs.client.wait(ident, 60)
    assert job["conclusion"] == "succeeded" and "abc" in step_log(job, "list")
    assert "Waiting for background step(s) to complete: A, C, nosuch" in step_log(job, "w")
    records = by_name(job)
    assert records["main"]["completed_at"] < records["A"]["completed_at"] <= records["C"]["started_at"]
    runs.client.check()


def test_job_is_cancelled(online: Wherry, runs: Runs) -> None:
    ident = queue(runs, "id: one\nname: One\nrun: echo started; sleep 1000", "id: two\nname: Two\nrun: echo never", "name: main\nrun: sleep 1000",
                  "name: always\nif: always()\nrun: echo cleaned", background=("one", "two"), most=1)
    runs.client.wait_for_text(ident, "started", 30)
    runs.client.cancel(ident)
    job = runs.client.wait(ident, 60)
    records = by_name(job)
    assert job["conclusion"] == "canceled"
    assert [records[n]["conclusion"] for n in ("One", "Two", "main", "always")] == ["canceled", "skipped", "canceled", "succeeded"]
    runs.client.check()


def test_secrets_and_commands_of_both(online: Wherry, runs: Runs) -> None:
    """Lines of two steps at once: each in its own log, masked by what either of them said to mask."""
    ident = queue(runs, "id: noisy\nname: Noisy\nrun: |\n  echo '::add-mask::hunter-two'; touch masked\n"
                  "  for i in $(seq 200); do echo \"noisy $i hunter-two\"; echo \"::warning::w$i\"; done",
                  "name: main\nrun: |\n  while [ ! -e masked ]; do sleep 0.05; done; sleep 0.3\n  for i in $(seq 200); do echo \"main $i hunter-two\"; done",
                  background=("noisy",))
    job = runs.client.wait(ident, 60)
    noisy, main = step_log(job, "Noisy"), step_log(job, "main")
    assert "noisy 200 ***" in noisy and "main" not in noisy and "main 200 ***" in main and "noisy" not in main
    assert "hunter-two\n" not in main and len([a for a in by_name(job)["Noisy"]["annotations"] if a["level"] == "warning"]) == 10
    runs.client.check()
