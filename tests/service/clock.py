"""The service's idea of time: wall clock with an adjustable offset, and monotonic stamps for measuring."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from email.utils import formatdate


class Clock:
    """Wall clock that a test can push forwards or backwards without touching the machine's own."""

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        """Seconds since the epoch as this service sees them."""
        return time.time() + self.offset

    def http_date(self) -> str:
        return formatdate(self.now(), usegmt=True)

    def iso(self, plus: float = 0.0) -> str:
        moment = datetime.fromtimestamp(self.now(), timezone.utc) + timedelta(seconds=plus)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"

    @staticmethod
    def stamp() -> float:
        """CLOCK_MONOTONIC seconds: comparable with stamps that other processes of this machine took."""
        return time.monotonic()
