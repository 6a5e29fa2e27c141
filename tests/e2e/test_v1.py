"""A V1 server: its sessions, messages and jobs, and the ways from there to a broker and back."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from tests.service.client import Client, step_log

from .conftest import Runs
from .support.agent import Wherry
from .test_jobs import steps

HELLO = steps("name: hello\nrun: echo hello from $RUNNER_NAME")


@pytest.fixture
def listening(wherry: Wherry, client: Client) -> Callable[..., Wherry]:
    """A runner of a server with these options, online."""

    def start(**options: Any) -> Wherry:
        client.options(**{"registration": "v1", "listener": "v1", **options})
        wherry.register(client)
        wherry.start(client=client)
        return wherry

    return start


@pytest.mark.parametrize("options", [
    {}, {"v1_hash": "sha256", "v1_fips": True}, {"v1_hash": "sha256"}, {"v1_fips": True}, {"v1_key": "plain"}, {"v1_key": "none"},
    {"v1_empty": 204}, {"v1_options_only": True}, {"v1_max_version": "5.0"}])
def test_a_job_of_the_run_service(listening, runs: Runs, client: Client, options: dict[str, Any]) -> None:
    """Every form of the session's key and of the server's map: RunnerJobRequest on a V1 session."""
    listening(**options)
    job = runs.run(HELLO)
    assert job["conclusion"] == "succeeded" and "hello from box1" in step_log(job, "hello")
    client.check()


def test_a_job_of_v1(listening, runs: Runs, client: Client) -> None:
    """PipelineAgentJobRequest: the message is the job; lock, records, logs and end are V1's."""
    listening(job_flow="pipelines")
    job = runs.run(HELLO)
    assert job["conclusion"] == "succeeded" and "hello from box1" in step_log(job, "hello")
    assert job["renewals"]
    client.check()
