"""The main job: checkout, setup-buildx, login, build-push from an unmodified workflow; cold, warm, after a change."""

from __future__ import annotations

from typing import Any

import pytest

from tests.service.client import Client, step_log

from .conftest import Runs
from .support.agent import Wherry
from .support.registry import PASSWORD, USER, Registry
from .support.repository import git
from .test_jobs import by_name, steps

WORKFLOW = """name: image
on: push
env:
  REGISTRY: ${{ vars.REGISTRY }}
jobs:
  image:
    runs-on: self-hosted
    outputs:
      digest: ${{ steps.push.outputs.digest }}
    steps:
      - uses: actions/checkout@v4
      - id: name
        run: echo "image=${REGISTRY}/${GITHUB_REPOSITORY}" >> "$GITHUB_OUTPUT"
      - uses: docker/setup-buildx-action@v3
      - uses: docker/login-action@v3
        with:
          registry: ${{ env.REGISTRY }}
          username: ${{ vars.REGISTRY_USER }}
          password: ${{ secrets.REGISTRY_PASSWORD }}
      - uses: docker/build-push-action@v6
        id: push
        with:
          context: .
          push: true
          tags: ${{ steps.name.outputs.image }}:${{ github.sha }}
          build-args: |
            BASE=${{ vars.BASE }}
          cache-from: type=gha
          cache-to: type=gha,mode=max
      - name: after
        if: github.ref == 'refs/heads/main'
        run: echo "pushed ${{ steps.push.outputs.digest }}"
"""
DOCKERFILE = "ARG BASE\nFROM ${BASE}\nWORKDIR /app\nCOPY hello.txt .\nRUN tr a-z A-Z < hello.txt > upper.txt\nCMD [\"cat\", \"/app/upper.txt\"]\n"


@pytest.fixture
def image_job(online: Wherry, runs: Runs, registry: Registry, busybox: str):
    runs.repo.write({"Dockerfile": DOCKERFILE})
    runs.repo.commit("an image")

    def run(text: str = WORKFLOW, **change: Any) -> dict[str, Any]:
        inputs = {"vars": {"REGISTRY": registry.host, "REGISTRY_USER": USER, "BASE": busybox}, "secrets": {"REGISTRY_PASSWORD": PASSWORD}}
        return runs.run(text, timeout=120, **{**inputs, **change})

    return run


def test_cold_warm_changed(image_job, runs: Runs, registry: Registry, online: Wherry) -> None:
    registry.uploads()
    cold = image_job()
    assert cold["conclusion"] == "succeeded", cold["log"]["text"][-3000:]
    digest = cold["outputs"]["digest"]
    assert registry.manifest("acme/web", runs.repo.head)[0] == digest and registry.uploads()
    assert f"pushed {digest}" in step_log(cold, "after")
    warm = image_job()
    assert warm["outputs"]["digest"] == digest and not registry.uploads()
    runs.repo.write({"hello.txt": "something else\n"})
    runs.repo.commit("a change")
    changed = image_job()
    assert changed["conclusion"] == "succeeded" and changed["outputs"]["digest"] != digest
    assert len(registry.uploads()) <= 3, "two layers and a config"
    online.verify_store()
    runs.client.check()


def test_post_steps_in_reverse_order(image_job, runs: Runs) -> None:
    job = image_job()
    names = [r["name"] for r in sorted(job["results"], key=lambda r: r["number"]) if r["name"].startswith("Post")]
    assert names == [f"Post Run {a}" for a in ("docker/build-push-action@v6", "docker/login-action@v3", "docker/setup-buildx-action@v3",
                                                "actions/checkout@v4")]
    log = step_log(job, "Post Run docker/login-action@v3")
    assert "Logout" in log or "logout" in log or "Removing login credentials" in log
    runs.client.check()


def test_wrong_registry_password(image_job, runs: Runs) -> None:
    job = image_job(secrets={"REGISTRY_PASSWORD": "not-the-password"})
    results = by_name(job)
    assert job["conclusion"] == "failed" and results["Run docker/login-action@v3"]["conclusion"] == "failed"
    assert results["Run docker/build-push-action@v6"]["conclusion"] == "skipped"
    assert results["Post Run actions/checkout@v4"]["conclusion"] == "succeeded"
    runs.client.check()


