"""What a job reports: states of steps, logs, the live console, summaries, annotations, diagnostics; and what fails on the way."""

from __future__ import annotations

import base64
import io
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.service.client import Client, step_log

from .conftest import Runs
from .support.agent import Wherry, descendants, memory
from .test_jobs import steps

# 70,000 lines of about 90 bytes: four blocks of 2 MiB, stamps included.
MANY = "name: many\nrun: |\n  seq -f 'line %06g, and something behind it that makes it about as long as lines are' 70000"


def numbers(text: str) -> list[int]:
    return [int(line[5:11]) for line in text.splitlines() if line.startswith("line ")]


def state_texts(job: dict[str, Any], name: str) -> list[int]:
    return [status for _, status, _ in next(s for s in job["steps"] if s["name"] == name)["history"]]


# -- steps -----------------------------------------------------------------------------------------------------------
def test_states_of_steps_come_merged_and_in_order(online: Wherry, runs: Runs, client: Client) -> None:
    job = runs.run(steps(*(f"name: s{n}\nrun: 'true'" for n in range(30)), "name: last\nrun: sleep 1.2"))
    updates = client.requests(job["id"], "results.steps")
    # Thirty short steps: far fewer updates than changes, at most one each half second but for the first and the last.
    assert len(updates) < 12
    for n in range(30):
        seen = state_texts(job, f"s{n}")
        assert seen[-1] == 6 and seen == sorted(seen, key=[5, 3, 6].index)
    assert 3 in state_texts(job, "last")
    client.check()


def test_a_step_update_that_fails_is_sent_again_with_the_newest_state(online: Wherry, runs: Runs, client: Client) -> None:
    client.fault("results.steps", "status", status=500, times=3)
    job = runs.run(steps("name: a\nrun: sleep 3", "name: b\nrun: 'true'"))
    assert [state_texts(job, n)[-1] for n in ("a", "b")] == [6, 6]
    client.check()


# -- logs ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("sdk", [False, True], ids=["plain", "sdk"])
def test_a_long_log_is_an_append_blob(online: Wherry, runs: Runs, client: Client, sdk: bool) -> None:
    job = runs.run(steps(MANY), variables={"system.github.results_upload_with_sdk": "true"} if sdk else {})
    log = step_log(job, "many")
    assert numbers(log) == list(range(1, 70001)) and numbers(job["log"]["text"]) == []
    blob = next(b for b in job["logs"].values() if b["type"] == "AppendBlob")
    assert blob["sealed"] and [size for _, size in blob["blocks"]][:3] == [2 << 20] * 3
    assert job["log"]["type"] == "AppendBlob" and len(job["log"]["blocks"]) >= 4
    # The first blocks went while the step ran.
    assert blob["blocks"][0][0] < job["times"]["completed"]
    client.check()


@pytest.mark.parametrize("sdk", [False, pytest.param(True, marks=pytest.mark.long)], ids=["plain", "sdk"])
@pytest.mark.parametrize("fault", [
    {"do": "status", "status": 403}, {"do": "status", "status": 403, "skip": 3, "times": 2}, {"do": "status", "status": 500, "skip": 2},
    {"do": "reset", "skip": 3}, {"do": "reset", "when": "after", "skip": 1}, {"do": "reset", "when": "after", "skip": 4, "times": 2},
    {"do": "delay", "seconds": 3, "skip": 2}], ids=lambda f: "-".join(str(v) for v in f.values()))
def test_blocks_that_fail(online: Wherry, runs: Runs, client: Client, fault: dict[str, Any], sdk: bool) -> None:
    client.fault("blob.put", **fault)
    job = runs.run(steps(MANY), timeout=90, variables={"system.github.results_upload_with_sdk": "true"} if sdk else {})
    assert numbers(step_log(job, "many")) == list(range(1, 70001))
    assert len(numbers(job["log"]["text"].replace("Z line", "\nline"))) == 70000
    client.check()


def test_a_log_that_is_refused_for_good_fails_no_job(online: Wherry, runs: Runs, client: Client) -> None:
    client.fault("results.GetStepLogsSignedBlobURL", "status", status=400, times=None)
    job = runs.run(steps("name: a\nrun: echo hi"), lenient=["logs"])
    assert job["conclusion"] == "succeeded" and "hi" in job["log"]["text"]
    assert "not everything reached the results service" in online.log_text()


