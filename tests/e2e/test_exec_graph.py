"""``wherry exec`` with several jobs: what waits for what, matrices, conditions, workflows that call workflows."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.service.client import Client

from .support.agent import Wherry
from .support.gitserver import GitServer
from .support.repository import Repository


@pytest.fixture
def tree(place: Path) -> Path:
    repo = Repository.create(place / "git", "acme/web", place / "tree")
    repo.write({"README.md": "x\n"})
    repo.commit()
    (place / "tree").chmod(0o755)
    return place / "tree"


def write(tree: Path, **files: str) -> None:
    folder = tree / ".github/workflows"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yml").write_text(text)


def execute(wherry: Wherry, tree: Path, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return wherry.run("exec", "--work", str(tree.parent / "work"), *arguments, cwd=tree, **options)


def results(wherry: Wherry, tree: Path, *arguments: str) -> tuple[dict, subprocess.CompletedProcess[str]]:
    out = tree.parent / "result.json"
    done = execute(wherry, tree, "--result", str(out), "ci.yml" if (tree / "ci.yml").exists() else ".github/workflows/ci.yml", *arguments)
    return (json.loads(out.read_text()) if out.exists() else {}), done


def job(body: str, **keys: str) -> str:
    """One job for a flow of `jobs: {...}`: keys as they are, a script."""
    quoted = {k: json.dumps(v) if not v.startswith(("{", "[")) and v not in ("true", "false") else v for k, v in keys.items()}
    return "{" + "".join(f"{k.replace('_', '-')}: {v}, " for k, v in quoted.items()) + "runs-on: x, steps: [{run: '" + body + "'}]}"


def flow(**jobs: str) -> str:
    return "on: push\njobs:\n" + "".join(f"  {name}: {text}\n" for name, text in jobs.items())


def conclusions(result: dict) -> dict[str, str]:
    return {name: job["conclusion"].lower() for name, job in result["jobs"].items()}


def test_needs_and_outputs(wherry: Wherry, tree: Path) -> None:
    write(tree, ci="""\
on: push
jobs:
  last:
    needs: [plan, build]
    runs-on: x
    steps:
      - run: 'echo "last: ${{ needs.build.result }} ${{ needs.build.outputs.tag }} ${{ needs.plan.outputs.list }} ${{ needs.nosuch.result }}."'
  plan:
    runs-on: x
    outputs: {list: "${{ steps.a.outputs.list }}", key: "${{ steps.a.outputs.key }}"}
    steps:
      - id: a
        run: |
          echo 'list=["a","b","c"]' >> "$GITHUB_OUTPUT"
          echo "key=${{ secrets.PASS }}" >> "$GITHUB_OUTPUT"
  build:
    needs: plan
    runs-on: x
    strategy: {matrix: {v: "${{ fromJSON(needs.plan.outputs.list) }}"}}
    outputs: {tag: "${{ matrix.v == 'b' && 'tag-b' || '' }}"}
    steps:
      - run: 'echo "row ${{ matrix.v }} ${{ strategy.job-index }}/${{ strategy.job-total }} key=${{ needs.plan.outputs.key }}."'
