"""What a less trusted ref built is never used by a more trusted one, unless its inputs alone determine it."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Runs
from .support.agent import Wherry

# The secret enters no key, so that both refs have the same definition for every step.
DOCKERFILE = """ARG BASE
FROM ${BASE} AS make
RUN --mount=type=secret,id=word cat /run/secrets/word > /word
FROM make
COPY --from=make /word /copied
COPY hello.txt /hello.txt
RUN cat /word > /again
"""
WORKFLOW = """on: push
jobs:
  image:
    runs-on: self-hosted
    steps:
      - uses: actions/checkout@v4
      - uses: docker/build-push-action@v6
        id: build
        with:
          context: .
          build-args: BASE=${{ vars.BASE }}
          secrets: word=${{ secrets.WORD }}
          outputs: type=local,dest=${{ runner.temp }}/out
      - name: look
        run: |
          for f in word copied again; do tr a-z A-Z < "$RUNNER_TEMP/out/$f"; echo; done
"""


@pytest.fixture
def build(online: Wherry, runs: Runs, busybox: str):
    runs.repo.write({"Dockerfile": DOCKERFILE})
    runs.repo.commit("an image")

    def run(word: str, **event: Any) -> str:
        job = runs.run(WORKFLOW, timeout=120, event=runs.event(**event), vars={"BASE": busybox}, secrets={"WORD": word})
        text: str = job["log"]["text"]
        assert job["conclusion"] == "succeeded", text[-3000:]
        return text

    return run


PULL = {"ref": "refs/pull/1/merge", "name": "pull_request", "base_ref": "main", "head_ref": "feature/x"}


def test_a_pull_request_can_not_poison_its_base(build, runs: Runs) -> None:
    head = runs.repo.head
    evil = build("evilword", **PULL, sha=head)
    assert evil.count("EVILWORD") == 3
    good = build("goodword", sha=head)
    assert good.count("GOODWORD") == 3 and "EVILWORD" not in good
    runs.client.check()


def test_a_pull_request_reads_its_base(build, runs: Runs) -> None:
    build("goodword", sha=runs.repo.head)
    pull = build("otherword", **PULL, sha=runs.repo.head)
    assert pull.count("GOODWORD") == 3, "every step was answered by the base's records"
    assert "not cached" not in pull
    runs.client.check()


def test_copies_of_the_context_are_shared_by_all_refs(build, runs: Runs) -> None:
    build("evilword", **PULL, sha=runs.repo.head)
    runs.repo.write({"Dockerfile": "ARG BASE\nFROM ${BASE}\nCOPY hello.txt /word\nCOPY hello.txt /copied\nCOPY hello.txt /again\n"})
    runs.repo.commit("only copies")
    build("x", **PULL, sha=runs.repo.head)
    text = build("x", sha=runs.repo.head)
    assert "not cached" not in text
    runs.client.check()
