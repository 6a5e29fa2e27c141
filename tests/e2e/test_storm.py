"""Many runners of one machine lose the service at the same instant: all are back within a minute of its return, one after the other."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Iterator

import pytest

from tests.service.client import Client
from tests.service.process import ServiceProcess

from .conftest import Runs
from .support import proxy as proxies
from .support.agent import Wherry
from .support.network import Box
from .test_network import BACK, ECHO, pytestmark  # noqa: F401

AWAY = 20.0
# Requests in any one second: runners come 50 ms apart, 20 a second. Without a wait of their own all would ask in the first one.
PEAK = {50: 35, 100: 50}


@pytest.fixture
def box(place: Path) -> Iterator[Box]:
    made = Box(place)
    yield made
    made.stop()


@pytest.fixture
def service(place: Path, box: Box) -> Iterator[ServiceProcess]:
    with ServiceProcess(place / "service.log", hold=50, host=box.here) as started:
        yield started


@pytest.fixture
def wherry(place: Path, box: Box) -> Iterator[Wherry]:
    made = Wherry(place)
    proxies.clean(made.env)
    box.wrap(made)
    yield made
    made.stop()


def polled(client: Client) -> dict[str, int]:
    return {r["name"]: r["polls"] for r in client.status()["runners"]}


def storm(wherry: Wherry, runs: Runs, client: Client, box: Box, count: int, way: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda n: wherry.register(client, "--work", str(wherry.folder / f"work{n}"), name=f"box{n}"), range(count)))
    wherry.start()
    client.wait_runners(count, 120)
    time.sleep(2)
    before, seen = polled(client), len(client.requests())
    if way == "link":
        box.link(False)
        client.drop_connections()
        time.sleep(AWAY)
        box.link(True)
    else:
        client.outage(AWAY)
        time.sleep(AWAY)
    returned = time.monotonic()
    while not all(polls > before[name] for name, polls in polled(client).items()):
        assert time.monotonic() < returned + BACK, f"{sum(polls == before[n] for n, polls in polled(client).items())} runners do not poll after {BACK} s"
        time.sleep(0.2)
    back = time.monotonic() - returned
    time.sleep(5)
    asked: list[dict[str, Any]] = client.requests()[seen:]
    starts = sorted(r["at"] for r in asked)
    peak = max(sum(1 for other in starts if at <= other < at + 1) for at in starts)
    print(f"{count} runners, {way} away for {AWAY:.0f} s: all back after {back:.1f} s, {len(asked)} requests, at most {peak} in a second, "
          f"{dict(Counter(r['endpoint'] for r in asked))}")
    # What waits for an answer to its SYN as the link comes up is sent in one moment: there it is one request a runner at most.
    assert peak <= (count if way == "link" else PEAK[count])
    assert len(asked) <= 4 * count
    assert runs.run(ECHO, timeout=60)["conclusion"] == "succeeded"
    client.check(ignore=["body"])


@pytest.mark.parametrize("way", ["link", "service"])
def test_storm(wherry: Wherry, runs: Runs, client: Client, box: Box, way: str) -> None:
    storm(wherry, runs, client, box, 50, way)


@pytest.mark.long
@pytest.mark.parametrize("way", ["link", "service"])
def test_storm_of_a_hundred(wherry: Wherry, runs: Runs, client: Client, box: Box, way: str) -> None:
    storm(wherry, runs, client, box, 100, way)
