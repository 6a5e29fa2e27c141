"""The binary under test: its commands, and an agent with a state folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from tests.service.client import Client

ROOT = Path(__file__).resolve().parents[3]
# An agent ends what its job user left behind; tests that run side by side must not share that user.
JOB_USER = 59200 + os.getpid() % 800
PRESETS = ("asan", "debug", "release")


def binary() -> Path:
    """``WHERRY``, or the newest of the built ones."""
    named = os.environ.get("WHERRY")
    if named:
        return Path(named).resolve()
    built = [path for preset in PRESETS if (path := ROOT / "build" / preset / "wherry").exists()]
    if not built:
        raise FileNotFoundError("no built wherry: run cmake --preset asan && cmake --build --preset asan, or set WHERRY")
    return max(built, key=lambda path: path.stat().st_mtime)


class Wherry:
    """Commands of the binary that share a state folder; at most one running agent."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.binary, self.folder, self.state = binary(), folder, folder / "state"
        self.log = folder / "agent.log"
        self.env = {k: v for k, v in os.environ.items() if not k.upper().startswith(("GITHUB_", "ACTIONS_", "RUNNER_", "INPUT_"))}
        # Leaks of short commands are the unit tests' business; the exit code must be the command's own.
        self.env |= {"WHERRY_STATE": str(self.state), "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1", "LANG": "C.UTF-8", **env}
        self.job_user: int | None = JOB_USER if os.getuid() == 0 else None
        # Words before the agent's own command line, such as an unshare.
        self.prefix: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str | Path, check: bool = False, timeout: float = 120, cwd: Path | None = None,
            env: dict[str, str] | None = None, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """One command to its end; standard output and error as text, ``given`` on standard input."""
        source: dict[str, object] = {"stdin": subprocess.DEVNULL} if given is None else {"input": given}
        done = subprocess.run([str(self.binary), *map(str, arguments)], env={**self.env, **(env or {})}, **source,  # type: ignore[call-overload]
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", timeout=timeout, cwd=cwd)
        if check and done.returncode:
            raise AssertionError(f"wherry {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def register(self, client: Client, *extra: str, scope: str = "acme/web", name: str = "box1") -> None:
        token, url = client.token(scope)
        user = ["--job-user", str(self.job_user)] if self.job_user is not None and "--job-user" not in extra else []
        # The token is not in the command line, where others could read it.
        self.run("register", "--url", url, "--name", name, "--work", str(self.folder / "work"), *user, *extra, check=True,
                 env={"ACTIONS_RUNNER_INPUT_TOKEN": token})

    # -- the agent ---------------------------------------------------------------------------------------------------
    def start(self, *arguments: str, client: Client | None = None, **env: str) -> None:
        """``wherry run`` in the background; with a client, wait until it polls."""
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen([*self.prefix, str(self.binary), "run", *arguments], env={**self.env, **env}, stdin=subprocess.DEVNULL,
                                             stdout=log, stderr=log, start_new_session=True)
        if client is not None:
            try:
                client.wait_runners()
            except TimeoutError as error:
                raise AssertionError(f"{error}\n{self.log_text()[-4000:]}") from None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: int = signal.SIGTERM) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, timeout: float = 30) -> int:
        """The agent's exit code."""
        assert self._process is not None
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the agent did not end within {timeout} s\n{self.log_text()[-4000:]}") from None

    def stop(self) -> None:
        """End the agent as a service manager would: SIGTERM, later SIGKILL."""
        if not self.alive or self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    # -- looking in --------------------------------------------------------------------------------------------------
    def children(self, verb: str) -> list[int]:
        """Processes below the agent that run this subcommand (``worker``, ``builder``)."""
        return [pid for pid in descendants(self.pid) if verb.encode() in cmdline(pid)[1:2]]

    def wait_child(self, verb: str, timeout: float = 20) -> int:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            found = self.children(verb)
            if found:
                return found[0]
            time.sleep(0.01)
        raise AssertionError(f"no {verb} process within {timeout} s\n{self.log_text()[-2000:]}")

    def verify_store(self) -> None:
        self.run("cache", "verify", check=True)


def cmdline(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    found, queue = [], [pid]
    while queue:
        parent = queue.pop()
        try:
            tasks = list(Path(f"/proc/{parent}/task").glob("*/children"))
        except OSError:
            continue  # it ended meanwhile
        for task in tasks:
            try:
                children = [int(child) for child in task.read_text().split()]
            except OSError:
                continue
            found += children
            queue += children
    return found


def memory(pid: int) -> dict[str, int]:
    """VmRSS and VmHWM in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmHWM"))}
