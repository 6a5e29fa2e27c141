"""GitHub's own cache and artifact clients, under Node.js, against the cache service: alone, in `wherry exec`, in the agent's jobs."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Iterator

import pytest

from .support import clients
from .support.agent import Wherry
from .support.cacheservice import MAIN, READ, CacheService, Job
from .support.repository import Repository
from .test_jobs import steps

CACHES = ("cache3", "cache4", "cache6")

SAVE = """
const load = async name => { try { return require(name) } catch (e) { return await import(name) } }
const main = async () => {
  const cache = await load(process.env.CLIENT)
  const id = await cache.saveCache(['data/**', '!data/other'], process.env.KEY)
  console.log(`SAVED ${id}`)
}
main().catch(e => { console.error(e); process.exitCode = 1 })
"""
RESTORE = """
const load = async name => { try { return require(name) } catch (e) { return await import(name) } }
const main = async () => {
  const cache = await load(process.env.CLIENT)
  console.log(`RESTORED ${await cache.restoreCache(['data/**', '!data/other'], process.env.KEY, (process.env.RESTORE || '').split(',').filter(k => k))}`)
}
main().catch(e => { console.error(e); process.exitCode = 1 })
"""


@pytest.fixture(scope="session")
def installed() -> Path:
    return clients.install()


@pytest.fixture
def caches(place: Path) -> Iterator[CacheService]:
    started = CacheService(place)
    yield started
    started.stop()


def entry(installed: Path, name: str) -> str:
    """The file that the package's name stands for (newer ones are ES modules alone)."""
    folder = installed / "node_modules" / name
    described = json.loads((folder / "package.json").read_text())
    return str(folder / described["main"])


