"""Actions that are not built in: resolved, fetched once, and run: composite and JavaScript ones."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import os
import shutil
import subprocess
import tarfile
import threading
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from tests.service.client import Client, step_log

from .conftest import TOKEN, Runs
from .support.agent import Wherry
from .support.gitserver import GitServer
from .support.repository import Repository
from .test_jobs import by_name, steps


class Actions:
    """Repositories with actions, that the service resolves and serves."""

    def __init__(self, client: Client, git: GitServer, place: Path) -> None:
        self.client, self.git, self.place = client, git, place
        self.made: dict[str, Repository] = {}
        client.options(repositories=str(git.root))

    def add(self, name: str, files: dict[str, str | bytes], ref: str = "refs/tags/v1") -> str:
        """Publishes these files at ``ref``; the commit."""
        if name not in self.made:
            self.made[name] = Repository.create(self.git.root, name, self.place / "actions" / name)
        repo = self.made[name]
        repo.write(files)
        repo.commit("change")
        return repo.publish(ref)

    @property
    def fetched(self) -> list[list[str]]:
        return self.client.status()["tarballs"]


@pytest.fixture
def actions(client: Client, git_server: GitServer, place: Path) -> Actions:
    return Actions(client, git_server, place)


def composite(*texts: str, top: str = "") -> str:
    """An action.yml of a composite with these steps."""
    lines = ["name: test\n", top, "runs:\n  using: composite\n  steps:\n"]
    for text in texts:
        body = text.strip("\n").split("\n")
        lines.append("    - " + body[0] + "\n" + "".join("      " + line + "\n" for line in body[1:]))
    return "".join(lines)


def setup_log(job: dict[str, Any]) -> str:
    return step_log(job, "Set up job")


# ---- composite ----------------------------------------------------------------------------------------------------

def test_composite(online: Wherry, runs: Runs, actions: Actions) -> None:
    sha = actions.add("acme/greet", {"action.yml": composite(
        "id: hello\nshell: bash\nrun: |\n  echo \"hello ${{ inputs.who }} at $GITHUB_ACTION_PATH\"\n  echo \"said=hi ${{ inputs.who }}\" >> \"$GITHUB_OUTPUT\"\n"
        "  echo FROM_INSIDE=yes >> \"$GITHUB_ENV\"",
        "shell: sh\nrun: echo \"again ${{ steps.hello.outputs.said }}; env $OUTER $OWN; action [$GITHUB_ACTION] [$GITHUB_ACTION_REPOSITORY]\"\nenv: {OWN: own}",
        "shell: sh\nif: inputs.who == 'nobody'\nrun: echo never",
        "shell: sh\nrun: cat \"${{ github.action_path }}/data.txt\"",
        top="inputs:\n  who: {default: world}\n  other: {default: \"${{ github.repository }}\"}\noutputs:\n"
            "  said: {value: \"${{ steps.hello.outputs.said }}\"}\n  repo: {value: \"${{ inputs.other }}\"}\n"), "data.txt": "some data\n"})
    job = runs.run(steps("id: g\nuses: acme/greet@v1\nwith: {who: you}\nenv: {OUTER: outer}",
                         "name: after\nrun: echo \"out ${{ steps.g.outputs.said }} ${{ steps.g.outputs.repo }} $FROM_INSIDE\""))
    assert job["conclusion"] == "succeeded"
    log = step_log(job, "Run acme/greet@v1")
    assert f"Download action repository 'acme/greet@v1' (SHA:{sha})" in setup_log(job) and "Getting action download info" in setup_log(job)
    assert log.startswith("##[group]Run acme/greet@v1\nwith:\n  who: you\n  other: acme/web\nenv:\n  OUTER: outer\n##[endgroup]\n##[group]Run echo ")
    assert "hello you at " in log and "/_actions/acme/greet/v1\n" in log and "some data" in log and "never" not in log
    assert "again hi you; env outer own; action [g] []" in log
    assert "out hi you acme/web yes" in step_log(job, "after")
    assert by_name(job)["Run acme/greet@v1"]["type"] == "composite"
    runs.client.check()


def test_composite_failures(online: Wherry, runs: Runs, actions: Actions) -> None:
    actions.add("acme/bad", {"action.yml": composite(
        "id: a\nshell: sh\nrun: exit 4\ncontinue-on-error: true", "shell: sh\nrun: echo \"a was ${{ steps.a.outcome }} ${{ steps.a.conclusion }}\"",
        "shell: sh\nrun: exit 3", "shell: sh\nrun: echo skipped", "shell: sh\nif: failure()\nrun: echo cleanup ${{ github.action_status }}",
        "shell: sh\nif: always()\nrun: echo always", top="outputs: {x: {value: still}}\n")})
    job = runs.run(steps("id: b\nuses: acme/bad@v1\ncontinue-on-error: true", "name: after\nrun: echo \"b ${{ steps.b.outcome }} ${{ steps.b.conclusion }} ${{ steps.b.outputs.x }}\""))
    log = step_log(job, "Run acme/bad@v1")
    assert job["conclusion"] == "succeeded" and "a was failure success" in log and "cleanup failure" in log and "always" in log
    assert "\nskipped" not in log and "##[error]Process completed with exit code 3." in log
    assert "b failure success still" in step_log(job, "after")
    runs.client.check()


def test_nested_ten_deep(online: Wherry, runs: Runs, actions: Actions) -> None:
    """WH_MAX_COMPOSITE_DEPTH composites within one, and one more."""
    actions.add("acme/nest", {f"l{n}/action.yml": composite(
        f"id: in\nuses: acme/nest/l{n + 1}@v1\nwith: {{path: \"${{{{ inputs.path }}}}/{n}\"}}" if n < 10 else
        "id: in\nshell: sh\nrun: echo \"v=${{ inputs.path }}\" >> \"$GITHUB_OUTPUT\"; echo \"depth ${{ inputs.path }}\"",
        top="inputs: {path: {}}\noutputs: {v: {value: \"${{ steps.in.outputs.v }}\"}}\n") for n in range(1, 11)})
    job = runs.run(steps("id: n\nuses: acme/nest/l1@v1\nwith: {path: s}", "name: after\nrun: echo \"got ${{ steps.n.outputs.v }}\""))
    assert job["conclusion"] == "succeeded" and "got s/1/2/3/4/5/6/7/8/9" in step_log(job, "after")
    assert len(actions.fetched) == 1
    actions.add("acme/deep", {"action.yml": composite("uses: acme/nest/l1@v1\nwith: {path: s}")})
    job = runs.run(steps("uses: acme/deep@v1"))
    assert job["conclusion"] == "failed" and "Composite action depth exceeded max depth 9" in setup_log(job)
    runs.client.check()


def test_local_action(online: Wherry, runs: Runs, actions: Actions) -> None:
    actions.add("acme/greet", {"action.yml": composite("shell: sh\nrun: echo inner")})
    job = runs.run(steps(
        "run: |\n  mkdir -p here/sub\n  printf 'runs:\\n  using: composite\\n  steps:\\n    - {run: echo local $GITHUB_ACTION_PATH, shell: sh}\\n"
        "    - {uses: acme/greet@v1}\\n    - {uses: ./here/sub}\\n' > here/action.yml\n"
        "  printf 'runs:\\n  using: composite\\n  steps:\\n    - {run: echo below, shell: sh}\\n' > here/sub/action.yaml",
        "uses: ./here", "if: always()\nuses: ./nowhere", "if: always()\nrun: echo end"))
    log = step_log(job, "Run ./here")
    assert "local " in log and "/web/web/here\n" in log and "inner" in log and "below" in log
    assert "Getting action download info" in log
    missing = step_log(job, "Run ./nowhere")
    assert "##[error]Can't find 'action.yml', 'action.yaml' or 'Dockerfile' under '" in missing and "Did you forget to run actions/checkout" in missing
    assert job["conclusion"] == "failed"
    runs.client.check()


# ---- JavaScript ---------------------------------------------------------------------------------------------------

JS = """
const fs = require('fs');
const stage = require('path').basename(__filename);
console.log(`stage ${stage} input [${process.env.INPUT_WHO}] [${process.env['INPUT_TWO-WORDS']}] [${process.env.INPUT_A_B}] state [${process.env.STATE_kept || ''}]`);
console.log(`cwd ${process.cwd()} repo ${process.env.GITHUB_ACTION_REPOSITORY}@${process.env.GITHUB_ACTION_REF} token ${!!process.env.ACTIONS_RUNTIME_TOKEN} results ${!!process.env.ACTIONS_RESULTS_URL}`);
fs.appendFileSync(process.env.GITHUB_STATE, `kept=${(process.env.STATE_kept || '') + stage[0]}\\n`);
fs.appendFileSync(process.env.GITHUB_OUTPUT, `from=${stage}\\n`);
if (process.env.INPUT_FAIL === stage) process.exit(7);
"""
NODE = ("inputs:\n  who: {default: world}\n  two-words: {default: d}\n  a b: {default: x}\n  fail: {}\n"
        "runs: {using: node20, main: dist/main.js, pre: dist/pre.js, post: dist/post.js%s}\n")


def js_files(extra: str = "") -> dict[str, str | bytes]:
    return {"action.yml": NODE % extra, "dist/main.js": JS, "dist/pre.js": JS, "dist/post.js": JS}


def test_javascript_stages(online: Wherry, runs: Runs, actions: Actions) -> None:
    actions.add("acme/js", js_files())
    job = runs.run(steps("run: echo first", "id: j\nuses: acme/js@v1\nwith: {who: you}", "name: after\nrun: echo \"from ${{ steps.j.outputs.from }}\""))
    assert job["conclusion"] == "succeeded"
    assert [r["name"] for r in sorted(job["results"], key=lambda r: r["number"])] == [
        "Set up job", "Pre Run acme/js@v1", "Run echo first", "Run acme/js@v1", "after", "Post Run acme/js@v1", "Complete job"]
    pre, main, post = (step_log(job, f"{prefix}Run acme/js@v1") for prefix in ("Pre ", "", "Post "))
    assert "stage pre.js input [you] [d] [x] state []" in pre and "stage main.js input [you] [d] [x] state [p]" in main
    assert "stage post.js input [you] [d] [x] state [pm]" in post and post.startswith("Post job cleanup.\n")
    assert "/work/web/web repo acme/js@v1 token true results true" in main and main.startswith("##[group]Run acme/js@v1\nwith:\n  who: you\n")
    runs.client.check()


def test_javascript_conditions_and_failures(online: Wherry, runs: Runs, actions: Actions) -> None:
    actions.add("acme/js", js_files(", pre-if: \"false\", post-if: failure()"))
    job = runs.run(steps("uses: acme/js@v1", "run: echo fine"))
    results = by_name(job)
    assert results["Pre Run acme/js@v1"]["conclusion"] == "skipped" and results["Post Run acme/js@v1"]["conclusion"] == "skipped"
    job = runs.run(steps("uses: acme/js@v1\nwith: {fail: main.js, nonsense: 1}", "run: echo never"))
    results = by_name(job)
    assert job["conclusion"] == "failed" and results["Run echo never"]["conclusion"] == "skipped"
    log = step_log(job, "Run acme/js@v1")
    assert "Process completed" not in log and "##[warning]Unexpected input(s) 'nonsense', valid inputs are ['who', 'two-words', 'a b', 'fail']" in log
    assert results["Post Run acme/js@v1"]["conclusion"] == "succeeded"
    actions.add("acme/none", {"action.yml": "runs: {using: node20, main: nothing.js}\n"})
    job = runs.run(steps("uses: acme/none@v1"))
    assert "##[error]File not found: '" in step_log(job, "Run acme/none@v1")
    runs.client.check()


def test_stages_within_composites(online: Wherry, runs: Runs, actions: Actions) -> None:
    actions.add("acme/js", js_files())
    actions.add("acme/outer", {"action.yml": composite("uses: acme/middle@v1", "uses: acme/js@v1\nwith: {who: two}", "if: false\nuses: acme/js@v1\nwith: {who: three}")})
    actions.add("acme/middle", {"action.yml": composite("uses: acme/js@v1\nwith: {who: one}")})
    job = runs.run(steps("uses: acme/outer@v1"))
    assert job["conclusion"] == "succeeded"
    pre, main, post = (step_log(job, f"{prefix}Run acme/outer@v1") for prefix in ("Pre ", "", "Post "))

    def order(text: str) -> list[str]:
        return [line.split(" ")[1] + line.split("[")[1].split("]")[0] + line.rsplit("[", 1)[1] for line in text.split("\n") if line.startswith("stage ")]

    assert order(pre) == ["pre.jsone]", "pre.jstwo]", "pre.jsthree]"]
    assert order(main) == ["main.jsonep]", "main.jstwop]"]
    # Its pre step ran, so the post step of a main step that did not is run, too.
    assert order(post) == ["post.jsthreep]", "post.jstwopm]", "post.jsonepm]"]
    runs.client.check()


# ---- fetching -----------------------------------------------------------------------------------------------------

class Archives:
    """Another host with archives; it notes what it was asked with."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.seen: list[tuple[str, str]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.seen.append((self.path, self.headers.get("Authorization", "")))
                body = outer.bodies.get(self.path)
                self.send_response(200 if body is not None else 404)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def archives() -> Iterator[Archives]:
    made = Archives()
    yield made
    made.stop()


