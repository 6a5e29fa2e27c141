"""What a build takes from elsewhere: files by URL, git repositories as sources, as named contexts and as the context itself."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Iterator

import pytest

from tests.service.client import Client

from .conftest import TOKEN, Runs
from .support.agent import Wherry
from .support.building import Builder, cached
from .support.gitserver import GitServer
from .support.repository import Repository

CONTENT = b"from far away\n"
DATE = "Wed, 01 Jan 2020 00:00:00 GMT"


class Files:
    """A web server with one file that knows ETags."""

    def __init__(self) -> None:
        self.content, self.seen, self.authorization = CONTENT, [], []  # type: ignore[var-annotated]
        files = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                etag = '"' + hashlib.sha256(files.content).hexdigest()[:16] + '"'
                status = 404 if "missing" in self.path else 304 if self.headers.get("If-None-Match") == etag else 200
                files.seen.append(status)
                files.authorization.append(self.headers.get("Authorization"))
                body = files.content if status == 200 else b""
                self.send_response(status)
                self.send_header("ETag", etag)
                self.send_header("Last-Modified", DATE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()


@pytest.fixture
def files() -> Iterator[Files]:
    made = Files()
    yield made
    made.stop()


@pytest.fixture
def builder(wherry: Wherry, busybox: str, place) -> Builder:
    context = place / "context"
    context.mkdir()
    return Builder(wherry, busybox, context)


def test_url(builder: Builder, files: Files) -> None:
    builder.dockerfile(f"FROM scratch\nADD {files.url}/a%20b/data.bin?x=1 /d/\n")
    image = builder.image()
    member = image.layers()[0]["d/data.bin"]
    assert image.read("d/data.bin") == CONTENT
    assert (member.mode, member.uid, member.gid, member.mtime) == (0o600, 0, 0, 1577836800)
    assert not cached(builder.build())[0]
    assert files.seen == [200, 304], "the second build asks whether it is still the same"
    files.content = b"changed\n"
    assert len(cached(builder.build())[0]) == 1
    assert builder.image().read("d/data.bin") == b"changed\n"


def test_url_checksum(builder: Builder, files: Files) -> None:
    good, bad = "sha256:" + hashlib.sha256(CONTENT).hexdigest(), "sha256:" + "0" * 64
    builder.dockerfile(f"FROM scratch\nADD --checksum={bad} --chmod=640 {files.url}/f /f\n")
    assert f"digest mismatch {good}: {bad}" in builder.fails()
    builder.dockerfile(f"FROM scratch\nADD --checksum={good} --chmod=640 --chown=1:2 {files.url}/f /f\n")
    member = builder.image().layers()[0]["f"]
    assert (member.mode, member.uid, member.gid) == (0o640, 1, 2)
    asked = len(files.seen)
    builder.image("--no-cache")
    assert len(files.seen) == asked, "a checksum that is here needs no server"
    builder.dockerfile(f"FROM scratch\nADD {files.url}/missing /f\n")
    assert "failed to load cache key: invalid response status 404" in builder.fails()


def test_url_authorization(builder: Builder, files: Files, place) -> None:
    host = files.url.removeprefix("http://")
    (place / "token").write_text("tok-7c1f")
    builder.dockerfile(f"FROM scratch\nADD {files.url}/f /f\n")
    done = builder.build("--secret", f"id=HTTP_AUTH_TOKEN_{host},src={place}/token")
    assert files.authorization == ["Bearer tok-7c1f"] and "tok-7c1f" not in done.stdout + done.stderr


def test_git_source(builder: Builder, git_server: GitServer, repo: Repository, place) -> None:
    (place / "token").write_text(TOKEN)
    secret = ("--secret", f"id=GIT_AUTH_TOKEN,src={place}/token")
    builder.dockerfile(f"FROM scratch\nADD {git_server.url}/acme/web.git#main /src\n")
    said = builder.fails()
    assert "git ls-remote" in said and TOKEN not in said
    image = builder.image(*secret)
    names = {name for layer in image.layers() for name in layer}
    assert "src/README.md" in names or any(name.startswith("src/") for name in names)
    assert not any(".git/" in name or name.endswith("/.git") for name in names)
    assert not cached(builder.build(*secret))[0]
    builder.dockerfile(f"FROM scratch\nADD --keep-git-dir=true --checksum={repo.head} {git_server.url}/acme/web.git#main /src\n")
    image = builder.image(*secret)
    assert any(name == "src/.git/HEAD" for layer in image.layers() for name in layer)
    assert not any(TOKEN.encode() in blob for blob in image.blobs.values())
    builder.dockerfile(f"FROM scratch\nADD --checksum={'0' * 40} {git_server.url}/acme/web.git#main /src\n")
    assert "expected checksum to match" in builder.fails(*secret)
    builder.dockerfile(f"FROM scratch\nADD {git_server.url}/acme/web.git#nosuch /src\n")
    assert "repository does not contain ref nosuch" in builder.fails(*secret)
    builder.dockerfile("FROM scratch\nADD git@127.0.0.1:acme/web.git /src\n")
    assert "git by ssh" in builder.fails()


def test_git_contexts(builder: Builder, git_server: GitServer, repo: Repository) -> None:
    git_server.private.discard("acme/web")
    repo.write({"Dockerfile": f"FROM {builder.base}\nCOPY hello.txt /hello\nRUN --mount=target=/c,rw touch /c/new && ls /c > /ls\n",
                "sub/Dockerfile": "FROM scratch\nCOPY only.txt /o\n", "sub/only.txt": "only\n", "hello.txt": "hello\n"})
    repo.commit("to build")
    address = f"{git_server.url}/acme/web.git#main"
    out = builder.wherry.folder / "out.tar"
    from .support.building import read_archive
    builder.wherry.run("build", "--progress", "plain", "-o", f"type=oci,dest={out}", address, check=True)
    image = read_archive(out)
    assert image.read("hello") == b"hello\n" and b"new" in image.read("ls") and b".git" not in image.read("ls")
    builder.wherry.run("build", "-o", f"type=oci,dest={out}", address + ":sub", check=True)
    assert read_archive(out).read("o") == b"only\n"
    builder.dockerfile("FROM scratch\nCOPY --from=web hello.txt /h\n")
    assert builder.image("--build-context", f"web={address}").read("h") == b"hello\n"
    builder.dockerfile("FROM web\nLABEL a=b\n")
    assert builder.image("--build-context", f"web={address}").read("hello.txt") == b"hello\n"
    said = builder.wherry.run("build", address + ":nowhere")
    assert said.returncode == 1 and "has no folder nowhere" in said.stderr


JOB = """name: image
on: push
jobs:
  image:
    runs-on: self-hosted
    steps:
      - uses: docker/setup-buildx-action@v3
      - id: push
        uses: docker/build-push-action@v6
        with:
          build-args: BASE=${{ vars.BASE }}
      - uses: docker/build-push-action@v6
        name: checked
        continue-on-error: true
        with:
          call: check
"""


def test_job_without_a_path_builds_the_events_repository(online: Wherry, runs: Runs, busybox: str, client: Client) -> None:
    """No checkout: the context is the repository at the event's commit, opened by the job's token; findings become annotations."""
    runs.repo.write({"Dockerfile": "ARG BASE\nFROM ${BASE:-scratch}\nMAINTAINER me\nCOPY hello.txt /\nRUN cat /hello.txt\n"})
    runs.repo.commit("an image")
    done = runs.run(JOB, timeout=120, vars={"BASE": busybox})
    completion = done.get("completion") or done
    found = {r["name"]: r for r in completion.get("stepResults") or []}
    assert completion["conclusion"] in ("success", "succeeded"), found
    push, check = found["Run docker/build-push-action@v6"], found["checked"]
    notes = push.get("annotations") or []
    assert any("MaintainerDeprecated: Maintainer instruction is deprecated" in a["message"] and a["path"] == "Dockerfile" and a["startLine"] == 3
               for a in notes), notes
    assert any("Check complete, 1 warning has been found!" in a["message"] for a in check.get("annotations") or []), check
