"""The job engine as users see it: each tests/conformance/job/**/<name>.yml runs twice, as a job of the service and through
``wherry exec``, and both must give the same <name>.txt: conclusions of the job and its steps, outputs, annotations, summaries, and the
log after "Set up job", byte for byte, once times, paths and random names are replaced. Workflows with several jobs (graph/) run through
``wherry exec`` alone: GitHub expands them before a runner is asked.

Comments at the top of a workflow:
  # <free text>         what it shows; "spec 12: <row>" names the row of the table of what users rely on
  # args: ...           options of the command: --secret K=V, --var K=V, --token T, --debug; the service's message is given the same
  # cancel: <text>      the job is cancelled once its log shows this
  # only: exec|service  it can run but one way (why stands beside it)
  # needs: pwsh ...     programs without which it is left out
To write expectations anew after a change that is meant: WHERRY_UPDATE=1, then read the difference.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator

import pytest

from tests.service.client import Client
from tests.service.process import ServiceProcess
from tests.service.workflow import Event, Inputs

from .support.agent import JOB_USER, Wherry
from .support.repository import Repository

CASES = Path(__file__).parent.parent / "conformance" / "job"
RUNNERS = 3
_LEVELS = {"failure": "error"}


@dataclass
class Case:
    """One workflow file and what its comments ask for."""

    path: Path
    text: str = field(repr=False)

    @property
    def name(self) -> str:
        return self.path.relative_to(CASES).with_suffix("").as_posix()

    @property
    def repository(self) -> str:
        return "acme/" + self.name.replace("/", "-").replace("_", "-")

    def header(self, name: str) -> str:
        found = re.search(rf"^# {name}: (.*)$", self.text, re.M)
        return found.group(1) if found else ""

    @property
    def options(self) -> argparse.Namespace:
        parser = argparse.ArgumentParser()
        for option in ("--secret", "--var"):
            parser.add_argument(option, action="append", default=[])
        parser.add_argument("--debug", action="store_true")
        parser.add_argument("--token", default="ghs_token0for0the0tests")
        return parser.parse_args(shlex.split(self.header("args")))

    def runs(self, way: str) -> bool:
        return self.header("only").split(" ")[0] in ("", way)


def pairs(options: list[str]) -> dict[str, str]:
    return {k: v.encode().decode("unicode_escape") if "\\" in v else v for k, _, v in (option.partition("=") for option in options)}


def cases() -> list[Case]:
    return [Case(path, path.read_text()) for path in sorted(CASES.rglob("*.yml"))]


# ---- what is compared ----

def normal(text: str, work: Path, repository: str) -> str:
    short = repository.split("/")[1]
    text = text.replace(f"{work}/{short}/{short}", "<workspace>").replace(str(work), "<work>").replace(repository, "<repository>")
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<guid>", text)
    text = re.sub(r"\b[0-9a-f]{40}\b", "<sha>", text)
    text = re.sub(r"pid \(\d+\)", "pid (<pid>)", text)
    text = re.sub(r"(/usr)?/bin/(bash|sh|cat|python3?|perl|pwsh)\b", r"/bin/\2", text)
    return re.sub(r"https?://(127\.0\.0\.1|localhost):\d+", "https://github.com", text)


def annotation(step: str, a: dict[str, Any]) -> str:
    level = a["level"].lower()
    place = a.get("path") or ""
    # Without a file the lines are those of the log.
    numbers = ("startLine", "startColumn", "endLine", "endColumn") if place else ("startLine", )
    where = " ".join([place, *(f"{n}={a[n]}" for n in numbers if a.get(n))]).strip()
    title = f" title={a['title']!r}" if a.get("title") else ""
    return f"  {step}: {_LEVELS.get(level, level)} {a['message']!r}{title}" + (f" at {where}" if where else "")


def outcome(completion: dict[str, Any], summaries: dict[str, str], log: str) -> str:
    steps = completion.get("stepResults") or []
    out = [f"job: {completion['conclusion']}", "steps:"]
    out += [f"  {s['conclusion']:9} {s['name']}" for s in steps]
    if completion.get("outputs"):
        out += ["outputs:", *(f"  {k}: {v['value']!r}" for k, v in completion["outputs"].items())]
    notes = [annotation(s["name"], a) for s in steps for a in s.get("annotations") or []]
    notes += [annotation("(job)", a) for a in completion.get("annotations") or []]
    if notes:
        out += ["annotations:", *notes]
    if completion.get("environmentUrl"):
        out.append(f"environment: {completion['environmentUrl']}")
    named = [(s["name"], summaries[s["external_id"]]) for s in steps if s["external_id"] in summaries]
    if named:
        out += ["summaries:", *(f"  {step}: {text!r}" for step, text in named)]
    # What comes before has names of this machine.
    return "\n".join([*out, "log:", re.sub(r"(?s)\A.*?\nComplete job name: [^\n]*\n", "", log)])


def several(result: dict[str, Any], log: str) -> str:
    """A run of several jobs, each with its own lines, in the order of their names."""
    out = [f"run: {result['conclusion']}"]
    for name, completion in sorted(result["jobs"].items()):
        prefix = f"[{name}] "
        own = "".join(line[len(prefix):] + "\n" for line in log.split("\n") if line.startswith(prefix))
        out += ["", f"==== {name}", outcome(completion, completion["summaries"], own)]
    return "\n".join(out)


# ---- the two ways ----

class Both:
    """All cases as jobs of one agent with several runners, queued at once; and the command, by and by."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wherry = Wherry(folder)
        self._service = ServiceProcess(folder / "service.log", hold=10)
        self.client: Client = self._service.__enter__().client
        self._work: dict[int, Path] = {}
        self._queued: dict[str, str] = {}
        self._pool = concurrent.futures.ThreadPoolExecutor(4)
        self._done: dict[str, concurrent.futures.Future[str]] = {}
        bare = Repository.create(folder / "git", "acme/web", folder / "tree")
        bare.commit()

    def start(self, wanted: list[Case]) -> None:
        for number in range(RUNNERS):
            token, url = self.client.token("acme")
            user = ["--job-user", str(JOB_USER)] if os.getuid() == 0 else []
            self.wherry.run("register", "--url", url, "--name", f"box{number}", "--work", self.folder / f"work{number}", *user,
                            check=True, env={"ACTIONS_RUNNER_INPUT_TOKEN": token})
        self.wherry.start(client=self.client)
        for case in wanted:
            if case.runs("service") and not missing(case):
                self._done[case.name] = self._pool.submit(self._by_service, case)

    def stop(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self.wherry.stop()
        self._service.__exit__(None, None, None)

    def _by_service(self, case: Case) -> str:
        options = case.options
        event = Event(repository=case.repository)
        variables = {"ACTIONS_STEP_DEBUG": "true"} if options.debug else {}
        inputs = Inputs(secrets=pairs(options.secret), vars=pairs(options.var), variables=variables, github_token=options.token)
        ident = self.client.queue_workflow(f".github/workflows/{case.path.name}", text=case.text, event=event, inputs=inputs)
        if case.header("cancel"):
            self.client.wait_for_text(ident, case.header("cancel"), 60)
            self.client.cancel(ident)
        job = self.client.wait(ident, 120)
        lines = job["log"]["lines"] if job["log"] else []
        log = "".join(line + "\n" for line in lines)
        summaries = {step: "\n".join(blob["lines"]) + "\n" for step, blob in job["summaries"].items()}
        text = outcome(job["completion"], summaries, log)
        for number in range(RUNNERS):
            text = text.replace(f"{self.folder}/work{number}", str(self.folder / "work"))
        return normal(text, self.folder / "work", case.repository)

    def by_service(self, case: Case) -> str:
        return self._done[case.name].result(timeout=180)

    def by_exec(self, case: Case) -> str:
        place = Path(tempfile.mkdtemp(prefix="exec-", dir=self.folder))
        place.chmod(0o755)
        tree = place / "tree"
        shutil.copytree(self.folder / "tree/.git", tree / ".git")
        config = tree / ".git/config"
        config.write_text(re.sub(r"url = .*", f"url = https://github.com/{case.repository}.git", config.read_text()))
        workflow = tree / ".github/workflows" / case.path.name
        workflow.parent.mkdir(parents=True)
        workflow.write_text(case.text)
        options = case.options
        arguments = [f"--token={options.token}", *(f"--secret={k}={v}" for k, v in pairs(options.secret).items()), *(f"--var={k}={v}" for k, v in pairs(options.var).items()),
                     *(["--debug"] if options.debug else [])]
        command = [str(self.wherry.binary), "exec", str(workflow), "--quiet", "--max-parallel", "1", "--work", str(place / "work"), "--result", str(place / "result.json"),
                   *arguments]
        with subprocess.Popen(command, env=self.wherry.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              cwd=tree) as process:
            assert process.stdout and process.stderr
            log = ""
            awaited = case.header("cancel")
            for raw in process.stdout:
                line = raw.decode(errors="replace")
                log += line
                if awaited and awaited in line and not line.startswith(("##[group]", "\033")):
                    process.send_signal(signal.SIGINT)
                    awaited = ""
            said = process.stderr.read().decode(errors="replace")
        assert (place / "result.json").exists(), said
        completion = json.loads((place / "result.json").read_text())
        assert (process.returncode == 0) == (completion["conclusion"] in ("succeeded", "success")), said
        text = normal(several(completion, log) if "jobs" in completion else outcome(completion, completion["summaries"], log),
                      place / "work", case.repository)
        shutil.rmtree(place, ignore_errors=True)
        return text


def missing(case: Case) -> list[str]:
    return [program for program in case.header("needs").split() if shutil.which(program) is None]


@pytest.fixture(scope="module")
def both(request: pytest.FixtureRequest) -> Iterator[Both]:
    folder = Path(tempfile.mkdtemp(prefix="wherry-conformance-", dir="/var/tmp"))
    folder.chmod(0o755)
    made = Both(folder)
    try:
        # Only what was chosen, say by -k.
        chosen = {item.callspec.params["case"].name: item.callspec.params["case"] for item in request.session.items
                  if getattr(item, "callspec", None) and isinstance(item.callspec.params.get("case"), Case)}
        made.start(list(chosen.values()))
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("way", ["exec", "service"])
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_case(both: Both, case: Case, way: str) -> None:
    if not case.runs(way):
        pytest.skip(case.header("only"))
    if missing(case):
        pytest.skip(f"not here: {', '.join(missing(case))}")
    got = both.by_exec(case) if way == "exec" else both.by_service(case)
    expected = case.path.with_suffix(".txt")
    if os.environ.get("WHERRY_UPDATE") and (way == "exec" or case.header("only")):
        expected.write_bytes(got.encode())
    assert got.split("\n") == expected.read_bytes().decode().split("\n")


ROOT = CASES.parents[2]
ROW = re.compile(r"^\| (.*?) \|(?:.*)\| ([^|]*) \|$", re.M)


def tables() -> list[tuple[str, str, str]]:
    """The rows of docs/compatibility.md: section, first column, last column."""
    sections = re.split(r"^## ", (ROOT / "docs/compatibility.md").read_text(), flags=re.M)[1:]
    found = [(section.split("\n")[0], *match.groups()) for section in sections for match in ROW.finditer(section)]
    return [row for row in found if row[2] not in ("test", "---")]


def place_of(test: str) -> Path:
    """The file of a test as the tables name it; the function, if one is named, is in it."""
    kind, _, rest = test.partition("/")
    if kind == "e2e":
        name, _, function = rest.partition(":")
        path = ROOT / f"tests/e2e/test_{name}.py"
        assert f"def {function}(" in path.read_text(), test
        return path
    if kind == "unit":
        room, _, name = rest.partition("/")
        path = ROOT / f"tests/unit/{room}/test_{name}.c"
    elif kind == "build":
        group, _, name = rest.partition("/")
        path = ROOT / f"tests/conformance/build/{group}.cases"
        assert re.search(rf"^=== {name}\b", path.read_text(), re.M), test
    else:
        assert kind == "job", test
        path = CASES / f"{rest}.yml"
    assert path.exists(), test
    return path


def test_every_row_of_what_users_rely_on_is_named() -> None:
    """Those of the table are those that tests claim, each by the test that the table names."""
    files = [*(case.path for case in cases()), *sorted(Path(__file__).parent.glob("test_*.py"))]
    claimed = {(row.strip(), path) for path in files for row in re.findall(r"^# spec 12: (.*)$", path.read_text(), re.M)}
    rows = {(row, place_of(test)) for section, row, test in tables() if section.startswith("What users rely on")}
    assert len(rows) == 19
    assert claimed == rows


def test_compatibility_names_tests_that_exist() -> None:
    rows = tables()
    assert len(rows) >= 130
    for section, row, test in rows:
        assert test, f"{section}: {row} names no test"
        for one in test.split(", "):
            place_of(one)


def test_every_limit_of_the_job_engine_is_named_by_a_test() -> None:
    """A limit that no test knows is a number that anybody may change."""
    headers = (ROOT / "include/wherry/job").glob("*.h")
    limits = {name for path in headers for name in re.findall(r"^#define (WH_MAX_\w+)", path.read_text(), re.M)}
    tests = [path for folder in ("unit", "e2e", "conformance", "fuzz") for path in (ROOT / "tests" / folder).rglob("*") if path.suffix in (".c", ".py", ".yml")]
    named = set(re.findall(r"\bWH_MAX_\w+", "\n".join(path.read_text() for path in tests if path != Path(__file__))))
    assert sorted(limits - named) == []
