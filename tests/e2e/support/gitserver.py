"""git over smart HTTP with GitHub's token authentication, on ``git http-backend``.

Repositories are ``ROOT/OWNER/NAME.git``, served as ``/OWNER/NAME`` and ``/OWNER/NAME.git``. A private repository asks for
basic authentication ``x-access-token:TOKEN`` with a token that was allowed; a wrong token is refused on every repository.
"""

from __future__ import annotations

import base64
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

CHUNK = 1 << 16


@dataclass
class GitRequest:
    """One request that the server answered."""

    at: float
    method: str
    path: str
    status: int
    protocol: str
    authorized: bool
    seconds: float


class GitServer:
    """Serves ``root`` until :meth:`stop`; ``private`` names repositories (``owner/name``) that need a token."""

    def __init__(self, root: Path, *, port: int = 0) -> None:
        self.root = root
        self.tokens: set[str] = set()
        self.private: set[str] = set()
        self.requests: list[GitRequest] = []
        # Statuses to answer with instead, first in first out.
        self.fail_next: list[int] = []
        server = self
        handler = type("Handler", (_Handler,), {"owner": server})
        self._http = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, name="git-server", daemon=True)
        self._thread.start()

    def allow(self, token: str) -> str:
        self.tokens.add(token)
        return token

    def repository(self, name: str) -> Path:
        return self.root / f"{name}.git"

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    owner: GitServer
    protocol_version = "HTTP/1.1"
    # Small answers leave at once; buffered, so that headers and body share a packet.
    disable_nagle_algorithm = True
    wbufsize = CHUNK

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        pass

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        began = time.monotonic()
        self._status, authorized = 0, False
        try:
            allowed = self._authorized()
            authorized = bool(allowed)
            if self.owner.fail_next:
                self._refuse(self.owner.fail_next.pop(0))
            elif allowed is None:
                self._refuse(401, {"WWW-Authenticate": 'Basic realm="GitHub"'})
            else:
                self._backend()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            self.owner.requests.append(GitRequest(began, self.command, self.path, self._status, self.headers.get("Git-Protocol", ""),
                                                  authorized, time.monotonic() - began))

    def _name(self) -> tuple[str, str]:
        """Repository and the path below it."""
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if len(parts) < 2 or any(p in ("", ".", "..") for p in parts):
            return "", ""
        return f"{parts[0]}/{parts[1].removesuffix('.git')}", "/".join(parts[2:])

    def _authorized(self) -> bool | None:
        """True with a good token, False where none is needed and none was sent, None to refuse."""
        header = self.headers.get("Authorization", "")
        if not header:
            return None if self._name()[0] in self.owner.private else False
        scheme, _, value = header.partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, _, token = base64.b64decode(value, validate=True).decode().partition(":")
        except ValueError:
            return None
        return True if user == "x-access-token" and token in self.owner.tokens else None

    def _refuse(self, status: int, headers: dict[str, str] | None = None) -> None:
        # A body that nobody read would be taken for the next request.
        self.close_connection = True
        self._status = status
        self.send_response(status)
        for key, value in {"Content-Length": "0", "Connection": "close", **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()

    def _environment(self, path: str) -> dict[str, str]:
        env = {"PATH": os.environ["PATH"], "GIT_HTTP_EXPORT_ALL": "1", "GIT_PROJECT_ROOT": str(self.owner.root), "PATH_INFO": path,
               "REQUEST_METHOD": self.command, "QUERY_STRING": urlsplit(self.path).query, "REMOTE_ADDR": "127.0.0.1",
               "CONTENT_TYPE": self.headers.get("Content-Type", ""), "GIT_CONFIG_COUNT": "3",
               "GIT_CONFIG_KEY_0": "uploadpack.allowAnySHA1InWant", "GIT_CONFIG_VALUE_0": "true",
               "GIT_CONFIG_KEY_1": "uploadpack.allowFilter", "GIT_CONFIG_VALUE_1": "true",
               "GIT_CONFIG_KEY_2": "safe.directory", "GIT_CONFIG_VALUE_2": "*", "HOME": "/nonexistent"}
        if "Git-Protocol" in self.headers:
            env["GIT_PROTOCOL"] = self.headers["Git-Protocol"]
        if "Content-Encoding" in self.headers:
            env["HTTP_CONTENT_ENCODING"] = self.headers["Content-Encoding"]
        return env

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def _backend(self) -> None:
        name, rest = self._name()
        if not name or not self.owner.repository(name).is_dir():
            self._refuse(404)
            return
        body = self._body()
        env = {**self._environment(f"/{name}.git/{rest}"), "CONTENT_LENGTH": str(len(body))}
        with subprocess.Popen(["git", "http-backend"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL) as process:
            assert process.stdin is not None and process.stdout is not None
            threading.Thread(target=_feed, args=(process.stdin, body), daemon=True).start()
            self._answer(process.stdout)

    def _answer(self, output: IO[bytes]) -> None:
        """A CGI answer: headers, then the body in chunks."""
        status, headers = 200, []
        while line := output.readline().strip():
            key, _, value = line.decode("latin-1").partition(":")
            if key.lower() == "status":
                status = int(value.split()[0])
            else:
                headers.append((key, value.strip()))
        self._status = status
        self.send_response(status)
        for key, value in headers:
            self.send_header(key, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while data := output.read1(CHUNK):  # type: ignore[attr-defined]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()


def _feed(pipe: IO[bytes], body: bytes) -> None:
    try:
        pipe.write(body)
        pipe.close()
    except BrokenPipeError:
        pass