def tar(*members: tuple[str, bytes | str | None], links: dict[str, str] | None = None, hard: dict[str, str] | None = None,
        device: str = "", pax: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT, pax_headers=pax) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
                continue
            data = content.encode() if isinstance(content, str) else content
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for table, kind in ((links or {}, tarfile.SYMTYPE), (hard or {}, tarfile.LNKTYPE)):
            for name, target in table.items():
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, target
                archive.addfile(info)
        if device:
            info = tarfile.TarInfo(device)
            info.type, info.devmajor, info.devminor = tarfile.CHRTYPE, 1, 3
            archive.addfile(info)
    return out.getvalue()


ACTION = composite("shell: sh\nrun: echo it ran")


def test_kept_by_commit_and_a_moved_tag(online: Wherry, runs: Runs, actions: Actions) -> None:
    first = actions.add("acme/tool", {"action.yml": composite("shell: sh\nrun: echo first")})
    for _ in range(2):
        job = runs.run(steps("uses: acme/tool@v1", "uses: acme/tool@v1"))
        assert "first" in step_log(job, "Run acme/tool@v1") and f"(SHA:{first})" in setup_log(job)
    assert len(actions.fetched) == 1
    kept = online.state / "actions/acme_tool"
    assert [path.name for path in kept.iterdir()] == [f"{first}.tar.gz"] and kept.stat().st_mode & 0o077 == 0
    second = actions.add("acme/tool", {"action.yml": composite("shell: sh\nrun: echo second")})
    job = runs.run(steps("uses: acme/tool@v1"))
    assert "second" in step_log(job, "Run acme/tool@v1") and f"(SHA:{second})" in setup_log(job)
    # Damaged on the disk: it is fetched anew.
    (kept / f"{second}.tar.gz").write_bytes(b"\x1f\x8bnothing")
    job = runs.run(steps("uses: acme/tool@v1"))
    assert job["conclusion"] == "succeeded" and len(actions.fetched) == 3
    # What a job does to its copy is no other job's.
    runs.run(steps("uses: acme/tool@v1", "run: printf broken > \"$RUNNER_WORKSPACE/../_actions/acme/tool/v1/action.yml\""))
    assert "second" in step_log(runs.run(steps("uses: acme/tool@v1")), "Run acme/tool@v1")
    runs.client.check()


