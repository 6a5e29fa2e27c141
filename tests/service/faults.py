"""What the service does wrong on purpose in single requests; plan.py has the protocol's faults by name and time.

A fault names an endpoint (``run.renew``, ``results.*``, ``*``), an action and how often or how long it acts:

========  =============================================================================================
status    answer ``status`` with ``body``, ``headers``, optional ``retry_after``; the handler does not run
reset     abort the connection; ``when``: ``before`` (not handled), ``inside`` (half an answer is sent),
          ``after`` (handled, the answer is lost)
hang      never answer (the connection stays open until the client leaves); ``seconds`` bounds it
delay     answer ``seconds`` later
body      run the handler, but send ``body`` (``content_type``) instead of its answer
truncate  run the handler, send the first ``keep`` bytes with the whole Content-Length, then abort
shape     run the handler, spell its JSON otherwise: ``how`` is ``bom``, ``pascal`` (names in PascalCase) or
          ``strings`` (numbers and booleans as strings)
revoke    the token used by this request counts as expired from now on (the answer is a 401)
========  =============================================================================================
"""

from __future__ import annotations

import fnmatch
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from .clock import Clock

if TYPE_CHECKING:
    from .chaos import Chaos

ACTIONS = ("status", "reset", "hang", "delay", "body", "truncate", "shape", "revoke")
SHAPES = ("bom", "pascal", "strings")


@dataclass
class Fault:
    at: str
    do: str
    times: int | None = 1
    skip: int = 0
    seconds: float | None = None
    window: float | None = None
    status: int = 500
    when: str = "before"
    keep: int = 20
    how: str = "bom"
    retry_after: int | None = None
    body: str | None = None
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    query: str | None = None
    job: str | None = None
    id: int = 0
    hits: int = 0
    ends: float | None = None


    @property
    def spoils_answer(self) -> bool:
        """The handler's work is done, and the client doesn't learn of it."""
        return self.do in ("body", "truncate") or (self.do == "reset" and self.when != "before")


class Faults:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._active: list[Fault] = []
        self._next = 1
        self.chaos: Chaos | None = None

    def add(self, spec: dict[str, Any]) -> Fault:
        fault = Fault(**spec)
        if fault.do not in ACTIONS:
            raise ValueError(f"unknown fault action {fault.do!r}; known: {', '.join(ACTIONS)}")
        if fault.how not in SHAPES:
            raise ValueError(f"unknown shape {fault.how!r}; known: {', '.join(SHAPES)}")
        fault.id, self._next = self._next, self._next + 1
        if fault.window is not None:
            fault.ends = self._clock.stamp() + fault.window
            if "times" not in spec:
                fault.times = None
        self._active.append(fault)
        return fault

    def clear(self, ident: int | None = None) -> None:
        self._active = [f for f in self._active if ident is not None and f.id != ident]

    def list(self) -> list[dict[str, Any]]:
        return [asdict(f) for f in self._active]

    def take(self, endpoint: str, query: str, job: str | None) -> Fault | None:
        """The fault to apply to this request, if any; counts it."""
        now = self._clock.stamp()
        for fault in self._active:
            if not fnmatch.fnmatchcase(endpoint, fault.at):
                continue
            if fault.query is not None and fault.query not in query:
                continue
            if fault.job is not None and fault.job != job:
                continue
            if fault.ends is not None and now > fault.ends:
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            if fault.times is not None and fault.hits >= fault.times:
                continue
            fault.hits += 1
            return fault
        return self.chaos.draw(endpoint) if self.chaos else None