""")
    result, done = results(wherry, tree, "--secret", "PASS=hunter2hunter2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[last] last: success tag-b [\"a\",\"b\",\"c\"] .\n" not in done.stdout  # the shell eats the quotes
    assert "[last] last: success tag-b [a,b,c] .\n" in done.stdout, done.stdout
    for i, v in enumerate("abc"):
        assert f"[build ({v})] row {v} {i}/3 key=.\n" in done.stdout, "an output that holds a secret is dropped"
    assert conclusions(result) == {n: "succeeded" for n in ("plan", "build (a)", "build (b)", "build (c)", "last")}
    assert "hunter2" not in done.stdout + done.stderr + json.dumps(result)
    assert done.stdout.index("[plan] Cleaning up") < done.stdout.index("[build (a)]") < done.stdout.index("[last]")


def test_conditions_look_at_all_ancestors(wherry: Wherry, tree: Path) -> None:
    write(tree, ci=flow(a=job("exit 3"), b=job("echo b", needs="a"), c=job("echo c", needs="b", **{"if": "always()"}), d=job("echo d", needs="c"),
                        e=job("echo e", needs="c", **{"if": "failure()"}), f=job("echo f", needs="a", **{"if": "${{ needs.a.result == 'failure' && !cancelled() }}"}),
                        g=job("echo g"), h=job("echo h", needs="[g]", **{"if": "github.event_name == 'nothing'"}), i=job("echo i", needs="h"),
                        j=job("echo j", needs="h", **{"if": "needs.h.result == 'skipped'"}),
                        k=job("echo k", needs="h", **{"if": "always() && needs.h.result == 'skipped'"})))
    result, done = results(wherry, tree)
    assert done.returncode == 1
    # d: a failed far above; i and j: a needed job was skipped, and success() is part of every condition without a status function.
    assert conclusions(result) == {"a": "failed", "c": "succeeded", "e": "succeeded", "f": "succeeded", "g": "succeeded", "k": "succeeded"}, done.stderr
    for name in "bdhij":
        assert f"job '{name}' is skipped" in done.stderr
    assert result["conclusion"] == "failure"


def test_continue_on_error_and_fail_fast(wherry: Wherry, tree: Path) -> None:
    write(tree, ci=flow(
        a=job("exit ${{ matrix.code }}", continue_on_error="${{ matrix.code == 1 }}", strategy="{max-parallel: 1, matrix: {code: [1, 0]}}"),
        b=job("echo needs=${{ needs.a.result }}", needs="a"),
        c=job("test ${{ matrix.n }} != 1; sleep ${{ matrix.n }}", strategy="{max-parallel: 2, matrix: {n: [1, 30, 31]}}"),
        d=job("test ${{ matrix.n }} != 1", strategy="{fail-fast: false, max-parallel: 1, matrix: {n: [1, 2]}}")))
    begin = time.monotonic()
    result, done = results(wherry, tree, "--max-parallel", "4")
    assert done.returncode == 1 and time.monotonic() - begin < 25
    assert conclusions(result) == {"a (1)": "failed", "a (0)": "succeeded", "b": "succeeded", "c (1)": "failed", "c (30)": "canceled",
                                   "d (1)": "failed", "d (2)": "succeeded"}
    assert "[b] needs=success\n" in done.stdout and "job 'c (31)' is cancelled" in done.stderr


def test_forgiven_failure_is_no_failure(wherry: Wherry, tree: Path) -> None:
    write(tree, ci=flow(a=job("exit 1", continue_on_error="true"), b=job("true", needs="a")))
    result, done = results(wherry, tree)
    assert done.returncode == 0 and conclusions(result) == {"a": "failed", "b": "succeeded"}


def test_jobs_run_side_by_side(wherry: Wherry, tree: Path) -> None:
    """Each waits for the other: one after the other they would not end."""
    wait = "touch $RUNNER_TEMP/../../{0}; for i in $(seq 200); do test -e $RUNNER_TEMP/../../{1} && exit 0; sleep 0.05; done; exit 1"
    text = flow(a=job("mkdir -p /tmp/x; touch $DIR/a; " + wait.split("; ", 1)[1].replace("$RUNNER_TEMP/../../{1}", "$DIR/b")),
                b=job("touch $DIR/b; " + wait.split("; ", 1)[1].replace("$RUNNER_TEMP/../../{1}", "$DIR/a")))
    meet = tree.parent / "meet"
    meet.mkdir()
    meet.chmod(0o777)
    write(tree, ci=text.replace("mkdir -p /tmp/x; ", ""))
    result, done = results(wherry, tree, "--env", f"DIR={meet}", "--max-parallel", "2")
    assert done.returncode == 0, done.stdout + done.stderr


CALLED = """\
on:
  workflow_call:
    inputs:
      who: {type: string, required: true}
      n: {type: number, default: 7}
      b: {type: boolean}
    secrets: {KEY: {required: true}, OTHER: {}}
    outputs: {said: {value: "${{ jobs.say.outputs.said }}"}}
env: {LAYER: callee}
jobs:
  say:
    runs-on: x
    outputs: {said: "${{ steps.s.outputs.said }}"}
    steps:
      - id: s
        run: |
          echo "said=${{ inputs.who }}-${{ inputs.n + 0 == 0 && 'x' || inputs.n }}-${{ inputs.b }}" >> "$GITHUB_OUTPUT"
          echo "len=${#KEY} layer=$LAYER top=$TOP other=${{ secrets.OTHER }}. mine=${{ secrets.MINE }}."
        env: {KEY: "${{ secrets.KEY }}"}
""".replace("${{ inputs.n + 0 == 0 && 'x' || inputs.n }}", "${{ inputs.n }}")


def test_reusable_workflow(wherry: Wherry, tree: Path) -> None:
    write(tree, sub=CALLED, ci="""\
