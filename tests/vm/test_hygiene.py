"""What jobs leave behind, in a machine with cgroup v2 alone: tests/e2e/test_hygiene.py runs there, none of it skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from .machine import Machine


@pytest.mark.long
def test_process_hygiene(machine: Machine, files: dict[str, Path | str]) -> None:
    outcome = machine.run("WHERRY=/test/wherry python3 -m pytest -c tests/pytest.ini --rootdir . -q -rs tests/e2e/test_hygiene.py", files, limit=900).check()
    assert "3 passed" in outcome.output and "skipped" not in outcome.output, outcome.output
