"""The agent keeps its store within bounds by itself."""

from __future__ import annotations

import json
import time

from tests.service.client import Client

from .conftest import Runs
from .support.agent import Wherry
from .test_trust import WORKFLOW

DOCKERFILE = "ARG BASE\nFROM ${BASE}\nCOPY hello.txt /word\nRUN cat /word > /copied; cat /word > /again\n"


def test_old_layers_go_after_a_job(wherry: Wherry, client: Client, runs: Runs, busybox: str) -> None:
    runs.repo.write({"Dockerfile": DOCKERFILE})
    runs.repo.commit("an image")
    wherry.register(client)
    wherry.start("--cache-max-size", "1", client=client)
    job = runs.run(WORKFLOW, timeout=120, vars={"BASE": busybox}, secrets={"WORD": "w"})
    assert job["conclusion"] == "succeeded", job["log"]["text"][-2000:]
    end = time.monotonic() + 30
    while time.monotonic() < end:
        told = json.loads(wherry.run("cache", "du", "--json").stdout)
        if told["layers"] == 0 and told["blobs"] == 0:
            break
        time.sleep(0.3)
    else:
        raise AssertionError(f"the store was not cleaned: {told}")
    again = runs.run(WORKFLOW, timeout=120, vars={"BASE": busybox}, secrets={"WORD": "w"})
    assert again["conclusion"] == "succeeded" and "not cached" in again["log"]["text"]
    client.check()
