"""A service and an agent that live in a time of their own: minutes of waiting pass in seconds."""

from __future__ import annotations

import re
import struct
import time
from pathlib import Path
from typing import Any, Iterable

from tests.service.client import Client
from tests.service.process import ServiceProcess
from tests.service.workflow import Event, Inputs

from .agent import Wherry

HEAD = "name: ci\non: push\njobs:\n  one:\n    runs-on: self-hosted\n    steps:\n"


def workflow(*runs: str) -> str:
    """A job of these scripts."""
    return HEAD + "".join("      - run: |\n" + "".join(f"          {line}\n" for line in run.split("\n")) for run in runs)


ECHO = workflow("echo fine")


class Fast:
    """``scale`` seconds of the protocol pass in one of the machine's; time limits in here are the machine's."""

    def __init__(self, place: Path, scale: int = 20, *, tls: bool = False, trace: bool = True, env: dict[str, str] | None = None, **options: Any) -> None:
        self.place, self.scale = place, scale
        self._anchor = f"{time.time():.3f}"
        self._wrong = place / "wall-clock-error"
        self._wrong.write_bytes(struct.pack("=q", 0))
        self._wrong.chmod(0o644)
        self.service = ServiceProcess(place / "service.log", clock=f"{scale}@{self._anchor}", tls=tls, **({"trace": place / "trace.txt"} if trace else {}))
        self.client: Client = self.service.client
        self.client.options(**options)
        clock = f"{scale}@{self._anchor},{self._wrong}"
        trust = {}
        if self.service.ca:
            authority = place / "ca.pem"  # where the job's user can read it too
            authority.write_bytes(Path(self.service.ca).read_bytes())
            trust = {"SSL_CERT_FILE": str(authority)}
        self.wherry = Wherry(place, **{"WHERRY_TEST_CLOCK": clock, "WHERRY_LOG": "debug", **trust, **(env or {})})
        self._gates = 0

    def stop(self) -> None:
        self.wherry.stop()
        self.service.stop()

    # -- the machine's clock -----------------------------------------------------------------------------------------
    def wall_clock_error(self, seconds: float) -> None:
        """From now on the agent's wall clock is so much ahead."""
        with open(self._wrong, "r+b") as file:
            file.write(struct.pack("=q", int(seconds * 1e9)))

    def real(self, seconds: float) -> float:
        return seconds / self.scale

    # -- the agent ---------------------------------------------------------------------------------------------------
    def online(self, *arguments: str) -> None:
        if not self.client.status()["runners"]:
            self.wherry.register(self.client)
        self.wherry.start(*arguments, client=self.client)

    def said(self, pattern: str, timeout: float = 30) -> str:
        """Wait until the agent's log has such a line; the line."""
        deadline = time.monotonic() + timeout
        while True:
            found = [line for line in self.wherry.log_text().splitlines() if re.search(pattern, line)]
            if found:
                return found[-1]
            if time.monotonic() > deadline:
                raise AssertionError(f"the agent did not say {pattern!r} within {timeout} s\n{self.wherry.log_text()[-6000:]}")
            time.sleep(0.02)

    def quiet(self, patterns: Iterable[str]) -> None:
        for pattern in patterns:
            found = re.search(pattern, self.wherry.log_text())
            assert found is None, f"the agent said {found and found[0]!r}\n{self.wherry.log_text()[-6000:]}"

    # -- jobs --------------------------------------------------------------------------------------------------------
    def queue(self, text: str = ECHO, **options: Any) -> str:
        return self.client.queue_workflow(".github/workflows/ci.yml", text=text, event=Event(repository="acme/web"), inputs=Inputs(), **options)

    def run(self, text: str = ECHO, timeout: float = 60, **options: Any) -> dict[str, Any]:
        return self.client.wait(self.queue(text, **options), timeout)

    def gated(self, before: str = "echo started", after: str = "echo over", **options: Any) -> tuple[str, Path]:
        """A job whose step waits until the returned file exists; it has begun when this returns."""
        self._gates += 1
        gate = self.place / f"gate{self._gates}"
        ident = self.queue(workflow(f"{before}\nuntil [ -e {gate} ]; do sleep 0.05; done\n{after}"), **options)
        self.client.wait(ident, 30, until="first-feed")
        return ident, gate

    def count(self, endpoint: str, status: int | None = None) -> int:
        return sum(1 for r in self.client.requests(endpoint=endpoint) if status is None or r["status"] == status)
