"""What the service saw: every request, every protocol error, every byte checked for secrets."""

from __future__ import annotations

import base64
import json
import urllib.parse
from dataclasses import asdict, dataclass, field
from typing import Any, Iterable

from .clock import Clock
from .trace import Trace

# Shorter values would be found by chance in ids and times.
MIN_SECRET = 4
MAX_EXCERPT = 4096
MAX_BODIES = 5000


@dataclass
class RequestRecord:
    """One request as it arrived, secrets hidden."""

    id: int
    endpoint: str
    method: str
    path: str
    at: float
    ended: float | None = None
    status: int | None = None
    size: int = 0
    answered: int = 0
    job: str | None = None
    runner: int | None = None
    fault: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    answer: str = ""


@dataclass
class ProtocolError:
    """Something that a correct runner does not do."""

    rule: str
    text: str
    at: float
    endpoint: str
    request: int | None
    job: str | None

    def __str__(self) -> str:
        return f"{self.at:.3f} {self.endpoint or '-'} [{self.rule}] {self.text}"


def derived_forms(secret: str) -> set[str]:
    """The spellings under which a secret leaks most often: plain, base64 at three offsets, URL- and JSON-escaped."""
    raw = secret.encode()
    forms = {secret, urllib.parse.quote(secret, safe="-_.~"), json.dumps(secret)[1:-1]}
    for offset in range(3):
        if len(raw) - offset >= MIN_SECRET:
            forms.add(base64.b64encode(raw[offset:]).decode())
    return {form for form in forms if len(form) >= MIN_SECRET}


class Recorder:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.requests: list[RequestRecord] = []
        self.errors: list[ProtocolError] = []
        self._secrets: dict[bytes, str] = {}
        self._hidden: set[str] = set()
        self._order: list[str] = []
        self.trace: Trace | None = None

    # -- requests ----------------------------------------------------------------------------------------------------
    def begin(self, endpoint: str, method: str, path: str) -> RequestRecord:
        entry = RequestRecord(len(self.requests) + 1, endpoint, method, path, self._clock.stamp())
        self.requests.append(entry)
        if len(self.requests) > MAX_BODIES:  # a run of hours: the older ones keep their lines alone
            old = self.requests[-MAX_BODIES - 1]
            old.body = old.answer = ""
        return entry

    def end(self, entry: RequestRecord, status: int | None, answered: int = 0) -> None:
        entry.ended, entry.status, entry.answered = self._clock.stamp(), status, answered
        if self.trace:
            self.trace.request(entry)

    def note(self, text: str) -> None:
        """What the service did by itself or was told to: for the trace."""
        if self.trace:
            self.trace.note(self._clock.stamp(), text)

    # -- errors ------------------------------------------------------------------------------------------------------
    def error(self, rule: str, text: str, entry: RequestRecord | None = None, job: str | None = None) -> None:
        self._keep(
            ProtocolError(
                rule,
                self.hide(text),
                self._clock.stamp(),
                entry.endpoint if entry else "",
                entry.id if entry else None,
                job or (entry.job if entry else None),
            )
        )

    def _keep(self, error: ProtocolError) -> None:
        self.errors.append(error)
        if self.trace:
            self.trace.error(error)

    # -- secrets -----------------------------------------------------------------------------------------------------
    def add_secret(self, value: str, what: str) -> None:
        """From now on no received byte may hold this value (or its usual spellings)."""
        for part in {value, *value.splitlines()}:
            part = part.strip()
            if len(part) >= MIN_SECRET:
                for form in derived_forms(part):
                    self.hide_value(form)
                    self._secrets[form.encode()] = what

    def forget(self, values: Iterable[str]) -> None:
        """Look for these no more: what they belonged to is long over."""
        for value in values:
            for part in {value, *value.splitlines()}:
                for form in derived_forms(part.strip()):
                    self._secrets.pop(form.encode(), None)

    def hide_value(self, value: str) -> None:
        """A credential that travels legitimately but must not show in traces."""
        if len(value) >= MIN_SECRET and value not in self._hidden:
            self._hidden.add(value)
            self._order.clear()

    def hide(self, text: str) -> str:
        if not self._order:
            self._order = sorted(self._hidden, key=len, reverse=True)
        for value in self._order:
            if value in text:
                text = text.replace(value, "***")
        return text

    def scan(self, data: bytes, where: str, entry: RequestRecord | None, job: str | None = None) -> None:
        """Record an error for each secret in bytes that a runner sent."""
        reported: set[str] = set()
        for form, what in self._secrets.items():
            if what not in reported and form in data:
                reported.add(what)
                self.error("secret", f"{what} seen in {where}", entry, job)

    # -- reading -----------------------------------------------------------------------------------------------------
    def list_requests(self, job: str | None = None, endpoint: str | None = None, since: int = 0) -> list[dict[str, Any]]:
        chosen: Iterable[RequestRecord] = self.requests[since:]
        if job is not None:
            chosen = (r for r in chosen if r.job == job)
        if endpoint is not None:
            chosen = (r for r in chosen if r.endpoint == endpoint)
        return [{**asdict(r), "path": self.hide(r.path), "body": self.shown(r.body), "answer": self.shown(r.answer)} for r in chosen]

    def list_errors(self, job: str | None = None) -> list[dict[str, Any]]:
        return [asdict(e) for e in self.errors if job is None or e.job in (job, None)]

    def excerpt(self, body: bytes) -> str:
        """As it came; shown() hides what is secret."""
        return body[: 2 * MAX_EXCERPT].decode("utf-8", "replace")

    def shown(self, text: str) -> str:
        """Hidden first and cut then: a value that the cut would halve must not be seen either."""
        return self.hide(text)[:MAX_EXCERPT]