def test_metadata_is_tried_again(online: Wherry, runs: Runs, client: Client) -> None:
    client.fault("results.Create*Metadata", "status", status=500, times=3)
    assert runs.run(steps("run: echo hi"))["conclusion"] == "succeeded"
    client.check()


# -- the live console ------------------------------------------------------------------------------------------------
def shown(job: dict[str, Any]) -> list[str]:
    return [line for message in job["feed"] for line in message["lines"]]


def test_live_lines(online: Wherry, runs: Runs, client: Client) -> None:
    job = runs.run(steps("name: a\nrun: |\n  printf 'one\\n\\nthree\\n'\n  head -c 1500 /dev/zero | tr '\\0' x; echo\n  echo '::error::bad'\n  sleep 1"))
    lines = shown(job)
    assert "##[error]bad" in lines and "x" * 1024 + "..." in lines and "" not in lines
    start = {line: m["start"] + n for m in job["feed"] for n, line in enumerate(m["lines"])}
    assert start["three"] == start["one"] + 2  # empty lines count, and are not sent
    assert not any(line[:4].isdigit() and "T" in line[:20] and "Z " in line[:40] for line in lines)  # no stamps
    assert job["feed_closes"] == [1000]
    client.check()


def test_a_flood_shows_its_tail(online: Wherry, runs: Runs, client: Client) -> None:
    """More lines than the console takes: the newest are shown, at most 100 a message."""
    job = runs.run(steps("name: many\nrun: |\n  seq -f 'line %06g' 100000\n  sleep 2\n  echo over"))
    lines = shown(job)
    assert "line 100000" in lines and "over" in lines and len(lines) < 20000
    assert max(len(m["lines"]) for m in job["feed"]) <= 100
    assert numbers(step_log(job, "many")) == list(range(1, 100001))
    client.check()


@pytest.mark.parametrize("fault", [
    ("feed.connect", {"do": "status", "status": 503, "times": 2}), ("feed.connect", {"do": "status", "status": 401, "times": 1}),
    ("feed.message", {"do": "reset"}), ("feed.connect", {"do": "body", "body": "no WebSocket", "times": 2}), ("feed.message", {"do": "body", "body": "not a frame"}), ("feed.connect", {"do": "reset", "times": 2})],
    ids=["refused", "denied", "closed", "no handshake", "garbage", "reset"])
def test_the_console_comes_back(online: Wherry, runs: Runs, client: Client, fault: tuple[str, dict[str, Any]]) -> None:
    client.fault(fault[0], **fault[1])
    job = runs.run(steps("name: a\nrun: |\n  for n in $(seq 15); do echo tick $n; sleep 0.2; done"))
    assert job["conclusion"] == "succeeded" and "tick 15" in shown(job)
    client.check()


@pytest.mark.parametrize("do", ["status", "hang"])
def test_a_console_that_never_works_harms_nothing(online: Wherry, runs: Runs, client: Client, do: str) -> None:
    client.fault("feed.message" if do == "hang" else "feed.connect", do, status=500, times=None)
    job = runs.run(steps("name: a\nrun: |\n  seq -f 'line %06g' 30000\n  sleep 1"), timeout=40)
    assert job["conclusion"] == "succeeded" and numbers(step_log(job, "a")) == list(range(1, 30001))
    assert do == "hang" or "off for 10 minutes" in online.log_text()
    client.check()


# -- what else goes with a job ---------------------------------------------------------------------------------------
def test_annotations_are_limited(online: Wherry, runs: Runs, client: Client) -> None:
    job = runs.run(steps("name: a\nrun: |\n  for n in $(seq 15); do echo \"::warning::w$n\"; done\n  echo \"::error file=a.c,line=3,endLine=3,col=2,title=T::e\"\n"
                         "  printf '::notice::'; head -c 5000 /dev/zero | tr '\\0' n; echo", "name: b\nrun: echo '::warning::other'"))
    found = [a for a in job["annotations"] if a["step"] == "a"]
    assert [a["message"] for a in found if a["level"] == "warning"] == [f"w{n}" for n in range(1, 11)]
    error = next(a for a in found if a["level"] == "failure")
    assert {k: error[k] for k in ("path", "startLine", "endLine", "startColumn", "title")} == {
        "path": "a.c", "startLine": 3, "endLine": 3, "startColumn": 2, "title": "T"}
    assert [len(a["message"]) for a in found if a["level"] == "notice"] == [4096]
    log = step_log(job, "a").splitlines()
    assert "w1" in log[found[0]["startLine"] - 1] and "##[warning]w15" in log  # the place in the log; all are in it
    assert [a["message"] for a in job["annotations"] if a["step"] == "b"] == ["other"]
    client.check()


