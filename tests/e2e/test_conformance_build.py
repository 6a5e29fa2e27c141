"""The builder against BuildKit: every case of tests/conformance/build/*.cases gives what *.expected has, recorded from BuildKit itself by
tests/conformance/build/record: the sentence and the lines of an error, or warnings, config, history and each new layer's entries (type,
mode, owner, stamp, content, attributes). What differs on purpose says so in its case, and what wherry does is in differs.expected."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import pytest

from .support import buildcases
from .support.agent import Wherry
from .support.buildcases import Case
from .support.registry import Registry

# Cases that wherry does not answer yet: each must fail, so that the list shrinks with what is mended.
PENDING = set((buildcases.CASES / "pending.txt").read_text().split()) if (buildcases.CASES / "pending.txt").exists() else set()
EXPECTED = {path.stem: buildcases.read_expected(path) for path in buildcases.CASES.glob("*.expected")}


@dataclass
class Ours:
    wherry: Wherry
    host: str
    folder: Path

    def run(self, case: Case) -> str:
        # The builder works with the rights of who calls it: what a recipe makes is root's here, so cases with odd modes are read too.
        return buildcases.run_case(case, [str(self.wherry.binary), "build"], self.host, self.folder, self.wherry.env)


@pytest.fixture(scope="session")
def bases(session_place: Path, registry: Registry) -> str:
    return buildcases.push_bases(registry, session_place / "bases")


@pytest.fixture(scope="session")
def ours(bases: str) -> Iterator[Ours]:
    """One state folder for all cases: what an earlier one left in the cache must not change a later one."""
    folder = Path(tempfile.mkdtemp(prefix="wherry-cases-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield Ours(Wherry(folder), bases, folder)
    shutil.rmtree(folder, ignore_errors=True)


def test_every_case_is_recorded() -> None:
    missing = [case.id for case in buildcases.all_cases() if case.name not in EXPECTED.get(case.group, {}) and not case.alone]
    assert not missing
    assert len(buildcases.all_cases()) >= 150


def _wanted(case: Case) -> str:
    return EXPECTED["differs"][case.id] if case.differs or case.alone else EXPECTED[case.group][case.name]


@pytest.mark.parametrize("case", buildcases.all_cases(), ids=lambda case: case.id)
def test_case(ours: Ours, case: Case) -> None:
    said = ours.run(case)
    if case.id in PENDING:
        assert buildcases.placed_as(said, _wanted(case)) != _wanted(case), "it holds now: take it off pending.txt"
        pytest.xfail("not there yet")
    if case.differs:
        assert EXPECTED[case.group][case.name] != EXPECTED["differs"].get(case.id), "the difference is gone: drop its mark"
    assert buildcases.placed_as(said, _wanted(case)) == _wanted(case)
    if os.environ.get("WHERRY_TWICE") and not buildcases.is_call(case):
        assert ours.run(case) == said, "from the cache it is another image"
