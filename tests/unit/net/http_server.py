"""A small HTTP server for test_http.c: prints its two ports, ends when its standard input closes."""
import hashlib
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OTHER = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status, body=b"", kind="application/json", headers=()):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while True:
                size = int(self.rfile.readline().strip(), 16)
                data += self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return data
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self):
        data = self.body()
        path = self.path.partition("?")[0]
        if path == "/echo":
            self.reply(200, json.dumps({
                "method": self.command, "length": len(data), "sha256": hashlib.sha256(data).hexdigest(),
                "headers": {k.lower(): v for k, v in self.headers.items()}}).encode(),
                headers=[("X-Twice", "one"), ("x-twice", "two")])
        elif path == "/big":
            self.reply(200, bytes(range(256)) * 4096 * 8, "application/octet-stream")
        elif path == "/missing":
            self.reply(404, b'{"message": "no such thing"}', headers=[("X-GitHub-Request-Id", "AB:12")])
        elif path == "/html":
            self.reply(503, b"<html>busy</html>", "text/html", [("Retry-After", "7")])
        elif path == "/redirect":
            self.reply(307, headers=[("Location", f"http://127.0.0.1:{OTHER}/echo")])
        elif path == "/same":
            self.reply(302, headers=[("Location", "/echo")])
        elif path == "/hang":
            time.sleep(20)
        elif path == "/slow":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"x" * 10)
            self.wfile.flush()
            time.sleep(20)
        elif path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"x" * 10)
            self.close_connection = True
        elif path == "/close":
            self.close_connection = True
        else:
            self.reply(200, b"{}")

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = answer


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # clients leave in the middle: that is what is tested


servers = [Server(("127.0.0.1", 0), Handler) for _ in range(2)]
OTHER = servers[1].server_port
for server in servers:
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
print(servers[0].server_port, servers[1].server_port, flush=True)
sys.stdin.read()
