"""A registry that serves one OCI layout under every name, and misbehaves when told to."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from . import ociimage

HTML = b"<!DOCTYPE html><html><body><h1>Sign in to the hotel's network</h1></body></html>"


@dataclass
class Trouble:
    """What to do with requests whose path holds ``path``: at most ``times`` times."""

    path: str
    do: str  # status | html | half | flip | short | hang
    status: int = 500
    times: int = 1 << 30
    method: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class BadRegistry:
    def __init__(self, layout: Path) -> None:
        self.layout = layout
        self.troubles: list[Trouble] = []
        self.requests: list[tuple[float, str, str, str]] = []
        self.pushed: dict[str, bytes] = {}
        handler = type("Handler", (_Handler,), {"owner": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self.host = f"127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    @property
    def manifest(self) -> tuple[str, bytes]:
        entry = json.loads((self.layout / "index.json").read_text())["manifests"][0]
        return entry["digest"], self.blob(entry["digest"]) or b""

    def blob(self, digest: str) -> bytes | None:
        if digest in self.pushed:
            return self.pushed[digest]
        path = self.layout / "blobs/sha256" / digest.removeprefix("sha256:")
        return path.read_bytes() if path.exists() else None

    def trouble(self, path: str, do: str, **rest: object) -> Trouble:
        made = Trouble(path, do, **rest)  # type: ignore[arg-type]
        self.troubles.append(made)
        return made

    def take(self, method: str, path: str) -> Trouble | None:
        for trouble in self.troubles:
            if trouble.path in path and trouble.method in ("", method) and trouble.times > 0:
                trouble.times -= 1
                return trouble
        return None

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    owner: BadRegistry
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _send(self, status: int, body: bytes = b"", kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", headers.pop("Content_Length", str(len(body))))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _error(self, status: int, code: str, **headers: str) -> None:
        self._send(status, json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode(), **headers)

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length)
        self.owner.requests.append((time.monotonic(), self.command, self.path, self.headers.get("Range", "")))
        trouble = self.owner.take(self.command, self.path)
        if trouble is None or trouble.do in ("half", "flip", "short"):
            self._serve(body, trouble)
        elif trouble.do == "html":
            self._send(200, HTML, "text/html")
        elif trouble.do == "hang":
            time.sleep(3600)
        else:
            self._error(trouble.status, "TROUBLE", **trouble.headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _handle

    def _serve(self, body: bytes, trouble: Trouble | None) -> None:
        path = self.path.partition("?")[0]
        if path in ("/v2", "/v2/"):
            self._send(200, b"{}")
        elif "/blobs/uploads/" in path:
            self._upload(body)
        elif "/manifests/" in path and self.command == "PUT":
            digest = "sha256:" + hashlib.sha256(body).hexdigest()
            self.owner.pushed[digest] = body
            self._send(201, Docker_Content_Digest=digest, Location=path)
        elif "/manifests/" in path:
            digest, data = self.owner.manifest
            self._content(data, digest, ociimage.MANIFEST, trouble)
        elif "/blobs/" in path:
            digest = path.rpartition("/")[2]
            content = self.owner.blob(digest)
            if content is None:
                self._error(404, "BLOB_UNKNOWN")
            else:
                self._content(content, digest, "application/octet-stream", trouble)
        else:
            self._error(404, "NAME_UNKNOWN")

    def _content(self, data: bytes, digest: str, kind: str, trouble: Trouble | None) -> None:
        if trouble is not None and trouble.do == "flip":
            data = data[:-1] + bytes([data[-1] ^ 1])
        if trouble is not None and trouble.do == "short":
            data = data[:-1]
        start = 0
        wanted = self.headers.get("Range", "")
        if wanted.startswith("bytes=") and "/blobs/" in self.path:
            start = int(wanted[6:].partition("-")[0])
        rest = data[start:]
        headers = {"Docker_Content_Digest": digest}
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if trouble is not None and trouble.do == "half" and self.command == "GET":
            self._send(206 if start else 200, rest[: len(rest) // 2], kind, Content_Length=str(len(rest)), **headers)
            self.wfile.flush()
            self.close_connection = True
            return
        self._send(206 if start else 200, rest, kind, **headers)

    def _upload(self, body: bytes) -> None:
        query = self.path.partition("?")[2]
        if self.command in ("PUT", "POST") and "digest=" in query:
            digest = query.partition("digest=")[2].partition("&")[0].replace("%3A", ":")
            self.owner.pushed[digest] = self.owner.pushed.pop("partial", b"") + body
            self._send(201, Location=f"/v2/x/blobs/{digest}", Docker_Content_Digest=digest)
        elif self.command == "PATCH":
            self.owner.pushed["partial"] = self.owner.pushed.get("partial", b"") + body
            self._send(202, Location=self.path, Range=f"0-{len(body)}")
        else:
            self._send(202, Location="/v2/x/blobs/uploads/1", Docker_Upload_UUID="1")
