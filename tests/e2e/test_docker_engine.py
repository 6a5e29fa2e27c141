"""`containers.engine: docker`: containers of jobs by the Docker that is installed. Runs only where a daemon answers `docker info`
(DOCKER_HOST counts); the daemon must see /var/tmp under the same path."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.service.client import step_log

from .conftest import Runs
from .support.agent import Wherry
from .test_foreign import Actions, actions, setup_log  # noqa: F401
from .test_foreign_docker import container_job, docker_action
from .test_jobs import by_name, steps


def answers() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], capture_output=True, timeout=20).returncode == 0


needs_docker = pytest.mark.skipif(not answers(), reason="no Docker daemon answers")


@needs_docker
def test_job_container_and_service(wherry: Wherry, runs: Runs, place: Path, busybox: str) -> None:
    (place / "wherry.yaml").write_text("containers: {engine: docker}\n")
    (place / "srv").write_text("#!/bin/sh\necho serving; mkdir -p /www; echo \"hello $WORD\" > /www/index.html; exec httpd -f -p 80 -h /www\n")
    (place / "srv").chmod(0o755)
    wherry.register(runs.client)
    wherry.start("--config", str(place / "wherry.yaml"), client=runs.client)
    service = (f"    services:\n      web:\n        image: {busybox}\n        ports: ['80']\n        env: {{WORD: there, EMPTY: ''}}\n"
               f"        options: --entrypoint /srv --health-cmd \"test -e /www/index.html\" --health-interval 1s\n        volumes: ['{place}/srv:/srv:ro']\n")
    job = runs.run(steps(
        "name: inside\nid: i\nenv: {MINE: 'two words'}\nrun: |\n  echo \"at $(pwd) home $HOME own $OWN mine $MINE ci $CI\"; echo v=1 >> $GITHUB_OUTPUT; echo made > from-inside\n"
        "  mkdir -p \"$RUNNER_TEMP/bin\"; printf '#!/bin/sh\\necho tool ran\\n' > $RUNNER_TEMP/bin/tool; chmod +x $RUNNER_TEMP/bin/tool; echo \"$RUNNER_TEMP/bin\" >> \"$GITHUB_PATH\"",
        "name: again\nrun: tool; wget -q -O - http://web/; echo \"v ${{ steps.i.outputs.v }} port ${{ job.services.web.ports['80'] }} net ${{ job.container.network }}\"",
        f"name: image\nuses: docker://{busybox}\nwith: {{entryPoint: /bin/wget, args: '-q -O - http://web/'}}", "name: bad\nrun: exit 9",
        top=service + container_job(busybox, ", env: {OWN: own}")), timeout=180)
    begin = step_log(job, "Initialize containers")
    docker = shutil.which("docker")
    for said in ("##[group]Checking docker version", "Docker daemon API version: 1.", "##[group]Clean up resources from previous jobs", "##[group]Create local container network",
                 f"##[command]{docker} network create --label ", "##[group]Starting job container", "##[group]Starting web service container",
                 "##[group]Waiting for all services to be ready", "web service is starting, waiting 2 seconds before checking again.", "web service is healthy."):
        assert said in begin, (said, begin)
    assert "at /__w/web/web home /github/home own own mine two words ci true" in step_log(job, "inside"), step_log(job, "inside")
    again = step_log(job, "again")
    assert "tool ran" in again and "hello there" in again and "v 1 port " in again and "net github_network_" in again, again
    assert "hello there" in step_log(job, "image"), step_log(job, "image")
    assert "exit code 9" in step_log(job, "bad") and job["conclusion"] == "failed"
    stop = step_log(job, "Stop containers")
    assert "serving" in stop and "Stop and remove container: web_" in stop and "Remove container network: github_network_" in stop
    left = subprocess.run(["docker", "ps", "-aq", "--filter", "name=web_"], capture_output=True, text=True, check=True).stdout
    assert left == ""
    # What root made in there is the job user's, or gone, when the next job wants the folder.
    job = runs.run(steps("name: next\nrun: touch from-inside && rm from-inside && echo mine again"))
    assert "mine again" in step_log(job, "next"), step_log(job, "next")
    runs.client.check()


@needs_docker
def test_actions(wherry: Wherry, runs: Runs, actions: Actions, busybox: str) -> None:  # noqa: F811
    wherry.register(runs.client)
    wherry.start(client=runs.client, WHERRY_CONTAINERS_ENGINE="docker")
    actions.add("acme/box", {**docker_action(busybox), "Dockerfile": f"FROM {busybox}\nCOPY entry.sh /entry.sh\nENTRYPOINT [\"/bin/sh\", \"/entry.sh\"]\n"})
    job = runs.run(steps("run: echo on the host > here.txt", "id: d\nuses: acme/box@v1\nwith: {who: you}", "name: after\nrun: echo \"${{ steps.d.outputs.said }} $SET_INSIDE\"",
                         "if: always()\nuses: acme/box@v1\nwith: {code: 5}"), timeout=180)
    assert by_name(job)["Build acme/box@v1"]["conclusion"] == "succeeded", step_log(job, "Build acme/box@v1")
    log = step_log(job, "Run acme/box@v1")
    assert "args [you] [] [a \"quoted\" one] who [you] home [/github/home] pwd [/github/workspace] extra [x you]" in log, log
    assert "token yes" in log and "on the host" in log and "from docker yes" in step_log(job, "after")
    assert f"##[command]{shutil.which('docker')} run --name " in log and f"##[command]{shutil.which('docker')} build -t " in step_log(job, "Build acme/box@v1")
    assert by_name(job)["Build acme/box@v1"]["conclusion"] == "succeeded" and job["conclusion"] == "failed"
    runs.client.check()


def test_docker_that_is_missing(wherry: Wherry, runs: Runs, place: Path) -> None:
    wherry.register(runs.client)
    folder = place / "bin"
    folder.mkdir()
    for name in ("bash", "sh", "cat", "env"):
        (folder / name).symlink_to(shutil.which(name) or "/bin/" + name)
    wherry.start(client=runs.client, PATH=str(folder), WHERRY_CONTAINERS_ENGINE="docker")
    assert not os.path.exists(folder / "docker")
    job = runs.run(steps("run: echo never", top=container_job("debian:12", "")))
    assert "containers.engine is docker, and there is no docker on PATH" in setup_log(job) and job["conclusion"] == "failed"
    job = runs.run(steps("name: plain\nrun: echo no container"))
    assert "no container" in step_log(job, "plain") and job["conclusion"] == "succeeded"
    runs.client.check()
