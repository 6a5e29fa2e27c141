"""The trace reads well and tells no secret."""

from __future__ import annotations

import io

from .conftest import World


def test_trace(world):
    out = io.StringIO()

    async def body(w: World) -> None:
        w.service.trace_to(out)
        await w.online()
        job = w.queue(steps=1)
        run = await w.runner.take()
        w.service.faults.add({"at": "run.renew", "do": "status", "status": 502})
        await run.renew()
        await run.all()
        text = out.getvalue()
        for line in ("POST oauth.token /_token/", "POST run.acquire job " + job.id[:8], "-> 502 in", "[fault: status 502]", "-> 204 in"):
            assert line in text, text
        for secret in (w.runner.token, job.token, "hunter2-secret", *(s for b in job.blobs.values() for s in b.urls)):
            assert secret not in text
        assert all(len(line) < 400 and line.isprintable() for line in text.splitlines())

    world(body)
