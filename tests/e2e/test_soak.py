"""Soak: 8 runners in one process, short jobs one after the other, 5 % of all requests failing by chance (tests/service/chaos.py).

Every job completes once with its own result, each line of its log arrives once, and the agent neither grows nor keeps descriptors.
The seed is printed; SOAK_SEED=N repeats a run's draws (their order still depends on the machine). SOAK_SHARE=0.2 spoils more,
SOAK_TRACE=1 keeps all requests in trace.txt.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from .support.agent import memory
from .support.fast import Fast, workflow

RUNNERS = 8
JOBS = 200
SHARE = float(os.environ.get("SOAK_SHARE", "0.05"))
WARM = 40
LINES = 40
# What a spoiled request may leave behind in the double's book-keeping: a renewal that was late because the one before failed.
LATE = {"renew"}


def script(kind: str, number: int) -> tuple[str, str]:
    """A job that prints LINES lines of its own, and its result."""
    lines = f"for n in $(seq {LINES}); do echo job {number} line $n; done"
    if kind == "fails":
        return workflow(lines, "exit 3"), "failed"
    if kind == "outputs":
        return workflow(lines + "\necho answer=42 >> $GITHUB_OUTPUT\necho '# Summary' >> $GITHUB_STEP_SUMMARY"), "succeeded"
    return workflow(lines), "succeeded"


class Soak:
    def __init__(self, place: Path, seed: int, scale: int) -> None:
        # A quarantine of freed memory would look like growth under AddressSanitizer.
        asan = "detect_leaks=0:abort_on_error=1:quarantine_size_mb=1:malloc_context_size=1"
        self.fast = Fast(place, scale, env={"ASAN_OPTIONS": asan, "WHERRY_LOG": "info"}, trace="SOAK_TRACE" in os.environ, hold=50)
        self.random = random.Random(seed)
        self.number = 0
        self.open: dict[str, tuple[int, str]] = {}
        self.done = 0

    def online(self, *options: str) -> None:
        for n in range(RUNNERS):
            self.fast.wherry.register(self.fast.client, "--work", str(self.fast.place / f"work{n}"), name=f"box{n}")
        self.fast.wherry.start(*options)
        self.fast.client.wait_runners(RUNNERS, 60)

    def queue(self) -> None:
        self.number += 1
        text, result = script(self.random.choice(("plain", "plain", "outputs", "fails")), self.number)
        self.open[self.fast.queue(text, lenient=list(LATE))] = (self.number, result)

    def settle(self) -> None:
        """Judge the jobs that have ended."""
        states = {j["id"]: j["state"] for j in self.fast.client.status()["jobs"]}
        for ident in [i for i in self.open if states[i] in ("completed", "lost", "refused")]:
            number, result = self.open.pop(ident)
            job = self.fast.client.job(ident)
            assert job["state"] == "completed" and job["conclusion"] == result, f"job {number}: {job['state']} {job['conclusion']}, not {result}"
            mine = [line for line in job["log"]["lines"] if line.startswith(f"job {number} line ")]
            assert mine == [f"job {number} line {n}" for n in range(1, LINES + 1)], f"job {number} has {len(mine)} of its {LINES} lines"
            assert not [line for line in job["log"]["lines"] if line.startswith("job ") and line not in mine]
            self.done += 1

    def run(self, jobs: int, until: float) -> None:
        """As many jobs as that, or as time allows."""
        target = self.done + jobs
        while self.done < target and time.monotonic() < until:
            while len(self.open) < 2 * RUNNERS and self.done + len(self.open) < target:
                self.queue()
            time.sleep(0.1)
            self.settle()
        self.drain()

    def drain(self) -> None:
        deadline = time.monotonic() + 120
        while self.open:
            assert time.monotonic() < deadline, f"jobs that do not end: {[n for n, _ in self.open.values()]}\n{self.fast.wherry.log_text()[-4000:]}"
            time.sleep(0.1)
            self.settle()

    def measure(self) -> dict[str, int]:
        """Memory and descriptors when nothing goes on: every runner polls, and what it was connected to is closed."""
        self.fast.client.wait_runners(RUNNERS, 60)
        time.sleep(2)
        pid = self.fast.wherry.pid
        links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()]
        sockets = sum(link.startswith("socket:") for link in links)
        return {"KiB": memory(pid)["VmRSS"], "files": len(links) - sockets, "sockets": sockets}


def soak(place: Path, jobs: int, seconds: float, share: float = SHARE, only: list[str] | None = None, scale: int = 10) -> None:
    seed = int(os.environ.get("SOAK_SEED", "0")) or random.randrange(1, 1 << 30)
    began = time.monotonic()
    print(f"soak: seed {seed}")
    run = Soak(place, seed, scale)
    try:
        # A place for each runner: where uploads are slow, or the machine is, a job that waited for one would be given to others.
        run.online("--max-jobs", str(RUNNERS))
        run.fast.client.chaos(seed, share, only)
        run.run(WARM, began + seconds / 2)
        warm = run.measure()
        run.run(jobs - WARM, began + seconds)
        spoiled = run.fast.client.chaos()
        end = run.measure()
        print(f"soak: {run.done} jobs in {time.monotonic() - began:.0f} s, {spoiled['spoiled']} of {spoiled['requests']} requests spoiled: {spoiled['ways']}")
        print(f"soak: after warm-up {warm}, at the end {end}")
        assert run.fast.wherry.alive
        assert all(run.fast.client.job(j["id"])["state"] == "completed" for j in run.fast.client.status()["jobs"])
        assert end["KiB"] <= warm["KiB"] * 1.1, f"memory grew from {warm['KiB']} to {end['KiB']} KiB"
        # A poll each, and as many kept connections.
        assert end["files"] <= warm["files"] and end["sockets"] <= warm["sockets"] + RUNNERS, f"descriptors: {warm}, then {end}"
        # There are fewer places for jobs than runners: an idle one of a full box says Busy, so that it gets none.
        run.fast.client.check(ignore={*LATE, "poll"})
    except BaseException:
        print(f"soak: failed after {run.done} jobs; SOAK_SEED={seed} repeats it\n{run.fast.wherry.log_text()[-6000:]}")
        raise
    finally:
        run.fast.stop()


def test_soak(place: Path) -> None:
    soak(place, JOBS, 60)


def test_soak_of_logs(place: Path) -> None:
    """Three in ten of all requests that carry logs and states go wrong: they come late, and they come."""
    soak(place, 80, 90, 0.3, ["results.*", "blob.put", "feed.*"])


@pytest.mark.long
def test_soak_long(place: Path) -> None:
    # A quarter of an hour has its seconds in which nothing gets the processor: at ten times the speed these were minutes, and locks ran out.
    soak(place, 1_000_000, 900, scale=4)
