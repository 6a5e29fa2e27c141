"""A service that fails: the agent waits, asks again and loses nothing."""

from __future__ import annotations

import re
import time

import pytest

from tests.service.client import Client

from .conftest import Runs
from .support.agent import Wherry
from .test_cancel import started
from .test_jobs import steps

ECHO = steps("run: echo fine")


def succeeds(runs: Runs, timeout: float = 90) -> None:
    assert runs.run(ECHO, timeout=timeout)["conclusion"] == "succeeded"
    runs.client.check()


@pytest.mark.parametrize("at,fault", [
    ("results.GetStepLogsSignedBlobURL", {"do": "status", "status": 503}),
    ("results.CreateStepLogsMetadata", {"do": "status", "status": 500}),
    ("results.steps", {"do": "status", "status": 500}),
    ("blob.put", {"do": "status", "status": 500}),
    ("blob.put", {"do": "status", "status": 403}),
    ("blob.put", {"do": "reset", "when": "after"}),
    ("feed.connect", {"do": "status", "status": 503}),
    ("feed.message", {"do": "reset"}),
    ("broker.acknowledge", {"do": "status", "status": 500}),
    ("run.complete", {"do": "reset", "when": "after"}),
], ids=lambda v: v if isinstance(v, str) else "-".join(str(x) for x in v.values()))
def test_one_failure(online: Wherry, runs: Runs, at: str, fault: dict) -> None:
    runs.client.fault(at, **fault)
    succeeds(runs)


@pytest.mark.parametrize("at", ["run.acquire", "run.renew", "run.complete"])
def test_the_run_service_fails_once(online: Wherry, runs: Runs, at: str) -> None:
    runs.client.fault(at, "status", status=500)
    job = runs.run(ECHO, timeout=120, lenient=["renew"])
    assert job["conclusion"] == "succeeded"
    runs.client.check()


def test_too_many_requests(online: Wherry, runs: Runs) -> None:
    runs.client.fault("results.*", "status", status=429, retry_after=1, times=3)
    succeeds(runs)


def test_poll_errors_end_nothing(online: Wherry, runs: Runs, client: Client) -> None:
    ident = started(runs, steps("run: |\n  echo started\n  sleep 3\n  echo over"))
    client.fault("broker.message", "status", status=500, times=2)
    client.drop_connections()
    job = client.wait(ident, 60)
    assert job["conclusion"] == "succeeded"
    client.check()


def test_service_gone_in_mid_job(online: Wherry, runs: Runs, client: Client) -> None:
    """Ten seconds here; the long test makes it minutes."""
    ident = started(runs, steps("run: |\n  echo started\n  for n in $(seq 60); do echo line $n; sleep 0.1; done"))
    client.outage(10)
    job = client.wait(ident, 120)
    assert job["conclusion"] == "succeeded"
    assert [line for line in job["log"]["lines"] if line.startswith("line ")] == [f"line {n}" for n in range(1, 61)]
    client.check()


@pytest.mark.long
def test_service_gone_for_minutes(online: Wherry, runs: Runs, client: Client) -> None:
    ident = started(runs, steps("run: |\n  echo started\n  sleep 30\n  echo over"), lenient=["renew"])
    client.outage(180)
    job = client.wait(ident, 400)
    assert job["conclusion"] == "succeeded" and "over" in job["log"]["text"]
    client.check()


def test_token_expires_while_polling(online: Wherry, runs: Runs, client: Client) -> None:
    assert client.revoke("listener") >= 1
    client.drop_connections()
    succeeds(runs)


def test_short_tokens_are_refreshed_in_time(wherry: Wherry, runs: Runs, client: Client) -> None:
    client.options(token_seconds=6, hold=2)
    wherry.register(client)
    wherry.start(client=client)
    time.sleep(9)
    succeeds(runs)
    assert len(client.requests(endpoint="oauth.token")) >= 2


def test_session_conflict_is_waited_for(wherry: Wherry, runs: Runs, client: Client) -> None:
    wherry.register(client)
    client.fault("broker.session", "status", status=409, body="{}", times=1)
    wherry.start()
    client.wait_runners(timeout=60)
    succeeds(runs)


def test_session_lost_while_idle(online: Wherry, runs: Runs, client: Client) -> None:
    client.expire_session(client.runner()["id"])
    client.wait_runners(timeout=30)
    succeeds(runs)


def test_session_lost_while_busy(online: Wherry, runs: Runs, client: Client) -> None:
    ident = started(runs, steps("run: |\n  echo started\n  sleep 2\n  echo over"))
    client.expire_session(client.runner()["id"])
    assert client.wait(ident, 60)["conclusion"] == "succeeded"
    succeeds(runs)


def test_registration_deleted(online: Wherry, client: Client) -> None:
    client.call("DELETE", f"/runners/{client.runner()['id']}")
    online.wait(30)
    assert "box1" in online.log_text()


def test_force_token_refresh(online: Wherry, runs: Runs, client: Client) -> None:
    before = len(client.requests(endpoint="oauth.token"))
    client.message(client.runner()["id"], "ForceTokenRefresh")
    succeeds(runs)
    assert len(client.requests(endpoint="oauth.token")) > before


def test_broker_migration(online: Wherry, runs: Runs, client: Client) -> None:
    client.message(client.runner()["id"], "BrokerMigration", {"brokerBaseUrl": client.status()["url"] + "/_broker2/"})
    succeeds(runs)


@pytest.mark.parametrize("kind,body", [("SomethingNew", {"x": 1}), ("AgentRefresh", {"agentId": 1, "targetVersion": "9.9.9"}), ("", "")])
def test_other_messages_are_ignored(online: Wherry, runs: Runs, client: Client, kind: str, body: object) -> None:
    client.message(client.runner()["id"], kind, body)
    succeeds(runs)


@pytest.mark.parametrize("offset", [900, -900])
def test_wrong_clock(wherry: Wherry, runs: Runs, client: Client, offset: int) -> None:
    """The assertion follows the service's Date header, so a wrong clock does no harm; how wrong it is is said."""
    wherry.register(client)
    client.set_clock(offset)
    wherry.start(client=client)
    succeeds(runs)
    said = wherry.log_text()
    measured = re.search(r"clock is (\d+) s (behind|ahead of) the service's", said)
    assert measured and abs(int(measured[1]) - abs(offset)) <= 3 and measured[2] == ("behind" if offset > 0 else "ahead of")


def test_bad_token_answers(wherry: Wherry, client: Client) -> None:
    """invalid_client means that the registration is gone: the agent ends and says so."""
    wherry.register(client)
    client.fault("oauth.token", "status", status=400, body='{"error":"invalid_client","error_description":"gone"}', times=None)
    wherry.start()
    assert wherry.wait(60) == 1
    assert "invalid_client" in wherry.log_text()


@pytest.mark.long
def test_lock_lost(online: Wherry, runs: Runs, client: Client) -> None:
    """A renew that answers 404: the job is lost, the worker is stopped, the agent takes the next job."""
    client.options(lock_seconds=600)
    ident = runs.queue(steps("run: |\n  echo started\n  sleep 100"), lenient=["logs", "renew"])
    client.wait_for_text(ident, "started", 30)
    client.call("POST", f"/jobs/{ident}/lock-expired")
    client.wait(ident, 100)
    # The worker still ends its step, and may try to complete what is lost; then comes the next job.
    assert runs.run(ECHO, timeout=60)["conclusion"] == "succeeded"
    client.clear_errors()
    succeeds(runs)

