"""Each way of breaking the protocol is recorded, under its own rule."""

from __future__ import annotations

import json

import pytest

from .conftest import World
from .standin import RECEIVER, millis


async def _taken(w: World, **options):
    await w.online()
    job = w.queue(**options)
    return job, await w.runner.take()


def test_bad_registration_token(world):
    async def body(w: World) -> None:
        url, _ = w.registration()
        assert await w.runner.register(url, "AWRONG") == 404

    world(body)


@pytest.mark.parametrize("change,rule", [
    ({"group_id": "1"}, "shape"), ({"updates_disabled": None}, "shape"), ({"colour": 1}, "shape"),
    ({"public_key": "<RSAKeyValue/>"}, "public-key"), ({"labels": [{"id": 0, "name": "gpu", "type": "system"}]}, "labels"),
])
def test_registration_shape(world, change, rule):
    async def body(w: World) -> None:
        await w.runner.register(*w.registration(), **change)
        assert rule in w.rules, w.errors

    world(body)


@pytest.mark.parametrize("claims", [{"life": 330}, {"alg": "RS256"}, {"aud": "http://elsewhere/"}, {"sub": "x"}, {"nbf": "1"}, {"colour": 1}])
def test_assertion(world, claims):
    async def body(w: World) -> None:
        assert await w.runner.register(*w.registration()) == 201
        status, got = await w.runner.fetch_token(**claims)
        assert "assertion" in w.rules
        assert status == (200 if "colour" in claims else 400), got

    world(body)


def test_bad_signature(world):
    async def body(w: World) -> None:
        assert await w.runner.register(*w.registration()) == 201
        right = w.runner.assertion
        w.runner.assertion = lambda **_: right()[:-8] + "AAAAAAAA"
        status, got = await w.runner.fetch_token()
        assert status == 400 and got["error"] == "invalid_client" and "signature" in w.errors[0]

    world(body)


def test_clock_skew_is_told(world):
    async def body(w: World) -> None:
        assert await w.runner.register(*w.registration()) == 201
        w.service.clock.offset = 900
        status, got = await w.runner.fetch_token()
        assert status == 400 and "Current server time is" in got["error_description"]
        assert w.errors == []

    world(body)


def test_missing_query_parameter(world):
    async def body(w: World) -> None:
        await w.online()
        status, _ = await w.runner.call("GET", w.runner.broker("message", sessionId=w.runner.session), None, w.runner.token)
        assert status == 202 and w.rules.count("query") == 5

    world(body, hold=0.1)


def test_second_session_conflicts(world):
    async def body(w: World) -> None:
        await w.online()
        assert await w.runner.open_session() == 409

    world(body)


def test_job_token_where_listener_token_belongs(world):
    async def body(w: World) -> None:
        _, run = await _taken(w)
        w.runner.token = run.token
        assert (await w.runner.poll())[0] == 401
        assert "token" in w.rules

    world(body)


def test_acquire_without_acknowledge(world):
    async def body(w: World) -> None:
        await w.online()
        w.queue()
        _, message = await w.runner.poll()
        request = json.loads(message["body"])
        await w.runner.call("POST", request["run_service_url"] + "acquirejob", {
            "jobMessageId": request["runner_request_id"], "runnerOS": "Linux", "billingOwnerId": "U_1"}, w.runner.token)
        assert w.rules == ["order"]

    world(body)


def test_metadata_before_the_last_block(world):
    async def body(w: World) -> None:
        _, run = await _taken(w)
        step = run.message["steps"][0]["id"]
        await run.twirp(RECEIVER + "GetStepLogsSignedBlobURL", step_backend_id=step)
        await run.twirp(RECEIVER + "CreateStepLogsMetadata", step_backend_id=step, uploaded_at=millis(), line_count=0)
        assert w.rules == ["order"]

    world(body)


def test_authorization_on_a_blob(world):
    async def body(w: World) -> None:
        _, run = await _taken(w)
        _, got = await run.twirp(RECEIVER + "GetJobLogsSignedBlobURL")
        await run.put(got["logs_url"], b"2026-01-01T00:00:00.0000000Z x\n", x_ms_blob_type="BlockBlob", Content_Type="text/plain", Authorization="Bearer x")
        assert w.rules == ["token"]

    world(body)


