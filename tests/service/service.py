"""The service as a whole: its state, its hosts (paths of one loopback server) and its life."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Coroutine, TextIO

from aiohttp import web

from . import apps, blobs, broker, control, feed, oauth, registration, resolve, rest, results, runservice, v1, v1_plan, v1_pools, v1_sessions
from .clock import Clock
from .endpoint import MAX_BODY, wrap
from .faults import Faults
from .model import LOCK_SECONDS, RENEW_LATE, Blob, Job, Message, Runner
from .recorder import Recorder
from .tokens import Tokens
from .trace import Trace

API_PREFIXES = ("api.", "broker.", "run.", "results.", "oauth.", "launch.", "v1.")
REST_WITHOUT_ACCEPT = ("blob.", "rest.", "feed.")


@dataclass
class Options:
    """What a test may choose; most can be changed while the service runs (control API, ``options``)."""

    hold: float = 50.0
    session_idle: float = 120.0
    token_seconds: float = 3000.0
    job_token_seconds: float = 6 * 3600.0
    lock_seconds: float = float(LOCK_SECONDS)
    renew_late: float = RENEW_LATE
    url_seconds: float = 3600.0
    algorithm: str = "PS256"
    register_scheme: str = "RemoteAuth"
    blob_storage: str = "BLOB_STORAGE_TYPE_AZURE"
    passing_logs: bool = False  # logs are read as they come and not kept (passing.py)
    runner_version: str = "2.336.0"
    pat: str = "ghp_doubledoubledouble"
    weak_pats: list[str] = field(default_factory=list)  # known, without the right to administer runners
    # The one App: who it is, its public key (PEM), where it is installed ("owner", "owner/repo", "enterprises/name").
    app_id: str = "12345"
    app_key: str = ""
    app_installation: str = "678"
    app_scope: str = "acme"
    app_seconds: float = 3600.0
    app_suspended: bool = False
    # Names that everybody can see, and repositories that nobody can.
    users: list[str] = field(default_factory=lambda: ["octocat"])
    organisations: list[str] = field(default_factory=lambda: ["acme"])
    absent: list[str] = field(default_factory=list)
    repositories: str = ""
    run_url: str = ""
    message_sign: int = 1
    repeat_seconds: float = 20.0  # after this a job whose announcement nobody acknowledged is announced again
    late: str = ""  # the job of this name is announced only in a poll whose place a newer one has taken
    full_box: bool = False  # runners may say Busy without a job: others of their box have the places
    announce_again: str = ""  # a job's message comes twice: under the "same" id or a "new" one
    unknown_actions: list[str] = field(default_factory=list)
    action_tokens: dict[str, str] = field(default_factory=dict)  # repository to the token that its archive is fetched with
    action_archives: dict[str, str] = field(default_factory=dict)  # owner/repo@ref to another URL of the archive
    tarball_host: str = ""  # archives are redirected there
    # Which generation: how runners register, where they listen, and how jobs come: by the run service ("run"), as the message itself
    # ("pipelines"), or by the V1 job message resource ("message").
    registration: str = "v2"
    listener: str = "v2"
    job_flow: str = "run"
    # V1: the session's key ("encrypted", "plain", "none"), the hash that wraps it, what is announced of that; what an empty poll is;
    # migration to the broker ("", "message", "session"); after how long an undeleted message comes again.
    v1_key: str = "encrypted"
    v1_hash: str = "sha1"
    v1_fips: bool = False
    v1_empty: int = 200
    v1_migrate: str = ""
    v1_redeliver: float = 30.0
    v1_options_only: bool = False  # connectionData names nothing: the map is in OPTIONS
    v1_max_version: str = ""  # the newest version that the server speaks
    v1_rename: str = ""  # the agent's new name, told at renewals
    v1_old: bool = False  # answers to registration leave out what old servers do not know
    v1_results: bool = False  # a V1 job has a results endpoint too
    feed_url: str = ""  # of another WebSocket server than this one
    v1_websocket: bool = True  # a V1 job has a FeedStreamUrl
    v1_plan_version: int = 9
    v1_config: dict[str, dict[str, Any]] = field(default_factory=dict)  # what a configuration refresh changes
    groups: list[dict[str, Any]] = field(
        default_factory=lambda: [{"id": 1, "name": "Default", "default": True, "is_hosted": False},
                                 {"id": 2, "name": "GitHub Actions", "default": False, "is_hosted": True},
                                 {"id": 3, "name": "builders", "default": False, "is_hosted": False}]
    )


# Jobs that ended longer ago than so many others: their secrets are looked for no more.
MAX_WATCHED = 50


class Service:
    def __init__(self, options: Options | None = None, public_url: str = "", clock: Clock | None = None) -> None:
        self.options = options or Options()
        self.clock = clock or Clock()
        self.recorder = Recorder(self.clock)
        self.faults = Faults(self.clock)
        self.tokens = Tokens(self.clock, self.recorder)
        self.runners: dict[int, Runner] = {}
        self.tarballs: list[list[str]] = []  # archives that were asked for, with the Authorization header
        self.unheard: set[str] = set()  # endpoints that a fault answered in place of their handler
        self.jobs: dict[str, Job] = {}
        self.blobs: dict[str, Blob] = {}
        self.url = public_url
        self.port = 0
        self._waiters: set[asyncio.Event] = set()
        self.configs: list[dict[str, Any]] = []  # what configuration refreshes sent
        self.updates: list[dict[str, Any]] = []  # what update states said
        self._numbers = {"runner": 4710, "message": 16, "request": 87}
        self._over: deque[Job] = deque()
        self._completions: dict[int, float] = {}
        self._runner: web.AppRunner | None = None
        self._server: asyncio.base_events.Server | None = None
        self._control: web.AppRunner | None = None
        self.host, self.name = "127.0.0.1", ""  # where it listens, and what its URLs call it
        self._tls: ssl.SSLContext | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def trace_to(self, out: TextIO) -> None:
        def name_of(ident: int) -> str:
            return self.runners[ident].name if ident in self.runners else f"runner {ident}"

        self.recorder.trace = Trace(self.recorder, out, name_of)

    # -- numbers and names -------------------------------------------------------------------------------------------
    def _next(self, what: str) -> int:
        self._numbers[what] += 1
        return self._numbers[what]

    def next_runner(self) -> int:
        return self._next("runner")

    def next_message(self) -> int:
        return self._next("message") * self.options.message_sign

    def next_request(self) -> int:
        return self._next("request")

    def authorization_url(self, runner: Runner) -> str:
        return f"{self.url}/_token/{runner.id}"

    # -- waking ------------------------------------------------------------------------------------------------------
    def notify(self) -> None:
        """Something changed: every long poll and every waiting test looks again."""
        for waiter in self._waiters:
            waiter.set()

    async def wait(self, seconds: float) -> None:
        event = asyncio.Event()
        self._waiters.add(event)
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except asyncio.TimeoutError:
            pass
        finally:
            self._waiters.discard(event)

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Work beside everything else; it ends with the service."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- runners and jobs --------------------------------------------------------------------------------------------
    def drop_runner(self, ident: int) -> None:
        self.runners.pop(ident, None)
        self.notify()

    def running_job(self, runner: Runner) -> Job | None:
        return next((j for j in self.jobs.values() if j.runner == runner.id and not j.ended and j.state != "queued"), None)

    def last_completion(self, runner: Runner) -> float:
        return self._completions.get(runner.id, float("-inf"))

    def by_request(self, request: str) -> Job | None:
        return next((j for j in self.jobs.values() if j.request == request), None)

    def assign(self, runner: Runner, name: str = "") -> Message | None:
        """The announcement of the oldest queued job (of this name) that this runner's labels and scope fit."""
        labels = {label.lower() for label in runner.labels}
        for job in self.jobs.values():
            if name and job.name != name:
                continue
            scope = f"{self.url}/{job.repo}".lower()
            if job.state != "queued" or job.name == self.options.late or not {label.lower() for label in job.labels} <= labels:
                continue
            if scope != runner.scope.lower() and scope.rpartition("/")[0] != runner.scope.lower():
                continue
            job.state, job.runner = "assigned", runner.id
            if job.announced == "PipelineAgentJobRequest":
                return broker.v1_job_request(self.next_message(), job)
            url = "" if job.announced == "message" else self.options.run_url or self.url + "/_run/7/"
            return broker.job_request(url, self.next_message(), job.request, job.acknowledge, job.billing, job.id)
        return None

    def job_ended(self, job: Job) -> None:
        self._over.append(job)
        if len(self._over) > MAX_WATCHED:
            old = self._over.popleft()
            self.recorder.forget([old.token, *old.secrets.values()])
        runner = self.runners.get(job.runner or 0)
        if runner is not None:
            self._completions[runner.id] = self.clock.stamp()
            if runner.ephemeral:
                self.drop_runner(runner.id)
        self.notify()

    def job_of(self, request: web.Request) -> str | None:
        """The job that a request belongs to, by its token or its blob (for faults that name a job)."""
        blob = self.blobs.get(request.match_info.get("id", ""))
        if blob is not None:
            return blob.job
        value = request.headers.get("Authorization", "").partition(" ")[2]
        return next((j.id for j in self.jobs.values() if j.token == value), None) if value else None

    # -- HTTP --------------------------------------------------------------------------------------------------------
    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY)
        for module in (registration, apps, oauth, broker, runservice, results, blobs, resolve, rest, v1, v1_pools, v1_sessions, v1_plan):
            for verb, path, name, handler in module.routes():
                api = not name.startswith(REST_WITHOUT_ACCEPT)
                app.router.add_route(verb, path, wrap(self, name, handler, api))
        feed.add_route(self, app.router)
        app.router.add_route("*", "/{rest:.*}", wrap(self, "unknown", _unknown, api=False))

        async def stamp(_request: web.Request, response: web.StreamResponse) -> None:
            response.headers["Date"] = self.clock.http_date()
            response.headers["X-GitHub-Request-Id"] = f"D0:{len(self.recorder.requests)}"

        app.on_response_prepare.append(stamp)
        return app

    async def start(self, port: int = 0, control_port: int = 0, tls: ssl.SSLContext | None = None) -> tuple[int, int]:
        """Listen; returns the service's port and the control API's, which survives outages of the service."""
        self._tls = tls
        self._runner = web.AppRunner(self.application(), access_log=None, keepalive_timeout=120.0)
        await self._runner.setup()
        await self._listen(port)
        name = self.name or ("localhost" if tls and self.host == "127.0.0.1" else self.host)
        self.url = self.url or f"{'https' if tls else 'http'}://{name}:{self.port}"
        self._control = web.AppRunner(control.application(self), access_log=None)
        await self._control.setup()
        site = web.TCPSite(self._control, "127.0.0.1", control_port)
        await site.start()
        return self.port, self._control.addresses[0][1]

    async def _listen(self, port: int) -> None:
        assert self._runner is not None and self._runner.server is not None
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._runner.server, self.host, port, ssl=self._tls, backlog=512, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    def drop_connections(self) -> None:
        assert self._runner is not None and self._runner.server is not None
        for handler in list(self._runner.server.connections):
            if handler.transport is not None:
                handler.transport.abort()

    async def outage(self, seconds: float) -> None:
        """Gone: connections are reset and new ones refused for this time."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        self.unheard.add("results.steps")
        self.drop_connections()
        await self.clock.sleep(seconds)
        await self._listen(self.port)

    async def wrong_certificate(self, seconds: float) -> None:
        """For this time the certificate is of another authority."""
        if self._server is None or self._tls is None:
            return
        from . import tls as certificates

        right = self._tls
        with tempfile.TemporaryDirectory(prefix="service-tls-") as folder:
            self._tls, _ = certificates.make(Path(folder))
        await self._listen_anew()
        await self.clock.sleep(seconds)
        self._tls = right
        await self._listen_anew()

    async def _listen_anew(self) -> None:
        assert self._server is not None
        self._server.close()
        self.drop_connections()
        await self._listen(self.port)

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._server is not None:
            self._server.close()
        self.drop_connections()
        for runner in (self._runner, self._control):
            if runner is not None:
                with contextlib.suppress(Exception):
                    await runner.cleanup()


async def _unknown(call: Any) -> web.Response:
    call.error("path", f"{call.request.method} {call.request.path} is not part of the service")
    return web.json_response({"message": "Not Found"}, status=404)
