"""Container hooks: a program of the machine's owner runs the job's containers, by GitHub's JSON protocol."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.service.client import step_log

from .conftest import TOKEN, Runs
from .support.agent import Wherry
from .test_foreign import Actions, actions, setup_log  # noqa: F401
from .test_foreign_docker import container_job, docker_action
from .test_jobs import by_name, steps

# It keeps what it was asked, answers as the protocol wants, and "runs" script steps on the machine, with the folders put back.
HOOK = r"""#!/bin/sh
exec /usr/bin/python3 - "$0" 3<&0 <<'EOF'
import json, os, subprocess, sys
asked = json.load(os.fdopen(3))
folder = os.path.dirname(sys.argv[1])
with open(os.path.join(folder, "asked.jsonl"), "a") as log:
    log.write(json.dumps(asked) + "\n")
command, args, state = asked["command"], asked.get("args") or {}, asked.get("state")
print("hook", command, "repository", os.environ.get("GITHUB_REPOSITORY"))
answer = None
if command == "prepare_job":
    answer = {"state": {"calls": 1}, "isAlpine": False,
              "context": {"container": {"id": "pod-1", "network": "net-1"},
                          "services": [{"id": "svc-1", "network": "net-1", "ports": {"80": "31234"}}]}}
    if os.path.exists(os.path.join(folder, "no-alpine")):
        del answer["isAlpine"]
elif command == "run_script_step":
    work = next(m["sourceVolumePath"] for m in json.loads(open(os.path.join(folder, "asked.jsonl")).readline())["args"]["container"]["systemMountVolumes"]
                if m["targetVolumePath"] == "/__w")
    back = lambda text: text.replace("/__w", work)
    env = {**os.environ, **{k: back(v) for k, v in args["environmentVariables"].items()}}
    env["PATH"] = ":".join([back(p) for p in args["prependPath"]] + [env["PATH"]])
    code = subprocess.run([args["entryPoint"], *map(back, args["entryPointArgs"])], env=env, cwd=back(args["workingDirectory"])).returncode
    if code:
        sys.exit(code)
    answer = {"state": {"calls": state["calls"] + 1}}
elif command == "run_container_step":
    print("container", args.get("image"), os.path.basename(args.get("dockerfile") or ""), args.get("entryPoint"), args["entryPointArgs"], args["environmentVariables"]["GITHUB_WORKSPACE"])
if answer is not None:
    with open(asked["responseFile"], "w") as out:
        json.dump(answer, out)