def test_credentials_go_to_no_other_host(online: Wherry, runs: Runs, actions: Actions, archives: Archives) -> None:
    token = "Basic " + base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
    sha = actions.add("acme/tool", {"action.yml": ACTION})
    archives.bodies[f"/acme/tool/{sha}"] = archives.bodies["/mine.tar.gz"] = tar(("t/action.yml", ACTION))
    actions.client.options(tarball_host=archives.url)
    job = runs.run(steps("uses: acme/tool@v1"))
    assert job["conclusion"] == "succeeded" and actions.fetched == [[f"acme/tool@{sha}", token]]
    assert archives.seen == [(f"/acme/tool/{sha}", "")]
    # The job's token is not for a host that the service merely names; a token that comes with the archive is.
    actions.add("acme/two", {"action.yml": ACTION})
    actions.client.options(action_archives={"acme/two@v1": archives.url + "/mine.tar.gz"}, tarball_host="")
    assert runs.run(steps("uses: acme/two@v1"))["conclusion"] == "succeeded" and archives.seen[-1] == ("/mine.tar.gz", "")
    actions.add("acme/three", {"action.yml": ACTION})
    actions.client.options(action_archives={"acme/three@v1": archives.url + "/mine.tar.gz"}, action_tokens={"acme/three": "ghs_private0archive"})
    job = runs.run(steps("uses: acme/three@v1"))
    own = "Basic " + base64.b64encode(b"x-access-token:ghs_private0archive").decode()
    assert job["conclusion"] == "succeeded" and archives.seen[-1] == ("/mine.tar.gz", own)
    assert "ghs_private0archive" not in str(job)
    runs.client.check()


