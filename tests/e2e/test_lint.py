"""``wherry lint``: its ways to tell, its exit codes, and what it reads beside the workflow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .support.agent import Wherry

GOOD = "on: push\njobs:\n  a:\n    runs-on: x\n    steps: [{run: 'true'}]\n"
BAD = "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - rnu: x\n        run: echo ${{ github.shaa }}\n"
WARNED = "on: push\njobs:\n  a:\n    runs-on: x\n    steps: [{run: 'echo ${{ github.shaa }}'}]\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / ".github/workflows").mkdir(parents=True)
    return tmp_path


def write(tree: Path, name: str, text: str) -> str:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return name


def test_text_with_excerpts(wherry: Wherry, tree: Path) -> None:
    file = write(tree, ".github/workflows/a.yml", BAD)
    told = wherry.run("lint", file, cwd=tree, check=False)
    assert told.returncode == 1 and told.stderr == ""
    assert told.stdout == (
        f"{file}:6:9: error: Unexpected value 'rnu' (did you mean 'run'?) [schema]\n"
        "     6 |       - rnu: x\n"
        "       |         ^~~\n"
        f"{file}:7:30: warning: The github context has no 'shaa' (did you mean 'sha'?) [name]\n"
        "     7 |         run: echo ${{ github.shaa }}\n"
        "       |                              ^~~~\n"
        "1 error, 1 warning in 1 file\n")


def test_exit_codes(wherry: Wherry, tree: Path) -> None:
    write(tree, ".github/workflows/a.yml", GOOD)
    assert wherry.run("lint", cwd=tree, check=False).returncode == 0
    write(tree, ".github/workflows/a.yml", WARNED)
    assert wherry.run("lint", cwd=tree, check=False).returncode == 0
    assert wherry.run("lint", "--strict", cwd=tree, check=False).returncode == 1
    for arguments, said in ((["--format", "xml"], "--format xml: it is text, json or github"), (["nosuch.yml"], "nosuch.yml"),
                            (["--frmat", "json"], "did you mean --format?")):
        told = wherry.run("lint", *arguments, cwd=tree, check=False)
        assert told.returncode == 2 and said in told.stderr


def test_all_workflows_from_a_folder_below(wherry: Wherry, tree: Path) -> None:
    write(tree, ".github/workflows/a.yml", GOOD)
    write(tree, ".github/workflows/b.yaml", BAD)
    write(tree, ".github/workflows/readme.md", "no workflow")
    (tree / "sub/deep").mkdir(parents=True)
    told = wherry.run("lint", cwd=tree / "sub/deep", check=False)
    assert told.returncode == 1
    assert told.stdout.startswith("../../.github/workflows/b.yaml:6:9: error: ") and told.stdout.endswith(" in 2 files\n")
    empty = wherry.run("lint", cwd=tree.parent, check=False)
    assert empty.returncode == 2 and "there is no .github/workflows here or above" in empty.stderr


def test_standard_input(wherry: Wherry, tree: Path) -> None:
    told = wherry.run("lint", "-q", "-", cwd=tree, check=False, given=BAD)
    assert told.returncode == 1 and told.stdout.startswith("<stdin>:6:9: error: ")


def test_json(wherry: Wherry, tree: Path) -> None:
    file = write(tree, ".github/workflows/a.yml", BAD)
    told = wherry.run("lint", "--format", "json", file, cwd=tree, check=False)
    assert told.returncode == 1
    assert json.loads(told.stdout) == [
        {"file": file, "line": 6, "column": 9, "endColumn": 12, "severity": "error", "rule": "schema", "refused": True,
         "message": "Unexpected value 'rnu' (did you mean 'run'?)"},
        {"file": file, "line": 7, "column": 30, "endColumn": 34, "severity": "warning", "rule": "name", "refused": False,
         "message": "The github context has no 'shaa' (did you mean 'sha'?)"}]
    write(tree, ".github/workflows/a.yml", GOOD)
    assert json.loads(wherry.run("lint", "--format", "json", file, cwd=tree).stdout) == []


def test_annotations(wherry: Wherry, tree: Path) -> None:
    file = write(tree, ".github/workflows/a,b.yml", BAD)
    told = wherry.run("lint", "--format", "github", file, cwd=tree, check=False)
    assert told.stdout.splitlines() == [
        "::error file=.github/workflows/a%2Cb.yml,line=6,col=9,endColumn=12,title=wherry lint (schema)::Unexpected value 'rnu' (did you mean 'run'?)",
        "::warning file=.github/workflows/a%2Cb.yml,line=7,col=30,endColumn=34,title=wherry lint (name)::The github context has no 'shaa' (did you mean 'sha'?)"]


def test_actions_of_the_repository(wherry: Wherry, tree: Path) -> None:
    write(tree, "tools/act/action.yml", "inputs: {depth: {}}\nruns: {using: node20, main: x.js}\n")
    write(tree, "tools/broken/action.yml", "runs: {using: node9, main: x.js}\n")
    write(tree, "tools/image/Dockerfile", "FROM x\n")
    file = write(tree, ".github/workflows/a.yml",
                 "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n"
                 "      - {uses: ./tools/act, with: {dept: 1, depth: 2}}\n"
                 "      - uses: ./tools/broken\n      - uses: ./tools/image\n      - uses: ./tools/none\n")
    told = wherry.run("lint", "--format", "json", file, cwd=tree, check=False)
    found = [(p["line"], p["column"], p["severity"], p["message"]) for p in json.loads(told.stdout)]
    assert found[0] == (6, 36, "warning", "./tools/act has no input 'dept' (did you mean 'depth'?)")
    assert found[1][:3] == (7, 15, "error") and "using: node9" in found[1][3] and "tools/broken/action.yml" in found[1][3]
    assert found[2][:3] == (9, 15, "warning") and "in 'tools/none' here" in found[2][3]
    assert len(found) == 3


def test_called_workflows(wherry: Wherry, tree: Path) -> None:
    write(tree, ".github/workflows/called.yml",
          "on: {workflow_call: {inputs: {need: {type: string, required: true}, may: {type: string}}, secrets: {S: {required: true}}}}\n"
          "jobs: {a: {runs-on: x, steps: [{run: y}]}}\n")
    write(tree, ".github/workflows/other.yml", GOOD)
    file = write(tree, ".github/workflows/a.yml",
                 "on: push\njobs:\n  a: {uses: ./.github/workflows/called.yml, with: {mya: 1}}\n"
                 "  b: {uses: ./.github/workflows/called.yml, with: {need: x}, secrets: inherit}\n"
                 "  c: {uses: ./.github/workflows/other.yml}\n  d: {uses: ./.github/workflows/none.yml}\n")
    told = wherry.run("lint", "--format", "json", file, cwd=tree, check=False)
    assert [(p["line"], p["message"]) for p in json.loads(told.stdout)] == [
        (3, "input need is required, but not provided while calling."),
        (3, "secret S is required, but not provided while calling."),
        (3, "Invalid input, mya is not defined in the referenced workflow. (did you mean 'may'?)"),
        (5, "workflow_call key is not defined in the referenced workflow '.github/workflows/other.yml'."),
        (6, "There is no workflow '.github/workflows/none.yml' here")]


def test_conformance_workflows_have_no_errors(wherry: Wherry) -> None:
    """What both GitHub and ``exec`` accept, lint does, too; what a workflow does wrong on purpose is named there."""
    folder = Path(__file__).resolve().parent.parent / "conformance/job"
    files = sorted(str(path) for path in folder.rglob("*.yml") if "action" not in path.name)
    told = wherry.run("lint", "--format", "json", *files, check=False)
    refused = [(Path(p["file"]).stem, p["message"]) for p in json.loads(told.stdout) if p["refused"]]
    assert refused == []