on: push
env: {TOP: caller}
jobs:
  call:
    name: Call it
    strategy: {matrix: {who: [x, y]}}
    uses: ./.github/workflows/sub.yml
    with: {who: "${{ matrix.who }}", b: "${{ github.ref_name == 'main' }}"}
    secrets: {KEY: "${{ secrets.MINE }}"}
  inherit:
    uses: ./.github/workflows/sub.yml
    with: {who: z, n: 1.5}
    secrets: inherit
  after:
    needs: [call, inherit]
    runs-on: x
    steps: [{run: 'echo "after ${{ needs.call.result }} ${{ needs.call.outputs.said }} ${{ needs.inherit.outputs.said }}"'}]
""")
    result, done = results(wherry, tree, "--secret", "MINE=0123456789", "--secret", "KEY=abcde", "--max-parallel", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(conclusions(result)) == ["Call it (x) / say", "Call it (y) / say", "after", "inherit / say"]
    assert "[Call it (x) / say] len=10 layer=callee top= other=. mine=.\n" in done.stdout
    assert "[inherit / say] len=5 layer=callee top= other=. mine=***.\n" in done.stdout
    assert "[after] after success y-7-true z-1.5-false\n" in done.stdout


@pytest.mark.parametrize("caller,said", [
    ("uses: ./.github/workflows/sub.yml\n    secrets: {KEY: k}", "Input who is required, but not provided while calling."),
    ("uses: ./.github/workflows/sub.yml\n    with: {who: a}", "Secret KEY is required, but not provided while calling."),
    ("uses: ./.github/workflows/sub.yml\n    with: {who: a, b: 'yes'}\n    secrets: {KEY: k}", "Input b is a boolean, not 'yes'"),
    ("uses: ./.github/workflows/sub.yml\n    with: {who: a, n: many}\n    secrets: {KEY: k}", "Input n is a number, not 'many'"),
    ("uses: ./.github/workflows/sub.yml\n    with: {who: a, z: 1}\n    secrets: {KEY: k}", "Invalid input, z is not defined in the referenced workflow."),
    ("uses: ./.github/workflows/sub.yml\n    with: {who: a}\n    secrets: {KEY: k, Z: k}", "Invalid secret, Z is not defined in the referenced workflow."),
    ("uses: ./.github/workflows/none.yml", "none.yml"),
    ("uses: ./.github/workflows/ci.yml", "workflow_call key is not defined in the referenced workflow"),
])
def test_bad_calls(wherry: Wherry, tree: Path, caller: str, said: str) -> None:
    write(tree, sub=CALLED, ci=f"on: push\njobs:\n  call:\n    {caller}\n  after:\n    needs: call\n    runs-on: x\n    steps: [{{run: echo never}}]\n")
    result, done = results(wherry, tree)
    assert done.returncode == 1 and said in done.stderr and "job 'call' failed" in done.stderr and "never" not in done.stdout, done.stderr
    assert re.search(r"ci\.yml \(Line: 4, Col: \d+\)", done.stderr) or "none.yml" in said, done.stderr


def test_calls_nest_ten_deep_and_no_deeper(wherry: Wherry, tree: Path) -> None:
    for n in range(2, 12):
        inner = f"uses: ./.github/workflows/w{n + 1}.yml" if n < 11 else "runs-on: x, steps: [{run: echo bottom}]"
        write(tree, **{f"w{n}": f"on: workflow_call\njobs: {{j: {{{inner}}}}}\n"})
    write(tree, ci="on: push\njobs: {j: {uses: ./.github/workflows/w3.yml}}\n")
    _, done = results(wherry, tree)
    assert done.returncode == 0 and f"[{' / '.join(['j'] * 10)}] bottom\n" in done.stdout, done.stderr
    write(tree, ci="on: push\njobs: {j: {uses: ./.github/workflows/w2.yml}}\n")
    _, done = results(wherry, tree)
    assert done.returncode == 1 and "at most 10 levels deep" in done.stderr


def test_a_job_with_what_it_needs(wherry: Wherry, tree: Path) -> None:
    write(tree, ci=flow(a=job("echo a"), b=job("echo b", needs="a"), c=job("echo c"), d=job("echo d", needs="b")))
    result, done = results(wherry, tree, "--job", "b")
    assert done.returncode == 0 and sorted(conclusions(result)) == ["a", "b"]


def test_a_job_of_one_of_several_files(wherry: Wherry, tree: Path) -> None:
    write(tree, one=flow(a=job("echo from one")), two=flow(b=job("echo from two"), c=job("true")))
    done = execute(wherry, tree, "-j", "b")
    assert done.returncode == 0 and "from two" in done.stdout and "from one" not in done.stdout
    wrong = execute(wherry, tree, "-j", "d")
    assert wrong.returncode == 1 and "there is no job 'd'; there is a, b, c" in wrong.stderr


def test_drawing_of_very_many_ways(wherry: Wherry, tree: Path) -> None:
    """Each job needs all before it: more ways through it than can be counted."""
    write(tree, ci=flow(**{f"j{i}": job("true", **({"needs": "[" + ", ".join(f"j{k}" for k in range(i)) + "]"} if i else {})) for i in range(60)}))
    done = execute(wherry, tree, ".github/workflows/ci.yml", "--graph", timeout=60)
    assert done.returncode == 0 and done.stdout.count("\n    ↓\n") == 59


def test_rows_that_are_asked_for(wherry: Wherry, tree: Path) -> None:
    write(tree, ci=flow(a=job("echo ${{ strategy.job-index }}", strategy="{matrix: {os: [x, y], v: [1, 2]}}"), b=job("true")))
    result, done = results(wherry, tree, "--matrix", "os:y", "--matrix", "v:2", "--matrix", "v:3")
    assert done.returncode == 0 and sorted(conclusions(result)) == ["a (y, 2)", "b"] and "[a (y, 2)] 3\n" in done.stdout


def test_runtime_errors_name_their_place(wherry: Wherry, tree: Path) -> None:
    write(tree, ci=flow(a=job("true"), b=job("true", needs="a", strategy="{matrix: {v: '${{ fromJSON(needs.a.outputs.none) }}'}}"),
                        c=job("true", needs="b"), d=job("true", strategy="{matrix: {v: [1], exclude: [{w: 2}]}}"),
                        e=job("true", timeout_minutes="${{ github.sha }}"), f=job("true", needs="b", **{"if": "always()"})))
    result, done = results(wherry, tree)
    assert done.returncode == 1 and sorted(conclusions(result)) == ["a", "f"]
    assert re.search(r"job 'b' failed: .*ci\.yml \(Line: 4, Col: \d+\): Error parsing fromJson|job 'b' failed: .*ci\.yml \(Line: 4, Col: \d+\): ", done.stderr), done.stderr
    assert re.search(r"job 'd' failed: .*ci\.yml \(Line: 6, Col: \d+\): Matrix exclude key 'w' does not match any key within the matrix", done.stderr)
    assert re.search(r"job 'e' failed: .*ci\.yml \(Line: 7, Col: \d+\): Unexpected value '[0-9a-f]{40}'", done.stderr)


def start(wherry: Wherry, tree: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([str(wherry.binary), "exec", ".github/workflows/ci.yml", "--work", str(tree.parent / "work"), *arguments], cwd=tree, env=wherry.env,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def read_until(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdout is not None
    said = ""
    for got in process.stdout:
        said += got
        if got.strip().endswith(line):
            return said
    raise AssertionError(f"no line {line!r}: {said}")


def test_interrupt_cancels_the_run(wherry: Wherry, tree: Path) -> None:
    write(tree, ci=flow(a=job("echo up; sleep 60"), b=job("echo never", needs="a"), c=job("echo cleaned up ${{ needs.a.result }}", needs="a", **{"if": "always()"}),
                        d=job("sleep 2; echo went on", **{"if": "always()"})))
    process = start(wherry, tree, "--max-parallel", "2")
    read_until(process, "] up")
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "[a] ##[error]The operation was canceled." in rest and "[c] cleaned up cancelled\n" in rest and "[d] went on\n" in rest
    assert "job 'b' is skipped: the run was cancelled" in rest


def test_second_interrupt_ends_all_at_once(wherry: Wherry, tree: Path) -> None:
    write(tree, ci=flow(a=job("trap \"\" INT TERM; echo up; sleep 60"), b=job("sleep 60", **{"if": "always()"}), c=job("echo never", needs="a", **{"if": "always()"})))
    process = start(wherry, tree, "--max-parallel", "2")
    read_until(process, "] up")
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 1 and time.monotonic() - begin < 8 and "never" not in rest


def test_json_lines(wherry: Wherry, tree: Path) -> None:
    write(tree, ci=flow(a=job("echo hello"), b=job("exit 2", needs="a"), c=job("true", needs="b")))
    done = execute(wherry, tree, ".github/workflows/ci.yml", "--progress", "json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert {"event": "line", "job": "a", "step": 2, "text": "hello"}.items() <= next(e for e in events if e.get("text") == "hello").items()
    ends = {e["job"]: e["result"] for e in events if e["event"] == "job" and e["state"] == "completed"}
    assert ends == {"a": "success", "b": "failure", "c": "skipped"} and events[-1]["event"] == "run" and events[-1]["result"] == "failure"
    steps = [(e["name"], e.get("conclusion")) for e in events if e["event"] == "step" and e["job"] == "b" and e["state"] == "completed"]
    assert ("Run exit 2", "failed") in steps


def test_logs_of_each_job(wherry: Wherry, tree: Path) -> None:
    write(tree, ci=flow(a=job("echo ${{ matrix.v }}-line", strategy="{matrix: {v: [1, ../2]}}")))
    done = execute(wherry, tree, ".github/workflows/ci.yml", "--logs", str(tree.parent / "logs"))
    assert done.returncode == 0
    assert sorted(p.name for p in (tree.parent / "logs").iterdir()) == ["a (.._2).log", "a (1).log"]
    assert "\n1-line\n" in (tree.parent / "logs/a (1).log").read_text()


# ---- concurrency groups ----

def test_group_within_a_run(wherry: Wherry, tree: Path) -> None:
    """One runs, one waits; a third takes the place of the one that waits."""
    text = flow(a=job("echo row ${{ matrix.v }}; sleep 1", strategy="{fail-fast: false, matrix: {v: [1, 2, 3]}}", concurrency="deploy"),
                b=job("echo with b", concurrency="{group: other}"))
    write(tree, ci=text)
    result, done = results(wherry, tree, "--max-parallel", "4")
    assert conclusions(result) == {"a (1)": "succeeded", "a (3)": "succeeded", "b": "succeeded"}, done.stderr
    assert "job 'a (2)' is cancelled" in done.stderr and "higher priority waiting request for deploy" in done.stderr and done.returncode == 1
    assert done.stdout.index("[a (1)] Cleaning up") < done.stdout.index("[a (3)] Current runner")


def test_groups_between_runs(wherry: Wherry, tree: Path) -> None:
    write(tree, ci="on: push\nconcurrency: {group: 'Site-${{ github.ref_name }}', cancel-in-progress: true}\njobs:\n  a: " + job("echo up; sleep 60") + "\n",
          next="on: push\nconcurrency: {group: 'site-${{ github.ref_name }}', cancel-in-progress: true}\njobs:\n  a: " + job("echo second") + "\n")
    process = start(wherry, tree)
    read_until(process, "up")
    second = execute(wherry, tree, ".github/workflows/next.yml")
    rest, _ = process.communicate(timeout=30)
    assert second.returncode == 0 and "second\n" in second.stdout and "waits for its concurrency group" in second.stderr
    assert process.returncode == 1 and "The operation was canceled." in rest and "higher priority waiting request for Site-main" in rest


def test_group_waits_for_another_run(wherry: Wherry, tree: Path) -> None:
    write(tree, ci="on: push\njobs:\n  a: " + job("echo up; sleep 2; date +first=%s%N", concurrency="g") + "\n",
          next="on: push\njobs:\n  a: " + job("date +second=%s%N", concurrency="g") + "\n")
    process = start(wherry, tree)
    said = read_until(process, "up")
    second = execute(wherry, tree, ".github/workflows/next.yml")
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and second.returncode == 0
    first_time, second_time = (int(re.search(rf"^{n}=(\d+)$", t, re.M).group(1)) for n, t in (("first", said + rest), ("second", second.stdout)))
    assert first_time < second_time


def test_group_that_would_wait_for_itself(wherry: Wherry, tree: Path) -> None:
    write(tree, ci="on: push\nconcurrency: g\njobs:\n  a: " + job("echo never", concurrency="G") + "\n  b: " + job("echo b") + "\n")
    result, done = results(wherry, tree)
    assert done.returncode == 1 and "a deadlock was detected for concurrency group: 'G' between 'top level workflow' and 'a'" in done.stderr
    assert conclusions(result) == {"b": "succeeded"}


# ---- workflows of other repositories ----

def test_workflow_of_another_repository(wherry: Wherry, tree: Path, client: Client, git_server: GitServer, place: Path) -> None:
    client.options(repositories=str(git_server.root))
    shared = Repository.create(git_server.root, "acme/shared", place / "shared")
    shared.write({".github/workflows/outer.yml": "on: {workflow_call: {outputs: {v: {value: '${{ jobs.in.outputs.v }}'}}}}\njobs: {in: {uses: ./.github/workflows/inner.yml}}\n",
                  ".github/workflows/inner.yml": "on: {workflow_call: {outputs: {v: {value: '${{ jobs.j.outputs.v }}'}}}}\njobs:\n  j:\n    runs-on: x\n"
                                                 "    outputs: {v: '${{ steps.s.outputs.v }}'}\n    steps: [{id: s, run: echo v=far >> $GITHUB_OUTPUT}]\n"})
    shared.commit()
    shared.publish("refs/tags/v1")
    write(tree, ci="on: push\njobs:\n  far:\n    strategy: {matrix: {n: [1, 2]}}\n    uses: acme/shared/.github/workflows/outer.yml@v1\n"
                   "  after: " + job("echo got=${{ needs.far.outputs.v }}", needs="far") + "\n"
                   "  none:\n    uses: acme/shared/.github/workflows/nothing.yml@v1\n  nowhere:\n    uses: acme/absent/.github/workflows/x.yml@v1\n")
    server = client.status()["url"]
    result, done = results(wherry, tree, "--server", server, "--token", "ghs_token", "--state", str(wherry.state))
    assert "[after] got=far\n" in done.stdout, done.stdout + done.stderr
    assert {"far (1) / in / j", "far (2) / in / j", "after"} == set(conclusions(result))
    assert "nothing.yml@v1: the repository has no such file at that ref" in done.stderr and "job 'nowhere' failed" in done.stderr
    assert done.returncode == 1


# ---- triggers ----

def test_a_folder_of_workflows(wherry: Wherry, tree: Path) -> None:
    one = "\njobs: {j: {runs-on: x, steps: [{run: 'echo from ${{ github.workflow }} ${{ github.event.action }}'}]}}\n"
    write(tree, a="name: A\non: push" + one, b="name: B\non: {push: {branches: [other]}}" + one, c="name: C\non: {pull_request: {types: [labeled]}}" + one,
          d="name: D\non: {push: {paths: ['*.md']}}" + one)
    done = execute(wherry, tree)
    assert done.returncode == 0 and "from A" in done.stdout and "from B" not in done.stdout and "from C" not in done.stdout, done.stderr
    assert "b.yml does not run: the branch 'main' is not among its `branches`" in done.stderr
    pull = execute(wherry, tree, "pull_request")
    assert pull.returncode == 0 and "from C labeled" in pull.stdout and "from A" not in pull.stdout
    none = execute(wherry, tree, "release")
    assert none.returncode == 1 and "no workflow is triggered by 'release'" in none.stderr
    named = execute(wherry, tree, ".github/workflows/b.yml")
    assert named.returncode == 0 and "from B" in named.stdout and "it runs all the same" in named.stderr


def test_payload_is_made_of_the_repository(wherry: Wherry, tree: Path) -> None:
    script = "run: 'echo \"${{ github.event.head_commit.message }}|${{ github.event.pull_request.base.ref }}|${{ github.event.pull_request.head.ref }}|${{ github.ref }}|" \
             "${{ github.base_ref }}|${{ github.event.repository.default_branch }}|${{ github.event.after == github.sha }}\"'"
    write(tree, ci="on: [push, pull_request]\njobs: {j: {runs-on: x, steps: [{" + script + "}]}}\n")
    push = execute(wherry, tree, ".github/workflows/ci.yml")
    assert "\nchange|||refs/heads/main||main|true\n" in push.stdout, push.stdout
    subprocess.run(["git", "checkout", "-q", "-b", "topic"], cwd=tree, check=True)
    pull = execute(wherry, tree, ".github/workflows/ci.yml", "pull_request")
    assert "\n|main|topic|refs/pull/1/merge|main|main|false\n" in pull.stdout, pull.stdout


DISPATCH = """\
on:
  workflow_dispatch:
    inputs:
      level: {type: choice, options: [info, debug], default: info}
      count: {type: number, default: 3}
      dry: {type: boolean, default: true}
      who: {required: true}