HOSTILE: dict[str, tuple[Any, str]] = {
    "absolute": (lambda: tar(("/etc/x", "x")), "lies outside of its folder"),
    "up": (lambda: tar(("t/action.yml", ACTION), ("t/../../x", "x")), "lies outside of its folder"),
    "two": (lambda: tar(("t/action.yml", ACTION), ("u/x", "x")), "more than one folder at its top"),
    "soft": (lambda: tar(("t/action.yml", ACTION), links={"t/x": "/etc/passwd"}), "out of the action's folder"),
    "softup": (lambda: tar(("t/action.yml", ACTION), links={"t/x/y": "../../../x"}), "out of the action's folder"),
    "softaround": (lambda: tar(("t/action.yml", ACTION), links={"t/y": "../t/action.yml"}), "out of the action's folder"),
    "hard": (lambda: tar(("t/action.yml", ACTION), hard={"t/x": "../../etc/passwd"}), "a hard link to"),
    "device": (lambda: tar(("t/action.yml", ACTION), device="t/null"), "neither file, folder nor link"),
    "empty": (lambda: tar(), "the archive is empty"),
    "damaged": (lambda: tar(("t/action.yml", ACTION), ("t/big", bytes(range(256)) * 999))[:-400], "the archive is damaged"),
    "nothing": (lambda: b"<html>no</html>", "the archive is damaged"),
    "bomb": (lambda: tar(("t/action.yml", ACTION), ("t/zeros", bytes(200 << 20))), "it is taken for a bomb"),
    "commit": (lambda: tar(("t/action.yml", ACTION), pax={"comment": "0" * 40}), "the archive is of commit 000"),
    "bare": (lambda: tar(("t/README", "x")), "Can't find 'action.yml', 'action.yaml' or 'Dockerfile' for action 'acme/bad@v1'."),
    "unknown": (lambda: tar(("t/action.yml", "runs: {using: node20, mian: x}\n")), "acme/bad/v1/action.yml (Line: 1, Col: 23): Unexpected value 'mian'"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives(online: Wherry, runs: Runs, actions: Actions, archives: Archives, name: str) -> None:
    make, said = HOSTILE[name]
    actions.add("acme/bad", {"action.yml": ACTION})
    archives.bodies["/bad.tar.gz"] = make()
    actions.client.options(action_archives={"acme/bad@v1": archives.url + "/bad.tar.gz"})
    job = runs.run(steps("run: echo never", "uses: acme/bad@v1"))
    assert job["conclusion"] == "failed" and said in setup_log(job), setup_log(job)
    assert [r["name"] for r in job["results"]] == ["Set up job"]
    kept = list((online.state / "actions/acme_bad").iterdir())
    assert bool(kept) == (name in ("bare", "unknown"))
    runs.client.check()


def test_unknown_actions(online: Wherry, runs: Runs, actions: Actions) -> None:
    actions.add("acme/tool", {"action.yml": ACTION})
    job = runs.run(steps("uses: acme/tool@v9"))
    assert job["conclusion"] == "failed"
    assert "##[error]Unable to resolve action `acme/tool@v9`, unable to find version `v9`" in setup_log(job)
    job = runs.run(steps("uses: acme/tool/../../../etc@v1"))
    assert job["conclusion"] == "failed" and "leads out of its repository" in setup_log(job)
    runs.client.check()


def test_private_archive_that_is_refused(online: Wherry, runs: Runs, actions: Actions, archives: Archives) -> None:
    actions.add("acme/tool", {"action.yml": ACTION})
    actions.client.options(action_archives={"acme/tool@v1": archives.url + "/not-there"})
    job = runs.run(steps("uses: acme/tool@v1"))
    assert job["conclusion"] == "failed" and "answered 404" in setup_log(job) and len(archives.seen) == 1
    runs.client.check()


# ---- Node.js ------------------------------------------------------------------------------------------------------

def node_archive(name: str, says: str) -> bytes:
    """A stand-in for a release: a program that runs the machine's own node."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        data = f"#!/bin/sh\necho {says}\nexec /usr/bin/env node \"$@\"\n".encode()
        info = tarfile.TarInfo(f"{name}/bin/node")
        info.size, info.mode = len(data), 0o755
        archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_node_from_the_mirror(wherry: Wherry, runs: Runs, actions: Actions, archives: Archives) -> None:
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    name = f"node-v24.99.0-linux-{machine}"
    body = node_archive(name, "of the mirror")
    archives.bodies[f"/dist/latest-v24.x/{name}.tar.gz"] = body
    archives.bodies["/dist/latest-v24.x/SHASUMS256.txt"] = f"{'0' * 64}  {name}.tar.gz\n".encode()
    actions.add("acme/new", {"action.yml": "runs: {using: node24, main: main.js}\n", "main.js": "console.log('ran on ' + process.argv.length)\n"})
    wherry.register(runs.client)
    # A machine whose own node is too old for it, or none.
    old = wherry.folder / "bin"
    old.mkdir()
    (old / "node").write_text("#!/bin/sh\ncase $1 in --version) echo v12.1.0;; *) echo never;; esac\n")
    (old / "node").chmod(0o755)
    wherry.start(client=runs.client, WHERRY_NODE_MIRROR=archives.url + "/dist/", PATH=f"{old}:{os.environ['PATH']}")
    job = runs.run(steps("uses: acme/new@v1"))
    assert job["conclusion"] == "failed" and "has the SHA-256" in step_log(job, "Run acme/new@v1"), step_log(job, "Run acme/new@v1")
    archives.bodies["/dist/latest-v24.x/SHASUMS256.txt"] = f"{'1' * 64}  other.tar.gz\n{hashlib.sha256(body).hexdigest()}  {name}.tar.gz\n".encode()
    for _ in range(2):
        job = runs.run(steps("uses: acme/new@v1"))
        assert "of the mirror" in step_log(job, "Run acme/new@v1")
    assert [path for path, _ in archives.seen].count(f"/dist/latest-v24.x/{name}.tar.gz") == 2  # the refused one, and one that stays
    runs.client.check()


def test_node_from_externals(wherry: Wherry, runs: Runs, actions: Actions) -> None:
    externals = wherry.folder / "externals/node20/bin"
    externals.mkdir(parents=True)
    (externals / "node").write_text("#!/bin/sh\necho external\nexec /usr/bin/env node \"$@\"\n")
    (externals / "node").chmod(0o755)
    actions.add("acme/js", js_files())
    wherry.register(runs.client)
    wherry.start(client=runs.client, WHERRY_EXTERNALS=str(wherry.folder / "externals"))
    job = runs.run(steps("uses: acme/js@v1"))
    assert "external\nstage main.js" in step_log(job, "Run acme/js@v1")
    runs.client.check()


def test_native_off(wherry: Wherry, runs: Runs, actions: Actions) -> None:
    actions.add("actions/checkout", {"action.yml": "runs: {using: node20, main: main.js}\n", "main.js": "console.log('the foreign one')\n"}, ref="refs/tags/v4")
    wherry.register(runs.client)
    wherry.start(client=runs.client, WHERRY_NATIVE_OFF="docker/login-action, actions/checkout")
    job = runs.run(steps("uses: actions/checkout@v4"))
    assert "the foreign one" in step_log(job, "Run actions/checkout@v4")
    runs.client.check()


@pytest.mark.parametrize("given,foreign", [
    ("sparse-checkout: |\n    a\n    b", True), ("lfs: true", True), ("submodules: recursive", True), ("ssh-key: ${{ secrets.KEY }}", True),
    ("lfs: false\n  submodules: 'false'\n  sparse-checkout: ''", False),
])
def test_what_is_built_in_gives_way(wherry: Wherry, runs: Runs, actions: Actions, given: str, foreign: bool) -> None:
    """Inputs that only the published action knows: the step runs that one."""
    actions.add("actions/checkout", {"action.yml": "runs: {using: node20, main: main.js}\n", "main.js": "console.log('the published one')\n"}, ref="refs/tags/v4")
    wherry.register(runs.client)
    wherry.start(client=runs.client)
    job = runs.run(steps(f"uses: actions/checkout@v4\ncontinue-on-error: true\nwith:\n  {given}"))
    assert ("the published one" in step_log(job, "Run actions/checkout@v4")) == foreign
    runs.client.check()


TOOLKIT = r"""
const core = require('@actions/core');
const exec = require('@actions/exec');
const io = require('@actions/io');
(async () => {
  core.info(`who ${core.getInput('who')} list ${core.getMultilineInput('list').length} yes ${core.getBooleanInput('yes')}`);
  core.setSecret('hush-hush');
  core.info('a hush-hush word');
  core.setOutput('object', {a: [1, 2]});
  core.exportVariable('FROM_TOOLKIT', 'line one\nline two');
  core.addPath(process.cwd() + '/tools');
  core.saveState('kept', 'state');
  core.warning('beware', {file: 'README.md', startLine: 1, title: 'T'});
  await core.summary.addHeading('Title').addRaw('text').write();
  await core.group('grouped', async () => { await exec.exec('echo', ['by exec']); });
  core.info('which ' + (await io.which('sh', true)));
  if (core.getState('kept')) core.info('post has ' + core.getState('kept'));
  else if (core.getInput('fail')) core.setFailed('as wished');
})();
"""


@pytest.mark.long
def test_the_official_toolkit(wherry: Wherry, runs: Runs, actions: Actions) -> None:
    """The packages that GitHub's own actions are made of, from npm, as they would be bundled."""
    if not shutil.which("npm"):
        pytest.skip("no npm here")
    wherry.register(runs.client)
    wherry.start(client=runs.client, PATH="/usr/sbin:/usr/bin:/sbin:/bin")
    folder = actions.place / "actions/acme/toolkit"
    folder.mkdir(parents=True)
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), "@actions/core@1", "@actions/exec@1", "@actions/io@1"],
                   check=True, timeout=180)
    actions.add("acme/toolkit", {"action.yml": "inputs: {who: {}, list: {}, 'yes': {default: 'true'}, fail: {}}\nruns: {using: node20, main: m.js, post: m.js}\n",
                                 "m.js": TOOLKIT})
    job = runs.run(steps("id: t\nuses: acme/toolkit@v1\nwith: {who: you, list: \"a\\nb\"}", "name: after\nrun: echo \"$FROM_TOOLKIT\"; echo $PATH; echo '${{ steps.t.outputs.object }}'",
                         "if: always()\nuses: acme/toolkit@v1\nwith: {fail: 1}"))
    log = step_log(job, "Run acme/toolkit@v1")
    assert "who you list 2 yes true" in log and "a *** word" in log and "##[group]grouped\n[command]/usr/bin/echo by exec\nby exec\n##[endgroup]" in log, log
    assert "which /usr/bin/sh" in log or "which /bin/sh" in log
    after = step_log(job, "after")
    assert "line one\nline two\n" in after and "/web/web/tools:" in after and '{"a":[1,2]}' in after
    assert job["conclusion"] == "failed" and any(a["message"] == "beware" and a["title"] == "T" for a in job["annotations"])
    assert any("<h1>Title</h1>" in blob["text"] for blob in job["summaries"].values())
    assert "post has state" in step_log(job, "Post Run acme/toolkit@v1")
    runs.client.check()