def node(job: Job, installed: Path, client: str, script: str, folder: Path, v2: bool = True, **env: str) -> str:
    (folder / "temp").mkdir(exist_ok=True)
    origin = job.service.origin + "/"
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "CLIENT": entry(installed, client), "RUNNER_TEMP": str(folder / "temp"),
                   "GITHUB_WORKSPACE": str(folder), "GITHUB_SERVER_URL": "https://github.com", "ACTIONS_CACHE_URL": origin,
                   "ACTIONS_RESULTS_URL": origin, "ACTIONS_RUNTIME_TOKEN": job.token, **({"ACTIONS_CACHE_SERVICE_V2": "True"} if v2 else {}), **env}
    done = subprocess.run(["node", "-e", script], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    return done.stdout


def tree(folder: Path) -> None:
    data = folder / "data"
    (data / "deep" / "er").mkdir(parents=True)
    (data / "a.txt").write_text("a\n")
    (data / "deep" / "er" / "b.bin").write_bytes(os.urandom(300_000))
    (data / "deep" / "link").symlink_to("er/b.bin")
    (data / "not").write_text("not\n")
    (data / "deep" / "run.sh").write_text("#!/bin/sh\n")
    (data / "deep" / "run.sh").chmod(0o755)


def contents(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted((folder / "data").rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = (path.read_bytes(), path.stat().st_mode & 0o777)
    return found


@pytest.mark.parametrize("v2", [False, True], ids=["v1", "v2"])
@pytest.mark.parametrize("client", CACHES)
def test_row_46_save_and_restore(installed: Path, caches: CacheService, place: Path, client: str, v2: bool) -> None:
    job, here, there = caches.job(MAIN), place / "here", place / "there"
    here.mkdir(), there.mkdir()
    tree(here)
    began = time.monotonic()
    said = node(job, installed, client, SAVE, here, v2, KEY="linux-1")
    assert "SAVED -1" not in said and "SAVED" in said, said
    assert time.monotonic() - began < 30, "the client lives on after its last line"
    assert "RESTORED linux-1" in node(job, installed, client, RESTORE, there, v2, KEY="linux-1")
    want = contents(here)
    assert contents(there) == want
    assert "RESTORED undefined" in node(job, installed, client, RESTORE, there, v2, KEY="none")
    assert "RESTORED linux-1" in node(job, installed, client, RESTORE, there, v2, KEY="none", RESTORE="mac-,linux-")
    again = node(job, installed, client, SAVE, here, v2, KEY="linux-1")
    assert "SAVED -1" in again and ("Unable to reserve cache" in again or "already exists" in again), again


@pytest.mark.parametrize("v2", [False, True], ids=["v1", "v2"])
def test_row_35_what_a_client_says_of_a_reader(installed: Path, caches: CacheService, place: Path, v2: bool) -> None:
    tree(place)
    said = node(caches.job(READ), installed, "cache6", SAVE, place, v2, KEY="k")
    assert "cache write denied" in said and "SAVED -1" in said, said


LARGE = """
const load = async name => { try { return require(name) } catch (e) { return await import(name) } }
const fs = require('fs'), crypto = require('crypto')
const main = async () => {
  const cache = await load(process.env.CLIENT)
  fs.mkdirSync('big', {recursive: true})
  const fd = fs.openSync('big/file', 'w')
  for (let i = 0; i < 150; i++) fs.writeSync(fd, crypto.randomBytes(1 << 20))
  fs.closeSync(fd)
  const before = crypto.createHash('sha256').update(fs.readFileSync('big/file')).digest('hex')
  console.log(`SAVED ${await cache.saveCache(['big'], 'big', {uploadChunkSize: 32 << 20})}`)
  fs.rmSync('big', {recursive: true})
  console.log(`RESTORED ${await cache.restoreCache(['big'], 'big')}`)
  console.log(crypto.createHash('sha256').update(fs.readFileSync('big/file')).digest('hex') === before ? 'SAME' : 'OTHER')
}
main().catch(e => { console.error(e); process.exitCode = 1 })
"""


@pytest.mark.parametrize("v2", [False, True], ids=["v1", "v2"])
def test_blocks_in_parallel(installed: Path, caches: CacheService, place: Path, v2: bool) -> None:
    """Above 128 MiB the v2 client sends blocks, 8 at once; v1 ranges, 4 at once."""
    said = node(caches.job(MAIN), installed, "cache4", LARGE, place, v2)
    assert "RESTORED big" in said and "SAME" in said, said


ARTIFACT = """
const fs = require('fs')
const main = async () => {
  const {DefaultArtifactClient} = await import(process.env.CLIENT)
  const client = new DefaultArtifactClient()
  fs.mkdirSync('up/sub', {recursive: true})
  fs.writeFileSync('up/a.txt', 'a'), fs.writeFileSync('up/sub/b.bin', Buffer.alloc(20 << 20, 7))
  const made = await client.uploadArtifact('foo', ['up/a.txt', 'up/sub/b.bin'], 'up', {retentionDays: 3})
  console.log('MADE', made.id > 0, made.size > 0, made.digest)
  const listed = await client.listArtifacts()
  console.log('LISTED', JSON.stringify(listed.artifacts.map(a => a.name)))
  const {artifact} = await client.getArtifact('foo')
  const got = await client.downloadArtifact(artifact.id, {path: 'down', expectedHash: artifact.digest})
  console.log('DOWN', got.digestMismatch, fs.readFileSync('down/a.txt', 'utf8'), fs.statSync('down/sub/b.bin').size)
  try { await client.uploadArtifact('foo', ['up/a.txt'], 'up') } catch (e) { console.log('AGAIN', e.message) }
  console.log('DELETED', (await client.deleteArtifact('foo')).id === made.id)
}
main().catch(e => { console.error(e); process.exitCode = 1 })
"""


def test_row_45_the_artifact_client(installed: Path, caches: CacheService, place: Path) -> None:
    said = node(caches.job(MAIN), installed, "artifact6", ARTIFACT, place, GITHUB_REPOSITORY="acme/web", GITHUB_RUN_ID="1")
    assert "MADE true true" in said and 'LISTED ["foo"]' in said and f"DOWN false a {20 << 20}" in said, said
    assert "(409) Conflict: an artifact with this name already exists on the workflow run" in said and "DELETED true" in said


# ---- in jobs ---------------------------------------------------------------------------------------------------------------

ACTION = "name: client\ninputs: {key: {required: true}}\nruns: {using: node20, main: main.js}\n"
MAIN_JS = """
const load = async name => { try { return require(name) } catch (e) { return await import(name) } }
const main = async () => {
  const cache = await load(%s)
  const key = process.env.INPUT_KEY
  const hit = await cache.restoreCache(['data'], key)
  console.log(`HIT ${hit}`)
  if (!hit) console.log(`SAVED ${await cache.saveCache(['data'], key)}`)
}
main().catch(e => { console.error(e); process.exitCode = 1 })
"""
JOB = steps("uses: actions/checkout@v4", "run: test -e data || { mkdir data; date +%s%N > data/when; }", "uses: ./client\nwith: {key: one}", "run: cat data/when")


def add_client(repo: Repository, installed: Path) -> None:
    repo.write({"client/action.yml": ACTION, "client/main.js": MAIN_JS % json.dumps(entry(installed, "cache4"))})
    repo.commit()


def test_in_exec(wherry: Wherry, installed: Path, place: Path) -> None:
    repo = Repository.create(place / "git", "acme/web", place / "tree")
    add_client(repo, installed)
    (place / "tree").chmod(0o755)
    path = place / "tree" / "ci.yml"
    path.write_text(JOB)
    first = wherry.run("exec", str(path), "--work", str(place / "work1"), cwd=place / "tree")
    assert first.returncode == 0 and "HIT undefined" in first.stdout and "SAVED " in first.stdout and "SAVED -1" not in first.stdout, first.stdout + first.stderr
    again = wherry.run("exec", str(path), "--work", str(place / "work2"), cwd=place / "tree")
    assert again.returncode == 0 and "HIT one" in again.stdout, again.stdout + again.stderr
    assert first.stdout.split()[-1] != "" and wherry.run("cache", "verify").returncode == 0