jobs:
  j:
    runs-on: x
    steps:
      - run: 'echo "${{ inputs.level }} ${{ inputs.count }} ${{ inputs.dry && 1 || 0 }} ${{ inputs.who }} ${{ github.event.inputs.dry }}"'
"""


@pytest.mark.parametrize("given,said", [
    (["who=me"], "info 3 1 me true"), (["who=me", "dry=false", "level=debug", "count=1.50"], "debug 1.5 0 me false"),
    ([], "Input who is required"), (["who=me", "level=loud"], "Input level is one of its options, not 'loud'"), (["who=me", "count=many"], "Input count is a number, not 'many'"),
    (["who=me", "dry=maybe"], "Input dry is a boolean, not 'maybe'"), (["who=me", "typo=1"], "has no such input"),
])
def test_inputs_of_workflow_dispatch(wherry: Wherry, tree: Path, given: list[str], said: str) -> None:
    write(tree, ci=DISPATCH)
    done = execute(wherry, tree, ".github/workflows/ci.yml", *(a for g in given for a in ("--input", g)))
    good = said.split(" ")[0] in ("info", "debug")
    assert said in (done.stdout if good else done.stderr) and done.returncode == (0 if good else 2), done.stdout + done.stderr


def test_input_for_another_event(wherry: Wherry, tree: Path) -> None:
    write(tree, ci=flow(a=job("true")))
    done = execute(wherry, tree, ".github/workflows/ci.yml", "--input", "a=b")
    assert done.returncode == 2 and "--input is for the event workflow_dispatch" in done.stderr


# ---- without running; displays ----

PLANNED = """\
name: Planned
on: {push: , workflow_dispatch: {inputs: {who: {default: me}}}}
env: {TOP: "top-${{ github.ref_name }}"}
jobs:
  plan:
    runs-on: [self-hosted, linux]
    outputs: {list: "${{ steps.a.outputs.list }}"}
    steps:
      - {id: a, name: "Plan for ${{ vars.WHO }}", run: "echo list=[1] >> $GITHUB_OUTPUT; touch /tmp/planned-ran"}
      - {uses: actions/checkout@v4, with: {ref: "${{ github.sha }}", token: "${{ secrets.PASS }}"}, if: "github.event_name == 'release'"}
      - {run: "echo ${{ steps.a.outputs.list }}", if: "steps.a.outcome == 'success'"}
  build:
    needs: plan
    strategy: {matrix: {v: "${{ fromJSON(needs.plan.outputs.list) }}"}}
    runs-on: x
    steps: [{run: "echo ${{ matrix.v }}"}]
  rows:
    strategy: {matrix: {os: [a, b]}}
    runs-on: x
    timeout-minutes: 5
    concurrency: "g-${{ matrix.os }}"
    env: {OWN: "${{ matrix.os }}/${{ secrets.PASS }}"}
    steps: [{run: "echo ${{ env.OWN }} ${{ env.TOP }}"}]
  off:
    if: github.ref_name == 'nothing'
    runs-on: x
    steps: [{run: "true"}]
  later:
    needs: [build, rows]
    if: needs.build.outputs.x != ''
    uses: ./.github/workflows/called.yml
