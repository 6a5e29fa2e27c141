"""Debian's docker-registry on loopback: pushes with basic authentication, pulls also without.

Two processes share one storage folder: ``push`` asks for user and password, ``pull`` is anonymous and read-only.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from .child import die_with_parent

USER, PASSWORD = "builder", "registry-pass-5c1d"

_CONFIG = """\
version: 0.1
log: {{level: info, formatter: json, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
{extra}
http:
  addr: 127.0.0.1:{port}
  secret: loopback
{auth}
"""
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_UPLOAD_END = re.compile(r"/v2/(.+)/blobs/uploads/[^?]+\?.*digest=(sha256(?::|%3A)[0-9a-f]{64})")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Upload:
    """One blob whose bytes a client sent (not one that was found or mounted)."""

    repository: str
    digest: str
    size: int


class _Process:
    def __init__(self, folder: Path, name: str, config: str, port: int) -> None:
        self.log = folder / f"{name}.log"
        path = folder / f"{name}.yml"
        path.write_text(config)
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(["docker-registry", "serve", str(path)], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                             cwd=folder, preexec_fn=die_with_parent,
                                             env={"PATH": "/usr/bin:/bin", "HOME": str(folder)})
        deadline = time.monotonic() + 20
        while True:
            try:
                _OPENER.open(f"http://127.0.0.1:{port}/v2/", timeout=2).close()
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"docker-registry did not start, see {self.log}") from None
                time.sleep(0.02)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


class Registry:
    def __init__(self, folder: Path, *, port: int = 0, pull_port: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.storage = folder / "storage"
        self.storage.mkdir(exist_ok=True)
        port, pull_port = port or free_port(), pull_port or free_port()
        self.host, self.pull_host = f"127.0.0.1:{port}", f"127.0.0.1:{pull_port}"
        htpasswd = folder / "htpasswd"
        htpasswd.write_text(subprocess.run(["htpasswd", "-Bbn", "-C", "4", USER, PASSWORD], check=True, stdout=subprocess.PIPE, text=True).stdout)
        auth = f"auth:\n  htpasswd: {{realm: loopback, path: {htpasswd}}}"
        self._push = _Process(folder, "registry", _CONFIG.format(root=self.storage, port=port, auth=auth, extra=""), port)
        self._pull = _Process(folder, "registry-pull", _CONFIG.format(root=self.storage, port=pull_port, auth="",
                                                                      extra="  maintenance: {readonly: {enabled: true}}"), pull_port)
        self.auth_file = folder / "auth.json"
        self.auth_file.write_text(json.dumps({"auths": {self.host: {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}}}))
        self._read = 0

    def stop(self) -> None:
        self._push.stop()
        self._pull.stop()

    # -- what clients sent -------------------------------------------------------------------------------------------
    def requests(self) -> list[tuple[str, str, int]]:
        """(method, path with query, status) of every request to the pushing registry so far."""
        found = []
        for line in self._push.log.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry.get("msg", "").startswith("response completed"):
                found.append((entry["http.request.method"], entry["http.request.uri"], int(entry["http.response.status"])))
        return found

    def uploads(self) -> list[Upload]:
        """The blobs that were uploaded since the last call, with their sizes in the storage."""
        listed = self.requests()
        fresh, self._read = listed[self._read:], len(listed)
        done = []
        for method, uri, status in fresh:
            match = _UPLOAD_END.search(uri)
            if method in ("PUT", "POST") and status == 201 and match and "from=" not in uri:
                digest = match[2].replace("%3A", ":")
                done.append(Upload(match[1], digest, self.blob_size(digest)))
        return done

    def blob_path(self, digest: str) -> Path:
        plain = digest.removeprefix("sha256:")
        return self.storage / "docker/registry/v2/blobs/sha256" / plain[:2] / plain / "data"

    def blob_size(self, digest: str) -> int:
        path = self.blob_path(digest)
        return path.stat().st_size if path.exists() else 0

    # -- reading images ----------------------------------------------------------------------------------------------
    def manifest(self, repository: str, reference: str) -> tuple[str, dict[str, object]]:
        """Digest and content of a manifest."""
        request = urllib.request.Request(f"http://{self.pull_host}/v2/{repository}/manifests/{reference}", headers={"Accept": ", ".join((
            "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
            "application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json"))})
        with _OPENER.open(request, timeout=20) as response:
            return response.headers["Docker-Content-Digest"], json.loads(response.read())

    def push_layout(self, layout: Path, name: str) -> str:
        """Push an OCI layout's image as ``name``; the reference for anonymous pulls."""
        subprocess.run(["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false", "--dest-authfile", str(self.auth_file),
                        f"oci:{layout}", f"docker://{self.host}/{name}"], check=True)
        return f"{self.pull_host}/{name}"
