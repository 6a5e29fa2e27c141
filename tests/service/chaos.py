"""Faults by chance: a share of all requests goes wrong in one of the ways of the protocol's list (§9.4), the same ones for a seed.

Left out is what ends a job by the service's own word (a lock that is gone, a job given to another), and answers to an
acquirejob that was handled: there the protocol itself knows no way back.
"""

from __future__ import annotations

import fnmatch
import random
from collections import Counter
from typing import Any

from .faults import Fault

_TRANSPORT: list[dict[str, Any]] = [{"do": "reset", "when": "before"}, {"do": "delay", "seconds": 5.0}, {"do": "delay", "seconds": 15.0}]
_REFUSED: list[dict[str, Any]] = [{"do": "status", "status": s} for s in (500, 502, 503, 504)] + [{"do": "status", "status": 429, "retry_after": 2}]
_LOST: list[dict[str, Any]] = [{"do": "reset", "when": "inside"}, {"do": "reset", "when": "after"}, {"do": "truncate", "keep": 15},
                               {"do": "body", "body": "<html></html>", "content_type": "text/html"}]
_SPELLED: list[dict[str, Any]] = [{"do": "shape", "how": h} for h in ("bom", "pascal", "strings")]
_SILENT: list[dict[str, Any]] = [{"do": "hang", "seconds": 40.0}]
_REVOKED: list[dict[str, Any]] = [{"do": "revoke"}]

# The first pattern that fits has the ways; no way: never.
WAYS: tuple[tuple[str, list[dict[str, Any]]], ...] = (
    ("broker.session-delete", []),
    ("broker.session", _TRANSPORT + _REFUSED + _LOST[:2] + [{"do": "status", "status": 409}]),
    ("broker.acknowledge", _TRANSPORT + _REFUSED + _LOST[:2]),
    ("broker.message", _TRANSPORT[:1] + _REFUSED + _LOST + _SPELLED + _REVOKED + [{"do": "status", "status": 202}]),
    ("oauth.token", _TRANSPORT + _REFUSED + _LOST[:3]),
    ("run.acquire", _TRANSPORT + _REFUSED + _SPELLED + _REVOKED),
    ("run.renew", _TRANSPORT + _REFUSED + _LOST + _SPELLED),
    ("run.complete", _TRANSPORT + _REFUSED + _LOST[:2]),
    ("blob.put", _TRANSPORT + _REFUSED + _SILENT + _LOST[:2] + [{"do": "status", "status": 403}]),
    ("feed.message", [{"do": "reset"}, {"do": "hang", "seconds": 5.0}]),
    ("feed.connect", _TRANSPORT + _REFUSED[:3]),
    ("results.*", _TRANSPORT + _REFUSED + _SILENT + _LOST + _SPELLED),
)


class Chaos:
    def __init__(self, seed: int, share: float, only: list[str] | None = None) -> None:
        self._random, self._share, self._only = random.Random(seed), share, only
        self.seen = self.spoiled = 0
        self.ways: Counter[str] = Counter()

    def draw(self, endpoint: str) -> Fault | None:
        ways = next((ways for pattern, ways in WAYS if fnmatch.fnmatchcase(endpoint, pattern)), [])
        if self._only and not any(fnmatch.fnmatchcase(endpoint, pattern) for pattern in self._only):
            return None
        self.seen += 1
        if not ways or self._random.random() >= self._share:
            return None
        self.spoiled += 1
        way = self._random.choice(ways)
        self.ways[" ".join(str(v) for v in way.values())[:40]] += 1
        return Fault(at=endpoint, **way)

    def describe(self) -> dict[str, Any]:
        return {"requests": self.seen, "spoiled": self.spoiled, "ways": dict(self.ways.most_common())}
