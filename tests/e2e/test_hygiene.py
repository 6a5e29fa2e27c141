"""What processes leave behind: zombies where the agent is the first process of a container, and files of others' in the work folder."""

from __future__ import annotations

import os
import shutil
import signal
import time

import pytest

from tests.service.client import step_log

from .conftest import Runs
from .support.agent import Wherry
from .test_jobs import steps

COUNT = "cat /proc/[0-9]*/status 2>/dev/null | grep -c '^State:.*zombie' || true"


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="a pid namespace needs root and unshare")
def test_zombies_of_a_first_process(wherry: Wherry, runs: Runs) -> None:
    """As in a container without an init: what steps let go becomes the agent's child, and no zombie of it stays; a signal gets through."""
    wherry.register(runs.client)
    wherry.prefix = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    wherry.start(client=runs.client)
    job = runs.run(steps("name: leave\nrun: |\n  echo \"first $(cat /proc/1/comm)\"\n  for i in 1 2 3 4 5; do (env -u RUNNER_TRACKING_ID setsid sleep 0.3 & ) ; done\n"
                         f"  sleep 1; echo \"zombies $({COUNT})\""))
    log = step_log(job, "leave")
    assert "first wherry" in log and "zombies 0" in log and job["conclusion"] == "succeeded", log
    children = [int(pid) for pid in (open(f"/proc/{wherry.pid}/task/{wherry.pid}/children").read().split())]
    assert len(children) == 1  # below unshare: the waiter, which passes the signal on
    os.kill(children[0], signal.SIGTERM)
    for _ in range(100):
        if wherry._process is None or wherry._process.poll() is not None:
            break
        time.sleep(0.1)
    assert wherry._process is not None and wherry._process.poll() == 0
    runs.client.check()


def delegated() -> bool:
    """Whether systemd can give the agent a group of the unified hierarchy with the memory controller."""
    try:
        return "memory" in open("/sys/fs/cgroup/cgroup.controllers").read() and shutil.which("systemd-run") is not None and os.geteuid() == 0
    except OSError:
        return False


needs_delegation = pytest.mark.skipif(not delegated(), reason="needs cgroup v2 alone, systemd and root: python3 -m pytest tests/vm has such a machine")


@needs_delegation
def test_out_of_memory(wherry: Wherry, runs: Runs) -> None:
    """The kernel kills a step for want of memory: its log says so, and the agent and the next step live."""
    wherry.register(runs.client)
    wherry.prefix = ["systemd-run", "--scope", "--quiet", "-p", "Delegate=yes", "-p", "MemoryMax=300M", "-p", "MemorySwapMax=0"]
    wherry.start(client=runs.client)
    job = runs.run(steps("name: eat\nrun: exec /usr/bin/python3 -c 'x = bytearray(600 << 20); x[::4096] = bytes(len(x[::4096]))'",
                         "name: fail\nif: always()\nrun: exit 3", "name: next\nif: always()\nrun: echo alive"), timeout=120)
    eaten = step_log(job, "eat")
    assert "##[error]Process completed with exit code 137." in eaten, eaten
    assert "##[warning]Out of memory: while this step ran, the kernel killed 1 process for want of memory." in eaten, eaten
    assert "Out of memory" not in step_log(job, "fail") and "alive" in step_log(job, "next") and job["conclusion"] == "failed"
    runs.client.check()


@needs_delegation
def test_what_hides_is_killed_by_its_group(wherry: Wherry, runs: Runs) -> None:
    """Without the tracking variable, in a session of its own, forking all the time: gone at the job's end, with the job's group."""
    wherry.register(runs.client)
    wherry.prefix = ["systemd-run", "--scope", "--quiet", "-p", "Delegate=yes"]
    wherry.start(client=runs.client)
    job = runs.run(steps("name: hide\nrun: |\n  env -i setsid sh -c 'exec sleep 4321' >/dev/null 2>&1 &\n"
                         "  env -i setsid sh -c 'while :; do (setsid sleep 4322 &); sleep 0.05; done' >/dev/null 2>&1 &\n  sleep 1; cat /proc/self/cgroup"), timeout=120)
    assert "/wherry-job-" in step_log(job, "hide"), step_log(job, "hide")
    time.sleep(1)
    left = [pid for pid in os.listdir("/proc") if pid.isdigit() and b"432" in _command(pid)]
    assert not left and job["conclusion"] == "succeeded"
    own = "/sys/fs/cgroup" + open(f"/proc/{wherry.pid}/cgroup").read().strip().split("::")[1]
    for _ in range(50):
        groups = [name for name in os.listdir(os.path.dirname(own)) if name.startswith("wherry-job-")]
        if not groups:
            break
        time.sleep(0.1)
    assert not groups
    runs.client.check()


def _command(pid: str) -> bytes:
    try:
        return open(f"/proc/{pid}/cmdline", "rb").read()
    except OSError:
        return b""
