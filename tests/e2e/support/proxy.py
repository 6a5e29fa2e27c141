"""Proxies between the agent and the service: Debian's tinyproxy, and a strict small one for what it cannot do."""

from __future__ import annotations

import base64
import select
import socket
import subprocess
import threading
import time
from pathlib import Path


class TinyProxy:
    """Debian's own, without or with a user."""

    def __init__(self, folder: Path, address: str, user: str = "", password: str = "") -> None:
        with socket.create_server((address, 0)) as probe:
            self.port = probe.getsockname()[1]
        self.log = folder / "tinyproxy.log"
        text = (f"Port {self.port}\nListen {address}\nTimeout 600\nLogLevel Connect\nLogFile \"{self.log}\"\nMaxClients 200\n"
                "DisableViaHeader Yes\n")
        if user:
            text += f"BasicAuth {user} {password}\n"
        (folder / "tinyproxy.conf").write_text(text)
        self._process = subprocess.Popen(["tinyproxy", "-d", "-c", str(folder / "tinyproxy.conf")], stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL)
        self.at = f"{address}:{self.port}"
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection((address, self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("tinyproxy did not start")

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)


class StrictProxy:
    """Takes CONNECT and absolute requests with just the credentials that it wants, and notes what came.

    ``refuse`` is a status that every request gets, 0 for none.
    """

    def __init__(self, address: str, credentials: str = "", refuse: int = 0) -> None:
        self.seen: list[str] = []
        self.headers: list[str] = []
        self._wanted = "Basic " + base64.b64encode(credentials.encode()).decode() if credentials else ""
        self.refuse = refuse
        self._server = socket.create_server((address, 0), backlog=128)
        self.port = self._server.getsockname()[1]
        self.at = f"{address}:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                peer = self._server.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._try, args=(peer,), daemon=True).start()

    def _try(self, peer: socket.socket) -> None:
        try:
            self._serve(peer)
        except OSError:
            pass  # the service is away: the client sees its connection close

    def _serve(self, peer: socket.socket) -> None:
        with peer:
            head = b""
            while b"\r\n\r\n" not in head:
                more = peer.recv(65536)
                if not more:
                    return
                head += more
            text, _, rest = head.partition(b"\r\n\r\n")
            lines = text.decode("latin-1").split("\r\n")
            method, target, _ = lines[0].split(" ", 2)
            self.seen.append(f"{method} {target}")
            self.headers += lines[1:]
            given = next((line.partition(":")[2].strip() for line in lines[1:] if line.lower().startswith("proxy-authorization:")), "")
            if self.refuse or (self._wanted and given != self._wanted):
                status = self.refuse or 407
                peer.sendall(f"HTTP/1.1 {status} No\r\nProxy-Authenticate: Basic realm=\"p\"\r\nContent-Length: 0\r\n"
                             "Connection: close\r\n\r\n".encode())
                return
            if method == "CONNECT":
                host, _, port = target.rpartition(":")
                with socket.create_connection((host.strip("[]"), int(port)), 10) as out:
                    peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    out.sendall(rest)
                    _copy(peer, out)
                return
            authority, _, path = target.removeprefix("http://").partition("/")
            host, _, port = authority.partition(":")
            kept = [line for line in lines[1:] if not line.lower().startswith(("proxy-", "connection:"))]
            with socket.create_connection((host, int(port or 80)), 10) as out:
                out.sendall("\r\n".join([f"{method} /{path} HTTP/1.1", *kept, "Connection: close"]).encode("latin-1") + b"\r\n\r\n" + rest)
                _copy(peer, out)

    def stop(self) -> None:
        self._server.close()


def _copy(a: socket.socket, b: socket.socket) -> None:
    while True:
        ready, _, _ = select.select([a, b], [], [], 600)
        if not ready:
            return
        for one in ready:
            try:
                data = one.recv(65536)
                if not data:
                    return
                (b if one is a else a).sendall(data)
            except OSError:
                return


# A proxy that the tests' own environment names must not get into them.
VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


def clean(env: dict[str, str]) -> None:
    for name in list(env):
        if name.lower() in VARIABLES:
            del env[name]
