"""Repositories for the git server: a small sample, or a copy of this project's own tree."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_ENV = {"GIT_AUTHOR_NAME": "dev", "GIT_AUTHOR_EMAIL": "dev@example.invalid", "GIT_COMMITTER_NAME": "dev",
        "GIT_COMMITTER_EMAIL": "dev@example.invalid", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}


def git(folder: Path, *arguments: str, **extra: str) -> str:
    """Run git in a folder; its output, trimmed."""
    done = subprocess.run(["git", "-C", str(folder), *arguments], env={**os.environ, **_ENV, **extra}, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


@dataclass
class Repository:
    """A bare repository of the server and a work tree to commit from."""

    name: str
    bare: Path
    work: Path

    @classmethod
    def create(cls, root: Path, name: str, work: Path) -> "Repository":
        bare = root / f"{name}.git"
        bare.mkdir(parents=True)
        git(bare, "init", "-q", "--bare", "-b", "main")
        work.mkdir(parents=True, exist_ok=True)
        git(work, "init", "-q", "-b", "main")
        git(work, "remote", "add", "origin", str(bare))
        return cls(name, bare, work)

    def write(self, files: dict[str, str | bytes], executable: tuple[str, ...] = ()) -> None:
        for path, content in files.items():
            target = self.work / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
            if path in executable:
                target.chmod(0o755)

    def commit(self, message: str = "change", ref: str = "refs/heads/main") -> str:
        """Commit all of the work tree and publish it at ``ref``; the commit's id."""
        git(self.work, "add", "-A")
        git(self.work, "commit", "-q", "--allow-empty", "-m", message)
        git(self.work, "push", "-q", "-f", "origin", f"HEAD:{ref}")
        return self.head

    @property
    def head(self) -> str:
        return git(self.work, "rev-parse", "HEAD")

    def publish(self, ref: str, commit: str = "HEAD") -> str:
        git(self.work, "push", "-q", "-f", "origin", f"{commit}:{ref}")
        return git(self.work, "rev-parse", commit)


SAMPLE: dict[str, str | bytes] = {
    "README.md": "sample\n",
    "Dockerfile": "FROM scratch\nCOPY hello.txt /hello.txt\nLABEL purpose=test\n",
    "hello.txt": "hello\n",
    "src/a.txt": "a\n",
    "src/b.txt": "b\n",
    "bin/run": "#!/bin/sh\necho run\n",
}


def sample(root: Path, name: str, work: Path) -> Repository:
    """Branches main and feature/x, tag v1, and pull request 1 (head and merge)."""
    made = Repository.create(root, name, work)
    made.write(SAMPLE, executable=("bin/run",))
    made.commit("first")
    made.publish("refs/tags/v1")
    made.write({"hello.txt": "hello again\n"})
    main = made.commit("second")
    git(work, "checkout", "-q", "-b", "feature")
    made.write({"feature.txt": "feature\n"})
    made.commit("feature", "refs/heads/feature/x")
    made.publish("refs/pull/1/head")
    git(work, "checkout", "-q", "main")
    git(work, "merge", "-q", "--no-ff", "-m", "Merge pull request #1", "feature")
    made.publish("refs/pull/1/merge")
    git(work, "reset", "-q", "--hard", main)
    return made
