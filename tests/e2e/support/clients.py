"""GitHub's own clients from npm, by the lock file in tests/e2e/clients, installed once into the user's cache folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parents[1] / "clients"


def install() -> Path:
    """The folder whose node_modules has them; others can read it."""
    lock = (HERE / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "/var/tmp/wherry-test-clients")
    folder = cache / hashlib.sha256(lock).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            shutil.copy(HERE / "package.json", folder), shutil.copy(HERE / "package-lock.json", folder)
            done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900)
            assert done.returncode == 0, f"npm ci in {folder}: {done.stdout[-3000:]}"
            subprocess.run(["chmod", "-R", "a+rX", str(cache)], check=True)
            (folder / "done").write_text("")
    return folder


def package(folder: Path, name: str) -> str:
    return str(folder / "node_modules" / name)