"""
CALLED_PLAN = "on: workflow_call\njobs: {inner: {runs-on: x, steps: [{run: 'true'}]}}\n"


def test_dry_run(wherry: Wherry, tree: Path) -> None:
    write(tree, ci=PLANNED, called=CALLED_PLAN)
    done = execute(wherry, tree, ".github/workflows/ci.yml", "--dry-run", "--var", "WHO=them", "--secret", "PASS=hunter2hunter2")
    said = done.stdout
    assert done.returncode == 0 and "hunter2" not in said + done.stderr, said + done.stderr
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tree, capture_output=True, text=True, check=True).stdout.strip()
    for text in ("ci.yml: Planned, push, refs/heads/main\n", "runs-on:      self-hosted, linux\n", "env TOP:      top-main\n", "1. Plan for them\n",
                 "2. Run actions/checkout@v4\n", f"with ref:     {head}\n", "with token:   ***\n", "(false: it is skipped)\n",
                 "run:          ${{ format('echo {0}', steps.a.outputs.list) }}\n", "output list:  ${{ steps.a.outputs.list }}\n", "env OWN:      a/***\n", "run:          echo b/*** top-main\n",
                 "concurrency:  g-b\n", "timeout:      5 minutes\n", "it may become several", "skipped: its condition is false", "whether it runs depends on outputs",
                 "later / inner\n", "uses:         ./.github/workflows/called.yml\n", "needs:        build, rows\n"):
        assert text in said, (text, said)
    assert said.index("\nplan\n") < said.index("\nbuild\n") < said.index("\nlater\n")
    assert not (tree.parent / "work").exists() and not Path("/tmp/planned-ran").exists()
    given = execute(wherry, tree, ".github/workflows/ci.yml", "-n", "workflow_dispatch", "--input", "who=you")
    assert "input who: you\n" in given.stdout


def test_graph(wherry: Wherry, tree: Path) -> None:
    write(tree, ci=PLANNED, called=CALLED_PLAN)
    done = execute(wherry, tree, ".github/workflows/ci.yml", "--graph")
    lines = done.stdout.split("\n")
    assert done.returncode == 0 and lines[0] == "Planned (.github/workflows/ci.yml)"
    assert lines[2] == " │ plan │ │ rows ×2 │ │ off (skipped) │" and " │ build │" in lines and " │ later → ./.github/workflows/called.yml │" in lines
    assert "later (.github/workflows/called.yml)" in lines and " │ inner │" in lines
    assert len(lines[1]) == len(lines[2]) == len(lines[3])


def test_plan_of_what_can_not_be(wherry: Wherry, tree: Path) -> None:
    write(tree, ci="on: push\njobs: {a: {uses: ./.github/workflows/none.yml}}\n")
    done = execute(wherry, tree, ".github/workflows/ci.yml", "--dry-run")
    assert done.returncode == 1 and "none.yml" in done.stdout


def test_terminal_display(wherry: Wherry, tree: Path) -> None:
    write(tree, ci=flow(a=job("echo hello from a"), b=job("echo a tail of b; exit 4", needs="a"), c=job("true", needs="b")))
    done = execute(wherry, tree, ".github/workflows/ci.yml", "--progress", "tty")
    assert done.returncode == 1
    assert "[+] Running" in done.stdout and "=> [a] Run echo hello from a" in done.stdout and "=> ERROR [b] Run echo a tail of b" in done.stdout
    # The excerpt of what failed stays on the screen.
    assert re.search(r"> \[b\] Run echo a tail of b.*:\n.*a tail of b", done.stdout, re.S) and "1 succeeded, 1 failed, 1 skipped in" in done.stderr, done.stdout


def test_labels_of_other_machines_are_told(wherry: Wherry, tree: Path) -> None:
    write(tree, ci="on: push\njobs:\n  a: {runs-on: [self-hosted, windows-2022], steps: [{run: 'true'}]}\n  b: {runs-on: {group: g, labels: [gpu]}, steps: [{run: 'true'}]}\n"
                   "  c: {runs-on: ubuntu-24.04, steps: [{run: 'true'}]}\n")
    done = execute(wherry, tree, ".github/workflows/ci.yml")
    assert done.returncode == 0 and "job 'a' asks for a machine with the label windows-2022" in done.stderr and "the label g, gpu" in done.stderr
    assert "'c' asks" not in done.stderr


def test_secrets_in_names(wherry: Wherry, tree: Path) -> None:
    write(tree, ci=flow(a=job("true", strategy="{matrix: {v: [hunter2hunter2, y]}}"), b=job("true", **{"if": "github.token == 'hunter2hunter2' && fromJSON('hunter2hunter2')"})))
    for style in ("plain", "tty", "json"):
        done = execute(wherry, tree, ".github/workflows/ci.yml", "--secret", "P=hunter2hunter2", "--progress", style)
        assert "hunter2" not in done.stdout + done.stderr and "a (***)" in done.stdout, done.stdout + done.stderr


def test_variables_and_secrets_from_files(wherry: Wherry, tree: Path) -> None:
    write(tree, ci=flow(a=job("echo \"${{ vars.ONE }} ${{ vars.TWO }} ${{ secrets.S && 1 }} $E\"; echo \"${{ toJSON(vars) }}\"")))
    place = tree.parent
    (place / "vars").write_text("# comment\nONE=1\n\n TWO = x=y\nexport Q=\"a\\nb\\\"c\"\nR='as is\\n'\n")
    (place / "secrets").write_text("S='abcdef'\n")
    (place / "env").write_text("E=from-file\n")
    done = execute(wherry, tree, ".github/workflows/ci.yml", "--var-file", str(place / "vars"), "--secret-file", str(place / "secrets"), "--env-file", str(place / "env"))
    assert done.returncode == 0 and "\n1 x=y 1 from-file\n{\n  ONE: 1,\n  TWO: x=y,\n" in done.stdout, done.stdout
    assert '"Q": "a\\nb\\"c"' in done.stdout and '"R": "as is\\\\n"' in done.stdout, done.stdout
    (place / "vars").write_text("ONE=1\nnothing\n")
    bad = execute(wherry, tree, ".github/workflows/ci.yml", "--var-file", str(place / "vars"))
    assert bad.returncode == 2 and "vars:2" in bad.stderr


@pytest.mark.parametrize("arguments,said", [
    (["--max-parallel", "0"], "--max-parallel 0"), (["--progress", "loud"], "--progress loud"), (["--matrix", "x"], "KEY:VALUE"),
    (["--server", "ftp://x"], "--server ftp://x"), (["push", "pull_request"], "the event is 'push' already"), (["--typo"], "typo"),
])
def test_bad_options(wherry: Wherry, tree: Path, arguments: list[str], said: str) -> None:
    write(tree, ci=flow(a=job("true")))
    done = execute(wherry, tree, *arguments)
    assert done.returncode == 2 and said in done.stderr, done.stderr