@pytest.mark.parametrize("headers", [{"x_ms_blob_sealed": "True"}, {}])
def test_append_headers(world, headers):
    async def body(w: World) -> None:
        _, run = await _taken(w)
        _, got = await run.twirp(RECEIVER + "GetJobLogsSignedBlobURL")
        await run.put(got["logs_url"], b"", x_ms_blob_type="AppendBlob", Content_Type="text/plain")
        await run.put(got["logs_url"] + "&comp=appendblock", b"x", **headers)
        assert w.rules == ["blob"]

    world(body)


def test_append_without_create(world):
    async def body(w: World) -> None:
        _, run = await _taken(w)
        _, got = await run.twirp(RECEIVER + "GetJobLogsSignedBlobURL")
        assert await run.put(got["logs_url"] + "&comp=appendblock", b"x", x_ms_blob_sealed="False") == 404
        assert w.rules == ["blob"]

    world(body)


def test_completion_before_metadata(world):
    async def body(w: World) -> None:
        _, run = await _taken(w, steps=0)
        _, got = await run.twirp(RECEIVER + "GetJobLogsSignedBlobURL")
        await run.put(got["logs_url"], b"2026-01-01T00:00:00.0000000Z x\n", x_ms_blob_type="BlockBlob", Content_Type="text/plain")
        assert await run.complete() == 204
        assert "order" in w.rules and any("lacks its metadata" in e for e in w.errors)

    world(body)


def test_change_order_must_rise(world):
    async def body(w: World) -> None:
        _, run = await _taken(w)
        await run.update(run.message["steps"][0]["id"], 2, "step0", None)
        run.order -= 1
        await run.update(run.message["steps"][0]["id"], 2, "step0", millis())
        assert w.rules == ["change-order"]

    world(body)


@pytest.mark.parametrize("leak", ["hunter2-secret", "aHVudGVyMi1zZWNyZXQ=", "the job token"])
def test_secret_in_a_log(world, leak):
    async def body(w: World) -> None:
        _, run = await _taken(w)
        text = run.token if leak == "the job token" else leak
        await run.run_step(run.message["steps"][0]["id"], 2, "step0", output=f"password {text}")
        assert set(w.rules) == {"secret"}
        assert all("hunter2" not in e for e in w.errors)

    world(body)


def test_step_missing_from_results_and_job_log(world):
    async def body(w: World) -> None:
        _, run = await _taken(w)
        await run.run_step("11111111-2222-4333-8444-555555555555", 1, "Set up job")
        await run.run_step(run.message["steps"][0]["id"], 2, "step0")
        run.job_log = run.job_log.splitlines(True)[0]
        await run.finish_log()
        run.done.pop()
        await run.complete()
        assert {"ids", "step", "log"} <= set(w.rules), w.errors

    world(body)


def test_completed_twice(world):
    async def body(w: World) -> None:
        _, run = await _taken(w)
        assert await run.all() == 204
        assert await run.complete() == 404
        assert w.rules == ["order"]

    world(body)


def test_unknown_path(world):
    async def body(w: World) -> None:
        status, _ = await w.runner.call("GET", w.service.url + "/nowhere")
        assert status == 404 and w.rules == ["path"]

    world(body)


def test_late_renew(world):
    async def body(w: World) -> None:
        job, run = await _taken(w)
        job.renewals[-1] -= 80
        assert await run.renew() == 200
        assert w.rules == ["renew"]

    world(body)


@pytest.mark.parametrize("headers,said", [
    ({"X-Surprise": "1"}, "the header x-surprise is unknown"),
    ({"Accept": "application/json; api-version=6.0-preview.1"}, "api-version belongs to V1 calls alone"),
    ({"X-Actions-Session": "PASSWORD"}, "a listener token seen in a request to broker.message"),
])
def test_headers(world, headers, said):
    async def body(w: World) -> None:
        await w.online()
        sent = {k: w.runner.token if v == "PASSWORD" else v for k, v in headers.items()}
        await w.http.get(w.service.url + "/_broker/message?sessionId=x&status=Online&runnerVersion=3.0.0&os=Linux&architecture=X64&disableUpdate=true",
                         headers={"Authorization": f"Bearer {w.runner.token}", "Accept": "application/json", **sent})
        assert any(said in e for e in w.errors), w.errors

    world(body)


def test_a_body_and_a_query_that_no_call_has(world):
    async def body(w: World) -> None:
        await w.online()
        await w.http.delete(w.service.url + "/_broker/session?why=not", data=b"{}", headers={
            "Authorization": f"Bearer {w.runner.token}", "Accept": "application/json", "Content-Type": "application/json"})
        assert any("a body of 2 bytes" in e for e in w.errors) and any("why is unknown" in e for e in w.errors), w.errors

    world(body)
