"""The live console: a WebSocket that takes each step's lines while it runs (protocol §5.4)."""

from __future__ import annotations

import asyncio
import json

from aiohttp import WSMsgType, web

from . import schema
from .endpoint import Call, apply_before, wrap
from .model import FeedMessage, Job

MAX_LINES = 100
MAX_CHARS = 1024

_MESSAGE = schema.record({"count": schema.at_least(1), "value": schema.list_of(schema.text, most=MAX_LINES), "stepId": schema.guid,
                          "startLine": schema.at_least(1)})


def take(call: Call, job: Job, data: str) -> None:
    service = call.service
    service.recorder.scan(data.encode(), "a feed message", call.record, job.id)
    try:
        message = json.loads(data)
    except ValueError as error:
        call.error("feed", f"a message is not JSON: {error}", job)
        return
    faults = schema.verify(message, _MESSAGE)
    for fault in faults:
        call.error("feed", fault, job)
    if not schema.is_unknown_only(faults):
        return
    if message["count"] != len(message["value"]):
        call.error("feed", f"count is {message['count']}, value has {len(message['value'])} lines", job)
    for line in message["value"]:
        if len(line) > MAX_CHARS + 3 or (len(line) > MAX_CHARS and not line.endswith("...")):
            call.error("feed", f"a line has {len(line)} characters", job)
    last = next((m for m in reversed(job.feed) if m.step == message["stepId"]), None)
    if last is not None and message["startLine"] < last.start + len(last.lines):
        call.error("feed", f"startLine {message['startLine']} follows {last.start} with {len(last.lines)} lines", job)
    # What was sent before may be read a moment after: the two ways are not one.
    late = service.clock.stamp() - job.times.get("completed", service.clock.stamp())
    if late > 0.2 + service.clock.slack and not job.feed_held:
        call.error("order", "feed message after completejob", job)
    job.feed.append(FeedMessage(service.clock.stamp(), message["stepId"], message["startLine"], message["value"]))
    job.mark("first-feed", service.clock.stamp())
    service.notify()


async def ingest(call: Call) -> web.StreamResponse:
    service, job = call.service, call.job()
    socket = web.WebSocketResponse(heartbeat=None, max_msg_size=4 << 20)
    await socket.prepare(call.request)
    job.feed_connects += 1
    job.feed_held |= call.fault is not None
    async for message in socket:
        if message.type == WSMsgType.TEXT:
            fault = service.faults.take("feed.message", "", job.id)
            if fault is not None:
                if fault.do == "hang":
                    job.feed_held = True
                    await service.clock.sleep(fault.seconds or 3600)
                elif fault.do == "body":  # bytes that are no frame
                    assert call.request.transport is not None
                    call.request.transport.write((fault.body or "").encode())
                    break
                else:
                    await apply_before(call, fault)
                    break
            take(call, job, message.data)
        elif message.type == WSMsgType.BINARY:
            call.error("feed", "binary message", job)
        elif message.type == WSMsgType.ERROR:
            call.error("feed", f"broken frame: {socket.exception()}", job)
    job.feed_closes.append(socket.close_code or 0)
    return socket


def add_route(service: object, router: web.UrlDispatcher) -> None:
    router.add_get("/_results/_ws/ingest.sock", wrap(service, "feed.connect", ingest, api=False))  # type: ignore[arg-type]
