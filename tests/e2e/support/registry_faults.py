"""A container registry in memory that misbehaves on request.

Usage: registry_faults.py            prints "PORT OTHERPORT" and serves until its standard input ends.

POST /_control {"auth": "none|basic|bearer", "user": .., "password": .., "faults": [FAULT...], "reset": true}
GET  /_log     [{"method", "path", "authorization", "length", "range", "type"}...] since the last reset
FAULT: {"method": regex, "path": regex, "count": n, "status": n, "headers": {}, "body": "..",
        "cut": bytes of the body after which the connection breaks, "flip": true, "redirect": true, "drop": true}
Blobs are served by the other port too (without authentication, as a CDN would); what reaches it is logged as "cdn".
"""
import base64
import hashlib
import json
import re
import socket
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

state = {"auth": "none", "user": "u", "password": "p", "faults": [], "log": [], "blobs": {}, "manifests": {}, "uploads": {},
         "tokens": {}, "cdn": 0, "lock": threading.Lock()}


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def body(self):
        """The request's body; what a client that gave up left of it."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            data = b""
            while True:
                size = int(self.rfile.readline().split(b";")[0] or b"0", 16)
                data += self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status, body=b"", headers=None, fault=None):
        if isinstance(body, str):
            body = body.encode()
        fault = fault or {}
        if fault.get("flip") and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.send_response(status)
        headers = dict(headers or {})
        headers.setdefault("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if "cut" in fault:
            self.wfile.write(body[:fault["cut"]])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        try:
            self.wfile.write(body)
        except OSError:  # the client wanted no more
            self.close_connection = True

    def error(self, status, code, message, headers=None):
        headers = dict(headers or {}, **{"Content-Type": "application/json"})
        self.answer(status, json.dumps({"errors": [{"code": code, "message": message}]}), headers)

    def fault(self):
        with state["lock"]:
            for fault in state["faults"]:
                if fault.get("count", 1) and re.search(fault.get("method", ""), self.command) and \
                        re.search(fault.get("path", ""), self.path):
                    fault["count"] = fault.get("count", 1) - 1
                    return fault
        return None

    def allowed(self):
        if state["auth"] == "none":
            return True
        given = self.headers.get("Authorization", "")
        if state["auth"] == "basic":
            want = base64.b64encode(f"{state['user']}:{state['password']}".encode()).decode()
            if given == "Basic " + want:
                return True
            challenge = 'Basic realm="test"'
        else:
            scopes = state["tokens"].get(given.removeprefix("Bearer "))
            need = self.scope()
            if scopes is not None and all(part in " ".join(scopes) for part in need):
                return True
            challenge = f'Bearer realm="http://127.0.0.1:{self.server.server_port}/token",service="test",scope="{":".join(need)}"'
        self.error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})
        return False

    def scope(self):
        found = re.match(r"/v2/(.+?)/(blobs|manifests)/", self.path)
        return [f"repository:{found.group(1)}:"] if found else []

    def token(self, body):
        from urllib.parse import parse_qs, urlsplit
        query = parse_qs(urlsplit(self.path).query if self.command == "GET" else body.decode())
        basic = base64.b64encode(f"{state['user']}:{state['password']}".encode()).decode()
        good = self.headers.get("Authorization") == "Basic " + basic or \
            query.get("refresh_token") == ["refresh"] or query.get("password") == [state["password"]]
        if not good:
            return self.error(401, "UNAUTHORIZED", "bad credentials")
        token = uuid.uuid4().hex
        state["tokens"][token] = query.get("scope", [])
        return self.answer(200, json.dumps({"token": token, "expires_in": 300}), {"Content-Type": "application/json"})

    def control(self, body):
        wanted = json.loads(body)
        if wanted.pop("reset", False):
            state.update(faults=[], log=[], tokens={}, cdn=0, auth="none")
        if wanted.pop("forget", False):
            state.update(blobs={}, manifests={}, uploads={})
        state.update(wanted)
        self.answer(200)

    def handle_all(self):
        body = self.body()
        if self.path == "/_control":
            return self.control(body)
        if self.path == "/_log":
            return self.answer(200, json.dumps(state["log"]), {"Content-Type": "application/json"})
        state["log"].append({"method": self.command, "path": self.path, "authorization": self.headers.get("Authorization", ""),
                             "length": len(body), "range": self.headers.get("Range") or self.headers.get("Content-Range") or "",
                             "type": self.headers.get("Content-Type", ""), "cdn": self.server.cdn})
        fault = self.fault()
        if fault and fault.get("drop"):
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return None
        if fault and "status" in fault:
            return self.answer(fault["status"], fault.get("body", ""), fault.get("headers"), fault)
        if self.path.startswith("/token"):
            return self.token(body)
        if not self.server.cdn and not self.allowed():
            return None
        return self.registry(body, fault)

    def registry(self, body, fault):
        path, _, query = self.path.partition("?")
        if path == "/v2/":
            return self.answer(200, "{}")
        found = re.match(r"/v2/(.+)/(manifests|blobs/uploads|blobs)/(.*)$", path)
        if not found:
            return self.error(404, "NAME_UNKNOWN", "no such path")
        name, kind, rest = found.groups()
        if kind == "manifests":
            return self.manifest(name, rest, body, fault)
        if kind == "blobs":
            return self.blob(name, rest, fault)
        return self.upload(name, rest, query, body)

    def manifest(self, name, rest, body, fault):
        if self.command == "PUT":
            digest = digest_of(body)
            for key in (rest, digest):
                state["manifests"][name, key] = (self.headers["Content-Type"], body)
            return self.answer(201, "", {"Docker-Content-Digest": digest})
        if (name, rest) not in state["manifests"]:
            return self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        kind, data = state["manifests"][name, rest]
        return self.answer(200, data, {"Content-Type": kind, "Docker-Content-Digest": digest_of(data)}, fault)

    def blob(self, name, digest, fault):
        if (name, digest) not in state["blobs"] and not self.server.cdn:
            return self.error(404, "BLOB_UNKNOWN", "blob unknown")
        data = state["blobs"].get((name, digest)) or b""
        if fault and fault.get("redirect"):
            return self.answer(307, "", {"Location": f"http://127.0.0.1:{self.server.other}{self.path}"})
        wanted = re.match(r"bytes=(\d+)-$", self.headers.get("Range") or "")
        if wanted and not (fault and fault.get("norange")):
            start = int(wanted.group(1))
            return self.answer(206, data[start:], {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}, fault)
        return self.answer(200, data, {"Content-Type": "application/octet-stream"}, fault)

    def upload(self, name, rest, query, body):
        if self.command == "POST":
            wanted = dict(part.split("=") for part in query.split("&") if "=" in part)
            source = wanted.get("from", "").replace("%2F", "/"), wanted.get("mount", "").replace("%3A", ":")
            if source in state["blobs"]:
                state["blobs"][name, source[1]] = state["blobs"][source]
                return self.answer(201)
            key = uuid.uuid4().hex
            state["uploads"][key] = b""
            return self.answer(202, "", {"Location": f"/v2/{name}/blobs/uploads/{key}?state=x"})
        if rest not in state["uploads"]:
            return self.error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown")
        data = state["uploads"][rest]
        place = {"Location": f"/v2/{name}/blobs/uploads/{rest}?state=y"}
        if self.command == "PATCH":
            start = re.match(r"(\d+)-(\d+)$", self.headers.get("Content-Range") or "")
            if start and int(start.group(1)) != len(data):
                return self.error(416, "RANGE_INVALID", "wrong offset", place)
            data = state["uploads"][rest] = data + body
        if self.command in ("PATCH", "GET"):
            return self.answer(202 if self.command == "PATCH" else 204, "", dict(place, Range=f"0-{len(data) - 1}"))
        digest = re.search(r"digest=([^&]+)", query).group(1).replace("%3A", ":")
        if digest_of(data + body) != digest:
            return self.error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        state["blobs"][name, digest] = data + body
        return self.answer(201, "", {"Docker-Content-Digest": digest})

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_all


def serve(cdn):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.cdn = cdn
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


main, other = serve(False), serve(True)
main.other, other.other = other.server_port, main.server_port
print(main.server_port, other.server_port, flush=True)
sys.stdin.read()
