"""kill -9 of builder, worker and agent at random instants, and a disk that is full: the store stays whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Iterator

import pytest

from tests.service.client import Client

from .conftest import Runs
from .support.agent import Wherry, descendants
from .support.building import Builder
from .test_jobs import steps

SEED = int(os.environ.get("WHERRY_SEED", "1"))


@pytest.fixture
def builder(wherry: Wherry, busybox: str, place: Path) -> Builder:
    context = place / "context"
    context.mkdir()
    return Builder(wherry, busybox, context)


def killed_builds(builder: Builder, rounds: int) -> None:
    chance = random.Random(SEED)
    builder.dockerfile("FROM scratch\nCOPY . /\n")
    builder.put("first", "")
    builder.build()  # a store to verify: a build may be killed before it has made one
    for number in range(rounds):
        builder.put("data", os.urandom(200_000))
        builder.dockerfile(f"FROM BASE\nCOPY data /data\nRUN cat /data /data > /twice; echo {number} > /n\nCOPY data /again\n")
        process = subprocess.Popen([builder.wherry.binary, "build", "--progress", "plain", "--output",
                                    f"type=oci,dest={builder.wherry.folder}/k.tar", str(builder.context)], env=builder.wherry.env,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(chance.uniform(0.0, 0.6))
        victims = [process.pid, *descendants(process.pid)]
        victim = chance.choice(victims)
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait(60)
        done = builder.wherry.run("cache", "verify")
        assert done.returncode == 0, f"round {number}: {done.stdout}{done.stderr}"
        if number % 5 == 4:
            assert builder.image().read("n").strip() == str(number).encode()
    builder.wherry.verify_store()
    assert not leftovers(builder.wherry.state)


def leftovers(state: Path) -> list[str]:
    return [line for line in Path("/proc/mounts").read_text().splitlines() if str(state) in line]


def test_killed_builds(builder: Builder) -> None:
    killed_builds(builder, 20)


@pytest.mark.long
def test_killed_builds_long(builder: Builder) -> None:
    killed_builds(builder, 200)


def killed_jobs(wherry: Wherry, runs: Runs, client: Client, rounds: int) -> None:
    """Kill the worker or the whole agent while a job runs; the next job is right."""
    chance = random.Random(SEED)
    client.options(session_idle=1)
    wherry.register(client)
    for number in range(rounds):
        if not wherry.alive:
            wherry.start(client=client)
        ident = runs.queue(steps("uses: actions/checkout@v4", "run: |\n  echo started\n  sleep 0.4"), lenient=["logs", "renew", "restart"])
        client.wait(ident, until="delivered")
        time.sleep(chance.uniform(0.0, 0.5))
        workers = wherry.children("worker")
        if workers and chance.random() < 0.6:
            os.kill(workers[0], signal.SIGKILL)
            assert client.wait(ident, 60)["conclusion"] in ("failed", "succeeded")
        else:
            wherry.kill()
            time.sleep(1.1)
            wherry.start(client=client)
        assert runs.run(steps("run: echo fine"), timeout=60)["conclusion"] == "succeeded", f"round {number}"
    if (wherry.state / "index.db").exists():
        wherry.verify_store()


def test_killed_jobs(wherry: Wherry, runs: Runs, client: Client) -> None:
    killed_jobs(wherry, runs, client, 8)


@pytest.mark.long
def test_killed_jobs_long(wherry: Wherry, runs: Runs, client: Client) -> None:
    killed_jobs(wherry, runs, client, 100)


# -- a full disk -------------------------------------------------------------------------------------------------------
@pytest.fixture
def small_disk(place: Path) -> Iterator[Path]:
    """A file system of 24 MB, for a state folder."""
    if os.getuid() != 0:
        pytest.skip("mounting needs root")
    image, mount = place / "disk.img", place / "disk"
    mount.mkdir()
    with open(image, "wb") as file:
        file.truncate(24 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    if subprocess.run(["mount", "-o", "loop", str(image), str(mount)]).returncode:
        pytest.skip("no loop devices here")
    mount.chmod(0o755)
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.mark.parametrize("text", [
    "FROM BASE\nRUN head -c 60000000 /dev/urandom > /big\n",
    "FROM BASE\nCOPY big /big\n",
    "FROM BASE\nRUN for n in $(seq 40); do head -c 1000000 /dev/urandom > /f$n || exit 1; done\n",
], ids=["one big file", "copy", "many files"])
def test_full_disk(builder: Builder, small_disk: Path, text: str) -> None:
    builder.wherry.env["WHERRY_STATE"] = str(small_disk / "state")
    builder.wherry.state = small_disk / "state"
    if "COPY" in text:
        builder.put("big", os.urandom(60_000_000))
    builder.dockerfile(text)
    said = builder.fails(timeout=180)
    assert "No space left" in said or "disk" in said.lower()
    builder.wherry.verify_store()
    builder.dockerfile("FROM BASE\nRUN echo small > /s\n")
    builder.wherry.run("cache", "prune", "--all")
    assert builder.image().read("s") == b"small\n"


def test_full_disk_while_pulling(builder: Builder, small_disk: Path) -> None:
    state = small_disk / "state"
    builder.wherry.env["WHERRY_STATE"] = str(state)
    builder.wherry.state = state
    filler = small_disk / "filler"
    with open(filler, "wb") as file:
        try:
            while True:
                file.write(os.urandom(1 << 16))
                file.flush()
        except OSError:
            pass
    builder.dockerfile("FROM BASE\nRUN echo x > /x\n")
    said = builder.fails()
    assert "No space left" in said or "disk" in said.lower() or "full" in said
    filler.unlink()
    assert builder.image().read("x") == b"x\n"
    builder.wherry.verify_store()
