"""Jobs of run steps: order, contexts, outputs, files, masking, logs and what the service is told."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import time
from collections import Counter
from typing import Any

from tests.service.client import Client, step_log

from .conftest import Runs
from .support.agent import Wherry

HEAD = "name: ci\non: push\njobs:\n  one:\n    runs-on: self-hosted\n"


def steps(*texts: str, top: str = "") -> str:
    """A workflow of one job with these steps."""
    lines = [HEAD + top + "    steps:\n"]
    for text in texts:
        body = text.strip("\n").split("\n")
        lines.append("      - " + body[0] + "\n" + "".join("        " + line + "\n" for line in body[1:]))
    return "".join(lines)


def by_name(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {r["name"]: r for r in job["results"]}


def test_two_steps(online: Wherry, runs: Runs) -> None:
    job = runs.run(steps("run: echo one", "run: |\n  echo two\n  echo three"))
    assert job["conclusion"] == "succeeded"
    assert "two\nthree" in step_log(job, "Run echo two")
    assert [r["name"] for r in sorted(job["results"], key=lambda r: r["number"])] == [
        "Set up job", "Run echo one", "Run echo two", "Complete job"]
    log = step_log(job, "Run echo one")
    assert log.startswith("##[group]Run echo one\n\x1b[36;1mecho one\x1b[0m\nshell: /usr/bin/bash -e {0}\n") and "##[endgroup]" in log
    runs.client.check()


def test_failing_step_skips_the_rest(online: Wherry, runs: Runs) -> None:
    job = runs.run(steps("run: exit 3", "run: echo never", "if: failure()\nrun: echo cleanup", "if: always()\nrun: echo always"))
    assert job["conclusion"] == "failed"
    results = by_name(job)
    assert [results[f"Run {n}"]["conclusion"] for n in ("exit 3", "echo never", "echo cleanup", "echo always")] == [
        "failed", "skipped", "succeeded", "succeeded"]
    assert "##[error]Process completed with exit code 3." in step_log(job, "Run exit 3")
    assert [a["message"] for a in job["annotations"]] == ["Process completed with exit code 3."]
    assert job["annotations"][0]["level"] == "failure"
    runs.client.check()


def test_contexts_outputs_and_files(online: Wherry, runs: Runs) -> None:
    text = steps(
        "id: a\nrun: |\n  echo n=42 >> \"$GITHUB_OUTPUT\"\n  printf 'm<<E\\nx\\ny\\nE\\n' >> \"$GITHUB_OUTPUT\"\n  echo FROM_FILE=yes >> \"$GITHUB_ENV\"\n"
        "  mkdir -p \"$RUNNER_TEMP/bin\" && printf '#!/bin/sh\\necho tool ran\\n' > \"$RUNNER_TEMP/bin/tool\" && chmod +x \"$RUNNER_TEMP/bin/tool\"\n"
        "  echo \"$RUNNER_TEMP/bin\" >> \"$GITHUB_PATH\"\n  echo '# Summary' >> \"$GITHUB_STEP_SUMMARY\"",
        "name: read\nenv: {N: \"${{ steps.a.outputs.n }}\"}\nrun: |\n  echo \"n is $N, env is $FROM_FILE and ${{ env.FROM_FILE }}\"\n  tool\n"
        "  echo \"repo $GITHUB_REPOSITORY ref $GITHUB_REF event $GITHUB_EVENT_NAME ci $CI\"\n  echo \"var ${{ vars.COLOR }}\"",
        top="    env: {LEVEL: job}\n    outputs:\n      n: ${{ steps.a.outputs.n }}\n      m: ${{ steps.a.outputs.m }}\n      empty: ${{ steps.a.outputs.none }}\n")
    job = runs.run(text, vars={"COLOR": "blue"})
    log = step_log(job, "read")
    assert "n is 42, env is yes and yes" in log and "tool ran" in log and "var blue" in log
    assert "repo acme/web ref refs/heads/main event push ci true" in log
    assert job["outputs"] == {"n": "42", "m": "x\ny"}
    assert [s["text"] for s in job["summaries"].values()] == ["# Summary\n"]
    runs.client.check()


def test_secrets_are_masked_everywhere(online: Wherry, runs: Runs) -> None:
    secret = "s3cr3t-Value!"
    encoded = base64.b64encode(secret.encode()).decode()
    job = runs.run(steps(
        f"id: leak\nrun: |\n  echo \"plain ${{{{ secrets.PASS }}}} end\"\n  echo \"b64 {encoded} end\"\n  echo \"::warning::has ${{{{ secrets.PASS }}}}\"\n"
        "  echo \"v=${{ secrets.PASS }}\" >> \"$GITHUB_OUTPUT\"\n  echo \"${{ secrets.PASS }}\" >> \"$GITHUB_STEP_SUMMARY\"\n"
        "  echo \"::add-mask::made-up-later\"\n  echo \"and made-up-later\"\n  echo \"token ${{ github.token }}\"",
        top="    outputs: {v: \"${{ steps.leak.outputs.v }}\"}\n"), secrets={"PASS": secret})
    log = job["log"]["text"]
    assert secret not in log and encoded not in log
    # A mask is not retroactive: the listing of the script was written before it.
    assert "made-up-later" not in log[log.index("Z plain ***"):]
    assert "plain *** end" in log and "b64 *** end" in log and "and ***" in log and "token ***" in log
    assert job["outputs"] == {}
    assert "Skip output 'v' since it may contain secret." in log
    runs.client.check()


def test_log_is_complete_and_in_order(online: Wherry, runs: Runs) -> None:
    count = 30000
    job = runs.run(steps(f"name: many\nrun: seq {count}", "name: wide\nrun: head -c 3000000 /dev/zero | tr '\\0' x | fold -w 500"), timeout=120)
    lines = [line for line in step_log(job, "many").split("\n") if re.fullmatch(r"\d+", line)]
    assert lines == [str(n) for n in range(1, count + 1)]
    wide = [line for line in step_log(job, "wide").split("\n") if line.startswith("xxx")]
    assert sum(map(len, wide)) == 3000000
    runs.client.check()


def test_odd_output(online: Wherry, runs: Runs) -> None:
    job = runs.run(steps(r"""name: odd
