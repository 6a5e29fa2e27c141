"""The builders that are measured: wherry, and docker buildx and buildah where they can run.

``BUILDX`` and ``BUILDAH`` name other commands than ``docker buildx`` and ``buildah`` (an engine in a chroot, say). They must see the
folder that ``--dir`` names under the same path.
"""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


class Failed(RuntimeError):
    """A measured command did not do its work."""


def run(command: list[str], folder: Path, env: dict[str, str] | None = None) -> tuple[float, float]:
    """Milliseconds of a command, and the most memory (MB) that one of its processes took."""
    log = folder / "command.log"
    with open(log, "wb") as out:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=folder, env={**os.environ, **(env or {})})
        _, status, used = os.wait4(process.pid, 0)
        took = (time.monotonic() - began) * 1000
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failed(f"{shlex.join(command)}: exit {process.returncode}\n{log.read_text(errors='replace')[-3000:]}")
    return took, used.ru_maxrss / 1024


class Builder:
    """One way to build: ``build`` gives milliseconds."""

    name = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.peak = 0.0

    def _run(self, command: list[str], **env: str) -> float:
        took, peak = run(command, self.folder, env)
        self.peak = max(self.peak, peak)
        return took

    def forget(self) -> None:
        """As if nothing had been built before."""
        raise NotImplementedError

    def build(self, context: Path, push: str | None = None, archive: bool = False, cache_from: str | None = None,
              cache_to: str | None = None) -> float:
        """Build; with ``push`` to that name; ``archive``: to a compressed layer on the disk (an OCI archive)."""
        raise NotImplementedError


class Wherry(Builder):
    name = "wherry"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.binary = os.environ.get("WHERRY", str(ROOT / "build/release/wherry"))
        self.state = folder / "state"

    def forget(self) -> None:
        shutil.rmtree(self.state, ignore_errors=True)

    def build(self, context: Path, push: str | None = None, archive: bool = False, cache_from: str | None = None,
              cache_to: str | None = None) -> float:
        command = [self.binary, "build", "--progress", "plain"]
        if push:
            command += ["--push", "-t", push]
        if archive:
            # The store holds the compressed layer then, as the peers' archives do.
            command += ["-o", "type=image"]
        if cache_from:
            command += ["--cache-from", cache_from]
        if cache_to:
            command += ["--cache-to", cache_to]
        return self._run([*command, str(context)], WHERRY_STATE=str(self.state))


class Buildx(Builder):
    name = "buildx"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.command = shlex.split(os.environ.get("BUILDX", "docker buildx"))
        run([*self.command, "inspect"], folder)

    def forget(self) -> None:
        self._run([*self.command, "prune", "--all", "--force"])

    def build(self, context: Path, push: str | None = None, archive: bool = False, cache_from: str | None = None,
              cache_to: str | None = None) -> float:
        command = [*self.command, "build", "--progress", "plain", "--network", "host", "--provenance=false"]
        out = self.folder / "buildx.tar"
        if push:
            command += ["--push", "-t", push]
        if archive:
            command += ["-o", f"type=oci,dest={out}"]
        if cache_from:
            command += ["--cache-from", cache_from]
        if cache_to:
            command += ["--cache-to", cache_to]
        took = self._run([*command, str(context)])
        out.unlink(missing_ok=True)
        return took


class Buildah(Builder):
    name = "buildah"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        command = shlex.split(os.environ.get("BUILDAH", "buildah"))
        self.storage = folder / "buildah"
        self.command = [*command, "--root", str(self.storage), "--runroot", str(folder / "buildah-run"), "--storage-driver",
                        os.environ.get("BUILDAH_DRIVER", "overlay")]
        run([*self.command, "version"], folder)

    def forget(self) -> None:
        self._run([*self.command, "rmi", "--all", "--force"])

    def build(self, context: Path, push: str | None = None, archive: bool = False, cache_from: str | None = None,
              cache_to: str | None = None) -> float:
        if cache_from or cache_to:
            raise Failed("buildah's cache is of another kind")
        name = push or "localhost/bench:latest"
        # Its own defaults are more than an unprivileged root may set.
        limits = [f"--ulimit={kind}={min(pair)}:{min(pair)}" for kind, pair in
                  (("nofile", resource.getrlimit(resource.RLIMIT_NOFILE)), ("nproc", resource.getrlimit(resource.RLIMIT_NPROC)))]
        took = self._run([*self.command, "bud", "--layers", "--network", "host", "--tls-verify=false", *limits, "-t", name, str(context)])
        if push:
            took += self._run([*self.command, "push", "--tls-verify=false", name, f"docker://{push}"])
        if archive:
            out = self.folder / "buildah.oci"
            shutil.rmtree(out, ignore_errors=True)
            took += self._run([*self.command, "push", name, f"oci:{out}"])
            shutil.rmtree(out)
        return took


def available(folder: Path, wanted: list[str]) -> list[Builder]:
    """wherry, and those of the peers that answer; who doesn't is said."""
    found: list[Builder] = [Wherry(folder)]
    for kind in (Buildx, Buildah):
        if kind.name not in wanted:
            continue
        try:
            found.append(kind(folder))
        except (Failed, OSError) as error:
            print(f"{kind.name} is left out: {str(error).splitlines()[-1]}", flush=True)
    return found


def most_memory() -> float:
    """MB of the largest process that this one waited for."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
