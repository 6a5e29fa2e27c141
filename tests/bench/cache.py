"""The cache service beside nginx: ``/usr/bin/python3 -m tests.bench.cache`` (a release build; nginx-light installed).

GET and PUT of 1 GB (``--size`` MB), one and 16 clients, side by side on the same disk, medians; look-ups among many entries; memory.
Clients are plain sockets: what is received is discarded by the kernel, what is sent comes by sendfile().
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Callable

from tests.e2e.support.agent import memory
from tests.e2e.support.cacheservice import MAIN, TWIRP, V, CacheService, Job, block_id

BLOCK = 64 << 20
ROUNDS = 3


class Nginx:
    def __init__(self, folder: Path) -> None:
        self.root = folder / "www"
        self.root.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as s:
            self.port: int = s.getsockname()[1]
        conf = folder / "nginx.conf"
        conf.write_text(f"daemon off; master_process off; user root; pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\nhttp {{ access_log off; sendfile on; "
                        f"client_max_body_size 0; client_body_buffer_size 128k; client_body_temp_path {folder}/body;\n"
                        f"server {{ listen 127.0.0.1:{self.port}; root {self.root}; dav_methods PUT; }} }}\n")
        self.process = subprocess.Popen(["nginx", "-c", str(conf), "-p", str(folder)])
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("nginx does not start")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def head_of(s: socket.socket) -> tuple[int, int]:
    """Status and Content-Length; stops at the body."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = s.recv(1)
        if not more:
            raise RuntimeError(f"cut: {data!r}")
        data += more
    lines = data.decode().split("\r\n")
    length = next((int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:")), 0)
    return int(lines[0].split()[1]), length


def get(port: int, path: str) -> None:
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        status, left = head_of(s)
        assert status == 200, status
        while left > 0:
            n = s.recv_into(SINK, min(left, len(SINK)), socket.MSG_TRUNC)
            assert n > 0
            left -= n


SINK = bytearray(1 << 20)


def put(s: socket.socket, port: int, path: str, file: int, offset: int, length: int, want: tuple[int, ...], headers: str = "") -> None:
    s.sendall(f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {length}\r\n{headers}\r\n".encode())
    while length > 0:
        n = os.sendfile(s.fileno(), file, offset, min(length, 8 << 20))
        offset, length = offset + n, length - n
    status, left = head_of(s)
    assert status in want, status
    while left > 0:
        left -= len(s.recv(left))


def clients(n: int, what: Callable[[int], None]) -> float:
    """Seconds until all of them are through."""
    failed: list[BaseException] = []

    def run(i: int) -> None:
        try:
            what(i)
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return time.monotonic() - began


def save_blocks(job: Job, key: str, file: int, size: int) -> None:
    service = job.service
    url = job.create(key).json["signed_upload_url"].removeprefix(service.origin)
    names = [block_id(f"{i:08}") for i in range((size + BLOCK - 1) // BLOCK)]
    with socket.create_connection(("127.0.0.1", service.port)) as s:
        for i, name in enumerate(names):
            put(s, service.port, f"{url}&comp=block&blockid={urllib.parse.quote(name, safe='')}", file, i * BLOCK, min(BLOCK, size - i * BLOCK), (201,))
    assert service.block_list(url, names).status == 201
    assert job.finalize(key, size).json["ok"]


def say(name: str, ours: list[float], theirs: list[float], mib: float) -> None:
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"{name:32} {mib / a:8.0f} MiB/s   nginx {mib / b:8.0f} MiB/s   {b / a:5.2f} x   ({len(ours)} rounds)", flush=True)


def transfers(service: CacheService, nginx: Nginx, source: Path, size: int) -> None:
    job, file, mib = service.job(MAIN), os.open(source, os.O_RDONLY), size / (1 << 20)
    serial = 0
    for n in (1, 16):
        each = size // n
        ours, theirs = [], []
        for _ in range(ROUNDS):
            def nginx_put(i: int) -> None:
                with socket.create_connection(("127.0.0.1", nginx.port)) as s:
                    put(s, nginx.port, f"/put{i}", file, 0, each, (201, 204))
            theirs.append(clients(n, nginx_put))
            serial += 1
            ours.append(clients(n, lambda i: save_blocks(job, f"put{serial}-{i}", file, each)))
            for i in range(n):
                (nginx.root / f"put{i}").unlink()
        say(f"PUT of {each >> 20} MiB, {n} client{'s' * (n > 1)}", ours, theirs, mib)
    save_blocks(job, "get", file, size)
    shutil.copy(source, nginx.root / "get")
    url = job.get("get").json["signed_download_url"].removeprefix(service.origin)
    for n in (1, 16):
        ours, theirs = [], []
        for _ in range(ROUNDS):
            theirs.append(clients(n, lambda i: get(nginx.port, "/get")))
            ours.append(clients(n, lambda i: get(service.port, url)))
        say(f"GET of {size >> 20} MiB, {n} client{'s' * (n > 1)}", ours, theirs, mib * n)


def cpu(service: CacheService) -> float:
    """Seconds that the process has used."""
    assert service.process is not None
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def lookups(service: CacheService, entries: int) -> None:
    """Rows as a commit writes them, by SQLite itself: the look-up is what is measured."""
    import sqlite3
    job = service.job(MAIN)
    job.save("seed", b"x")
    db = sqlite3.connect(service.state / "index.db")
    digest = db.execute("SELECT digest FROM cache_entries WHERE key = 'seed'").fetchone()[0]
    db.executemany("INSERT INTO cache_entries(id, seq, kind, repo, scope, version, key, digest, size, job, mime, created, used, expires) "
                   "VALUES(?, ?, 1, 'acme/web', 'refs/heads/main', ?, ?, ?, 1, '', NULL, 0, 0, 0)",
                   [((1 << 40) + i, (1 << 20) + i, V, f"linux-{i:06}-{i * 7919 % 100003:06}", digest) for i in range(entries)])
    db.commit()
    db.close()
    times: list[float] = []
    guard = threading.Lock()

    def ask(i: int) -> None:
        mine = []
        with socket.create_connection(("127.0.0.1", service.port)) as s:
            for k in range(100):
                at = time.monotonic()
                key = ("linux-", f"linux-{(i * 100 + k) * 13 % entries:06}", "none-")[k % 3]
                body = json.dumps({"key": key, "restore_keys": [key], "version": V}).encode()
                s.sendall(f"POST {TWIRP}CacheService/GetCacheEntryDownloadURL HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {job.token}\r\n"
                          f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                assert s.recv(65536).startswith(b"HTTP/1.1 200")  # one small answer, one segment
                mine.append(time.monotonic() - at)
                time.sleep(max(0.0, at + 0.064 - time.monotonic()))  # 64 of them: 1,000 a second
        with guard:
            times.extend(mine)

    before = cpu(service)
    took = clients(64, ask)
    spent = cpu(service) - before
    times.sort()
    print(f"look-ups among {entries} entries, 64 connections, {len(times) / took:.0f} a second: median {times[len(times) // 2] * 1000:.2f} ms, "
          f"99 % {times[len(times) * 99 // 100] * 1000:.2f} ms with the client's own time; {spent / len(times) * 1000:.3f} ms of the service's CPU each", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=1024, help="MB of one transfer")
    parser.add_argument("--entries", type=int, default=100000)
    a = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="wherry-bench-", dir="/var/tmp"))
    place.chmod(0o755)
    service, nginx = CacheService(place, {"perMinute": 1000000}), Nginx(place)
    try:
        source = place / "source"
        with open(source, "wb") as f:
            for _ in range(a.size):
                f.write(os.urandom(1 << 20))
        transfers(service, nginx, source, a.size << 20)
        lookups(service, a.entries)
        assert service.process is not None
        print(f"memory of wherry serve after it all: {memory(service.process.pid)['VmHWM'] / 1024:.1f} MB at most")
    finally:
        service.stop()
        nginx.stop()
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
