"""The job engine as users see it: each tests/conformance/job/<name>.yml runs through ``wherry exec``, and what its log shows after
"Set up job" must be <name>.log, byte for byte, once paths and random names are replaced.

Comments at the top of a workflow: ``# exit: N`` (wanted exit code) and ``# args: ...`` (of the command).
To write a log anew after a change that is meant: WHERRY_UPDATE=1, then read the difference.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from .support.agent import Wherry
from .support.repository import Repository

CASES = Path(__file__).parent.parent / "conformance" / "job"


def header(text: str, name: str, default: str) -> str:
    found = re.search(rf"^# {name}: (.*)$", text, re.M)
    return found.group(1) if found else default


def normal(log: str, work: Path) -> str:
    log = log.replace(str(work), "<work>")
    log = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<guid>", log)
    log = re.sub(r"pid \(\d+\)", "pid (<pid>)", log)
    log = re.sub(r"(/usr)?/bin/(bash|sh|cat)\b", r"/bin/\2", log)
    return re.sub(r"(?s)\A.*?\n(?=Complete job name: )", "", log)  # names of this machine


@pytest.mark.parametrize("case", sorted(p.stem for p in CASES.glob("*.yml")))
def test_case(wherry: Wherry, place: Path, case: str) -> None:
    text = (CASES / f"{case}.yml").read_text()
    tree = place / "tree"
    Repository.create(place / "git", "acme/web", tree)
    workflow = tree / ".github/workflows" / f"{case}.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text(text)
    work = place / "work"
    done = wherry.run("exec", str(workflow), "--work", str(work), *shlex.split(header(text, "args", "")), cwd=tree)
    log = normal(done.stdout, work)
    expected = CASES / f"{case}.log"
    if os.environ.get("WHERRY_UPDATE"):
        expected.write_text(log)
    assert log == expected.read_text(), done.stderr
    assert done.returncode == int(header(text, "exit", "0")), done.stderr
