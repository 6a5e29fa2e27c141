"""`wherry serve` alone, as the agent starts it: its line, its listening socket, tokens of jobs; and clients of its APIs."""

from __future__ import annotations

import array
import base64
import hashlib
import http.client
import json
import os
import socket
import struct
import subprocess
import time
import urllib.parse
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import agent

OWNER = 59100  # of the store, where the tests run as root
V = hashlib.sha256(b"version").hexdigest()
TWIRP = "/twirp/github.actions.results.api.v1."
V1 = "/_apis/artifactcache/"

MAIN = [("refs/heads/main", 3)]
PULL = [("refs/pull/1/merge", 3), ("refs/heads/main", 1)]
READ = [("refs/heads/main", 1)]


def jwt(**claims: Any) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.{part(uuid.uuid4().hex)}"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Job:
    """A token that the service knows, and the calls with it."""

    service: "CacheService"
    token: str
    id: str
    run: str
    backend: str

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        sent = {"Authorization": f"Bearer {self.token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        return self.service.request(method, path, data, sent)

    # -- v2
    def twirp(self, method: str, service: str = "CacheService", **fields: Any) -> Answer:
        return self.call("POST", f"{TWIRP}{service}/{method}", fields)

    def create(self, key: str, version: str = V) -> Answer:
        return self.twirp("CreateCacheEntry", key=key, version=version)

    def finalize(self, key: str, size: Any, version: str = V) -> Answer:
        return self.twirp("FinalizeCacheEntryUpload", key=key, size_bytes=size, version=version)

    def get(self, key: str, *restore: str, version: str = V) -> Answer:
        return self.twirp("GetCacheEntryDownloadURL", key=key, version=version, **({"restore_keys": list(restore)} if restore else {}))

    def save(self, key: str, data: bytes, version: str = V) -> None:
        made = self.create(key, version)
        assert made.status == 200 and made.json["ok"], made
        assert self.service.put(made.json["signed_upload_url"], data).status == 201
        done = self.finalize(key, len(data), version)
        assert done.status == 200 and done.json["ok"], done

    def match(self, key: str, *restore: str, version: str = V) -> str | None:
        got = self.get(key, *restore, version=version)
        assert got.status == 200, got
        return got.json.get("matched_key") if got.json["ok"] else None

    def load(self, key: str, version: str = V) -> bytes | None:
        got = self.get(key, version=version).json
        return self.service.download(got["signed_download_url"]) if got["ok"] else None

    # -- v1
    def lookup(self, keys: str, version: str = V) -> Answer:
        return self.call("GET", f"{V1}cache?keys={urllib.parse.quote(keys, safe='')}&version={version}")

    def reserve(self, key: str, version: str = V, **more: Any) -> Answer:
        return self.call("POST", f"{V1}caches", {"key": key, "version": version, **more})

    def patch(self, cache: int, start: int, data: bytes, range_: str | None = None) -> Answer:
        return self.call("PATCH", f"{V1}caches/{cache}", data, Content_Type="application/octet-stream",
                         Content_Range=range_ if range_ is not None else f"bytes {start}-{start + len(data) - 1}/*")

    def commit(self, cache: int, size: int) -> Answer:
        return self.call("POST", f"{V1}caches/{cache}", {"size": size})

    # -- artifacts
    def artifact(self, method: str, run: str | None = None, backend: str | None = None, **fields: Any) -> Answer:
        return self.twirp(method, "ArtifactService", workflow_run_backend_id=run or self.run,
                          workflow_job_run_backend_id=backend or self.backend, **fields)


@dataclass
class CacheService:
    folder: Path
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state = self.folder / "serve-state"
        self.state.mkdir(mode=0o700)
        if os.getuid() == 0:
            os.chown(self.state, OWNER, OWNER)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.listener.setblocking(False)
        self.port: int = self.listener.getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self.jobs: dict[str, dict[str, Any]] = {}
        self.log = self.folder / "serve.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        ours, theirs = socket.socketpair()
        self.line = ours
        number = theirs.fileno()
        env = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
        env |= {"ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1", "WHERRY_LOG": "debug"}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(["/bin/bash", "-c", f'exec "$0" serve 3<&{number}', str(agent.binary())], pass_fds=(number,),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True)
        theirs.close()
        state = os.open(self.state, os.O_RDONLY | os.O_DIRECTORY)
        self._send({"type": "launch", "state": str(self.state), "origin": self.origin, "artifacts": "local", "jobs": list(self.jobs.values()), **self.options},
                   [state, self.listener.fileno()])
        os.close(state)

    def _send(self, frame: dict[str, Any], fds: list[int] | None = None) -> None:
        data = json.dumps(frame).encode()
        data = struct.pack("<I", len(data)) + data
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = self.line.sendmsg([data], ancillary)
        self.line.sendall(data[sent:])

    def job(self, scopes: list[tuple[str, int]], repository: str = "acme/web", **more: Any) -> Job:
        run, backend = str(uuid.uuid4()), str(uuid.uuid4())
        now = int(time.time())
        ac = json.dumps([{"Scope": s, "Permission": p} for s, p in scopes])
        token = jwt(ac=ac, exp=now + 3600, nbf=now - 60, scp=f"Actions.Results:{run}:{backend}")
        frame = {"type": "job", "id": str(uuid.uuid4()), "token": hashlib.sha256(token.encode()).hexdigest(), "repository": repository,
                 "scopes": [{"scope": s, "permission": p} for s, p in scopes], "run": run, "job": backend, **more}
        self.jobs[frame["id"]] = frame
        self._send(frame)
        job = Job(self, token, frame["id"], frame["run"], frame["job"])
        self._wait(lambda: job.get("-").status not in (401,) or more.get("expires"))
        return job

    def end(self, job: Job) -> None:
        del self.jobs[job.id]
        self._send({"type": "job-end", "id": job.id})
        self._wait(lambda: job.get("-").status == 401)

    def _wait(self, what: Any, seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, self.log.read_text()[-2000:]
            time.sleep(0.005)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.line.close()

    def restart(self) -> None:
        self.kill()
        self.start()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.line.close()
            self.process.wait(20)
        self.listener.close()
        assert self.process is not None and self.process.returncode in (0, -9), self.log.read_text()[-3000:]

    # -- plain requests ------------------------------------------------------------------------------------------------
    def request(self, method: str, url: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        path = url.removeprefix(self.origin)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {}, encode_chunked=hasattr(body, "__next__"))
            got = connection.getresponse()
            return Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())
        finally:
            connection.close()

    def put(self, url: str, data: Any, **headers: str) -> Answer:
        return self.request("PUT", url, data, {"x-ms-blob-type": "BlockBlob", **{k.replace("_", "-"): v for k, v in headers.items()}})

    def block(self, url: str, name: str, data: bytes) -> Answer:
        return self.request("PUT", f"{url}&comp=block&blockid={urllib.parse.quote(name, safe='')}", data)

    def block_list(self, url: str, names: list[str], xml: str | None = None) -> Answer:
        text = xml if xml is not None else "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>" + "".join(f"<Latest>{n}</Latest>" for n in names) + "</BlockList>"
        return self.request("PUT", f"{url}&comp=blocklist", text.encode())

    def download(self, url: str) -> bytes:
        got = self.request("GET", url)
        assert got.status == 200, got
        return got.body


def block_id(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
