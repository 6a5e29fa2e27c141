"""The network between the agent and GitHub: proxies, links that go, addresses that change, names that can't be resolved.

The agent lives in a network namespace of its own with one link to the service.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from tests.service.client import Client
from tests.service.process import ServiceProcess

from .conftest import Runs
from .support import proxy as proxies
from .support.agent import Wherry
from .support.network import NAME, Box, NameServer
from .test_jobs import steps

pytestmark = pytest.mark.skipif(os.getuid() != 0 or not shutil.which("ip"), reason="network namespaces need root and iproute2")
ECHO = steps("run: echo fine")
BACK = 60.0  # seconds from the network's return to the next poll: what is promised


@pytest.fixture
def box(place: Path) -> Iterator[Box]:
    made = Box(place)
    yield made
    made.stop()


@pytest.fixture
def service(place: Path, box: Box) -> Iterator[ServiceProcess]:
    with ServiceProcess(place / "service.log", hold=20, host=box.here) as started:
        yield started


@pytest.fixture
def wherry(place: Path, box: Box) -> Iterator[Wherry]:
    made = Wherry(place)
    proxies.clean(made.env)
    box.wrap(made)
    yield made
    made.stop()


def polls(client: Client) -> int:
    return int(client.runner()["polls"])


def wait_poll(client: Client, before: int, timeout: float = BACK) -> None:
    deadline = time.monotonic() + timeout
    while polls(client) <= before:
        assert time.monotonic() < deadline, f"no poll within {timeout} s"
        time.sleep(0.2)


# -- links ---------------------------------------------------------------------------------------------------------------
def test_link_away_in_mid_job(online: Wherry, runs: Runs, client: Client, box: Box) -> None:
    """Ten seconds without a link: the job, its log and the completion are whole."""
    ident = runs.queue(steps("run: |\n  echo started\n  for n in $(seq 80); do echo line $n; sleep 0.1; done"))
    client.wait_for_text(ident, "started", 30)
    box.link(False)
    time.sleep(10)
    box.link(True)
    job = client.wait(ident, BACK)
    assert job["conclusion"] == "succeeded"
    assert [line for line in job["log"]["lines"] if line.startswith("line ")] == [f"line {n}" for n in range(1, 81)]
    # What the kernel held of the feed's old connection comes when it can.
    assert [e["text"] for e in client.errors() if e["rule"] != "body" and "feed message after" not in e["text"]] == []


def test_link_away_while_idle(online: Wherry, runs: Runs, client: Client, box: Box) -> None:
    """The poll dies, others fail; when the link is back, so is the runner."""
    box.link(False)
    client.drop_connections()
    time.sleep(3)
    before = polls(client)
    box.link(True)
    wait_poll(client, before)
    assert runs.run(ECHO)["conclusion"] == "succeeded"
    client.check(ignore=["body"])


def test_started_without_a_network(wherry: Wherry, runs: Runs, client: Client, box: Box) -> None:
    wherry.register(client)
    box.link(False)
    wherry.start()
    time.sleep(4)
    assert wherry.alive
    box.link(True)
    client.wait_runners(timeout=BACK)
    assert runs.run(ECHO)["conclusion"] == "succeeded"


def test_changed_address(online: Wherry, runs: Runs, client: Client, box: Box) -> None:
    """The poll under way hangs on an address that is gone."""
    before = polls(client)
    box.move(7)
    wait_poll(client, before, 15)
    assert "has no address" in online.log_text()
    assert runs.run(ECHO)["conclusion"] == "succeeded"
    client.check(ignore=["body"])


def test_process_that_stood_still(online: Wherry, runs: Runs, client: Client) -> None:
    """As in a suspended machine: first of all it asks anew."""
    client.options(hold=60)
    client.wait(runs.queue(ECHO))
    time.sleep(1)
    os.kill(online.pid, signal.SIGSTOP)
    time.sleep(21)
    before = polls(client)
    os.kill(online.pid, signal.SIGCONT)
    wait_poll(client, before, 15)
    assert "stood still" in online.log_text()
    assert runs.run(ECHO)["conclusion"] == "succeeded"


@pytest.mark.long
def test_link_away_for_minutes(online: Wherry, runs: Runs, client: Client, box: Box) -> None:
    """A job whose lock holds is not lost; the session, known to the service or not, is no trouble."""
    ident = runs.queue(steps("run: |\n  echo started\n  sleep 20\n  echo over"), lenient=["renew"])
    client.wait_for_text(ident, "started", 30)
    box.link(False)
    time.sleep(240)
    box.link(True)
    job = client.wait(ident, BACK)
    assert job["conclusion"] == "succeeded" and "over" in job["log"]["text"]
    box.link(False)
    time.sleep(200)
    before = polls(client)
    box.link(True)
    wait_poll(client, before)
    assert runs.run(ECHO)["conclusion"] == "succeeded"


# -- names ---------------------------------------------------------------------------------------------------------------
class TestNames:
    @pytest.fixture
    def names(self, box: Box) -> Iterator[NameServer]:
        made = NameServer(box.here)
        yield made
        made.stop()

    @pytest.fixture
    def service(self, place: Path, box: Box, names: NameServer) -> Iterator[ServiceProcess]:
        with ServiceProcess(place / "service.log", hold=20, host=box.here, name=NAME) as started:
            yield started

    def test_resolver_away(self, wherry: Wherry, runs: Runs, client: Client, names: NameServer) -> None:
        wherry.register(client)
        names.silent = True
        wherry.start()
        deadline = time.monotonic() + 60
        while "host name not found" not in wherry.log_text():
            assert time.monotonic() < deadline and wherry.alive
            time.sleep(0.2)
        names.silent = False
        client.wait_runners(timeout=BACK)
        assert runs.run(ECHO)["conclusion"] == "succeeded"


# -- proxies -------------------------------------------------------------------------------------------------------------
def job_through(wherry: Wherry, runs: Runs, client: Client) -> dict[str, Any]:
    wherry.register(client)
    wherry.start(client=client)
    job = runs.run(steps("run: echo \"proxy=$http_proxy$https_proxy\""))
    assert job["conclusion"] == "succeeded" and job["feed"], "the live feed goes through the proxy too"
    client.check()
    return job


def test_http_proxy(wherry: Wherry, runs: Runs, client: Client, box: Box, place: Path) -> None:
    proxy = proxies.TinyProxy(place, box.here)
    wherry.env["http_proxy"] = proxy.at  # no scheme: http
    job = job_through(wherry, runs, client)
    assert f"proxy={proxy.at}" in job["log"]["text"], "jobs inherit the variables"
    said = proxy.text()
    assert "_broker/message" in said and "CONNECT" in said
    wherry.stop()
    proxy.stop()


def test_proxy_with_a_user(wherry: Wherry, runs: Runs, client: Client, box: Box, place: Path) -> None:
    proxy = proxies.TinyProxy(place, box.here, "bob", "s3cret")
    wherry.env["HTTP_PROXY"] = f"http://bob:s3cret@{proxy.at}"
    job_through(wherry, runs, client)
    assert "s3cret" not in wherry.log_text()
    wherry.stop()
    proxy.stop()


def test_user_is_percent_decoded(wherry: Wherry, runs: Runs, client: Client, box: Box) -> None:
    proxy = proxies.StrictProxy(box.here, "b@b:p/w:d")
    wherry.env["http_proxy"] = f"http://b%40b:p%2Fw%3Ad@{proxy.at}"
    job_through(wherry, runs, client)
    assert any(line.startswith("POST http://") for line in proxy.seen) and any(line.startswith("CONNECT ") for line in proxy.seen)


def test_proxy_wants_a_user(wherry: Wherry, client: Client, box: Box) -> None:
    proxy = proxies.StrictProxy(box.here, "bob:right")
    wherry.env["http_proxy"] = f"http://bob:wrong-word@{proxy.at}"
    token, url = client.token("acme/web")
    done = wherry.run("register", "--url", url, "--name", "box1", env={"ACTIONS_RUNNER_INPUT_TOKEN": token})
    assert done.returncode == 1 and "the proxy wants a user and a password (407)" in done.stderr
    assert "wrong-word" not in done.stderr


def test_no_proxy(wherry: Wherry, runs: Runs, client: Client, box: Box) -> None:
    proxy = proxies.StrictProxy(box.here, refuse=502)
    wherry.env |= {"http_proxy": f"http://{proxy.at}", "no_proxy": f"example.org,{box.here}:{client.status()['port']}"}
    job_through(wherry, runs, client)
    assert proxy.seen == []


def test_proxy_that_goes_and_comes(wherry: Wherry, runs: Runs, client: Client, box: Box) -> None:
    proxy = proxies.StrictProxy(box.here)
    wherry.env["http_proxy"] = f"http://{proxy.at}"
    job_through(wherry, runs, client)
    proxy.refuse = 503
    client.drop_connections()
    time.sleep(3)
    before = polls(client)
    proxy.refuse = 0
    wait_poll(client, before)
    assert runs.run(ECHO)["conclusion"] == "succeeded"


class TestTls:
    """HTTPS by CONNECT, and whom to trust."""

    @pytest.fixture
    def service(self, place: Path, box: Box) -> Iterator[ServiceProcess]:
        with ServiceProcess(place / "service.log", hold=10, host=box.here, tls=True) as started:
            shutil.copy(started.ca, place / "ca.pem")
            (place / "ca.pem").chmod(0o644)
            yield started

    def test_connect(self, wherry: Wherry, runs: Runs, client: Client, box: Box, place: Path) -> None:
        proxy = proxies.StrictProxy(box.here, "bob:pw")
        wherry.env |= {"https_proxy": f"http://bob:pw@{proxy.at}", "SSL_CERT_FILE": str(place / "ca.pem")}
        job_through(wherry, runs, client)
        assert proxy.seen and all(line == f"CONNECT {box.here}:{client.status()['port']}" for line in proxy.seen)
        assert not any(line.lower().startswith("authorization:") for line in proxy.headers), "tokens are for the service alone"

    def test_http_proxy_is_not_for_https(self, wherry: Wherry, runs: Runs, client: Client, box: Box, place: Path) -> None:
        proxy = proxies.StrictProxy(box.here, refuse=502)
        wherry.env |= {"http_proxy": f"http://{proxy.at}", "SSL_CERT_FILE": str(place / "ca.pem")}
        job_through(wherry, runs, client)
        assert proxy.seen == []

    @pytest.mark.parametrize("status,said", [(407, "the proxy wants a user and a password (407)"),
                                             (403, "the proxy refuses the connection (its answer to CONNECT was 403)")])
    def test_refused_connect(self, wherry: Wherry, client: Client, box: Box, status: int, said: str) -> None:
        proxy = proxies.StrictProxy(box.here, refuse=status)
        wherry.env["https_proxy"] = f"http://{proxy.at}"
        token, url = client.token("acme/web")
        done = wherry.run("register", "--url", url, "--name", "box1", env={"ACTIONS_RUNNER_INPUT_TOKEN": token})
        assert done.returncode == 1 and said in done.stderr

    def test_own_authority(self, wherry: Wherry, runs: Runs, client: Client, place: Path) -> None:
        """--ca-file is beside the system's, and workers get it too."""
        wherry.env["WHERRY_CA_FILE"] = str(place / "ca.pem")
        wherry.register(client)
        del wherry.env["WHERRY_CA_FILE"]
        wherry.start("--ca-file", str(place / "ca.pem"), client=client)
        assert runs.run(ECHO)["conclusion"] == "succeeded"
        client.check()

    def test_unknown_authority(self, wherry: Wherry, client: Client) -> None:
        token, url = client.token("acme/web")
        done = wherry.run("register", "--url", url, "--name", "box1", env={"ACTIONS_RUNNER_INPUT_TOKEN": token})
        assert done.returncode == 1 and "certificate is not trusted" in done.stderr and "--ca-file" in done.stderr

