"""``wherry exec``: a workflow file without any service, through the same worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from .support.agent import Wherry
from .support.repository import Repository
from .test_jobs import steps


@pytest.fixture
def checkout(place: Path) -> Path:
    """A work tree with a commit, to run workflows in."""
    repo = Repository.create(place / "git", "acme/web", place / "tree")
    repo.write({"README.md": "x\n", "Dockerfile": "FROM scratch\nCOPY README.md /\n"})
    repo.commit()
    (place / "tree").chmod(0o755)
    return place / "tree"


def execute(wherry: Wherry, checkout: Path, text: str, *arguments: str, **options):
    path = checkout / ".github/workflows/ci.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return wherry.run("exec", str(path), *arguments, cwd=checkout, **options)


def test_run_steps(wherry: Wherry, checkout: Path) -> None:
    done = execute(wherry, checkout, steps("id: a\nrun: echo v=1 >> \"$GITHUB_OUTPUT\"", "run: echo \"got ${{ steps.a.outputs.v }} on $GITHUB_EVENT_NAME\""))
    assert done.returncode == 0, done.stderr
    assert "got 1 on push" in done.stdout + done.stderr


def test_failure_is_the_exit_code(wherry: Wherry, checkout: Path) -> None:
    done = execute(wherry, checkout, steps("run: exit 5"))
    assert done.returncode == 1 and "exit code 5" in done.stdout + done.stderr


def test_secrets_are_given_and_masked(wherry: Wherry, checkout: Path) -> None:
    done = execute(wherry, checkout, steps("run: echo \"it is ${{ secrets.PASS }} and ${#P}\"\nenv: {P: \"${{ secrets.PASS }}\"}"), "--secret", "PASS=hunter2hunter2")
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "hunter2" not in said and "it is *** and 14" in said


def test_chosen_job_and_event(wherry: Wherry, checkout: Path) -> None:
    text = ("on: [push, workflow_dispatch]\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: exit 1\n"
            "  b:\n    runs-on: x\n    steps:\n      - run: echo \"event $GITHUB_EVENT_NAME\"\n")
    done = execute(wherry, checkout, text, "--job", "b", "--event", "workflow_dispatch")
    assert done.returncode == 0 and "event workflow_dispatch" in done.stdout + done.stderr


@pytest.mark.parametrize("text,said", [
    ("on: push\njobs: [", "ci.yml"), ("on: push\n", "jobs"), ("on: push\njobs: {a: {runs-on: x, steps: [{run: x, uses: y}]}}", "uses"),
    ("on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: echo ${{ nosuch.x }}\n", "nosuch"),
    ("on: push\njobs:\n  a:\n    runs-on: x\n    steps: 7\n", "steps"),
])
def test_bad_workflows(wherry: Wherry, checkout: Path, text: str, said: str) -> None:
    done = execute(wherry, checkout, text)
    assert done.returncode not in (0, -6, -11) and said in done.stdout + done.stderr


def test_missing_file(wherry: Wherry, place: Path) -> None:
    done = wherry.run("exec", str(place / "none.yml"))
    assert done.returncode in (1, 2) and "none.yml" in done.stderr
