"""A runner that does everything right causes no protocol error."""

from __future__ import annotations

import asyncio
import time

from .conftest import World


def test_whole_job(world):
    async def body(w: World) -> None:
        await w.online()
        job = w.queue()
        run = await w.runner.take()
        assert await run.all() == 204
        assert w.errors == []
        assert job.state == "completed"
        assert job.completion["conclusion"] == "succeeded"

    world(body)


def test_poll_wakes_at_once(world):
    async def body(w: World) -> None:
        await w.online()
        poll = asyncio.create_task(w.runner.poll())
        await asyncio.sleep(0.3)
        began = time.monotonic()
        w.queue()
        status, message = await poll
        assert status == 200 and message["messageType"] == "RunnerJobRequest"
        assert time.monotonic() - began < 0.1

    world(body)


def test_empty_poll_is_202(world):
    async def body(w: World) -> None:
        await w.online()
        assert (await w.runner.poll())[0] == 202
        assert w.errors == []

    world(body, hold=0.2)


def test_superseded_poll_loses_no_message(world):
    async def body(w: World) -> None:
        await w.online()
        first = asyncio.create_task(w.runner.poll())
        await asyncio.sleep(0.1)
        second = asyncio.create_task(w.runner.poll())
        await asyncio.sleep(0.1)
        w.queue()
        assert (await first)[0] == 202
        assert (await second)[0] == 200

    world(body)


def test_aborted_poll_loses_no_message(world):
    async def body(w: World) -> None:
        await w.online()
        poll = asyncio.create_task(w.runner.poll())
        await asyncio.sleep(0.1)
        poll.cancel()
        await asyncio.sleep(0.1)
        w.queue()
        assert (await w.runner.poll())[0] == 200

    world(body)


def test_feed_is_kept_by_step(world):
    async def body(w: World) -> None:
        await w.online()
        job = w.queue()
        run = await w.runner.take()
        await run.feed(run.message["steps"][0]["id"], 1, ["step0", "end"])
        assert await run.all() == 204
        assert [m.lines for m in job.feed] == [["step0", "end"]]
        assert w.errors == []

    world(body)


def test_rs256_when_asked(world):
    async def body(w: World) -> None:
        assert await w.runner.register(*w.registration()) == 201
        assert (await w.runner.fetch_token(alg="RS256"))[0] == 200
        assert w.errors == []

    world(body, algorithm="RS256")


def test_expired_poll_token_is_refused_once_without_blame(world):
    async def body(w: World) -> None:
        await w.online()
        w.service.tokens.revoke("listener")
        assert (await w.runner.poll())[0] == 401
        assert (await w.runner.fetch_token())[0] == 200
        poll = asyncio.create_task(w.runner.poll())
        await asyncio.sleep(0.05)
        w.queue()
        assert (await poll)[0] == 200
        assert w.errors == []

    world(body)