run: |
  printf 'a\rb\rc\n'
  printf 'bad \377\376 bytes\n'
  printf 'no newline at the end'"""))
    log = step_log(job, "odd")
    assert "a\nb\nc\nbad \ufffd\ufffd bytes\nno newline at the end" in log
    runs.client.check()


def test_live_lines_arrive_while_the_step_runs(online: Wherry, runs: Runs) -> None:
    ident = runs.queue(steps("run: |\n  echo live-marker\n  while [ ! -e \"$GITHUB_WORKSPACE/go\" ]; do sleep 0.1; done"))
    runs.client.wait_for_text(ident, "live-marker", 20)
    workspace = next((online.folder / "work").rglob("web/web"))
    (workspace / "go").touch()
    job = runs.client.wait(ident)
    assert job["conclusion"] == "succeeded" and job["feed_closes"] and set(job["feed_closes"]) <= {1000}
    runs.client.check()


def test_commands(online: Wherry, runs: Runs) -> None:
    job = runs.run(steps("""name: commands
run: |
  echo "::group::folded"
  echo inside
  echo "::endgroup::"
  echo "::notice file=a.txt,line=3,title=T::note%0Atwo"
  echo "::error::broken"
  echo "::debug::hidden"
  echo "::stop-commands::pause-token"
  echo "::error::not one"
  echo "::pause-token::"
  echo "::warning::last" """))
    log = step_log(job, "commands")
    assert "##[group]folded\ninside\n##[endgroup]" in log and "##[error]broken" in log and "hidden" not in log.split("##[endgroup]", 1)[1]
    levels = Counter(a["level"] for a in job["annotations"])
    assert levels == {"notice": 1, "failure": 1, "warning": 1}
    note = next(a for a in job["annotations"] if a["level"] == "notice")
    assert (note["path"], note["startLine"], note["title"], note["message"]) == ("a.txt", 3, "T", "note\ntwo")
    runs.client.check()


def test_continue_on_error_and_timeout(online: Wherry, runs: Runs) -> None:
    job = runs.run(steps("id: soft\ncontinue-on-error: true\nrun: exit 1", "name: seen\nrun: echo ${{ steps.soft.outcome }} ${{ steps.soft.conclusion }}",
                         "name: fine\ntimeout-minutes: 10\nrun: echo ok"))
    assert job["conclusion"] == "succeeded" and "failure success" in step_log(job, "seen")
    runs.client.check()


def test_steps_run_as_somebody_else(online: Wherry, runs: Runs) -> None:
    job = runs.run(steps("name: who\nrun: |\n  id -u\n  cat <&0 | wc -c\n  test ! -r \"$WHERRY_STATE/index.db\" || echo readable"))
    log = step_log(job, "who").split("##[endgroup]\n")[1].split("\n")
    if os.getuid() == 0:
        assert int(log[0]) != 0
    assert log[1] == "0" and "readable" not in log
    runs.client.check()


def test_leftovers_of_a_killed_worker_are_killed(online: Wherry, runs: Runs) -> None:
    """The worker can't tidy up any more: the agent knows the job's processes by their mark."""
    job = runs.run(steps("run: |\n  setsid -f sleep 98765 </dev/null >/dev/null 2>&1\n  kill -9 $PPID\n  sleep 5"))
    assert job["conclusion"] == "failed"
    for _ in range(50):
        left = subprocess.run(["pgrep", "-f", "^sleep 98765$"], capture_output=True, text=True).stdout.split()
        if not left:
            break
        time.sleep(0.1)
    assert not left


def test_leftovers_are_killed(online: Wherry, runs: Runs) -> None:
    job = runs.run(steps("name: daemon\nrun: |\n  setsid sleep 12345 >/dev/null 2>&1 &\n  echo \"pid $!\""))
    assert job["conclusion"] == "succeeded"
    assert subprocess.run(["pgrep", "-f", "sleep 12345"], stdout=subprocess.DEVNULL).returncode == 1
    runs.client.check()


def test_unknown_action_fails_its_step(online: Wherry, runs: Runs) -> None:
    job = runs.run(steps("uses: acme/unheard-of@v1"))
    assert job["conclusion"] == "failed"
    assert "acme/unheard-of" in job["log"]["text"]
    runs.client.check()


def test_many_jobs_in_a_row(online: Wherry, runs: Runs, client: Client) -> None:
    idents = [runs.queue(steps(f"run: echo job {n}")) for n in range(5)]
    for ident in idents:
        assert client.wait(ident)["conclusion"] == "succeeded"
    client.check()


def test_large_append_log_uses_blocks(online: Wherry, runs: Runs) -> None:
    job = runs.run(steps("name: big\nrun: seq 900000"), timeout=180)
    ident = next(s["id"] for s in job["steps"] if s["name"] == "big")
    assert job["logs"][ident]["type"] == "AppendBlob" and len(job["logs"][ident]["blocks"]) > 1
    runs.client.check()


def test_sdk_way_of_upload(online: Wherry, runs: Runs) -> None:
    job = runs.run(steps("name: big\nrun: seq 400000"), variables={"system.github.results_upload_with_sdk": "true"}, timeout=180)
    assert job["conclusion"] == "succeeded"
    runs.client.check()
