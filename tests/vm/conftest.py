"""The program and a machine to run it in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

import pytest

from .image import Image, libraries_of, make
from .machine import Machine

ROOT = Path(__file__).parent.parent.parent
PROGRAM = Path(os.environ.get("WHERRY", ROOT / "build/debug/wherry"))


@pytest.fixture(scope="session")
def image() -> Image:
    return make(libraries_of(PROGRAM))


@pytest.fixture
def machine(image: Image) -> Iterator[Machine]:
    with Machine(image) as made:
        yield made


@pytest.fixture(scope="session")
def files() -> dict[str, Path | str]:
    """What every machine gets: the program, and this folder's tests with all that they import."""
    return {"wherry": PROGRAM, "tests": ROOT / "tests", "toolchain": ROOT / "toolchain"}
