"""The power goes while a job runs, and the machine boots again: the job ends, as long as its lock still can be used, and nothing of it
stays. The service is the double on this machine, which the machine under test reaches by its user-mode network."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Iterator

import pytest

from tests.service.client import Client
from tests.service.process import ServiceProcess
from tests.service.workflow import Event, Inputs

from .machine import Machine

HOST = "10.0.2.2"  # what QEMU calls this machine
ROUNDS = int(os.environ.get("WHERRY_JOB_POWER_CUTS", "3"))
SETUP = """set -eu
ip link set "$(ls /sys/class/net | grep -v lo)" up
ip addr add 10.0.2.15/24 dev "$(ls /sys/class/net | grep -v lo)"
ip route add default via {host}
export WHERRY_STATE=/var/lib/wherry
id -u job >/dev/null 2>&1 || useradd --system --create-home --shell /bin/sh job
chmod 755 /test /test/wherry
"""
REGISTER = "ACTIONS_RUNNER_INPUT_TOKEN={token} ./wherry register --url {url} --name box1 --work /var/lib/work --job-user job\n"
# A store that was there before, since a power cut may undo the making of one.
STORE = "mkdir c && cp /bin/busybox c && printf 'FROM scratch\\nCOPY busybox /\\n' >c/Dockerfile && ./wherry build -q -o type=oci,dest=/var/c.tar c && sync\n"
AGENT = "exec ./wherry run\n"
# After the restart: the agent runs until its runner is idle, then what may be left is told.
AFTER = """./wherry run & agent=$!
until ./wherry status --json | grep -q listening && ! ls /var/lib/wherry/runners/box1/job.sealed 2>/dev/null; do sleep 0.5; done
sleep 8
echo "temp: $(ls -A /var/lib/work/_temp 2>/dev/null | tr '\\n' ' ')"
echo "spool: $(ls -A /var/lib/work/_diag/spool 2>/dev/null | tr '\\n' ' ')"
echo "sessions: $(ls -A /var/lib/wherry/ingest 2>/dev/null | tr '\\n' ' ')"
echo "groups: $(find /sys/fs/cgroup -name 'wherry-*-[0-9]*' | tr '\\n' ' ')"
echo "mounts: $(grep -c /var/lib/wherry /proc/mounts || true)"
[ ! -e /var/lib/wherry/index.db ] || ./wherry cache verify --state /var/lib/wherry
echo looked
until [ -e /var/lib/work/web/web/over ]; do sleep 0.2; done
sleep 2
kill $agent; wait $agent
"""
JOB = """name: ci
on: push
jobs:
  one:
    runs-on: self-hosted
    steps:
      - name: before
        run: echo first step
      - name: image
        run: |
          mkdir -p image && cp /bin/busybox image/busybox
          printf 'FROM scratch\\nCOPY busybox /bin/busybox\\nRUN ["/bin/busybox", "sleep", "600"]\\n' > image/Dockerfile
      - name: build
        uses: docker/build-push-action@v6
        with: {{context: image, push: false}}
      - name: never
        run: echo never
"""
NEXT = "name: ci\non: push\njobs:\n  one:\n    runs-on: self-hosted\n    steps:\n      - run: echo fine && touch over\n"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path / "service.log", hold=10, name=HOST) as started:
        yield started


def queue(client: Client, text: str, **options: object) -> str:
    return client.queue_workflow(".github/workflows/ci.yml", text=text, event=Event(repository="acme/web"), inputs=Inputs(), **options)


def left(output: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(": ") for line in output.splitlines())
            if name in ("temp", "spool", "sessions", "groups", "mounts")}


@pytest.mark.long
def test_power_cuts_during_a_job(machine: Machine, files: dict[str, Path | str], service: ServiceProcess) -> None:
    client = service.client
    chance = random.Random(int(os.environ.get("WHERRY_SEED", "1")))
    client.options(session_idle=1)
    setup = SETUP.format(host=HOST)
    token, url = client.token("acme/web")
    machine.run(setup + REGISTER.format(token=token, url=url) + STORE, files, network=True).check()
    for turn in range(ROUNDS):
        ident = queue(client, JOB.replace("{{", "{").replace("}}", "}"), lenient=["renew", "restart", "logs"])
        began: list[float] = []
        wait = chance.uniform(0.0, 15.0)

        def cut(_: str) -> bool:
            if not began and client.job(ident)["renewals"]:
                began.append(time.monotonic())
            return bool(began) and time.monotonic() > began[0] + wait

        off = machine.run(setup + AGENT, files, cut_when=cut, network=True)
        assert off.status is None, off.output
        following = ""

        def over(output: str) -> bool:
            """The next job comes when the machine has told what is left."""
            nonlocal following
            if "looked" in output and not following:
                following = queue(client, NEXT)
            return False

        outcome = machine.run(setup + AFTER, files, network=True, cut_when=over, limit=400).check()
        job = client.job(ident)
        print(f"cut {turn}: {wait:.1f} s after the job's start, then {job['conclusion']}, {left(outcome.output)}")
        assert job["conclusion"] == "failed", outcome.output
        assert "its process ended without notice" in job["completion"]["annotations"][0]["message"]
        assert left(outcome.output) == {"temp": "", "spool": "", "sessions": "", "groups": "", "mounts": "0"}, outcome.output
        assert client.wait(following, 60)["conclusion"] == "succeeded"
    # The spool is not flushed while the job runs: where the power takes it, steps that were told of before and their lines are missing
    # from the end that the job gets ("logs", "step").
    client.check(ignore=["body", "poll", "step"])
