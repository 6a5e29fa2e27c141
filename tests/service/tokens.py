"""The service's bearer tokens: issuing, expiry, and which kind opens which door."""

from __future__ import annotations

from typing import Any

from . import jwt
from .clock import Clock
from .model import Token, new_secret
from .recorder import Recorder

# A request that left before a token ended may arrive a little later.
GRACE = 2.0


class Tokens:
    def __init__(self, clock: Clock, recorder: Recorder) -> None:
        self._clock, self._recorder = clock, recorder
        self._all: dict[str, Token] = {}

    def issue(self, kind: str, owner: str, seconds: float, claims: dict[str, Any] | None = None, value: str | None = None) -> Token:
        if value is None:
            if claims is None:
                value = new_secret("A")
            else:
                now = int(self._clock.now())
                value = jwt.issue({**claims, "kind": kind, "nbf": now - 60, "exp": now + int(seconds), "jti": new_secret("")})
        token = Token(value, kind, owner, self._clock.stamp() + seconds)
        self._all[value] = token
        self._recorder.add_secret(value, f"a {kind} token")
        return token

    def check(self, value: str, kind: str) -> tuple[Token | None, str | None]:
        """The live token, or None; and what the runner did wrong, if anything."""
        token = self._all.get(value)
        if token is None:
            return None, f"unknown token where the {kind} token belongs"
        if token.kind != kind:
            return None, f"{token.kind} token used where the {kind} token belongs"
        now = self._clock.stamp()
        if token.revoked_at is not None:
            # The first refusal tells the runner; requests on their way are forgiven, later ones are not.
            token.refused += 1
            late = token.refused > 1 and now - token.revoked_at > GRACE + self._clock.slack
            return None, f"{kind} token used again after it was refused" if late else None
        if now > token.expires:
            return None, f"{kind} token expired {now - token.expires:.1f} s ago"
        return token, None

    def revoke(self, kind: str, owner: str | None = None) -> int:
        """End live tokens of a kind now, as an expiry would; returns how many."""
        count = 0
        for token in self._all.values():
            if token.kind == kind and token.revoked_at is None and (owner is None or token.owner == owner):
                token.revoked_at = self._clock.stamp()
                token.refused = 0
                count += 1
        return count
