"""The Debian base image of the sample build: made by mmdebstrap once, then kept.

It holds the compiler and the libraries that wherry is built with, so that the build itself needs no network.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

from . import ociimage

# What is in a machine's own sources is what the image gets: proxies and mirrors stay as they are.
_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "wherry"


def suite() -> str:
    return next(line.split("=", 1)[1].strip().strip('"') for line in Path("/etc/os-release").read_text().splitlines()
                if line.startswith("VERSION_CODENAME="))


def mirror() -> str:
    for path in _SOURCES:
        if path.exists():
            match = re.search(r"(?m)^URIs:\s*(\S+)", path.read_text()) or re.search(r"(?m)^deb\s+(?:\[[^]]*\]\s+)?(\S+)", path.read_text())
            if match:
                return match[1]
    return "http://deb.debian.org/debian"


def layout(packages: list[str], log: Path, folder: Path | None = None) -> Path:
    """The OCI layout of a minimal Debian with these packages; made if it is not there yet."""
    key = hashlib.sha256(" ".join([suite(), *sorted(packages)]).encode()).hexdigest()[:12]
    target = (folder or cache_folder()) / f"debian-{suite()}-{key}"
    if (target / "index.json").exists():
        return target
    target.mkdir(parents=True, exist_ok=True)
    tar = target / "root.tar"
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(sorted(packages))}",
               "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
               "--dpkgopt=path-exclude=/usr/share/locale/*", "--aptopt=Acquire::Languages \"none\"", suite(), str(tar), mirror()]
    with open(log, "ab") as out:
        out.write((" ".join(command) + "\n").encode())
        out.flush()
        if subprocess.run(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL).returncode:
            raise RuntimeError(f"mmdebstrap failed, see {log}")
    ociimage.layout_of_tars(target, [tar])
    tar.unlink()
    return target