# ---- what the machine's owner has and says -------------------------------------------------------------------------

def test_actions_that_lie_here(wherry: Wherry, runs: Runs, actions: Actions) -> None:
    """actions.map: neither resolved nor fetched, nested ones alike; what is no entry is told and left out."""
    here = wherry.folder / "mapped"
    for name, text in (("one", composite("uses: acme/two/sub@v2", "shell: sh\nrun: echo one ran")), ("two/sub", composite("shell: sh\nrun: echo two ran"))):
        (here / name).mkdir(parents=True)
        (here / name / "action.yml").write_text(text)
    for folder in (wherry.folder, here):
        folder.chmod(0o755)
    wherry.register(runs.client)
    config = wherry.folder / "wherry.yaml"
    config.write_text(f"actions:\n  map: ['acme/one@v1={here}/one', 'ACME/two@v2={here}/two', nonsense]\n")
    wherry.start("--config", str(config), client=runs.client)
    job = runs.run(steps("uses: acme/one@v1"))
    log = step_log(job, "Run acme/one@v1")
    assert job["conclusion"] == "succeeded" and "two ran" in log and "one ran" in log and actions.fetched == []
    assert "'nonsense' of actions.map (WHERRY_ACTION_MAP) is not OWNER/REPO@REF=/FOLDER: it is left out" in setup_log(job)
    assert "Download action repository" not in setup_log(job)
    runs.client.check()


