"""RunnerRefreshConfig: the service changes a runner's settings after it was registered; and goes back where they don't work."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from .support.fast import ECHO, Fast

V1 = {"registration": "v1", "listener": "v1", "job_flow": "pipelines"}


@pytest.fixture
def fast(place: Path) -> Iterator[Fast]:
    made = Fast(place, 40, **V1)
    yield made
    made.stop()


def until(done: Callable[[], Any], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def ask(fast: Fast, kind: str = "runner", service: str = "pipelines", ident: int | None = None) -> None:
    runner = fast.client.runner()["id"]
    fast.client.message(runner, "RunnerRefreshConfig", {"runnerQualifiedId": f"acme/web/x/{ident or runner}", "configType": kind,
                                                        "serviceType": service, "configRefreshURL": fast.client.status()["url"]})


def told(fast: Fast, words: str) -> None:
    until(lambda: any(words in u["updateTrace"] and u["currentState"] == "RefreshConfig" for u in fast.client.status()["updates"]))


def file(fast: Fast, name: str) -> Path:
    return fast.wherry.state / "runners/box1" / name


def test_no_change(fast: Fast) -> None:
    fast.online()
    ask(fast)
    until(lambda: fast.client.status()["configs"])
    given = fast.client.status()["configs"][0]
    assert given["type"] == "runner" and given["given"]["agentName"] == "box1" and given["given"]["serverUrl"]
    assert fast.run()["conclusion"] == "succeeded"
    assert not file(fast, ".runner_migrated").exists() and fast.count("v1.session") == 1
    fast.client.check()


def test_other_settings_of_the_runner(fast: Fast) -> None:
    """It moves to the broker, when its job is over; the job is finished by what it began with."""
    fast.online()
    url = fast.client.status()["url"] + "/_broker/"
    fast.client.options(v1_config={"runner": {"useV2Flow": True, "serverUrlV2": url}}, job_flow="run")
    ident, gate = fast.gated()
    ask(fast)
    told(fast, "Runner settings updated successfully")
    time.sleep(0.3)
    assert fast.count("broker.session") == 0, "not while the job runs"
    gate.touch()
    assert fast.client.wait(ident, 30)["conclusion"] == "succeeded"
    until(lambda: fast.count("broker.message") > 0)
    assert fast.run()["conclusion"] == "succeeded"
    text = file(fast, ".runner_migrated").read_text("utf-8-sig")
    assert json.loads(text)["serverUrlV2"] == url and oct(file(fast, ".runner_migrated").stat().st_mode)[-3:] == "600"
    registered = json.loads(file(fast, "runner.json").read_text())
    assert not registered.get("serverUrlV2"), "the registration stays as it was"
    sessions = fast.count("broker.session")
    fast.wherry.signal(signal.SIGHUP)
    fast.said("reloaded: 1 runners")
    time.sleep(0.3)
    assert fast.count("broker.session") == sessions, "a reload finds nothing new"
    fast.client.check(ignore=("poll",))


def test_a_new_name_beside_other_settings(fast: Fast) -> None:
    """GitHub's new name for the runner goes into its registration; the service's settings don't."""
    fast.online()
    url = fast.client.status()["url"] + "/_broker/"
    fast.client.options(v1_config={"runner": {"serverUrlV2": url}}, v1_rename="box-of-ann")
    ask(fast)
    told(fast, "Runner settings updated successfully")
    until(lambda: fast.count("v1.session") == 2)
    assert fast.run()["conclusion"] == "succeeded"
    until(lambda: json.loads(file(fast, "runner.json").read_text()).get("agentName") == "box-of-ann")
    assert not json.loads(file(fast, "runner.json").read_text()).get("serverUrlV2")
    fast.client.check()


def test_other_credentials(fast: Fast) -> None:
    fast.online()
    authorization = json.loads(file(fast, "runner.json").read_text())["authorizationUrl"]
    client = json.loads(file(fast, "runner.json").read_text())["clientId"]
    fast.client.options(v1_config={"credentials": {"data": {"clientId": client, "authorizationUrl": authorization, "requireFipsCryptography": "True",
                                                            "oauthEndpointUrl": authorization + "?endpoint=its-own"}}})
    ask(fast, "credentials")
    told(fast, "Runner credentials updated successfully")
    until(lambda: any("its-own" in r["path"] for r in fast.client.requests(endpoint="oauth.token")))
    assert fast.run()["conclusion"] == "succeeded"
    fast.client.check(ignore=("query",))


