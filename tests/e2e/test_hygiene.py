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
