"""The service as a child process, so that it answers at its own pace while a test works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .client import Client

ROOT = Path(__file__).resolve().parents[2]


class ServiceProcess:
    """Starts on construction; ends with :meth:`stop`, as a context, or when this process goes away."""

    def __init__(self, log: Path | None = None, *, tls: bool = False, **options: Any) -> None:
        command = [sys.executable, "-m", "tests.service", "--until-eof"]
        for name, value in options.items():
            command += ["--" + name.replace("_", "-"), str(value)]
        if tls:
            command.append("--tls")
        stderr = open(log, "ab") if log else None
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
                                         env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        if stderr is not None:
            stderr.close()
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the service did not start{f', see {log}' if log else ''}")
        started = json.loads(line)
        self.url: str = started["url"]
        self.ca: str = started["ca"]
        self.control: str = started["control"]
        self.client = Client(self.control)

    def stop(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> "ServiceProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
