"""``wherry exec`` around the job: its own checkout, cancellation, users, conditions, builds."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .support.agent import Wherry
from .support.repository import Repository
from .test_jobs import steps


@pytest.fixture
def tree(place: Path) -> Path:
    repo = Repository.create(place / "git", "acme/web", place / "tree")
    repo.write({"kept.txt": "old\n", "changed.txt": "old\n", "deleted.txt": "old\n", "sub/dir/deep.txt": "deep\n", ".gitignore": "ignored\n",
                "tool.sh": "#!/bin/sh\necho tool\n"}, executable=("tool.sh",))
    repo.commit()
    (place / "tree").chmod(0o755)
    return place / "tree"


def workflow(tree: Path, text: str) -> Path:
    path = tree / ".github/workflows/ci.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def execute(wherry: Wherry, tree: Path, text: str, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return wherry.run("exec", str(workflow(tree, text)), "--work", str(tree.parent / "work"), *arguments, cwd=tree, **options)


def test_checkout_takes_the_work_tree(wherry: Wherry, tree: Path) -> None:
    (tree / "changed.txt").write_text("new\n")
    (tree / "deleted.txt").unlink()
    (tree / "untracked.txt").write_text("untracked\n")
    (tree / "ignored").write_text("x")
    (tree / "link").symlink_to("kept.txt")
    done = execute(wherry, tree, steps("uses: actions/checkout@v4", "run: |\n  cat kept.txt changed.txt untracked.txt sub/dir/deep.txt link\n  ./tool.sh\n"
                                       "  test ! -e deleted.txt && test ! -e ignored && echo clean\n  git log --format=%s"))
    assert done.returncode == 0, done.stderr + done.stdout
    assert "old\nnew\nuntracked\ndeep\nold\ntool\nclean\nchange\n" in done.stdout
    assert (tree / "changed.txt").read_text() == "new\n" and not (tree / "deleted.txt").exists(), "the user's own tree is not touched"


def test_checkout_below_a_path_and_again(wherry: Wherry, tree: Path) -> None:
    text = steps("uses: actions/checkout@v4\nwith: {path: code}", "run: cat code/kept.txt && echo junk > code/junk", "run: ls code")
    for _ in range(2):
        done = execute(wherry, tree, text)
        assert done.returncode == 0 and "old\n" in done.stdout, done.stdout + done.stderr


def test_commit_and_repository_come_from_git(wherry: Wherry, tree: Path) -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tree, capture_output=True, text=True, check=True).stdout.strip()
    done = execute(wherry, tree, steps("run: echo \"$GITHUB_SHA $GITHUB_REF $GITHUB_REPOSITORY ${{ github.ref_name }}\""))
    assert f"{head} refs/heads/main acme/web main" in done.stdout, done.stdout


def test_event_payload(wherry: Wherry, tree: Path) -> None:
    payload = tree.parent / "event.json"
    payload.write_text('{"number": 7, "pull_request": {"title": "T", "head": {"ref": "topic"}, "base": {"ref": "main"}}}')
    done = execute(wherry, tree, steps("run: echo \"${{ github.event.number }} ${{ github.event.pull_request.title }} $GITHUB_HEAD_REF $GITHUB_BASE_REF\"")
                   .replace("on: push", "on: pull_request"), "--event", "pull_request", "--event-path", str(payload))
    assert "7 T topic main" in done.stdout, done.stdout + done.stderr


def test_jobs_are_listed_and_may_be_chosen(wherry: Wherry, tree: Path) -> None:
    text = "on: push\njobs:\n  a: {runs-on: x, steps: [{run: 'echo first'}]}\n  b: {name: The second, runs-on: x, steps: [{run: 'echo second'}]}\n"
    listed = execute(wherry, tree, text, "--list")
    assert listed.returncode == 0 and "The second" in listed.stdout and listed.stdout.startswith("a ")
    both = execute(wherry, tree, text)
    assert both.returncode == 0 and "[a] first\n" in both.stdout and "[The second] second\n" in both.stdout
    one = execute(wherry, tree, text, "--job", "B")
    assert one.returncode == 0 and "\nsecond\n" in one.stdout and "first" not in one.stdout
    wrong = execute(wherry, tree, text, "--job", "c")
    assert wrong.returncode == 1 and "a, b" in wrong.stderr


def test_job_condition(wherry: Wherry, tree: Path) -> None:
    text = steps("run: echo ran", top="    if: github.event_name == 'release'\n")
    skipped = execute(wherry, tree, text)
    assert skipped.returncode == 0 and "ran" not in skipped.stdout and "skipped" in skipped.stderr
    ran = execute(wherry, tree, text, "--event", "release")
    assert ran.returncode == 0 and "ran" in ran.stdout


@pytest.mark.parametrize("top,said", [("    container: {image: alpine, options: --privileged}\n", "--privileged")])
def test_what_is_not_there_yet_is_named(wherry: Wherry, tree: Path, top: str, said: str) -> None:
    done = execute(wherry, tree, steps("run: echo never", top=top))
    assert done.returncode == 1 and said in done.stdout + done.stderr and "\nnever\n" not in done.stdout


def start(wherry: Wherry, tree: Path, text: str) -> subprocess.Popen[str]:
    return subprocess.Popen([str(wherry.binary), "exec", str(workflow(tree, text)), "--work", str(tree.parent / "work")], cwd=tree, env=wherry.env,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def read_until(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    for got in process.stdout:
        if got.strip() == line:
            return
    raise AssertionError(f"no line {line!r}")


def test_interrupt_cancels_the_job(wherry: Wherry, tree: Path) -> None:
    process = start(wherry, tree, steps("run: |\n  trap 'echo got it; exit 1' INT\n  echo up\n  while :; do sleep 0.05; done", "run: echo never",
                                        "if: cancelled()\nrun: echo after cancel ${{ job.status }}", "if: always()\nrun: echo always"))
    read_until(process, "up")
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "got it\n##[error]The operation was canceled.\n" in rest
    assert "\nafter cancel cancelled\n" in rest and "\nalways\n" in rest and "\nnever\n" not in rest


def test_step_that_wants_to_stay_is_not_interrupted(wherry: Wherry, tree: Path) -> None:
    process = start(wherry, tree, steps("if: always()\nrun: |\n  trap 'echo interrupted' INT\n  echo up\n  sleep 1\n  echo went on"))
    read_until(process, "up")
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    assert "went on" in rest and "interrupted" not in rest and process.returncode == 1


def test_second_interrupt_kills(wherry: Wherry, tree: Path) -> None:
    process = start(wherry, tree, steps("run: |\n  trap '' INT TERM\n  echo up\n  sleep 60"))
    read_until(process, "up")
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 1 and time.monotonic() - begin < 5


def test_jobs_do_not_share_logins(wherry: Wherry, tree: Path) -> None:
    done = execute(wherry, tree, steps("run: test ! -e \"$DOCKER_CONFIG/config.json\" && echo '{}' > \"$DOCKER_CONFIG/config.json\" && echo \"$DOCKER_CONFIG\"",
                                       "run: cat \"$DOCKER_CONFIG/config.json\""))
    assert done.returncode == 0, done.stdout
    again = execute(wherry, tree, steps("run: test ! -e \"$DOCKER_CONFIG/config.json\" && echo fresh"))
    assert again.returncode == 0 and "fresh" in again.stdout


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_root_runs_jobs_as_somebody_else(wherry: Wherry, tree: Path) -> None:
    done = execute(wherry, tree, steps("run: echo \"uid $(id -u) groups $(id -G) nnp $(grep -c . /proc/self/status)\"; touch \"$HOME/x\" && echo home"))
    assert "uid 65534 groups 65534" in done.stdout and "\nhome\n" in done.stdout, done.stdout
    root = execute(wherry, tree, steps("run: id -u"), "--user", "root", "--work", str(tree.parent / "root-work"))
    assert "\n0\n" in root.stdout, root.stdout + root.stderr


def test_secrets_are_not_in_other_steps_environment(wherry: Wherry, tree: Path) -> None:
    done = execute(wherry, tree, steps("run: env | grep -c hunter || echo none", "env: {P: \"${{ secrets.PASS }}\"}\nrun: echo \"${#P}\""),
                   "--secret", "PASS", env={"PASS": "hunter2hunter2"})
    assert "none" in done.stdout and "\n14\n" in done.stdout and "hunter2hunter2" not in done.stdout, done.stdout


def test_worker_memory_is_closed_to_its_steps(wherry: Wherry, tree: Path) -> None:
    done = execute(wherry, tree, steps("run: |\n  w=$PPID\n  head -c 1 /proc/$w/mem 2>&1 || true\n  cat /proc/$w/environ >/dev/null 2>&1 && echo readable || echo closed"))
    assert "\nclosed\n" in done.stdout, done.stdout


def test_build(wherry: Wherry, tree: Path) -> None:
    (tree / "Dockerfile").write_text("FROM scratch\nCOPY kept.txt /\n")
    done = execute(wherry, tree, steps("uses: actions/checkout@v4", "uses: docker/setup-buildx-action@v3",
                                       "id: b\nuses: docker/build-push-action@v6\nwith: {context: ., outputs: 'type=oci,dest=${{ runner.temp }}/out.tar'}",
                                       "run: tar tf ${{ runner.temp }}/out.tar | grep -c blobs/sha256/ && echo \"digest ${{ steps.b.outputs.digest }}\""))
    assert done.returncode == 0 and "digest sha256:" in done.stdout, done.stdout + done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="needs root: else the job owns the store anyway")
def test_no_context_holds_the_store(wherry: Wherry, tree: Path) -> None:
    """The builder owns the store, where other repositories' layers lie; a job may name any folder as its context."""
    build = "uses: docker/build-push-action@v6\nwith: {context: '%s', file: Dockerfile, outputs: 'type=oci,dest=${{ runner.temp }}/out.tar'}"
    (tree / "Dockerfile").write_text("FROM scratch\nCOPY kept.txt /\n")
    first = execute(wherry, tree, steps("uses: actions/checkout@v4", build % "."))
    assert first.returncode == 0 and (wherry.state / "index.db").exists(), first.stdout + first.stderr
    for context, path in (("/", str(wherry.state)[1:] + "/index.db"), (str(wherry.state), "index.db"), (str(wherry.state), ".")):
        (tree / "Dockerfile").write_text(f"FROM scratch\nCOPY {path} /stolen\n")
        done = execute(wherry, tree, steps("uses: actions/checkout@v4", build % context))
        assert done.returncode == 1 and "Permission denied" in done.stdout, done.stdout + done.stderr
