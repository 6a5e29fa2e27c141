"""The power goes at random instants of builds: nothing that was committed is lost, nothing half is visible, and the next
build is right."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from .machine import Machine

HERE = Path(__file__).parent
ROUNDS = int(os.environ.get("WHERRY_POWER_CUTS", "20"))


@pytest.mark.long
def test_power_cuts_during_builds(machine: Machine, files: dict[str, Path | str]) -> None:
    seed = int(os.environ.get("WHERRY_SEED", random.randrange(1 << 30)))
    chance = random.Random(seed)
    print(f"seed {seed}")
    built = 0
    for turn in range(ROUNDS):
        after = chance.uniform(0.2, 14)
        outcome = machine.run(f"sh tests/vm/build_for_ever.sh {turn * 1000}", files, cut_after=after)
        built += outcome.output.count("built ")
        assert outcome.status is None, outcome.output
        whole = machine.run("sh tests/vm/after_power_cut.sh", files).check()
        assert whole.output.rstrip().endswith("whole"), f"cut {turn} after {after:.2f} s\n{whole.output}"
    assert built > 0
