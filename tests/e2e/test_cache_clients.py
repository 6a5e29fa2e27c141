"""GitHub's own cache and artifact clients, under Node.js, against the cache service: alone, in `wherry exec`, in the agent's jobs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from .conftest import TOKEN, Runs
from .support import clients
from .support.agent import Wherry
from .support.cacheservice import MAIN, READ, CacheService, Job
from .support.repository import Repository
from tests.service.client import step_log
from tests.service.workflow import Inputs
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

def job_log(job: dict[str, Any]) -> str:
    return "\n".join(step_log(job, name) for name in {r["name"] for r in job["results"]} if name)


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


PROXY_JS = """
const call = (service, method) => fetch(process.env.ACTIONS_RESULTS_URL + `twirp/github.actions.results.api.v1.${service}/${method}`,
  {method: 'POST', body: '{}', headers: {Authorization: `Bearer ${process.env.ACTIONS_RUNTIME_TOKEN}`, 'Content-Type': 'application/json'}})
const main = async () => {
  for (const [service, method] of [['ArtifactService', 'ListArtifacts'], ['NoSuchService', 'X']]) {
    const answer = await call(service, method)
    console.log(service, answer.status, (await answer.text()).length > 0)
  }
  console.log(process.env.ACTIONS_CACHE_URL === process.env.ACTIONS_RESULTS_URL, process.env.ACTIONS_CACHE_URL.startsWith('http://127.0.0.1:'))
}
main()
"""


WRITES = json.dumps([{"Scope": "refs/heads/main", "Permission": 3}])


def queue(runs: Runs, text: str, access: str = WRITES) -> str:
    event = runs.event(sha=runs.repo.commit(), server_url=runs.git.url)
    return runs.client.queue_workflow(".github/workflows/ci.yml", None, text=text, event=event, inputs=Inputs(github_token=TOKEN), access_controls=access)


def test_in_the_agent(online: Wherry, runs: Runs, installed: Path) -> None:
    """A job's entry is there for the next one; what is not ours goes to the job's own results service."""
    add_client(runs.repo, installed)
    runs.repo.write({"proxy/action.yml": "runs: {using: node20, main: main.js}\n", "proxy/main.js": PROXY_JS})
    first = runs.client.wait(queue(runs, JOB), 60)
    assert first["conclusion"] == "succeeded" and "HIT undefined" in job_log(first) and "SAVED -1" not in job_log(first), job_log(first)
    second = runs.client.wait(queue(runs, JOB), 60)
    assert second["conclusion"] == "succeeded" and "HIT one" in job_log(second), job_log(second)
    token = re.compile(r"eyJ[\w-]+\.eyJ")
    assert not token.search(job_log(first)) and not token.search(online.log_text())
    # Its process is the store's owner, not root, and has no runner's key open.
    serve = online.wait_child("serve")
    status = Path(f"/proc/{serve}/status").read_text()
    if os.getuid() == 0:
        assert "Uid:\t0" not in status
    assert not [link for link in Path(f"/proc/{serve}/fd").iterdir() if "runners" in os.readlink(link)]
    third = runs.client.wait(queue(runs, steps("uses: actions/checkout@v4", "uses: ./proxy")), 60)
    log = job_log(third)
    assert "ArtifactService 404" in log or "ArtifactService 403" in log or "ArtifactService 501" in log, log
    assert "true true" in log
    asked = [r["path"] for r in runs.client.requests() if "ArtifactService" in r["path"] or "NoSuchService" in r["path"]]
    assert [path.rpartition("/twirp/")[0] for path in asked] == ["/_results", "/_results"]
    # The token's word counts: it may only read.
    reader = runs.client.wait(queue(runs, JOB.replace("{key: one}", "{key: other}"), json.dumps([{"Scope": "refs/heads/main", "Permission": 1}])), 60)
    assert "cache write denied" in job_log(reader) and "SAVED -1" in job_log(reader), job_log(reader)


def test_a_killed_service_comes_back(online: Wherry, runs: Runs, installed: Path) -> None:
    add_client(runs.repo, installed)
    text = JOB.replace("- run: cat data/when", "- run: cat data/when; touch here; sleep 3\n      - name: again\n        uses: ./client\n        with: {key: two}")
    id_ = queue(runs, text)
    serve = online.wait_child("serve")
    deadline = time.monotonic() + 60
    while not list((online.folder / "work").rglob("here")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(serve, 9)
    job = runs.client.wait(id_, 60)
    assert job["conclusion"] == "succeeded" and job_log(job).count("SAVED ") == 2 and "SAVED -1" not in job_log(job), job_log(job)
    assert online.wait_child("serve") != serve
