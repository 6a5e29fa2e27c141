"""``wherry build`` for tests: a context folder, the command, and a look into what came out."""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .agent import Wherry

_VERTEX = re.compile(r"#(\d+) (?:\[[^\]]*\] )?(.*)")


@dataclass
class Image:
    """An exported OCI layout (as a tar), read back."""

    blobs: dict[str, bytes]
    manifest: dict[str, Any]
    config: dict[str, Any]
    digest: str

    def layers(self) -> list[dict[str, tarfile.TarInfo]]:
        """Members by name, layer by layer."""
        found = []
        for layer in self.manifest["layers"]:
            with self._open(layer["digest"]) as tar:
                found.append({m.name.strip("/"): m for m in tar})
        return found

    def _open(self, digest: str) -> tarfile.TarFile:
        data = self.blobs[digest]
        return tarfile.open(fileobj=io.BytesIO(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data))

    def read(self, path: str) -> bytes:
        """A file's content as the last layer that has it holds it."""
        for layer in reversed(self.manifest["layers"]):
            with self._open(layer["digest"]) as tar:
                for member in tar:
                    if member.name.strip("/") == path and member.isreg():
                        return tar.extractfile(member).read()  # type: ignore[union-attr]
        raise KeyError(path)


def read_archive(path: Path) -> Image:
    with tarfile.open(path) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar if m.isreg()}  # type: ignore[union-attr]
    blobs = {"sha256:" + name.rpartition("/")[2]: data for name, data in files.items() if name.startswith("blobs/sha256/")}
    digest = json.loads(files["index.json"])["manifests"][0]["digest"]
    manifest = json.loads(blobs[digest])
    if "manifests" in manifest:
        digest = manifest["manifests"][0]["digest"]
        manifest = json.loads(blobs[digest])
    return Image(blobs, manifest, json.loads(blobs[manifest["config"]["digest"]]), digest)


@dataclass
class Builder:
    wherry: Wherry
    base: str
    context: Path
    extra: list[str] = field(default_factory=list)

    def write(self, **files: str | bytes) -> None:
        """Context files; ``__`` in a name stands for a dot, ``___`` for a slash."""
        for name, content in files.items():
            self.put(name.replace("___", "/").replace("__", "."), content)

    def put(self, path: str, content: str | bytes, mode: int = 0o644) -> Path:
        target = self.context / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        target.chmod(mode)
        return target

    def dockerfile(self, text: str) -> None:
        self.put("Dockerfile", text.replace("BASE", self.base))

    def build(self, *arguments: str, check: bool = True, env: dict[str, str] | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        done = self.wherry.run("build", "--progress", "plain", *arguments, str(self.context), timeout=timeout, env=env)
        if check and done.returncode:
            raise AssertionError(f"build failed with exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def image(self, *arguments: str, **options: Any) -> Image:
        """Build and read the image back through an OCI archive."""
        out = self.wherry.folder / "out.tar"
        self.build("--output", f"type=oci,dest={out}", *arguments, **options)
        return read_archive(out)

    def fails(self, *arguments: str, **options: Any) -> str:
        """Build and expect a failure; all that was said."""
        done = self.build(*arguments, check=False, **options)
        assert done.returncode not in (0, -6, -11), f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
        said = done.stdout + done.stderr
        assert "AddressSanitizer" not in said and "runtime error" not in said, said
        return said


def cached(done: subprocess.CompletedProcess[str]) -> tuple[set[str], set[str]]:
    """(ran, cached) instructions of a plain log, by their text."""
    names: dict[str, str] = {}
    hit: set[str] = set()
    for line in (done.stdout + done.stderr).splitlines():
        match = _VERTEX.match(line)
        if not match:
            continue
        number, text = match.groups()
        if text.startswith("CACHED"):
            hit.add(number)
        elif re.match(r"(RUN|COPY|ADD|WORKDIR)\b", text):
            names.setdefault(number, text)
    return {t for n, t in names.items() if n not in hit}, {t for n, t in names.items() if n in hit}