def test_archives_that_lie_here(wherry: Wherry, runs: Runs, actions: Actions) -> None:
    """ACTIONS_RUNNER_ACTION_ARCHIVE_CACHE: the commit is resolved, its archive is taken from the folder; a wrong one is not."""
    sha = actions.add("acme/tool", {"action.yml": composite("shell: sh\nrun: echo of the service")})
    cache = wherry.folder / "cache/acme_tool"
    cache.mkdir(parents=True)
    wherry.folder.chmod(0o755)
    (cache / f"{sha}.tar.gz").write_bytes(tar(("t/action.yml", composite("shell: sh\nrun: echo of the folder"))))
    wherry.register(runs.client)
    wherry.start(client=runs.client, ACTIONS_RUNNER_ACTION_ARCHIVE_CACHE=str(wherry.folder / "cache"))
    job = runs.run(steps("uses: acme/tool@v1"))
    assert "of the folder" in step_log(job, "Run acme/tool@v1") and actions.fetched == []
    (cache / f"{sha}.tar.gz").write_bytes(tar(("t/action.yml", ACTION), pax={"comment": "0" * 40}))
    job = runs.run(steps("uses: acme/tool@v1"))
    assert "of the service" in step_log(job, "Run acme/tool@v1") and len(actions.fetched) == 1
    runs.client.check()


