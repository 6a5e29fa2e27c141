"""Named limits of a running job, each at it and one past it: a clear word, and the job goes on or fails as it should."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from .support.agent import Wherry

MIB = 1 << 20


@pytest.fixture
def tree(place: Path) -> Path:
    (place / "tree").mkdir(mode=0o755)
    return place / "tree"


def execute(wherry: Wherry, tree: Path, job: str) -> tuple[dict[str, Any], str]:
    path = tree / ".github/workflows/ci.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("on: push\njobs:\n  a:\n    runs-on: x\n" + job)
    done = wherry.run("exec", str(path), "--work", str(tree.parent / "work"), "--result", str(tree.parent / "result.json"), cwd=tree)
    return json.loads((tree.parent / "result.json").read_text()), done.stdout


def zeros(count: int) -> str:
    return f"head -c {count} /dev/zero | tr '\\0' x"


def conclusions(result: dict[str, Any]) -> list[str]:
    return [s["conclusion"] for s in result["stepResults"][1:-1]]


def test_what_steps_leave(wherry: Wherry, tree: Path) -> None:
    """WH_MAX_KEPT_BYTES: outputs, state and variables of all steps; what is put in the place of another counts once."""
    result, log = execute(wherry, tree, f"""    steps:
      - id: at
        run: |
          echo a=old >> "$GITHUB_OUTPUT"
          {{ printf a=; {zeros(50 * MIB - 1)}; echo; }} >> "$GITHUB_OUTPUT"
      - {{id: past, run: 'echo b= >> "$GITHUB_OUTPUT"', continue-on-error: true}}
      - {{id: command, run: 'echo "::set-output name=c::"', continue-on-error: true}}
      - {{run: 'echo D=1 >> "$GITHUB_ENV"', continue-on-error: true}}
      - {{run: 'echo "D is ${{{{ env.D }}}}, b is ${{{{ steps.past.outputs.b }}}}, outcome ${{{{ steps.past.outcome }}}}"'}}
""")
    assert "D is , b is , outcome failure" in log
    assert "The outputs, state and variables of this job's steps are larger than 50 MiB: 'b' with 1 bytes is not taken." in log
    assert "'c' with 1 bytes is not taken." in log and "'D' with 2 bytes is not taken." in log
    assert conclusions(result) == ["succeeded"] * 5 and result["conclusion"] == "succeeded"


def test_a_file_command(wherry: Wherry, tree: Path) -> None:
    """WH_MAX_FILECMD_BYTES of one file."""
    result, log = execute(wherry, tree, f"""    steps:
      - run: yes '' | head -c {64 * MIB} > "$GITHUB_OUTPUT"
      - {{run: 'yes "" | head -c {64 * MIB + 1} > "$GITHUB_OUTPUT"', continue-on-error: true}}
      - run: echo goes on
""")
    assert log.count("Unable to process file command 'output' successfully.") == 1 and "67108864" in log
    assert conclusions(result) == ["succeeded"] * 3


@pytest.mark.parametrize(("units", "said"), [(MIB // 2, ""), (MIB // 2 + 1, "larger than 1024 KiB in UTF-16"), (2 * MIB, "larger than 1024 KiB in UTF-16"),
                                             (2 * MIB + 1, "Skip output 'o' since the job's outputs are larger than 2048 KiB.")])
def test_outputs_of_the_job(wherry: Wherry, tree: Path, units: int, said: str) -> None:
    """WH_JOB_OUTPUTS_UTF16 is told, WH_MAX_JOB_OUTPUTS is kept; 512 Ki characters are 1 MiB in UTF-16."""
    result, log = execute(wherry, tree, f"""    outputs: {{o: '${{{{ steps.s.outputs.o }}}}', z: 1}}
    steps:
      - {{id: s, run: '{{ printf o=; {zeros(units - 1).replace("'", "''")}; echo; }} > "$GITHUB_OUTPUT"'}}
""")
    if units > 2 * MIB:
        assert list(result["outputs"]) == ["z"]
    else:
        assert len(result["outputs"]["o"]["value"]) == units - 1
    # z is past the first limit where o is at it
    assert said in log and ("larger than 1024 KiB" in log) == (MIB // 2 <= units <= 2 * MIB)
    assert result["conclusion"] == "succeeded"


def test_a_variable_that_no_program_can_be_given(wherry: Wherry, tree: Path) -> None:
    """The kernel's limit of 128 KiB a variable: the step that would need it fails with .NET's sentence, as at GitHub."""
    result, log = execute(wherry, tree, f"""    steps:
      - run: '{{ printf A=; {zeros((128 << 10) - 3).replace("'", "''")}; echo; }} >> "$GITHUB_ENV"'
      - run: echo "A has ${{#A}}"
      - run: '{{ printf A=; {zeros((128 << 10) - 2).replace("'", "''")}; echo; }} >> "$GITHUB_ENV"'
      - run: echo never
        continue-on-error: true
      - run: echo "A has ${{#A}}"
        env: {{A: short}}
""")
    assert f"A has {(128 << 10) - 3}" in log and "A has 5" in log and "\nnever" not in log
    assert log.count("##[error]An error occurred trying to start process ") == 1 and "Argument list too long" in log
    assert conclusions(result) == ["succeeded"] * 5


def test_a_thousand_steps(wherry: Wherry, tree: Path) -> None:
    """WH_MAX_WORKFLOW_STEPS: a thousand run, one more is refused with its place."""
    steps = "    steps:\n" + "      - {run: 'true', if: 'false'}\n" * 999
    result, _ = execute(wherry, tree, steps + "      - run: echo last one\n")
    assert conclusions(result) == ["skipped"] * 999 + ["succeeded"]
    path = tree / ".github/workflows/ci.yml"
    path.write_text(path.read_text() + "      - run: one more\n")
    refused = wherry.run("exec", str(path), cwd=tree)
    assert refused.returncode != 0 and "ci.yml (Line: 6, Col: 7): A job has at most 1000 steps" in refused.stderr


def test_hash_files_takes_too_long(wherry: Wherry, tree: Path) -> None:
    """WH_MAX_HASHFILES_SECONDS, on a clock that runs a thousand times as fast: 120 s are 0.12 s."""
    with open(tree / "large", "wb") as file:
        file.truncate(4 << 30)
    (tree / "small").write_bytes(b"x")
    wherry.env["WHERRY_TEST_CLOCK"] = "1000"
    result, log = execute(wherry, tree, f"""    steps:
      - run: cp --sparse=always {tree}/large {tree}/small .
      - run: echo "small ${{{{ hashFiles('small') }}}}"
      - run: echo "large ${{{{ hashFiles('large') }}}}"
""")
    assert f"small {hashlib.sha256(hashlib.sha256(b'x').digest()).hexdigest()}" in log
    assert "hashFiles('large') couldn't finish within 120 seconds." in log and conclusions(result) == ["succeeded", "succeeded", "failed"]