@pytest.mark.parametrize("asked", [True, False])
def test_annotations_of_the_job(online: Wherry, runs: Runs, client: Client, asked: bool) -> None:
    ident = runs.queue(steps("run: |\n  echo started\n  sleep 30"), variables={"actions_send_job_level_annotations": "true"} if asked else {})
    client.wait_for_text(ident, "started", 30)
    online.stop()
    job = client.wait(ident, 60)
    assert job["conclusion"] == "failed"
    own = [a["message"] for a in job["completion"]["annotations"]]
    assert (len(own) == 1 and own[0].startswith("The runner has received a shutdown signal.")) if asked else own == []


def test_summaries(online: Wherry, runs: Runs, client: Client) -> None:
    job = runs.run(steps("id: a\nrun: |\n  printf '# T\\nkey s3cretvalue end\\n' >> \"$GITHUB_STEP_SUMMARY\"",
                         "name: big\nrun: head -c $((1024 * 1024 + 1)) /dev/zero | tr '\\0' s >> \"$GITHUB_STEP_SUMMARY\"\ncontinue-on-error: true",
                         "name: full\nrun: head -c $((1024 * 1024)) /dev/zero | tr '\\0' s >> \"$GITHUB_STEP_SUMMARY\""), secrets={"KEY": "s3cretvalue"})
    texts = [s["text"] for s in job["summaries"].values()]
    assert "# T\nkey *** end\n" in texts and len(texts) == 2 and {len(t) for t in texts} == {16, 1024 * 1024}
    assert "1024k" in step_log(job, "big")
    client.check()


def test_telemetry_of_commands(online: Wherry, runs: Runs, client: Client) -> None:
    job = runs.run(steps("run: |\n  echo '::set-output name=a::1'\n  echo '::set-output name=b::2'\n  echo '::save-state name=c::3'\n"
                         "  echo '::stop-commands::pause-logging' || true\ncontinue-on-error: true"))
    assert job["completion"]["telemetry"] == [
        {"message": "DeprecatedCommand: set-output", "type": "ActionCommand"}, {"message": "DeprecatedCommand: save-state", "type": "ActionCommand"},
        {"message": "Invoked ::stopCommand:: with token: [pause-logging]", "type": "ActionCommand"}]
    client.check()


def unzip(job: dict[str, Any]) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(job["diagnostics"]))) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_diagnostics(online: Wherry, runs: Runs, client: Client) -> None:
    job = runs.run(steps("name: a\nrun: echo hi s3cretvalue"), variables={"ACTIONS_RUNNER_DEBUG": "true"}, secrets={"KEY": "s3cretvalue"})
    files = unzip(job)
    name = next(n for n in files if n.startswith("Worker_"))
    assert name.endswith("-utc.log") and f"job {job['id']}" in files[name] and "name: box1" in files["environment.txt"]
    log = step_log(job, "Complete job")
    assert "Uploading runner diagnostic logs\nCompleted runner diagnostic log upload\nCleaning up orphan processes" in log
    assert runs.run(steps("run: echo hi"))["diagnostics"] is None
    assert not list((online.folder / "work" / "_diag").glob("Worker_*"))
    client.check()


