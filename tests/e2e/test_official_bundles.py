"""The JavaScript that GitHub and Docker publish, in place of what is built in: the same job gives the same results both ways.

It wants a folder with the bundles as their repositories have them (action.yml, dist/...), below OWNER/REPO, named by
WHERRY_OFFICIAL_BUNDLES; nothing of them is kept here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.service.client import step_log

from .conftest import Runs
from .support.agent import Wherry
from .support.registry import PASSWORD, USER, Registry
from .support.repository import Repository
from .test_jobs import by_name, steps

BUNDLES = Path(os.environ.get("WHERRY_OFFICIAL_BUNDLES", "/nowhere"))
pytestmark = [pytest.mark.long, pytest.mark.skipif(not BUNDLES.is_dir() or not shutil.which("node"), reason="WHERRY_OFFICIAL_BUNDLES names no folder, or no node")]


def bundle(name: str, place: Path) -> Path:
    """A copy that the job's user can read."""
    if not (BUNDLES / name / "action.yml").exists():
        pytest.skip(f"no {name} below WHERRY_OFFICIAL_BUNDLES")
    target = place / "bundles" / name
    if not target.exists():
        shutil.copytree(BUNDLES / name, target)
        for path in [place, place / "bundles", *(place / "bundles").rglob("*")]:
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))
    return target


def published(place: Path, *uses: str) -> dict[str, str]:
    """The agent's environment with which these are the published ones."""
    names = sorted({u.split("@")[0] for u in uses})
    return {"WHERRY_NATIVE_OFF": ",".join(names), "WHERRY_ACTION_MAP": ",".join(f"{u}={bundle(u.split('@')[0], place)}" for u in uses)}


# ---- actions/checkout ---------------------------------------------------------------------------------------------

LOOK = ("name: look\nrun: |\n  git log --format='%H %D %s' --all; git status --short --branch; git config --local --list | sed 's/AUTHORIZATION: .*/AUTHORIZATION/' | sort\n"
        "  git remote -v; find . -path ./.git -prune -o -print | sort; ls .git/shallow 2>/dev/null || true; echo 'out ${{ steps.c.outputs.ref }} ${{ steps.c.outputs.commit }}'")
CHECKOUTS = {
    "plain": "",
    "all of it": "with: {fetch-depth: 0}",
    "a branch": "with: {ref: main}",
    "elsewhere": "with: {path: sub/dir, persist-credentials: false}",
    "tags": "with: {fetch-depth: 0, fetch-tags: true}",
}


def plain(log: str) -> str:
    """Without what differs from run to run: names of credential files, folders."""
    log = re.sub(r"git-credentials-[0-9a-f-]{36}", "git-credentials-<guid>", log)
    return re.sub(r"/var/tmp/wherry-e2e-\w+/work\w*", "<work>", log)


@pytest.mark.parametrize("case", CHECKOUTS)
def test_checkout(wherry: Wherry, runs: Runs, place: Path, case: str) -> None:
    text = steps(f"id: c\nuses: actions/checkout@v7\n{CHECKOUTS[case]}",
                 LOOK.replace("run: |\n", "run: |\n  cd sub/dir\n") if case == "elsewhere" else LOOK,
                 "name: again\nuses: actions/checkout@v7", "name: after\nif: always()\nrun: git status --short --branch; git log --oneline | wc -l")
    seen = []
    wherry.register(runs.client)
    for env in ({}, published(place, "actions/checkout@v7")):
        wherry.start(client=runs.client, **env)
        job = runs.run(text, timeout=120)
        assert job["conclusion"] == "succeeded", job["log"]["text"]
        seen.append([plain(step_log(job, "look")), plain(step_log(job, "after")), [(r["name"], r["conclusion"]) for r in job["results"]]])
        wherry.stop()
    assert seen[0] == seen[1]
    runs.client.check()


# ---- actions/cache ------------------------------------------------------------------------------------------------

def cached(action: str) -> str:
    return ("on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - {id: c, uses: '" + action + "', with: {path: 'data\n\n        other/**', key: k1, restore-keys: k}}\n"
            "      - run: echo \"hit [${{ steps.c.outputs.cache-hit }}]\"; find data other 2>/dev/null | sort; cat data/x 2>/dev/null || true\n"
            "      - run: mkdir -p data other/deep && echo content > data/x && ln -sf x data/l && echo y > other/deep/y\n")


def test_cache(wherry: Wherry, place: Path) -> None:
    """Saved by either, restored by the other: four ways."""
    found = {}
    env = published(place, "actions/cache@v5")
    tree = Repository.create(place / "git", "acme/web", place / "tree")
    tree.write({"README": "x\n"})
    tree.commit()
    (place / "tree").chmod(0o755)
    path = place / "tree/ci.yml"
    for save in (False, True):
        for restore in (False, True):
            state = place / f"state{save}{restore}"
            for number, foreign in enumerate((save, restore)):
                path.write_text(cached("actions/cache@v5"))
                done = wherry.run("exec", str(path), "--work", str(place / f"work{save}{restore}{number}"), "--state", str(state), cwd=place / "tree", timeout=180,
                                  env=env if foreign else {})
                assert done.returncode == 0, done.stdout + done.stderr
            found[save, restore] = done.stdout.split("##[endgroup]\nhit [")[1].split("##[")[0]
    assert found[False, False].startswith("true]\ndata\ndata/l\ndata/x\nother\nother/deep\nother/deep/y\ncontent\n")
    assert len(set(found.values())) == 1, found


# ---- docker/build-push-action -------------------------------------------------------------------------------------

def test_build_push(wherry: Wherry, runs: Runs, place: Path, registry: Registry, busybox: str) -> None:
    """The published action drives the `docker` that jobs find on PATH, which is wherry: the same image, digest and outputs."""
    work = ("name: files\nrun: |\n  mkdir ctx && printf 'FROM " + busybox + "\\nARG WHO\\nRUN echo \"$WHO\" > /who\\nLABEL a=b\\n' > ctx/Dockerfile; touch -d @0 ctx/Dockerfile\n"
            "  echo 'SOURCE_DATE_EPOCH=1700000000' >> $GITHUB_ENV")
    seen = []
    wherry.register(runs.client)
    for number, env in enumerate(({}, published(place, "docker/build-push-action@v7"))):
        env |= {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}  # no docker but wherry's
        wherry.start(client=runs.client, **env)
        job = runs.run(steps(work, f"uses: docker/login-action@v3\nwith: {{registry: '{registry.host}', username: {USER}, password: {PASSWORD}}}", f"id: b\nname: build\nuses: docker/build-push-action@v7\nwith: {{context: ctx, push: true, provenance: false, build-args: WHO=you, "
                                   f"tags: '{registry.host}/both:n{number}'}}", "name: look\nrun: echo '${{ steps.b.outputs.digest }} ${{ steps.b.outputs.imageid }}'"), timeout=240)
        log = step_log(job, "build")
        assert job["conclusion"] == "succeeded", log
        seen.append((step_log(job, "look").splitlines()[-1], json.loads(json.dumps(by_name(job)["build"]["conclusion"]))))
        wherry.stop()
    assert seen[0] == seen[1] and seen[0][0].startswith("sha256:")
