"""The demo's claims, checked with tools that are not wherry's: skopeo, a digest of every blob, crun."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from .measure import Run
from .stage import CHANGED_TO, REPOSITORY, Stage, StepFailed


def _demand(condition: bool, text: str, log: str | Path | None = None) -> None:
    if not condition:
        raise StepFailed(text, Path(log) if log else None)


def protocol(stage: Stage) -> None:
    lines = stage.service.client.error_lines()
    _demand(not lines, "protocol errors:\n  " + "\n  ".join(lines), stage.wherry.log)


def run_is_complete(run: Run) -> None:
    job = run.job
    _demand(run.digest.startswith("sha256:"), f"{run.title}: the job's output digest is {run.digest!r}", run.log)
    _demand(job["completions"] == 1, f"{run.title}: completed {job['completions']} times", run.log)
    notices = [a["message"] for a in job["annotations"] if a["level"] == "notice"]
    _demand(any(run.digest in note for note in notices), f"{run.title}: no notice names the digest: {notices}", run.log)
    _demand(any(run.digest in s["text"] for s in job["summaries"].values()), f"{run.title}: no step summary names the digest", run.log)
    _demand(bool(job["feed"]), f"{run.title}: no live log line arrived", run.log)
    _demand("type=gha" in job["log"]["text"], f"{run.title}: the log says nothing of cache type gha", run.log)
    for name in ("Set up job", "Post Run actions/checkout@v4", "Complete job"):
        _demand(any(r["name"] == name for r in job["results"]), f"{run.title}: no step {name!r}", run.log)


def layers(manifest: dict[str, Any]) -> list[str]:
    return [layer["digest"] for layer in manifest["layers"]]


def second_run(first: Run, second: Run) -> None:
    _demand(second.digest == first.digest, f"run 2 pushed {second.digest}, run 1 {first.digest}", second.log)
    _demand(second.built == 0 and second.reused > 0, f"run 2 built {second.built} layers and reused {second.reused}", second.log)
    _demand(not second.uploads, f"run 2 uploaded {[u.digest for u in second.uploads]}", second.log)


def third_run(stage: Stage, second: Run, third: Run) -> None:
    _demand(third.digest != second.digest, "run 3 pushed the same digest although a source line changed", third.log)
    _demand(0 < third.built < third.built + third.reused, f"run 3 built {third.built} layers and reused {third.reused}", third.log)
    name = stage.registry
    before, after = (set(layers(name.manifest(REPOSITORY, run.digest)[1])) for run in (second, third))  # type: ignore[arg-type]
    sent = {upload.digest for upload in third.uploads}
    _demand(not sent & before, "run 3 uploaded a layer that the registry had", third.log)
    _demand(after - before <= sent, "the registry lacks a layer of run 3 that was not uploaded", third.log)


def _tool(log: Path, *command: str) -> str:
    with open(log, "ab") as errors:
        errors.write((" ".join(command) + "\n").encode())
        errors.flush()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise StepFailed(f"{command[0]} {command[1]} failed with exit code {done.returncode}", log)
    return done.stdout


def image(stage: Stage, run: Run, *, changed: int = 0) -> str:
    """Inspect, copy, re-hash and unpack the pushed image, and run its program; what it printed.

    ``changed`` is the number of the call whose changed line it must show; 0 for the unchanged program.
    """
    log = stage.place / "verify.log"
    reference = f"docker://{stage.registry.pull_host}/{REPOSITORY}"
    inspected = json.loads(_tool(log, "skopeo", "inspect", "--tls-verify=false", f"{reference}:latest"))
    _demand(inspected["Digest"] == run.digest, f"skopeo sees {inspected['Digest']} at latest, the job pushed {run.digest}", log)
    layout = stage.place / "layout"
    shutil.rmtree(layout, ignore_errors=True)
    _tool(log, "skopeo", "copy", "-q", "--insecure-policy", "--src-tls-verify=false", f"{reference}@{run.digest}", f"oci:{layout}:demo")
    for blob in (layout / "blobs/sha256").iterdir():
        digest = hashlib.sha256(blob.read_bytes()).hexdigest()
        _demand(digest == blob.name, f"blob {blob.name} has digest {digest}", log)
    bundle = stage.place / "bundle"
    shutil.rmtree(bundle, ignore_errors=True)
    rootless = () if os.getuid() == 0 else ("--rootless",)
    _tool(log, "umoci", "unpack", *rootless, "--image", f"{layout}:demo", str(bundle))
    printed = _run_in_crun(bundle, log)
    _demand(printed.startswith("wherry "), f"the image's program printed {printed!r}", log)
    says = CHANGED_TO.format(changed).removeprefix('"wherry %s').removesuffix('\\n"')
    _demand((says in printed) if changed else "changed" not in printed, f"the image's program printed {printed!r}", log)
    return printed.splitlines()[0]


def _run_in_crun(bundle: Path, log: Path) -> str:
    path = bundle / "config.json"
    spec = json.loads(path.read_text())
    spec["process"]["terminal"] = False
    spec["process"].pop("rlimits", None)
    spec["mounts"] = [m for m in spec["mounts"] if m["type"] not in ("cgroup", "cgroup2")]
    spec["linux"]["namespaces"] = [n for n in spec["linux"]["namespaces"] if n["type"] not in ("network", "cgroup")]
    spec["linux"].pop("resources", None)
    path.write_text(json.dumps(spec))
    # In a mount namespace of its own with cgroup v2 alone: crun refuses mixed hierarchies.
    script = ("mount --make-rprivate /; umount -R /sys/fs/cgroup 2>/dev/null; mount -t cgroup2 none /sys/fs/cgroup; "
              f"exec crun --root '{bundle}.state' --cgroup-manager=disabled run -b '{bundle}' wherry-demo-$$")
    return _tool(log, "unshare", "-m", "sh", "-c", script)
