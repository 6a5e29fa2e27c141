"""Start the service by itself: ``python3 -m tests.service``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import ssl
import sys
import tempfile
from pathlib import Path

from .clock import Clock
from .service import Options, Service

EPILOG = """\
Prints one line of JSON when it listens: {"url", "control", "ca"}. Register a runner with a token from
  curl -s -d '{"scope": "acme/web"}' CONTROL/tokens
queue a job from a message with  curl -s -d '{"message": {...}}' CONTROL/jobs  or, from a workflow file, with
  python3 -m tests.service.client CONTROL queue WORKFLOW --repo acme/web
and read CONTROL/jobs/ID, CONTROL/errors (what the runner did wrong) and CONTROL/requests.
Faults: curl -s -d '{"at": "run.renew", "do": "status", "status": 500, "times": 2}' CONTROL/faults; their whole language
is at the top of tests/service/faults.py. It listens on loopback only and ends on SIGINT, SIGTERM or when its standard
input is closed (with --until-eof).
"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m tests.service", description="A strict double of GitHub's Actions service.",
                                     epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="port of the service (default: any free one)")
    parser.add_argument("--control-port", type=int, default=0, help="port of the control API (default: any free one)")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen at: loopback, or one of a namespace's link")
    parser.add_argument("--name", default="", help="host name in the URLs that are given out (default: the address)")
    parser.add_argument("--tls", action="store_true", help="serve over TLS; the authority's file is in the printed line")
    parser.add_argument("--repositories", default="", metavar="DIR", help="bare repositories OWNER/NAME.git for the REST calls")
    parser.add_argument("--hold", type=float, default=50.0, metavar="S", help="how long a poll is held (default 50)")
    parser.add_argument("--token-seconds", type=float, default=3000.0, metavar="S", help="life of listener tokens (default 3000)")
    parser.add_argument("--clock", default="1", metavar="SCALE[@ANCHOR]", help="time runs so fast, as WHERRY_TEST_CLOCK has it for the runner")
    parser.add_argument("--trace", nargs="?", const="-", metavar="FILE", help="print what happens, secrets hidden (default: to standard error)")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input is closed")
    return parser.parse_args()


async def serve(given: argparse.Namespace) -> None:
    scale, _, anchor = given.clock.partition("@")
    clock = Clock(float(scale), float(anchor) if anchor else None)
    service = Service(Options(hold=given.hold, token_seconds=given.token_seconds, repositories=given.repositories), clock=clock)
    if given.trace:
        service.trace_to(sys.stderr if given.trace == "-" else open(given.trace, "w", encoding="utf-8"))
    tls: ssl.SSLContext | None = None
    ca = ""
    with tempfile.TemporaryDirectory(prefix="service-tls-") as folder:
        if given.tls:
            from . import tls as certificates

            tls, path = certificates.make(Path(folder), given.name, given.host)
            ca = str(path)
        service.host, service.name = given.host, given.name
        _, control = await service.start(given.port, given.control_port, tls)
        print(json.dumps({"url": service.url, "control": f"http://127.0.0.1:{control}/_control", "ca": ca}), flush=True)
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ended.set)
        if given.until_eof:
            loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 65536) else ended.set())
        await ended.wait()
        await service.stop()


if __name__ == "__main__":
    asyncio.run(serve(arguments()))
