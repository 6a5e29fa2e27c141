"""A log of gigabytes, read as it comes and not kept: its size, its lines, and whether the numbers in them are without a gap."""

from __future__ import annotations

import re
from typing import Any

_NUMBERED = re.compile(rb"^\S+ line (\d+) ", re.M)


class PassingLog(bytearray):
    """Takes the place of a blob's bytes (option ``passing_logs``); lines ``line N ...`` are counted from 1 on in each step."""

    def __init__(self) -> None:
        super().__init__()
        self.clear()

    def clear(self) -> None:
        self.size = self.lines = self.numbered = self.begun = self.gaps = 0
        self._last, self._rest = 0, b""

    def __len__(self) -> int:
        return self.size

    def __bool__(self) -> bool:
        return self.size > 0

    def __iadd__(self, block: Any) -> "PassingLog":
        self.size += len(block)
        self.lines += block.count(b"\n")
        whole, newline, self._rest = (self._rest + block).rpartition(b"\n")
        for found in _NUMBERED.finditer(whole + newline):
            number = int(found[1])
            self.numbered += 1
            self.begun += number == 1
            self.gaps += number not in (1, self._last + 1)
            self._last = number
        return self

    def __setitem__(self, _place: Any, block: Any) -> None:
        self.clear()
        self += block

    def count(self, *_: Any) -> int:
        return self.lines

    def told(self) -> dict[str, int]:
        return {"size": self.size, "lines": self.lines, "numbered": self.numbered, "begun": self.begun, "gaps": self.gaps}
