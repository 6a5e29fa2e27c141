"""Runners, sessions, messages, tokens, jobs and blobs as the service keeps them."""

from __future__ import annotations

import secrets
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Any

LOCK_SECONDS = 600
ACQUIRE_SECONDS = 120
RENEW_LATE = 75.0


def guid() -> str:
    return str(uuid.uuid4())


@dataclass
class Token:
    """A bearer credential; ``kind`` keeps the three credentials of the protocol apart."""

    value: str
    kind: str
    owner: str
    expires: float
    revoked_at: float | None = None
    refused: int = 0


@dataclass
class Message:
    id: int
    type: str
    body: str
    job: str | None = None
    repeat: bool = False
    iv: str | None = None
    copies: int = 0


@dataclass
class Session:
    id: str
    runner: int
    owner: str
    last_seen: float
    poll: int = 0
    v1: bool = False
    key: bytes | None = None  # V1: what bodies are encrypted with
    migrated: bool = False  # V1: may poll the broker
    delivered: bool = False
    undeleted: dict[int, tuple[Message, float]] = field(default_factory=dict)


@dataclass
class Runner:
    id: int
    name: str
    labels: list[str]
    scope: str
    client_id: str
    modulus: int
    exponent: int
    version: str
    ephemeral: bool
    group: int = 1
    algorithm: str = "PS256"
    session: Session | None = None
    status: str = "Offline"
    queue: deque[Message] = field(default_factory=deque)
    delivered: dict[int, Message] = field(default_factory=dict)
    assertions: set[str] = field(default_factory=set)
    polls: int = 0
    disable_update: bool = True
    deleted: list[int] = field(default_factory=list)


@dataclass
class V1Log:
    """One page of a log as V1 takes it."""

    id: int
    record: str
    data: bytearray = field(default_factory=bytearray)
    named: bool = False  # by its record


@dataclass
class Blob:
    """One upload target: a step's log, the job's log, a summary or diagnostics."""

    id: str
    job: str
    kind: str
    step: str | None
    created: float
    type: str | None = None
    data: bytearray = field(default_factory=bytearray)
    blocks: list[tuple[float, int]] = field(default_factory=list)
    sealed: bool = False
    metadata: dict[str, Any] | None = None
    urls: dict[str, float] = field(default_factory=dict)
    content_type: str | None = None


@dataclass
class StepSeen:
    """A step record as the updates described it."""

    id: str
    number: int
    name: str
    status: int = 0
    conclusion: int = 0
    started_at: str | None = None
    completed_at: str | None = None
    history: list[tuple[float, int, int]] = field(default_factory=list)


@dataclass
class FeedMessage:
    at: float
    step: str
    start: int
    lines: list[str]


@dataclass
class Job:
    id: str
    plan: str
    request: str
    message: dict[str, Any] | None
    raw: bytes | None
    raw_type: str
    repo: str
    labels: list[str]
    token: str
    name: str
    lenient: set[str] = field(default_factory=set)
    billing: str | None = None
    acknowledge: bool = True
    sdk_upload: bool = False
    state: str = "queued"
    runner: int | None = None
    times: dict[str, float] = field(default_factory=dict)
    locked_until: float | None = None
    renewals: list[float] = field(default_factory=list)
    change_order: int = 0
    order_retry: bool = False
    steps: dict[str, StepSeen] = field(default_factory=dict)
    blobs: dict[tuple[str, str | None], Blob] = field(default_factory=dict)
    feed: list[FeedMessage] = field(default_factory=list)
    announced: float = 0.0  # when its message was given out last
    feed_connects: int = 0
    feed_held: bool = False  # a fault made messages late
    feed_closes: list[int] = field(default_factory=list)
    completion: dict[str, Any] | None = None
    completions: int = 0
    lost_answers: int = 0
    secrets: dict[str, str] = field(default_factory=dict)
    # V1
    number: int = 0  # requestId
    announced: str = "RunnerJobRequest"
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    v1_logs: dict[int, V1Log] = field(default_factory=dict)
    v1_blobs: dict[tuple[str, str | None], Blob] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.state in ("completed", "lost", "refused")

    @property
    def may_repeat(self) -> bool:
        """The runner may not know of an answer that it got: it was lost, or who got it died."""
        return bool(self.lost_answers) or "restart" in self.lenient

    def mark(self, what: str, at: float) -> None:
        """Note the first time that something happened."""
        self.times.setdefault(what, at)


def new_secret(prefix: str) -> str:
    return prefix + secrets.token_hex(20)