def test_settings_that_do_not_work(fast: Fast) -> None:
    """Three sessions fail by them: back to the registration; the next start tries them again."""
    fast.online()
    fast.client.options(v1_config={"runner": {"useV2Flow": True, "serverUrlV2": fast.client.status()["url"] + "/_nowhere/"}})
    ask(fast)
    fast.said("no session by the settings that the service gave.*going back to those of the registration")
    assert fast.run(timeout=40)["conclusion"] == "succeeded"
    nowhere = sum("/_nowhere/" in r["path"] for r in fast.client.requests())
    assert nowhere == 3
    fast.wherry.stop()
    fast.client.options(session_idle=1)
    fast.wherry.start()
    until(lambda: sum("/_nowhere/" in r["path"] for r in fast.client.requests()) > nowhere)
    fast.client.check(ignore=("path",))


@pytest.mark.parametrize("change,words", [
    ({"agentId": 99}, "agentId is 99, this runner's is"), ({"agentName": "other"}, "agentName is other, this runner's is box1"),
    ({"useV2Flow": True}, "serverUrlV2 is missing"),
])
def test_settings_of_another_runner(fast: Fast, change: dict[str, Any], words: str) -> None:
    fast.online()
    fast.client.options(v1_config={"runner": change})
    ask(fast)
    fast.said(words + ".*its settings stay as they are")
    told(fast, words)
    assert not file(fast, ".runner_migrated").exists()
    assert fast.run()["conclusion"] == "succeeded"
    fast.client.check()


@pytest.mark.parametrize("body,words", [('"%%%"', "no base64"), ('"bm90IGpzb24="', "truncated or damaged"), ("<html>", "JSON|base64|web page")])
def test_an_answer_that_is_none(fast: Fast, body: str, words: str) -> None:
    fast.online()
    fast.client.fault("v1.config", "body", body=body)
    ask(fast)
    if body.startswith('"'):
        fast.said(f"({words}).*its settings stay as they are")
    assert fast.run()["conclusion"] == "succeeded"
    assert not file(fast, ".runner_migrated").exists()
    fast.client.check()


@pytest.mark.parametrize("kind,service,ident,words", [
    ("runner", "pipelines", 99, "is not this runner"), ("wheels", "pipelines", None, "no file of the type"),
    ("runner", "runner-admin", None, "has no such exchange"),
])
def test_messages_for_nobody(fast: Fast, kind: str, service: str, ident: int | None, words: str) -> None:
    fast.online()
    ask(fast, kind, service, ident)
    fast.said(words)
    told(fast, words)
    assert fast.count("v1.config") == 0
    assert fast.run()["conclusion"] == "succeeded"
    fast.client.check()


def test_an_exchange_that_fails(fast: Fast) -> None:
    fast.online()
    fast.client.fault("v1.config", "status", status=500)
    ask(fast)
    fast.said("ask for the settings of .runner_migrated: .*500.*its settings stay")
    assert fast.run(ECHO)["conclusion"] == "succeeded"
    fast.client.check()


@pytest.mark.parametrize("options", [{}, {"listener": "v2"}], ids=["V1", "broker"])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_skip_session_recover(fast: Fast, options: dict[str, Any], busy: bool) -> None:
    """The service ends the session of a runner that is to take no more jobs: it finishes its job, and makes no other session."""
    fast.client.options(hold=3, **options)
    fast.wherry.register(fast.client)
    config = file(fast, "runner.json")
    config.write_text(json.dumps({**json.loads(config.read_text()), "skipSessionRecover": True}))
    fast.wherry.start(client=fast.client)
    ident, gate = fast.gated() if busy else ("", None)
    sessions = fast.count("v1.session") + fast.count("broker.session")
    fast.client.expire_session(fast.client.runner()["id"])
    fast.said("this runner's settings .skipSessionRecover. say that it makes no other")
    if gate:
        gate.touch()
        assert fast.client.wait(ident, 30)["conclusion"] == "succeeded"
    assert fast.wherry.wait(30) == 1
    assert fast.count("v1.session") + fast.count("broker.session") == sessions
    assert config.exists()
    fast.client.check()