def test_broken_dockerfile(image_job, runs: Runs) -> None:
    runs.repo.write({"Dockerfile": "FROM scratch\nCOPPY a b\n"})
    runs.repo.commit("broken")
    job = image_job()
    assert job["conclusion"] == "failed"
    assert "COPPY" in step_log(job, "Run docker/build-push-action@v6") and any("COPPY" in a["message"] for a in job["annotations"])
    runs.client.check()


@pytest.mark.parametrize("ref,head", [("refs/heads/feature/x", True), ("refs/tags/v1", False), ("refs/pull/1/merge", True)])
def test_checkout_of_other_refs(online: Wherry, runs: Runs, ref: str, head: bool) -> None:
    sha = git(runs.repo.bare, "rev-parse", ref)
    job = runs.run(steps("uses: actions/checkout@v4", "name: look\nrun: |\n  git rev-parse HEAD\n  ls"),
                   event=runs.event(ref=ref, sha=sha, name="pull_request" if "pull" in ref else "push"))
    log = step_log(job, "look")
    assert job["conclusion"] == "succeeded" and sha in log and ("feature.txt" in log) == head
    runs.client.check()


def test_checkout_inputs(online: Wherry, runs: Runs) -> None:
    job = runs.run(steps("uses: actions/checkout@v4\nid: co\nwith: {ref: feature/x, path: sub, fetch-depth: 0, persist-credentials: false}",
                         "name: look\nrun: |\n  cd sub\n  git log --oneline | wc -l\n  git config --get-regexp extraheader || echo no-credentials\n"
                         "  echo \"${{ steps.co.outputs.ref }} ${{ steps.co.outputs.commit }}\""))
    log = step_log(job, "look")
    assert job["conclusion"] == "succeeded" and "no-credentials" in log and "feature/x" in log
    runs.client.check()


# spec 12: checkout credentials
def test_checkout_removes_its_credentials(online: Wherry, runs: Runs) -> None:
    job = runs.run(steps("uses: actions/checkout@v4", "name: look\nrun: git config --get-regexp extraheader | cut -d' ' -f1"))
    assert "extraheader" in step_log(job, "look")
    config = next((online.folder / "work").rglob("web/web/.git/config")).read_text()
    assert "extraheader" not in config.lower()
    runs.client.check()


@pytest.mark.long
def test_checkout_with_a_wrong_token(online: Wherry, runs: Runs, client: Client) -> None:
    job = runs.run(steps("uses: actions/checkout@v4"), github_token="ghs_wrong0wrong0wrong0", timeout=120)
    assert job["conclusion"] == "failed"
    client.check()



def test_unsupported_inputs_are_named(online: Wherry, runs: Runs) -> None:
    """What is built in does not know them: the published action would run, and here is none."""
    job = runs.run(steps("uses: actions/checkout@v4\nwith: {lfs: true}"))
    assert job["conclusion"] == "failed"
    assert "Action 'actions/checkout@v4' is built in without its input 'lfs': the published one runs" in job["log"]["text"]
    assert "actions/checkout/tarball" in job["log"]["text"]
    runs.client.check()


POISON = """FROM BASE AS made
RUN --mount=type=secret,id=who cp /run/secrets/who /out
FROM BASE
COPY --from=made /out /out
WORKDIR /w
"""


def test_a_pull_request_poisons_nobody_else(image_job, runs: Runs, busybox: str) -> None:
    """What a RUN makes depends on more than its text says: what is copied from it is no other ref's to take."""
    runs.repo.write({"Dockerfile": POISON.replace("BASE", busybox)})
    runs.repo.commit("copies from a RUN")
    build = ("uses: docker/build-push-action@v6\nwith: {context: ., secrets: 'who=%s', outputs: 'type=tar,dest=${{ runner.temp }}/out.tar'}")
    look = "name: look\nrun: echo \"it is $(tar xOf \"$RUNNER_TEMP/out.tar\" out | tr a-z A-Z)\""
    for ref, who in (("refs/pull/1/merge", "the-guest"), ("refs/heads/main", "the-owner")):
        job = image_job(steps("uses: actions/checkout@v4\nwith: {ref: main}", build % who, look),
                        event=runs.event(ref=ref, name="pull_request" if "pull" in ref else "push"))
        assert job["conclusion"] == "succeeded", job["log"]["text"][-3000:]
        assert f"it is {who.upper()}" in step_log(job, "look"), step_log(job, "look")
    runs.client.check()
