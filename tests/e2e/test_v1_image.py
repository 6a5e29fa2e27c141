"""The main job, unchanged, through a server that speaks V1 alone."""

from __future__ import annotations

import pytest

from tests.service.client import Client, step_log

from .conftest import Runs
from .support.agent import Wherry
from .support.registry import PASSWORD, USER, Registry
from .test_image_job import DOCKERFILE, WORKFLOW


@pytest.mark.parametrize("registration,listener,flow", [("v1", "v1", "pipelines"), ("v1", "v2", "run"), ("v1", "v1", "run")])
def test_the_main_job(wherry: Wherry, client: Client, runs: Runs, registry: Registry, busybox: str, registration: str, listener: str,
                      flow: str) -> None:
    client.options(registration=registration, listener=listener, job_flow=flow)
    wherry.register(client)
    wherry.start(client=client)
    runs.repo.write({"Dockerfile": DOCKERFILE})
    runs.repo.commit("an image")
    job = runs.run(WORKFLOW, timeout=120, vars={"REGISTRY": registry.host, "REGISTRY_USER": USER, "BASE": busybox},
                   secrets={"REGISTRY_PASSWORD": PASSWORD})
    assert job["conclusion"] == "succeeded", job["log"]["text"][-3000:]
    digest = job["outputs"]["digest"]
    assert registry.manifest("acme/web", runs.repo.head)[0] == digest
    assert f"pushed {digest}" in step_log(job, "after")
    if flow == "pipelines":
        used = {r["endpoint"] for r in client.requests()}
        assert not [e for e in used if e.startswith(("broker.", "run.", "results."))], used
    client.check()
