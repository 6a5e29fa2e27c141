"""actions/cache, /restore and /save, built in: what they say and leave, archives that GitHub's client reads and that are its own,
archives that want out."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from .support import clients
from .support.agent import Wherry
from .support.repository import Repository
from .test_cache_clients import MAIN_JS, ACTION, contents, entry, tree
from .test_jobs import steps

pytestmark = pytest.mark.usefixtures("wherry")


class Local:
    """Jobs of `wherry exec` in one work tree, each in a fresh work folder unless told otherwise."""

    def __init__(self, wherry: Wherry, place: Path) -> None:
        self.wherry, self.place, self.n = wherry, place, 0
        self.repo = Repository.create(place / "git", "acme/web", place / "tree")
        self.repo.write({"README": "x\n"})
        self.repo.commit()
        (place / "tree").chmod(0o755)

    def run(self, text: str, code: int = 0, **env: str) -> str:
        self.n += 1
        path = self.place / "tree" / "ci.yml"
        path.write_text(text)
        done = self.wherry.run("exec", str(path), "--work", str(self.place / f"work{self.n}"), cwd=self.place / "tree", env=env)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def local(wherry: Wherry, place: Path) -> Local:
    return Local(wherry, place)


MAKE = ("run: |\n  mkdir -p data/deep && echo a > data/a && ln data/a data/hard && ln -s a data/link && echo '#!/bin/sh' > data/deep/run.sh && chmod 755 data/deep/run.sh\n"
        "  mkdir -p data/deep/$(printf 'long%.0s' $(seq 60)) && touch -d '2020-01-02 03:04:05.678901234 UTC' data/a && mkfifo data/deep/fifo && chmod 2750 data/deep\n"
        "  echo ü > data/ü")
LOOK = ("run: |\n  cat data/a data/link data/ü && test data/a -ef data/hard && test -x data/deep/run.sh && test -p data/deep/fifo\n"
        "  test -d data/deep/$(printf 'long%.0s' $(seq 60)) && stat -c '%y %a' data/a data/deep | cut -c1-29 && find data | sort | md5sum")


def use(action: str = "actions/cache@v4", id_: str = "", **inputs: str) -> str:
    pairs = "\n".join(f"  {k}: {json.dumps(v)}" for k, v in inputs.items())
    return (f"id: {id_}\n" if id_ else "") + f"uses: {action}\nwith:\n{pairs}"


def test_save_and_restore(local: Local) -> None:
    step = use(id_="c", path="data", key="k-1", **{"restore-keys": "k-"})
    show = "run: echo \"hit=[${{ steps.c.outputs.cache-hit }}]\""
    first = local.run(steps(step, show, MAKE))
    assert "Cache not found for input keys: k-1, k-" in first and "hit=[]" in first
    assert "Cache saved with key: k-1" in first and "(100.0%)" in first
    second = local.run(steps(step, show, LOOK))
    assert "Cache hit for: k-1" in second and "Cache Size: ~0 MB (" in second and "Cache restored successfully" in second
    assert "Cache restored from key: k-1" in second and "hit=[true]" in second
    assert "2020-01-02 03:04:05.678901234" in second and "a\na\nü\n" in second
    assert "Cache hit occurred on the primary key k-1, not saving cache." in second
    third = local.run(steps(use(id_="c", path="data", key="k-2", **{"restore-keys": "k-"}), show))
    assert "Cache hit for restore-key: k-1" in third and "hit=[false]" in third and "Cache saved with key: k-2" in third


def test_restore_and_save_alone(local: Local) -> None:
    out = "run: echo \"${{ toJSON(steps.r.outputs) }}\""
    first = local.run(steps(use("actions/cache/restore@v4", id_="r", path="data", key="K"), out, MAKE, use("actions/cache/save@v4", path="data", key="K"),
                            use("actions/cache/save@v4", path="data", key="K")))
    assert '"cache-primary-key": "K"' in first.replace('\\"', '"') or "cache-primary-key: K" in first
    assert "Cache saved with key: K" in first
    assert "Failed to save: Unable to reserve cache with key K, another job may be creating this cache." in first and "Cache save failed." in first
    second = local.run(steps(use("actions/cache/restore@v5", id_="r", path="data", key="K"), out, LOOK))
    assert "cache-matched-key" in second and "cache-hit" in second and "Cache saved" not in second
    third = local.run(steps(use("actions/cache/restore@v4", path="data", key="K", **{"lookup-only": "true"}), "run: test ! -e data"))
    assert "Lookup only - skipping download" in third and "Cache found and can be restored from key: K" in third


def test_what_fails_and_what_does_not(local: Local) -> None:
    miss = local.run(steps(use("actions/cache/restore@v4", path="data", key="none", **{"fail-on-cache-miss": "true"})), 1)
    assert "Failed to restore cache entry. Exiting as fail-on-cache-miss is set. Input key: none" in miss
    assert "Key Validation Error: a,b cannot contain commas." in local.run(steps(use("actions/cache/restore@v4", path="data", key="a,b")), 1)
    assert "cannot be larger than 512 characters." in local.run(steps(use("actions/cache/restore@v4", path="data", key="x" * 513)), 1)
    many = "\n".join(f"r{i}" for i in range(10))
    assert "Keys are limited to a maximum of 10." in local.run(steps(use("actions/cache/restore@v4", path="data", key="k", **{"restore-keys": many})), 1)
    assert "Input required and not supplied: key" in local.run(steps("uses: actions/cache/restore@v4\nwith: {path: data}"), 1)
    gone = local.run(steps(use("actions/cache/save@v4", path="nothing", key="k")))
    assert "Path Validation Error: Path(s) specified in the action for caching do(es) not exist, hence no cache is being saved." in gone
    assert "Key is not specified." in local.run(steps("uses: actions/cache/save@v4\nwith: {path: data}"))
    assert "Post" not in local.run(steps(use(path="data", key="never"), "run: exit 1"), 1) or "Cache saved" not in local.run(
        steps(use(path="data", key="never"), MAKE, "run: exit 1"), 1)


def test_globs_and_places_outside(local: Local) -> None:
    home = local.place / "home"
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    paths = "~/cache/**\n! data/not\ndata/*.txt"
    make = "run: mkdir -p $HOME/cache/x data && echo h > $HOME/cache/x/h && echo 1 > data/1.txt && echo 2 > data/not && echo 3 > data/3.bin"
    local.run(steps(f"run: echo HOME={home} >> $GITHUB_ENV", make, use("actions/cache/save@v4", path=paths, key="g")))
    look = "run: cat $HOME/cache/x/h data/1.txt && test ! -e data/3.bin && test ! -e data/not && echo right"
    said = local.run(steps(f"run: echo HOME={home} >> $GITHUB_ENV && rm -rf {home}/cache", use("actions/cache/restore@v4", path=paths, key="g"), look))
    assert "h\n1\nright" in said


@pytest.fixture(scope="session")
def installed() -> Path:
    return clients.install()


@pytest.mark.parametrize("zstd", [True, False], ids=["zstd", "gzip"])
def test_archives_of_both_are_the_same(local: Local, installed: Path, zstd: bool) -> None:
    """What ours saved GitHub's client restores, and the other way round, under the same version."""
    local.repo.write({"client/action.yml": ACTION, "client/main.js": MAIN_JS % json.dumps(entry(installed, "cache4"))})
    local.repo.commit()
    tools = local.place / "tools"
    tools.mkdir()
    for name in ("node", "tar", "gzip", "bash", "sh", "git", "env", "mkdir", "echo", "ln", "chmod", "touch", "mkfifo", "printf", "seq", "cat", "stat", "cut", "find", "sort", "md5sum", *(["zstd", "zstdmt", "unzstd"] if zstd else [])):
        found = subprocess.run(["which", name], capture_output=True, text=True).stdout.strip()
        if found:
            (tools / name).symlink_to(found)
    env = {"PATH": str(tools)}
    checkout = "uses: actions/checkout@v4"
    local.run(steps(checkout, MAKE, use("actions/cache/save@v4", path="data", key="ours")), **env)
    theirs = local.run(steps(checkout, "uses: ./client\nwith: {key: ours}", LOOK), **env)
    assert "HIT ours" in theirs and "2020-01-02 03:04:05.678901234" in theirs
    made = local.run(steps(checkout, MAKE, "uses: ./client\nwith: {key: theirs}"), **env)
    assert "SAVED " in made and "SAVED -1" not in made
    back = local.run(steps(checkout, use("actions/cache/restore@v4", path="data", key="theirs"), LOOK), **env)
    assert "Cache restored from key: theirs" in back and "2020-01-02 03:04:05.678901234" in back


