"""Job messages that cannot be what a service sends: a clear error, and the agent goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.service.client import Client, step_log
from tests.service import workflow

from .conftest import Runs
from .support.agent import Wherry
from .test_jobs import steps

DEEP = b'{"steps":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
WHOLE = json.dumps({"messageType": "RunnerJobRequest", "jobId": "11111111-2222-4333-8444-555555555555", "steps": []}).encode()

BAD = {
    "truncated": WHOLE[:-20],
    "not json": b"<html>hello</html>",
    "empty": b"",
    "null": b"null",
    "array": b"[]",
    "number": b"7",
    "deep": DEEP,
    "no endpoint": WHOLE,
    "not utf-8": b'{"jobId":"\xff\xfe"}',
    "nul byte": b'{"jobId":"a\\u0000b"}',
    "wrong types": b'{"messageType":7,"jobId":[],"plan":"x","steps":{"a":1},"variables":[],"contextData":5,"resources":true}',
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD.keys())
def test_unreadable(online: Wherry, runs: Runs, client: Client, raw: bytes) -> None:
    ident = client.queue_raw(raw)
    client.wait(ident, until="acquired")
    job = runs.run(steps("run: echo next"), timeout=180)
    assert job["conclusion"] == "succeeded"
    log = online.log_text()
    assert online.alive and ("acquire the job" in log or "message" in log)


def test_oversized(online: Wherry, runs: Runs, client: Client) -> None:
    ident = client.queue_raw(b'{"pad":"' + b"x" * (40 << 20) + b'"}')
    client.wait(ident, until="acquired")
    assert runs.run(steps("run: echo next"), timeout=180)["conclusion"] == "succeeded"


def message(runs: Runs, text: str) -> dict:
    return workflow.build(Path(".github/workflows/ci.yml"), text=text, event=runs.event(), inputs=workflow.Inputs()).message


def test_unknown_step_type(online: Wherry, runs: Runs, client: Client) -> None:
    built = message(runs, steps("run: echo one"))
    built["steps"][0]["type"] = "telepathy"
    job = client.wait(client.queue(built, lenient=["logs"]))
    assert job["conclusion"] == "failed"
    assert any("telepathy" in a["message"] for a in job["annotations"]) or "telepathy" in (job["log"] or {"text": ""})["text"]


def test_unknown_reference_type(online: Wherry, runs: Runs, client: Client) -> None:
    built = message(runs, steps("run: echo one"))
    built["steps"][0]["reference"] = {"type": "hearsay"}
    job = client.wait(client.queue(built, lenient=["logs"]))
    assert job["conclusion"] == "failed"


@pytest.mark.parametrize("text,said", [
    ("run: echo ${{ github. }}", "Unexpected symbol: ')'"),
    ("run: echo ${{ nosuch.x }}", "Unrecognized named-value: 'nosuch'"),
    ("run: echo ${{ nosuch() }}", "Unrecognized function: 'nosuch'"),
    ("run: echo ${{ 1 = 2 }}", "Unexpected symbol: '='"),
    ("if: ${{ github.ref == }}\nrun: echo x", "Unexpected symbol: ')'"),
    ("if: contains('a')\nrun: echo x", "Too few parameters supplied"),
])
def test_expression_errors_show_where(online: Wherry, runs: Runs, text: str, said: str) -> None:
    job = runs.run(steps("name: bad\n" + text), lenient=[])
    assert job["conclusion"] == "failed"
    log = step_log(job, "bad")
    assert said in log
    assert ".github/workflows/ci.yml (Line: 7" in log or "Located at position" in log
    runs.client.check()


def test_missing_shell_and_directory(online: Wherry, runs: Runs) -> None:
    job = runs.run(steps("name: shell\nshell: no-such-shell {0}\nrun: echo x", "name: folder\nif: always()\nworking-directory: nowhere\nrun: echo x"))
    assert job["conclusion"] == "failed"
    assert "no-such-shell" in step_log(job, "shell") and "nowhere" in step_log(job, "folder")
    runs.client.check()
