"""Volumes, options, credentials and health of a job's containers, and what a container must not get."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.service.client import step_log

from .conftest import Runs
from .support import ociimage
from .support.agent import Wherry
from .support.registry import PASSWORD, USER, Registry
from .test_foreign import setup_log
from .test_foreign_docker import container_job
from .test_jobs import by_name, steps


def test_volumes(online: Wherry, runs: Runs, busybox: str) -> None:
    """Folders of the machine, read-only ones, one that is made, a volume that two containers share, and one without a name."""
    shared = online.folder / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "there").write_text("there\n")
    made = shared / "made"
    services = (f"    services:\n      web:\n        image: {busybox}\n        volumes: ['data:/data', '{shared}:/host:ro']\n"
                "        options: --entrypoint /bin/sh --health-cmd \"test -e /data/ready\" --health-interval 1s\n        command: -c \"cp /host/there /data/; touch /data/ready; sleep 300\"\n")
    job = runs.run(steps(
        f"name: look\nrun: |\n  cat /data/there; cat /host/there; touch /host/new 2>/dev/null || echo read only; echo x > /made/file; echo y > /nameless/file && echo kept\n",
        top=services + container_job(busybox, f", volumes: ['data:/data', '{shared}:/host:ro', '{made}:/made', '/nameless']")), timeout=120)
    log = step_log(job, "look")
    assert log.count("there\n") >= 2 and "read only" in log and "kept" in log and job["conclusion"] == "succeeded", log + step_log(job, "Initialize containers")
    file = made / "file"
    assert file.read_text() == "x\n" and (online.job_user is None or file.stat().st_uid == online.job_user)
    runs.client.check()


@pytest.mark.skipif(os.geteuid() != 0, reason="the job's user must be another")
def test_what_a_volume_must_not_be(online: Wherry, runs: Runs, busybox: str) -> None:
    """A container's root owns wherry's store: it is no volume, nor is a folder that holds it, nor one that the job's user can't enter."""
    state = online.env["WHERRY_STATE"]
    closed = online.folder / "closed"
    closed.mkdir(mode=0o700)
    (closed / "inside").mkdir()
    for folder in (state, str(Path(state) / "blobs"), str(Path(state).parent), "/"):
        job = runs.run(steps("run: echo never", top=container_job(busybox, f", volumes: ['{folder}:/x']")))
        begin = step_log(job, "Initialize containers")
        # A job's user may not even enter the store: either sentence keeps it out.
        assert job["conclusion"] == "failed" and ("holds wherry's store or lies in it" in begin or "Permission denied" in begin), (folder, begin)
    job = runs.run(steps("run: echo never", top=container_job(busybox, f", volumes: ['{closed}/inside:/x']")))
    assert "Permission denied" in step_log(job, "Initialize containers") and job["conclusion"] == "failed"
    link = online.folder / "link"
    link.symlink_to("/")
    job = runs.run(steps("run: echo never", top=container_job(busybox, f", volumes: ['{link}:/x']")))
    assert "holds wherry's store or lies in it" in step_log(job, "Initialize containers")
    runs.client.check()


def test_options(online: Wherry, runs: Runs, busybox: str) -> None:
    options = ("--hostname boxed --user root --workdir /tmp --add-host other:10.1.2.3 --shm-size 1m --tmpfs /scratch:size=1m --label a=b --init --rm "
               "--env FROM_OPTIONS='two words' --read-only --ulimit nofile=1")
    job = runs.run(steps("run: echo never", top=container_job(busybox, f", options: \"{options}\"")))
    assert "the job's container: the option '--ulimit' is not supported by wherry's own engine of containers" in setup_log(job) and job["conclusion"] == "failed"
    options = options.replace(" --ulimit nofile=1", "").replace(" --read-only", "")
    job = runs.run(steps("name: look\nrun: |\n  echo \"$(hostname) uid $(id -u) $FROM_OPTIONS\"; grep other /etc/hosts; df -k /scratch | tail -1; df -k /dev/shm | tail -1",
                         top=container_job(busybox, f", options: \"{options}\"")), timeout=60)
    log = step_log(job, "look")
    assert "boxed uid 0 two words" in log and "10.1.2.3" in log and log.count(" 1024 ") >= 2, log
    job = runs.run(steps("run: echo never", top=container_job(busybox, ", options: --user 1000")))
    assert "the job's container: the option '--user 1000' is not supported" in setup_log(job)
    for text, said in (("--network host", "the option '--network' is not supported: all containers of a job are in the job's network"),
                       ("--health-retries many", "--health-retries 'many' is no number"), ("-p 80:x", "'80:x' is no port"), ("stray", "'stray' of its options is none")):
        job = runs.run(steps("run: echo never", top=f"    services:\n      db:\n        image: {busybox}\n        options: {text}\n"))
        assert f"service 'db': {said}" in setup_log(job), setup_log(job)
    runs.client.check()


def test_credentials(online: Wherry, runs: Runs, registry: Registry, place: Path) -> None:
    """An image that the registry shows to nobody without a name and a password; these are in no log."""
    layout = place / "layout"
    ociimage.busybox(layout)
    image = registry.push_layout(layout, "made/private:1")
    login = f", credentials: {{username: {USER}, password: '${{{{ secrets.PASS }}}}'}}"
    job = runs.run(steps("name: in\nrun: echo inside", top=container_job(image, login)), secrets={"PASS": PASSWORD}, timeout=60)
    assert "inside" in step_log(job, "in") and PASSWORD not in step_log(job, "Initialize containers"), step_log(job, "Initialize containers")
    for change in ("", login.replace("${{ secrets.PASS }}", "wrong1234")):
        job = runs.run(steps("name: in\nrun: echo inside", top=container_job(image.replace("private", "private2"), change)), secrets={"PASS": PASSWORD}, timeout=60)
        assert job["conclusion"] == "failed" and by_name(job)["in"]["conclusion"] == "skipped"
    runs.client.check()


def test_a_container_that_is_required(wherry: Wherry, runs: Runs, place: Path, busybox: str) -> None:
    (place / "wherry.yaml").write_text("hooks: {require-job-container: true}\n")
    wherry.register(runs.client)
    wherry.start("--config", str(place / "wherry.yaml"), client=runs.client)
    job = runs.run(steps("run: echo never"))
    assert "Jobs without a job container are forbidden on this runner, please add a 'container:' to your job" in setup_log(job) and job["conclusion"] == "failed"
    job = runs.run(steps("name: in\nrun: echo inside", top=container_job(busybox, "")))
    assert "inside" in step_log(job, "in") and job["conclusion"] == "succeeded"
    runs.client.check()


def test_health(online: Wherry, runs: Runs, busybox: str) -> None:
    """One that is healthy from the start of a slow interval, one that ends, and one that never gets healthy: what is said of each."""
    def service(name: str, options: str, command: str) -> str:
        return f"      {name}:\n        image: {busybox}\n        options: --entrypoint /bin/sh {options}\n        command: -c \"{command}\"\n"
    job = runs.run(steps("name: in\nrun: echo ready", top="    services:\n" + service("quick", "--health-cmd true --health-interval 300s", "sleep 300")
                         + service("plain", "", "sleep 300")), timeout=30)
    begin = step_log(job, "Initialize containers")
    assert "quick service is healthy." in begin and "plain service is healthy." in begin and "ready" in step_log(job, "in")
    job = runs.run(steps("run: echo never", top="    services:\n" + service("ends", "--health-cmd false --health-interval 300s", "echo last words; sleep 1")
                         + service("sick", "--health-cmd false --health-interval 1s --health-retries 2", "echo sick; sleep 300")), timeout=60)
    begin = step_log(job, "Initialize containers")
    for said in ("ends service is starting, waiting 2 seconds before checking again.", "##[group]Service container ends failed.", "last words", "##[group]Service container sick failed.",
                 f"##[error]Failed to initialize container {busybox}", "##[error]One or more containers failed to start."):
        assert said in begin, (said, begin)
    stop = step_log(job, "Stop containers")
    assert "Print service container logs: " not in stop and "Stop and remove container: sick_" in stop
    runs.client.check()