# ---- archives that want out --------------------------------------------------------------------------------------------------

UPLOAD = """
import hashlib, json, os, sys, urllib.request
url, token = os.environ["URL"], os.environ["TOKEN"]
def call(method, **fields):
    r = urllib.request.Request(url + "twirp/github.actions.results.api.v1.CacheService/" + method, json.dumps(fields).encode(),
                               {"Authorization": "Bearer " + token, "Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(r))
data = open(sys.argv[1], "rb").read()
version = hashlib.sha256(b"data|zstd-without-long|1.0").hexdigest()
made = call("CreateCacheEntry", key=sys.argv[2], version=version)
urllib.request.urlopen(urllib.request.Request(made["signed_upload_url"], data, {"x-ms-blob-type": "BlockBlob"}, method="PUT"))
print(call("FinalizeCacheEntryUpload", key=sys.argv[2], size_bytes=len(data), version=version))
"""
POISON_JS = "const {execFileSync} = require('child_process')\nprocess.stdout.write(execFileSync('python3', [process.env.GITHUB_WORKSPACE + '/upload.py', process.env.INPUT_FILE, process.env.INPUT_KEY], {env: {...process.env, URL: process.env.ACTIONS_RESULTS_URL, TOKEN: process.env.ACTIONS_RUNTIME_TOKEN}}))\n"


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return subprocess.run(["zstd", "-q", "-c"], input=raw.getvalue(), stdout=subprocess.PIPE, check=True).stdout


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info, data