def test_nothing_of_a_job_stays_in_the_spool(online: Wherry, runs: Runs, client: Client) -> None:
    runs.run(steps(MANY))
    deadline = time.monotonic() + 10
    while list((online.folder / "work" / "_diag" / "spool").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not list((online.folder / "work" / "_diag" / "spool").iterdir())
    client.check()


# -- more log than the network takes away ----------------------------------------------------------------------------
def limited(wherry: Wherry, client: Client, *options: str) -> Wherry:
    wherry.register(client)
    wherry.start("--log-spool", "16m", *options, client=client)
    return wherry


FLOOD = "name: flood\nrun: |\n  echo began\n  seq -f 'line %06g, and something behind it that makes it about as long as lines are' 400000\n  echo over"


def test_a_step_waits_for_a_slow_network(wherry: Wherry, runs: Runs, client: Client) -> None:
    """40 MB of log, 16 MiB on disk: the step is held and nothing is lost."""
    limited(wherry, client, "--log-wait", "300")
    client.fault("blob.put", "status", status=503, times=None)
    ident = runs.queue(steps(FLOOD))
    deadline = time.monotonic() + 60
    while "its step waits too" not in wherry.log_text():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    client.clear_faults()
    job = client.wait(ident, 150)
    assert numbers(step_log(job, "flood")) == list(range(1, 400001)) and "are missing here" not in job["log"]["text"]
    client.check()


def test_a_step_waits_no_longer_than_its_bound(wherry: Wherry, runs: Runs, client: Client) -> None:
    """The blob store takes nothing for longer than the step may be held: lines are left out, and the log says how many."""
    limited(wherry, client, "--log-wait", "1")
    fault = client.fault("blob.put", "status", status=500, times=None)
    ident = runs.queue(steps(FLOOD, "name: next\nrun: echo next"))
    deadline = time.monotonic() + 60
    while not any(m["lines"] for m in client.job(ident)["feed"] if any("are missing here" in line for line in m["lines"])):
        assert time.monotonic() < deadline, "the step was held for too long"
        time.sleep(0.2)
    assert fault
    client.clear_faults()
    job = client.wait(ident, 120)
    log = step_log(job, "flood").splitlines()
    told = next(line for line in log if "are missing here" in line)
    kept = [line for line in log if line.startswith("line ")]
    missing = int(told.removeprefix("##[warning]").split()[0])
    # Whatever is there is there in order, and what is missing is counted ("over" may be among it).
    assert numbers("\n".join(kept)) == sorted(set(numbers("\n".join(kept)))) and len(kept) + missing in (400000, 400001)
    assert "next" in step_log(job, "next") and job["conclusion"] == "succeeded"
    client.check()


LONG_STEPS, LONG_LINES = 10, 200_000


def size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


@pytest.mark.long
def test_a_job_of_long_logs(wherry: Wherry, runs: Runs, client: Client) -> None:
    """Ten steps of 200,000 lines, 2 GB in all: memory and spool stay bounded, nothing is lost."""
    client.options(passing_logs=True)
    wherry.register(client)
    wherry.start("--log-spool", "64m", "--log-wait", "7200", client=client)
    text = "name: s{0}\nrun: |\n  pad=$(head -c 970 /dev/zero | tr '\\0' x)\n  seq -f \"line %06g $pad\" 200000"
    began = time.monotonic()
    ident = runs.queue(steps(*(text.replace("{0}", str(n)) for n in range(LONG_STEPS))), lenient=["renew"])
    most_memory = most_disk = 0
    deadline = time.monotonic() + 2400
    spool = wherry.folder / "work" / "_diag" / "spool"
    while not client.requests(ident, "run.complete"):
        assert time.monotonic() < deadline
        for pid in descendants(wherry.pid):
            try:
                most_memory = max(most_memory, memory(pid)["VmRSS"])
            except (OSError, KeyError):
                pass
        most_disk = max(most_disk, sum(size(file) for file in spool.glob("*/*")))
        time.sleep(0.5)
    took = time.monotonic() - began
    job = client.wait(ident, 300)
    whole = job["log"]["passing"]
    print(f"2 GB of log: {whole['size'] / 1e6:.0f} MB in {took:.0f} s, worker at most {most_memory / 1024:.1f} MB, spool at most {most_disk / 1e6:.0f} MB")
    assert job["conclusion"] == "succeeded" and whole["size"] > 2_000_000_000
    assert (whole["numbered"], whole["begun"], whole["gaps"]) == (LONG_STEPS * LONG_LINES, LONG_STEPS, 0)
    assert 0 < most_memory < 40 << 10 and 0 < most_disk < 82 << 20
    client.check()
