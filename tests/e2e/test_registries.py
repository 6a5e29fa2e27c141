"""How registries are asked: mirrors, own authorities, insecure ones by name, and that a secret goes to nobody else."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Iterator

import pytest

from .support.agent import Wherry
from .support.building import Builder
from .support.registry import PASSWORD, USER, Registry

DOCKERFILE = "FROM {base}\nRUN echo made > /made\n"


class Front:
    """A registry's front: by TLS or not, it hands requests on, or redirects them, and notes what came."""

    def __init__(self, backend: str, certificate: tuple[Path, Path] | None = None, redirect: str | None = None) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                front.seen.append((self.path, dict(self.headers)))
                if redirect is not None and "/blobs/" in self.path:
                    self.send_response(307)
                    self.send_header("Location", redirect + self.path)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                import http.client
                back = http.client.HTTPConnection(backend, timeout=20)
                headers = {k: v for k, v in self.headers.items() if k.lower() in ("accept", "range")}
                back.request(self.command, self.path.partition("?")[0], headers=headers)
                answer = back.getresponse()
                body = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_GET

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def fronts() -> Iterator[list[Front]]:
    made: list[Front] = []
    yield made
    for front in made:
        front.stop()


@pytest.fixture
def builder(wherry: Wherry, busybox: str, place: Path) -> Builder:
    context = place / "context"
    context.mkdir()
    return Builder(wherry, busybox, context)


@pytest.fixture
def certificate(place: Path) -> tuple[Path, Path, str]:
    """An own certificate for a name that resolves to this machine and is no loopback's name."""
    name = subprocess.run(["hostname"], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
    cert, key = place / "cert.pem", place / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={name}",
                    "-addext", f"subjectAltName=DNS:{name}"], check=True, stderr=subprocess.DEVNULL)
    cert.chmod(0o644)
    return cert, key, name


def path_of(busybox: str) -> str:
    return busybox.partition("/")[2]


def reachable(name: str, port: int) -> bool:
    import socket
    try:
        socket.create_connection((name, port), 2).close()
        return True
    except OSError:
        return False


def test_a_mirror_is_asked_first(builder: Builder, busybox: str, registry: Registry, fronts: list[Front]) -> None:
    fronts.append(front := Front(registry.pull_host))
    builder.dockerfile(DOCKERFILE.format(base=f"registry.invalid/{path_of(busybox)}"))
    builder.build(env={"WHERRY_REGISTRY_MIRRORS": f"registry.invalid=127.0.0.1:{front.port}"})
    assert any("ns=registry.invalid" in path for path, _ in front.seen)


def test_an_own_authority(builder: Builder, busybox: str, registry: Registry, fronts: list[Front], certificate: tuple[Path, Path, str]) -> None:
    cert, key, name = certificate
    fronts.append(front := Front(registry.pull_host, (cert, key)))
    if not reachable(name, front.port):
        pytest.skip(f"{name} does not resolve to 127.0.0.1 here")
    builder.dockerfile(DOCKERFILE.format(base=f"{name}:{front.port}/{path_of(busybox)}"))
    said = builder.fails()
    assert "certificate is not trusted" in said
    builder.build(env={"WHERRY_REGISTRY_CA": str(cert)})


def test_insecure_by_name(builder: Builder, busybox: str, registry: Registry, fronts: list[Front], certificate: tuple[Path, Path, str]) -> None:
    cert, key, name = certificate
    fronts += [tls := Front(registry.pull_host, (cert, key)), plain := Front(registry.pull_host)]
    if not reachable(name, tls.port):
        pytest.skip(f"{name} does not resolve to 127.0.0.1 here")
    for front in (tls, plain):
        host = f"{name}:{front.port}"
        builder.dockerfile(DOCKERFILE.format(base=f"{host}/{path_of(busybox)}"))
        builder.fails()
        builder.build(env={"WHERRY_REGISTRY_INSECURE": f"other.example,{host}"})


def test_credentials_stay_with_their_host(builder: Builder, busybox: str, registry: Registry, fronts: list[Front], place: Path) -> None:
    """Blobs that lie elsewhere are fetched there without the registry's word."""
    fronts.append(elsewhere := Front(registry.pull_host))
    fronts.append(front := Front(registry.pull_host, redirect=f"http://127.0.0.1:{elsewhere.port}"))
    host = f"127.0.0.1:{front.port}"
    config = place / "docker"
    config.mkdir()
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (config / "config.json").write_text(json.dumps({"auths": {host: {"auth": token}}}))
    builder.dockerfile(DOCKERFILE.format(base=f"{host}/{path_of(busybox)}"))
    builder.build(env={"DOCKER_CONFIG": str(config)})
    fetched = [headers for path, headers in elsewhere.seen if "/blobs/" in path]
    assert fetched and not any(name.lower() == "authorization" for headers in fetched for name in headers)


def test_a_redirect_loop_ends(builder: Builder, busybox: str, registry: Registry, fronts: list[Front]) -> None:
    fronts.append(front := Front(registry.pull_host, redirect=""))
    builder.dockerfile(DOCKERFILE.format(base=f"127.0.0.1:{front.port}/{path_of(busybox)}"))
    said = builder.fails(timeout=100)
    assert "redirect" in said.lower()
    assert len([path for path, _ in front.seen if "/blobs/" in path]) < 100
