"""The service's idea of time: scaled with the runner's, wrong on demand, and monotonic stamps for measuring."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta, timezone
from email.utils import formatdate

# How long a busy machine may keep a runner that is on time from showing it.
SLACK_SECONDS = 1.5


class Clock:
    """Time that may run ``scale`` times as fast as the machine's, as a runner's with WHERRY_TEST_CLOCK=SCALE@ANCHOR does.

    Every time that the protocol names (holds, locks, lives of tokens) is in this time.
    """

    def __init__(self, scale: float = 1.0, anchor: float | None = None) -> None:
        self.offset = 0.0
        self.scale = scale
        wall, mono = time.time(), time.monotonic()
        self._wall = wall if anchor is None else anchor
        self._mono = mono - (wall - self._wall)

    def now(self) -> float:
        """Seconds since the epoch as this service sees them."""
        return self._wall + (time.time() - self._wall) * self.scale + self.offset

    def http_date(self) -> str:
        return formatdate(self.now(), usegmt=True)

    def iso(self, plus: float = 0.0) -> str:
        moment = datetime.fromtimestamp(self.now(), timezone.utc) + timedelta(seconds=plus)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"

    def stamp(self) -> float:
        """Monotonic seconds; unscaled they are CLOCK_MONOTONIC's, comparable with stamps of other processes here."""
        if self.scale == 1.0:
            return time.monotonic()
        return self._mono + (time.monotonic() - self._mono) * self.scale

    def real(self, seconds: float) -> float:
        """How long the machine takes for these seconds."""
        return seconds / self.scale

    @property
    def slack(self) -> float:
        """What a deadline forgives in scaled time, where a moment of the machine's own is long."""
        return 0.0 if self.scale == 1.0 else SLACK_SECONDS * self.scale

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(self.real(seconds))
