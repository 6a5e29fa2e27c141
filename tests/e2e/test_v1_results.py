"""What a job of V1 reports: records, logs in pages, attachments, the live console, the end; and what fails on the way."""

from __future__ import annotations

import json
from typing import Any, Callable

import pytest

from tests.service.client import Client, step_log

from .conftest import Runs
from .support.agent import Wherry
from .test_jobs import steps
from .test_results import numbers, shown, unzip

V1 = {"registration": "v1", "listener": "v1", "job_flow": "pipelines"}


@pytest.fixture
def v1(wherry: Wherry, client: Client) -> Callable[..., Wherry]:
    def start(**options: Any) -> Wherry:
        client.options(**{**V1, **options})
        wherry.register(client)
        wherry.start(client=client)
        return wherry

    return start


@pytest.mark.parametrize("options", [{}, {"v1_websocket": False}, {"v1_results": True}], ids=["socket", "post", "results beside it"])
def test_v1(v1, runs: Runs, client: Client, options: dict[str, Any]) -> None:
    v1(**options)
    job = runs.run(steps("name: a\nid: a\nrun: |\n  echo hello\n  echo '::warning file=x.c,line=2::careful'\n  echo n=1 >> \"$GITHUB_OUTPUT\"\n"
                         "  echo '# S' >> \"$GITHUB_STEP_SUMMARY\"\n  sleep 1", "name: b\nif: false\nrun: 'true'",
                         top="    outputs:\n      n: ${{ steps.a.outputs.n }}\n"))
    assert job["conclusion"] == "succeeded" and "hello" in step_log(job, "a")
    assert "hello" in shown(job) and [s["text"] for s in job["summaries"].values()] == ["# S\n"]
    assert job["outputs"] == {"n": "1"}
    assert [(a["message"], a["path"], a["startLine"]) for a in job["annotations"]] == [("careful", "x.c", 2)]
    client.check()


def test_v1_pages_of_a_long_log(v1, runs: Runs, client: Client) -> None:
    v1()
    job = runs.run(steps("name: many\nrun: |\n  seq -f 'line %06g, and something behind it that makes it about as long as lines are' 150000"), timeout=90)
    assert numbers(step_log(job, "many")) == list(range(1, 150001))
    pages = next(b for b in job["logs"].values() if b["size"] > 1 << 20)["blocks"]
    assert len(pages) == 2 and 8 << 20 <= pages[0][1] < (8 << 20) + 200
    client.check()


@pytest.mark.parametrize("at,fault", [
    ("v1.records", {"do": "status", "status": 500, "times": 3}), ("v1.log-append", {"do": "status", "status": 503, "times": 2}),
    pytest.param("v1.log-create", {"do": "status", "status": 500, "times": 2}, marks=pytest.mark.long),
    pytest.param("v1.attachment", {"do": "status", "status": 500}, marks=pytest.mark.long),
    pytest.param("v1.feed", {"do": "status", "status": 500, "times": 2}, marks=pytest.mark.long),
    pytest.param("v1.event", {"do": "status", "status": 500}, marks=pytest.mark.long),
    ("v1.records", {"do": "reset", "when": "after"}), ("feed.connect", {"do": "status", "status": 503, "times": None}),
    ("feed.message", {"do": "reset"})], ids=lambda v: v if isinstance(v, str) else "-".join(str(x) for x in v.values()))
def test_v1_one_failure(v1, runs: Runs, client: Client, at: str, fault: dict[str, Any]) -> None:
    v1(v1_websocket=at != "v1.feed")
    client.fault(at, **fault)
    job = runs.run(steps("name: a\nrun: |\n  echo hello\n  echo '# S' >> \"$GITHUB_STEP_SUMMARY\"\n  for n in 1 2 3 4 5; do sleep 0.3; echo tick $n; done"), timeout=90)
    assert job["conclusion"] == "succeeded" and "hello" in step_log(job, "a") and "tick 5" in shown(job)
    client.check()


def test_v1_diagnostics(v1, runs: Runs, client: Client) -> None:
    v1()
    job = runs.run(steps("name: a\nrun: echo hi"), variables={"ACTIONS_RUNNER_DEBUG": "true"})
    assert any(name.startswith("Worker_") for name in unzip(job))
    described = [r for r in client.requests(job["id"], "v1.attachment") if ".json" in r["path"]]
    assert len(described) == 1 and json.loads(described[0]["body"])["runnerName"] == "box1"
    client.check()
