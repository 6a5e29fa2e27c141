"""Logs that are still on their way when the steps are over: the job waits for them as long as they move, or nobody answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

import pytest

from .support.fast import Fast, workflow

LINES = "for n in $(seq 40); do echo line $n; done"


@pytest.fixture
def fast(place: Path) -> Iterator[Fast]:
    made = Fast(place, 20)
    made.online()
    yield made
    made.stop()


def lines(job: dict[str, Any], start: str = "line ") -> list[str]:
    return [line for line in job["log"]["lines"] if line.startswith(start)]


def test_requests_that_hang_one_after_the_other(fast: Fast) -> None:
    """Each hangs for 30 s, where the one for a signed URL is tried three times: longer than a refusing service is waited for."""
    fast.client.fault("results.GetJobLogsSignedBlobURL", "hang", seconds=40, times=2)
    fast.client.fault("blob.put", "hang", seconds=40, times=4)
    job = fast.run(workflow(LINES))
    assert job["conclusion"] == "succeeded"
    assert lines(job) == [f"line {n}" for n in range(1, 41)]
    fast.client.check()


def test_others_that_go_well_do_not_shorten_the_wait(fast: Fast) -> None:
    """The steps' logs arrive 50 s after the end, while the job's log finds nobody yet."""
    fast.client.fault("results.GetJobLogsSignedBlobURL", "hang", seconds=40, times=4)
    fast.client.fault("results.CreateStepLogsMetadata", "delay", seconds=25, times=None)
    fast.client.fault("blob.put", "delay", seconds=25, times=None)
    job = fast.run(workflow(LINES, LINES))
    assert job["conclusion"] == "succeeded"
    assert len(lines(job)) == 80
    fast.client.check()


def test_log_that_is_long_on_a_slow_line(fast: Fast) -> None:
    """48 MB in blocks that take 5 s each: two minutes after the step's end, and each block is a step forward."""
    fast.client.fault("blob.put", "delay", seconds=5, times=None)
    job = fast.run(workflow("head -c 36000000 /dev/zero | base64 -w 1000"), timeout=120)
    assert job["conclusion"] == "succeeded"
    assert len(lines(job, "AAAA")) == 48_000
    fast.client.check()


def test_service_that_only_refuses(fast: Fast) -> None:
    """It answers, and takes nothing: after a minute the job ends without that log, and says so."""
    fast.client.fault("results.GetJobLogsSignedBlobURL", "status", status=503, times=None)
    job = fast.run(workflow(LINES), lenient=["logs"])
    assert job["conclusion"] == "succeeded"
    assert fast.said("not everything reached the results service: log of the job")


def test_pages_of_a_v1_server_that_is_slow(place: Path) -> None:
    """Five pages of 8 MiB each for the step and the job, half a minute each."""
    fast = Fast(place, 20, registration="v1", listener="v1", job_flow="pipelines", v1_results=False)
    try:
        fast.online()
        fast.client.fault("v1.log-append", "delay", seconds=30, times=None)
        job = fast.run(workflow("head -c 36000000 /dev/zero | base64 -w 1000"), timeout=120)
        assert job["conclusion"] == "succeeded"
        assert len(lines(job, "AAAA")) == 48_000
        fast.client.check()
    finally:
        fast.stop()
