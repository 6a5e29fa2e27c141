"""A hundred runners in one process, and what the agent adds to a job: ``/usr/bin/python3 -m tests.bench.runners [COUNT]`` on
a release build.

Over TLS, all polls held for 50 s by the double: time from start to all online, memory, and processor time while idle. Then jobs of
one step: from the message to its process, and from its process' end to the accepted completejob; beside each, what the machine itself
takes at that moment to start the same shell with the same script (from the call to its own clock reading) and an empty program.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.e2e.support import agent
from tests.service.client import Client, step_log
from tests.service.process import ServiceProcess
from tests.service.workflow import Event

IDLE_SECONDS = 60
ROUNDS = 9
STEP = "on: push\njobs:\n  a:\n    runs-on: self-hosted\n    steps:\n      - name: only\n        run: echo \"at $EPOCHREALTIME\"\n"
TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def shell() -> float:
    """Milliseconds until a shell that is started here reads its clock."""
    began = time.time()
    said = subprocess.run(["/usr/bin/bash", "-e", "-c", "echo $EPOCHREALTIME"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    return (float(said.stdout.replace(",", ".")) - began) * 1000


def empty() -> float:
    """Milliseconds from the start to the end of a program that does nothing."""
    began = time.monotonic()
    os.waitpid(os.posix_spawn("/usr/bin/true", ["true"], {}), 0)
    return (time.monotonic() - began) * 1000


def overhead(client: Client) -> tuple[list[float], list[float], list[float], list[float]]:
    """Milliseconds before and after the one process of a job (its own clock reading: it ends right after), and of the machine's own
    starts between the jobs."""
    before, after, shells, empties = [], [], [], []
    for _ in range(ROUNDS):
        shells.append(shell())
        empties.append(empty())
        wall = time.time() - time.monotonic()
        job = client.wait(client.queue_workflow("ci.yml", text=STEP, event=Event(sha="1" * 40)))
        line = next(line for line in step_log(job, "only").splitlines() if line.startswith("at "))
        ran = float(line[3:].replace(",", ".")) - wall
        before.append((ran - job["times"]["delivered"]) * 1000)
        after.append((job["times"]["completed"] - ran) * 1000)
    return before, after, shells, empties


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    os.environ.setdefault("WHERRY", str(agent.ROOT / "build/release/wherry"))
    place = Path(tempfile.mkdtemp(prefix="wherry-runners-", dir="/var/tmp"))
    place.chmod(0o755)
    try:
        with ServiceProcess(place / "service.log", tls=True) as service:
            wherry = agent.Wherry(place, SSL_CERT_FILE=service.ca)

            def register(number: int) -> None:
                wherry.register(service.client, "--work", str(place / f"work{number}"), name=f"box{number}")

            with ThreadPoolExecutor(2) as pool:
                list(pool.map(register, range(count)))
            began = time.monotonic()
            wherry.start()
            service.client.wait_runners(count, 120)
            online = time.monotonic() - began
            time.sleep(10)
            before = processor_seconds(wherry.pid)
            time.sleep(IDLE_SECONDS)
            used = (processor_seconds(wherry.pid) - before) / IDLE_SECONDS * 100
            memory = agent.memory(wherry.pid)
            print(f"| {count} runners in one process: all online | <= 10 s | {online:.1f} s |")
            print(f"| the same, memory (RSS) | <= 25 MB | {memory['VmRSS'] / 1024:.1f} MB, at most {memory['VmHWM'] / 1024:.1f} MB |")
            print(f"| the same, idle | <= 0.2 % of a core | {used:.2f} % |")
            wherry.stop()
        # Without TLS: the certificate of the double is for its own user's eyes, and jobs have another.
        with ServiceProcess(place / "service.log") as service:
            wherry = agent.Wherry(place / "one")
            wherry.folder.mkdir()
            wherry.register(service.client)
            wherry.start(client=service.client)
            before, after, shells, empties = overhead(service.client)
            for what, reach, values in (("message -> first process of a job", "<= 20 ms", before),
                                        ("last process' end -> completejob accepted", "<= 100 ms", after),
                                        ("beside it: the same shell, started from here", "", shells), ("beside it: an empty program", "", empties)):
                print(f"| {what} | {reach} | {statistics.median(values):.1f} ms, {min(values):.1f} to {max(values):.1f} |")
            for what, values in (("message -> first process", before), ("end -> completejob", after)):
                print(f"| {what}, in starts of the same shell | | {statistics.median(values) / statistics.median(shells):.1f} |")
            wherry.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
