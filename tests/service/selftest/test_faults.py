"""Faults do what they say and are counted; outages and clock changes take and end."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from .conftest import World


def test_status_with_retry_after(world):
    async def body(w: World) -> None:
        w.service.faults.add({"at": "oauth.*", "do": "status", "status": 429, "retry_after": 2, "times": 1})
        assert await w.runner.register(*w.registration()) == 201
        with pytest.raises(Exception):
            await w.runner.fetch_token()
        assert (await w.runner.fetch_token())[0] == 200
        assert w.service.recorder.requests[-2].fault == "status 429"

    world(body)


@pytest.mark.parametrize("when", ["before", "after", "inside"])
def test_reset(world, when):
    async def body(w: World) -> None:
        await w.online()
        w.queue()
        run = await w.runner.take()
        w.service.faults.add({"at": "run.renew", "do": "reset", "when": when})
        with pytest.raises(aiohttp.ClientError):
            await run.renew()
        assert await run.renew() == 200
        assert w.errors == []

    world(body)


def test_lost_completion_is_not_blamed(world):
    async def body(w: World) -> None:
        await w.online()
        w.queue(steps=1)
        run = await w.runner.take()
        w.service.faults.add({"at": "run.complete", "do": "reset", "when": "after"})
        with pytest.raises(aiohttp.ClientError):
            await run.all()
        assert await run.complete() == 404
        assert w.errors == []

    world(body)


def test_outage(world):
    async def body(w: World) -> None:
        await w.online()
        gone = asyncio.create_task(w.service.outage(0.3))
        await asyncio.sleep(0.05)
        with pytest.raises(aiohttp.ClientError):
            await w.runner.poll()
        await gone
        assert (await w.runner.poll())[0] == 202

    world(body, hold=0.1)


def test_unknown_action_is_refused(world):
    async def body(w: World) -> None:
        with pytest.raises(ValueError):
            w.service.faults.add({"at": "*", "do": "explode"})

    world(body)
