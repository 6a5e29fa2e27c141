"""``wherry cache`` and ``wherry doctor`` as an operator meets them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.service.client import Client
from tests.service.process import ServiceProcess

from .support.agent import Wherry


def test_no_store(wherry: Wherry, place: Path) -> None:
    state = place / "nothing"
    missing = wherry.run("cache", "du", "--state", state)
    assert missing.returncode == 1 and "none yet" in missing.stderr
    state.mkdir()
    empty = wherry.run("cache", "verify", "--state", state)
    assert empty.returncode == 1 and "no wherry store here" in empty.stderr
    assert not list(state.iterdir())


def test_usage(wherry: Wherry) -> None:
    shown = wherry.run("cache", "--help")
    assert shown.returncode == 0 and all(verb in shown.stdout for verb in ("du", "list", "verify", "prune"))
    wrong = wherry.run("cache", "verfy")
    assert wrong.returncode == 2 and "did you mean `verify`" in wrong.stderr
    assert wherry.run("cache").returncode == 2
    assert wherry.run("doctor", "extra").returncode == 2


def test_doctor(wherry: Wherry, place: Path) -> None:
    state = place / "state"
    done = wherry.run("doctor", "--offline", "--json", "--state", str(state))
    told = json.loads(done.stdout)
    checks = {line["check"]: line["level"] for line in told["checks"]}
    for name in ("kernel", "openat2", "pidfd", "seccomp", "user namespaces", "overlayfs", "container runtime", "git", "disk space"):
        assert name in checks, done.stdout
    assert told["works"] == (done.returncode == 0) == ("fail" not in checks.values())
    assert all(line.get("advice") for line in told["checks"] if line["level"] == "fail")
    assert not list(place.glob(".wherry-doctor*"))
    # The same for people, and without a runtime on the PATH.
    plain = wherry.run("doctor", "--offline", "--state", str(state), env={"PATH": "/nowhere"})
    assert plain.returncode == 1 and "apt install crun" in plain.stdout and "checks failed" in plain.stdout


def test_doctor_asks_the_service(wherry: Wherry, client: Client) -> None:
    wherry.register(client)
    told = json.loads(wherry.run("doctor", "--json").stdout)
    checks = {line["check"]: line for line in told["checks"]}
    assert checks["service"]["level"] == "ok" and "box1" in checks["service"]["found"]
    assert checks["clock"]["level"] == "ok", checks["clock"]


def test_doctor_with_the_service_gone(wherry: Wherry, service: ServiceProcess) -> None:
    wherry.register(service.client)
    service.stop()
    done = wherry.run("doctor")
    assert done.returncode == 1 and "fail  service" in done.stdout and "firewall" in done.stdout