EOF
"""
ALLOW = {"DistributedTask.AllowRunnerContainerHooks": "true"}


def asked(place: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (place / "hooks/asked.jsonl").read_text().splitlines()]


def start(wherry: Wherry, runs: Runs, place: Path, **settings: str) -> None:
    (place / "hooks").mkdir()
    (place / "hooks").chmod(0o777)
    (place / "hooks/hook.sh").write_text(HOOK)
    wherry.register(runs.client)
    if settings.get("by") == "settings":
        (place / "wherry.yaml").write_text("hooks: {containers: hooks/hook.sh}\n")
        wherry.start("--config", str(place / "wherry.yaml"), client=runs.client)
    else:
        wherry.start(client=runs.client, ACTIONS_RUNNER_CONTAINER_HOOKS=str(place / "hooks/hook.sh"))


def test_all_commands(wherry: Wherry, runs: Runs, place: Path, actions: Actions) -> None:  # noqa: F811
    """prepare_job, run_script_step, run_container_step and cleanup_job, their arguments and what is done with their answers."""
    start(wherry, runs, place, by="settings")
    actions.add("acme/box", docker_action("scratch"))
    job = runs.run(steps(
        "name: first\nid: f\nrun: |\n  echo \"in $(pwd) for $OWN\"; echo v=out >> $GITHUB_OUTPUT; mkdir -p tools; echo \"$GITHUB_WORKSPACE/tools\" >> $GITHUB_PATH",
        "name: second\nworking-directory: ..\nenv: {MINE: \"two words\"}\nrun: echo \"said ${{ steps.f.outputs.v }} net ${{ job.container.network }} id ${{ job.container.id }} "
        "port ${{ job.services.web.ports['80'] }} $MINE\"",
        "name: image\nuses: docker://alpine:3\nwith: {entryPoint: /bin/x, args: '-a \"b c\"'}", "name: action\nuses: acme/box@v1\nwith: {who: me}", "name: bad\nrun: exit 3",
        top=container_job("debian:12", ", env: {OWN: own}, options: --cpus 1, volumes: ['vol:/data:ro'], credentials: {username: u, password: p1234}")
        + "    services: {web: {image: 'ghcr.io/a/b:1', ports: ['8080:80']}}\n"), variables=ALLOW, timeout=120)
    assert "in " in step_log(job, "first") and "hook run_script_step repository acme/web" in step_log(job, "first"), step_log(job, "first")
    assert "said out net net-1 id pod-1 port 31234 two words" in step_log(job, "second"), step_log(job, "second")
    assert "container alpine:3  /bin/x ['-a', '\"b', 'c\"'] /github/workspace" in step_log(job, "image"), step_log(job, "image")
    assert "container None Dockerfile None ['\"me\"', '\"\"', '\"a', '\\\\\"quoted\\\\\"', 'one\"']" in step_log(job, "action"), step_log(job, "action")
    bad = step_log(job, "bad")
    assert "Process completed with exit code 3." in bad and "##[error]Executing the custom container implementation failed." in bad, bad
    assert job["conclusion"] == "failed" and by_name(job)["Stop containers"]["conclusion"] == "succeeded"
    assert not [name for name in by_name(job) if name.startswith(("Pull ", "Build "))]
    calls = asked(place)
    assert [c["command"] for c in calls] == ["prepare_job", "run_script_step", "run_script_step", "run_container_step", "run_container_step", "run_script_step", "cleanup_job"]
    container = calls[0]["args"]["container"]
    assert container["image"] == "debian:12" and container["createOptions"] == "--cpus 1" and container["workingDirectory"] == "/__w/web/web"
    assert container["environmentVariables"]["OWN"] == "own" and container["registry"] == {"username": "u", "password": "p1234", "serverUrl": ""}
    assert container["userMountVolumes"] == [{"sourceVolumePath": "vol", "targetVolumePath": "/data", "readOnly": True, "userProvidedValue": "vol:/data:ro"}]
    assert {m["targetVolumePath"] for m in container["systemMountVolumes"]} >= {"/__w", "/__w/_temp", "/__t", "/github/home", "/github/workflow"}
    service = calls[0]["args"]["services"][0]
    assert service["image"] == "ghcr.io/a/b:1" and service["portMappings"] == ["8080:80"] and service["contextName"] == "web"
    assert [c.get("state") for c in calls] == [None, {"calls": 1}, {"calls": 2}, {"calls": 3}, {"calls": 3}, {"calls": 3}, {"calls": 3}]
    assert calls[2]["args"]["prependPath"] == ["/__w/web/web/tools"] and calls[2]["args"]["workingDirectory"] == "/__w/web/web/.."
    assert calls[2]["args"]["environmentVariables"]["MINE"] == "two words" and calls[2]["args"]["entryPointArgs"][0] == "-e"
    assert all(not os.path.exists(c["responseFile"]) for c in calls)
    runs.client.check()


def test_refusals(wherry: Wherry, runs: Runs, place: Path) -> None:
    """A hook that does not say isAlpine, one that is not there, and the service that does not allow hooks."""
    start(wherry, runs, place)
    (place / "hooks/no-alpine").write_text("")
    job = runs.run(steps("run: echo never", top=container_job("debian:12", "")), variables=ALLOW)
    begin = step_log(job, "Initialize containers")
    assert "The property 'isAlpine' is required but was not found in the response file." in begin and job["conclusion"] == "failed"
    assert "##[error]Executing the custom container implementation failed. Please contact your self hosted runner administrator." in begin
    assert by_name(job)["Run echo never"]["conclusion"] == "skipped"
    (place / "hooks/hook.sh").unlink()
    job = runs.run(steps("run: echo never", top=container_job("debian:12", "")), variables=ALLOW)
    assert "File not found at '" in step_log(job, "Initialize containers") and job["conclusion"] == "failed"
    job = runs.run(steps("run: echo never", top=container_job("debian:12", ", options: --privileged")))
    assert "is not supported by wherry's own engine" in setup_log(job)  # without the variable it is the own engine's job
    assert TOKEN not in setup_log(job)
    runs.client.check()