def test_archives_that_nobody_asks_for_go(online: Wherry, runs: Runs, actions: Actions) -> None:
    """WH_ACTION_KEEP_DAYS after their last use, of whichever action; a day for what a killed fetcher left."""
    kept = online.state / "actions"
    actions.add("acme/tool", {"action.yml": ACTION})
    runs.run(steps("uses: acme/tool@v1"))
    owner = (kept / "acme_tool").stat()
    now = time.time()
    for name, days in (("acme_gone/a.tar.gz", 31), ("acme_stays/a.tar.gz", 29), ("acme_both/old.tar.gz", 31), ("acme_both/new.tar.gz", 1),
                       ("acme_both/.fetch-x", 2), ("acme_both/.fetch-y", 0)):
        path = kept / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_bytes(b"x")
        os.utime(path, (now - days * 86400, now - days * 86400))
        for made in (path.parent, path):
            os.chown(made, owner.st_uid, owner.st_gid)
    for path in kept.iterdir():
        os.utime(path, (now - 40 * 86400, now - 40 * 86400))
    actions.add("acme/next", {"action.yml": ACTION})
    assert runs.run(steps("uses: acme/next@v1"))["conclusion"] == "succeeded"
    left = sorted(str(path.relative_to(kept)) for path in kept.glob("*/*") if not path.parent.name.startswith(("acme_tool", "acme_next")))
    assert left == ["acme_both/.fetch-y", "acme_both/new.tar.gz", "acme_stays/a.tar.gz"] and not (kept / "acme_gone").exists()
    runs.client.check()


def test_actions_trust_what_the_agent_trusts(wherry: Wherry, runs: Runs, actions: Actions) -> None:
    """NODE_EXTRA_CA_CERTS of JavaScript actions is the agent's own CA file, unless the job names another."""
    authority = wherry.folder / "ca.pem"
    authority.write_bytes(Path("/etc/ssl/certs/ca-certificates.crt").read_bytes())
    authority.chmod(0o644)
    wherry.folder.chmod(0o755)
    actions.add("acme/js", {"action.yml": "runs: {using: node20, main: m.js}\n", "m.js": "console.log('trusts ' + process.env.NODE_EXTRA_CA_CERTS)\n"})
    wherry.env.pop("NODE_EXTRA_CA_CERTS", None)
    wherry.register(runs.client)
    wherry.start("--ca-file", str(authority), client=runs.client)
    job = runs.run(steps("name: agent\nuses: acme/js@v1", "name: own\nuses: acme/js@v1\nenv: {NODE_EXTRA_CA_CERTS: /nowhere}"))
    assert f"trusts {authority}" in step_log(job, "agent") and "trusts /nowhere" in step_log(job, "own")
    runs.client.check()