HOSTILE = {
    "parent": ([member("data/../../escaped", b"x")], "lies outside of the paths of this step"),
    "absolute": ([member("{place}/escaped", b"x")], "lies outside of the paths of this step"),
    "sibling": ([member("database", b"x")], "lies outside of the paths of this step"),
    "through a link": ([member("data", kind=tarfile.DIRTYPE, mode=0o755), member("data/out", kind=tarfile.SYMTYPE, link="{place}"), member("data/out/escaped", b"x")],
                       "leads through a link out of the paths"),
    "through itself as a link": ([member("data", kind=tarfile.SYMTYPE, link="{place}"), member("data/escaped", b"x")], "leads through a link out of the paths"),
    "hard link": ([member("data/h", kind=tarfile.LNKTYPE, link="{place}/victim")], "leads out of the paths of this step"),
    "device": ([member("data/null", kind=tarfile.CHRTYPE)], "is a device"),
    "cut": (None, "Truncated zstd input"),
    "not an archive": (b"hello", "archive"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_contained(local: Local, name: str) -> None:
    what, says = HOSTILE[name]
    (local.place / "victim").write_text("safe\n")
    local.place.chmod(0o777)
    if isinstance(what, bytes):
        data = what
    elif what is None:
        data = archive(member("data/x", os.urandom(100_000)))[:-5000]
    else:
        def placed(text: str) -> str:
            return text.replace("{place}", str(local.place))
        data = archive(*[member(placed(i.name), d, i.type, placed(i.linkname), i.mode) for i, d in what])
    file = local.place / "archive"
    file.write_bytes(data)
    local.repo.write({"upload.py": UPLOAD, "poison/action.yml": "runs: {using: node20, main: main.js}\ninputs: {file: {}, key: {}}\n", "poison/main.js": POISON_JS})
    local.repo.commit()
    said = local.run(steps("uses: actions/checkout@v4", f"uses: ./poison\nwith: {{file: {file}, key: bad}}", use("actions/cache/restore@v4", path="data", key="bad")))
    assert "Failed to restore: " in said and says in said and "Cache not found for input keys: bad" in said
    assert not (local.place / "escaped").exists() and (local.place / "victim").read_text() == "safe\n"
    assert not list(local.place.glob("work*/**/escaped")) and os.stat(local.place / "victim").st_nlink == 1
