"""Each test gets a service in its own loop and a registered stand-in runner."""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Callable

import aiohttp
import pytest

from .. import jobs
from ..service import Options, Service
from .standin import StandIn

Test = Callable[["World"], Awaitable[None]]


class World:
    """What a test body works with."""

    def __init__(self, service: Service, http: aiohttp.ClientSession) -> None:
        self.service, self.http = service, http
        self.runner = StandIn(http)

    def registration(self, kind: str = "registration", scope: str = "acme/web") -> tuple[str, str]:
        url = f"{self.service.url}/{scope}"
        return url, self.service.tokens.issue(kind, url, 3600).value

    async def online(self) -> None:
        assert await self.runner.register(*self.registration()) == 201
        assert (await self.runner.fetch_token())[0] == 200
        assert await self.runner.open_session() == 201

    def queue(self, steps: int = 2, **options: Any) -> Any:
        message = {"steps": [{"type": "action", "name": f"step{n}", "contextName": f"step{n}", "condition": "success()",
                              "reference": {"type": "script"}, "inputs": {"type": 2}} for n in range(steps)],
                   "variables": {"PASSWORD": {"value": "hunter2-secret", "isSecret": True}}}
        return jobs.create(self.service, {"message": message, **options})

    @property
    def rules(self) -> list[str]:
        return [e.rule for e in self.service.recorder.errors]

    @property
    def errors(self) -> list[str]:
        return [str(e) for e in self.service.recorder.errors]


@pytest.fixture
def world() -> Callable[[Test], None]:
    def run(body: Test, **options: Any) -> None:
        async def main() -> None:
            options.setdefault("hold", 5.0)
            service = Service(Options(**options))
            await service.start()
            try:
                async with aiohttp.ClientSession() as http:
                    await body(World(service, http))
            finally:
                await service.stop()

        asyncio.run(main())

    return run
