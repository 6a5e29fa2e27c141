"""What a step costs: ``/usr/bin/python3 -m tests.bench.steps`` on a release build.

A job of 100 steps ``run: true`` and one of a single step, through the service double; the difference is what 99 steps take. The shell's
own time is a loop over the same: a script file each, started with `bash -e`. Median of five; the worker's memory is its peak (VmHWM).
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from tests.e2e.support import agent
from tests.service.process import ServiceProcess

STEPS = 100


def workflow(steps: int) -> str:
    return "on: push\njobs:\n  a:\n    runs-on: self-hosted\n    steps:\n" + "      - run: 'true'\n" * steps


def shell_loop(place: Path) -> float:
    """Seconds a step."""
    start = time.monotonic()
    for number in range(STEPS):
        script = place / f"{number}.sh"
        script.write_text("true")
        subprocess.run(["/usr/bin/bash", "-e", str(script)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
    return (time.monotonic() - start) / STEPS


class Peak(threading.Thread):
    """The largest VmHWM in MB of any worker below the agent."""

    def __init__(self, wherry: agent.Wherry) -> None:
        super().__init__(daemon=True)
        self.wherry, self.most, self.over = wherry, 0.0, False

    def run(self) -> None:
        while not self.over:
            for pid in self.wherry.children("worker"):
                try:
                    self.most = max(self.most, agent.memory(pid)["VmHWM"] / 1024)
                except (OSError, KeyError):
                    pass
            time.sleep(0.05)


def main() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        place = Path(folder)
        place.chmod(0o755)
        with ServiceProcess(place / "service.log") as service:
            wherry = agent.Wherry(place)
            wherry.register(service.client)
            wherry.start(client=service.client)
            peak = Peak(wherry)
            peak.start()

            def job(steps: int) -> float:
                time.sleep(6)  # ext4 keeps away from the files that the job before deleted for 5 seconds, at a price
                got = service.client.wait(service.client.queue_workflow("ci.yml", text=workflow(steps)))
                assert got["conclusion"] == "succeeded", got["conclusion"]
                return got["times"]["completed"] - got["times"]["acquired"]

            job(1)
            step = [(job(STEPS) - job(1)) / (STEPS - 1) for _ in range(5)]
            shell = [shell_loop(place) for _ in range(5)]
            peak.over = True
            wherry.stop()
    taken, own = statistics.median(step) * 1000, statistics.median(shell) * 1000
    print(f"a step {taken:.2f} ms, the shell alone {own:.2f} ms, overhead {taken - own:.2f} ms (to reach: 8); worker {peak.most:.1f} MB (to reach: 12)")


if __name__ == "__main__":
    main()
