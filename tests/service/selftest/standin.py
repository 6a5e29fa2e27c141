"""A runner in a few lines of Python, to test the service with: it keeps to the protocol unless told not to.

It runs no step: a job's steps "run" by printing their names.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from datetime import datetime, timezone
from typing import Any

import aiohttp
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ..jwt import b64url

ZERO = "00000000-0000-0000-0000-000000000000"
RECEIVER = "twirp/results.services.receiver.Receiver/"
STEPS = "twirp/github.actions.results.api.v1.WorkflowStepUpdateService/WorkflowStepsUpdate"
NUMBERS = {"succeeded": 2, "failed": 3, "canceled": 4, "skipped": 7}


def millis() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def ticks() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def _b64(number: int) -> str:
    return base64.b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode()


class StandIn:
    def __init__(self, http: aiohttp.ClientSession, name: str = "box1") -> None:
        self.http, self.name = http, name
        self.key = rsa.generate_private_key(65537, 2048)
        self.agent: dict[str, Any] = {}
        self.token = ""
        self.session = ""
        self.version = "3.0.0"

    async def call(self, method: str, url: str, body: Any = None, token: str = "", scheme: str = "Bearer") -> tuple[int, Any]:
        headers = {"User-Agent": "standin/1", "Accept": "application/json"}
        if token:
            headers["Authorization"] = f"{scheme} {token}"
        data = None
        if body is not None:
            headers["Content-Type"], data = "application/json; charset=utf-8", json.dumps(body).encode()
        async with self.http.request(method, url, data=data, headers=headers) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None

    # -- registration ------------------------------------------------------------------------------------------------
    async def register(self, url: str, token: str, **change: Any) -> int:
        origin = url.rsplit("/", 2)[0]
        api, entity = origin + "/api/v3", origin + "/api/v3/repos/" + "/".join(url.rsplit("/", 2)[1:]) + "/actions"
        status, _ = await self.call("POST", api + "/actions/runner-registration", {"url": url, "runner_event": "register"}, token, "RemoteAuth")
        if status != 200:
            return status
        _, groups = await self.call("GET", entity + "/runner-groups", None, token, "RemoteAuth")
        await self.call("GET", entity + f"/runners?name={self.name}", None, token, "RemoteAuth")
        public = self.key.public_key().public_numbers()
        body = {"url": url, "group_id": next(g["id"] for g in groups["runner_groups"] if g["default"]), "name": self.name,
                "version": self.version, "updates_disabled": True, "ephemeral": False,
                "labels": [{"id": 0, "name": n, "type": "system"} for n in ("self-hosted", "Linux", "X64")],
                "public_key": f"<RSAKeyValue><Modulus>{_b64(public.n)}</Modulus><Exponent>{_b64(public.e)}</Exponent></RSAKeyValue>", **change}
        status, got = await self.call("POST", api + "/actions/runners/register", body, token, "RemoteAuth")
        if status == 201:
            self.agent = {"id": got["id"], **got["authorization"]}
        return status

    def assertion(self, life: int = 300, alg: str = "PS256", **claims: Any) -> str:
        now = int(time.time())
        payload = {"sub": self.agent["client_id"], "iss": self.agent["client_id"], "aud": self.agent["authorization_url"],
                   "jti": str(uuid.uuid4()), "nbf": now - 30, "exp": now - 30 + life, **claims}
        text = f"{b64url(json.dumps({'typ': 'JWT', 'alg': alg}).encode())}.{b64url(json.dumps(payload).encode())}"
        scheme: Any = padding.PSS(padding.MGF1(hashes.SHA256()), 32) if alg == "PS256" else padding.PKCS1v15()
        return f"{text}.{b64url(self.key.sign(text.encode(), scheme, hashes.SHA256()))}"

    async def fetch_token(self, **claims: Any) -> tuple[int, Any]:
        form = {"grant_type": "client_credentials", "client_assertion": self.assertion(**claims),
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}
        async with self.http.post(self.agent["authorization_url"], data=form,
                                  headers={"User-Agent": "standin/1", "Accept": "application/json"}) as response:
            got = await response.json()
            self.token = got.get("access_token", "")
            return response.status, got

    # -- listener ----------------------------------------------------------------------------------------------------
    def broker(self, what: str, **query: str) -> str:
        return self.agent["server_url"] + what + ("?" + "&".join(f"{k}={v}" for k, v in query.items()) if query else "")

    async def open_session(self) -> int:
        body = {"sessionId": ZERO, "ownerName": "box (PID: 1)", "useFipsEncryption": False, "agent": {
            "id": self.agent["id"], "name": self.name, "version": self.version, "osDescription": "Linux", "ephemeral": None, "status": 0,
            "provisioningState": None}}
        status, got = await self.call("POST", self.broker("session"), body, self.token)
        if status == 201:
            self.session = got["sessionId"]
        return status

    def identity(self, status: str) -> dict[str, str]:
        return {"sessionId": self.session, "status": status, "runnerVersion": self.version, "os": "Linux", "architecture": "X64"}

    async def poll(self, status: str = "Online") -> tuple[int, Any]:
        return await self.call("GET", self.broker("message", **self.identity(status), disableUpdate="true"), None, self.token)

    async def take(self) -> "JobRun":
        """Poll, acknowledge, acquire and renew once."""
        _, message = await self.poll()
        request = json.loads(message["body"])
        await self.call("POST", self.broker("acknowledge", **self.identity("Online")), {"runnerRequestId": request["runner_request_id"]}, self.token)
        status, job = await self.call("POST", request["run_service_url"] + "acquirejob", {
            "jobMessageId": request["runner_request_id"], "runnerOS": "Linux", "billingOwnerId": request["billing_owner_id"]}, self.token)
        assert status == 200, job
        run = JobRun(self, job)
        await run.renew()
        return run


class JobRun:
    """A job in the stand-in's hands."""

    def __init__(self, runner: StandIn, message: dict[str, Any]) -> None:
        self.runner, self.message = runner, message
        endpoint = message["resources"]["endpoints"][0]
        self.url, self.token = endpoint["url"], endpoint["authorization"]["parameters"]["AccessToken"]
        self.feed_url = endpoint["data"]["FeedStreamUrl"]
        self.results = message["variables"]["system.github.results_endpoint"]["value"]
        self.ids = {"workflow_run_backend_id": message["plan"]["planId"], "workflow_job_run_backend_id": message["jobId"]}
        self.order = 0
        self.job_log = ""
        self.done: list[dict[str, Any]] = []

    async def renew(self) -> int:
        body = {"planId": self.message["plan"]["planId"], "jobId": self.message["jobId"]}
        return (await self.runner.call("POST", self.url + "renewjob", body, self.token))[0]

    async def twirp(self, method: str, **body: Any) -> tuple[int, Any]:
        return await self.runner.call("POST", self.results + method, {**self.ids, **body}, self.token)

    async def update(self, ident: str, number: int, name: str, started: str | None, completed: str | None = None, result: str = "") -> int:
        self.order += 1
        status = 6 if completed else 3 if started else 5
        step = {"external_id": ident, "number": number, "name": name, "status": status, "started_at": started, "completed_at": completed,
                "conclusion": NUMBERS.get(result, 0)}
        return (await self.twirp(STEPS, steps=[step], change_order=self.order))[0]

    async def put(self, url: str, data: bytes, **headers: str) -> int:
        sent = {"User-Agent": "standin/1", **{k.replace("_", "-"): v for k, v in headers.items()}}
        async with self.runner.http.put(url, data=data, headers=sent, skip_auto_headers=("Content-Type",)) as response:
            return response.status

    async def step_log(self, ident: str, text: str, append: bool = False) -> None:
        _, got = await self.twirp(RECEIVER + "GetStepLogsSignedBlobURL", step_backend_id=ident)
        if append:
            await self.put(got["logs_url"], b"", x_ms_blob_type="AppendBlob", Content_Type="text/plain")
            half = len(text) // 2
            await self.put(got["logs_url"] + "&comp=appendblock", text[:half].encode(), x_ms_blob_sealed="False")
            await self.put(got["logs_url"] + "&comp=appendblock&seal=true", text[half:].encode(), x_ms_blob_sealed="True")
        else:
            await self.put(got["logs_url"], text.encode(), x_ms_blob_type="BlockBlob", Content_Type="text/plain")
        await self.twirp(RECEIVER + "CreateStepLogsMetadata", step_backend_id=ident, uploaded_at=millis(), line_count=text.count("\n"))

    async def run_step(self, ident: str, number: int, name: str, kind: str = "run", append: bool = False, output: str | None = None) -> None:
        started, began = millis(), ticks()
        await self.update(ident, number, name, started)
        text = f"{ticks()} {output or name}\n{ticks()} end\n"
        self.job_log += text
        await self.step_log(ident, text, append)
        await self.update(ident, number, name, started, millis(), "succeeded")
        self.done.append({"external_id": ident, "number": number, "name": name, "type": kind, "status": "completed",
                          "conclusion": "succeeded", "started_at": began, "completed_at": ticks(), "annotations": []})

    async def finish_log(self) -> None:
        _, got = await self.twirp(RECEIVER + "GetJobLogsSignedBlobURL")
        await self.put(got["logs_url"], self.job_log.encode(), x_ms_blob_type="BlockBlob", Content_Type="text/plain")
        await self.twirp(RECEIVER + "CreateJobLogsMetadata", uploaded_at=millis(), line_count=self.job_log.count("\n"))

    async def complete(self, conclusion: str = "succeeded", **change: Any) -> int:
        body = {"planId": self.message["plan"]["planId"], "jobId": self.message["jobId"], "conclusion": conclusion, "outputs": {},
                "stepResults": self.done, "annotations": [], "billingOwnerId": self.message["billingOwnerId"], **change}
        return (await self.runner.call("POST", self.url + "completejob", body, self.token))[0]

    async def feed(self, ident: str, start: int, lines: list[str]) -> None:
        headers = {"Authorization": f"Bearer {self.token}", "User-Agent": "standin/1"}
        async with self.runner.http.ws_connect(self.feed_url, headers=headers) as socket:
            await socket.send_str(json.dumps({"count": len(lines), "value": lines, "stepId": ident, "startLine": start}))
            await asyncio.sleep(0.01)

    async def all(self) -> int:
        """The whole job, as a right runner would report it."""
        await self.run_step(str(uuid.uuid4()), 1, "Set up job", "runner")
        for number, step in enumerate(self.message["steps"], 2):
            await self.run_step(step["id"], number, step["name"], append=number % 2 == 0)
        await self.run_step(str(uuid.uuid4()), 99, "Complete job", "runner")
        await self.finish_log()
        return await self.complete()
