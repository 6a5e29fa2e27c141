"""`wherry config` by the command lines, variables and answers that scripts give to the official config.sh."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time
from pathlib import Path

import pytest

from tests.service.client import Client

from .support.agent import Wherry


@pytest.fixture(autouse=True)
def quick(wherry: Wherry) -> None:
    wherry.env["WHERRY_TEST_CLOCK"] = "50"


def kept(wherry: Wherry, name: str = "box1") -> dict[str, object]:
    return json.loads((wherry.state / "runners" / name / "runner.json").read_text())


def test_unattended(wherry: Wherry, client: Client) -> None:
    token, url = client.token()
    done = wherry.run("config", "--unattended", "--url", url, "--token", token, "--name", "box1", "--runnergroup", "builders",
                      "--labels", "gpu,big", "--work", "_work", "--replace", "--disableupdate", check=True)
    assert token not in done.stdout + done.stderr and "process list" in done.stderr
    runner = client.runner("box1")
    assert runner["group"] == 3 and {"gpu", "big", "self-hosted", "Linux"} <= set(runner["labels"]) and not runner["ephemeral"]
    assert kept(wherry)["disableUpdate"] is True
    assert str(kept(wherry)["work"]).endswith("-work/box1")
    client.check()


def test_names_in_any_case_and_order(wherry: Wherry, client: Client) -> None:
    token, url = client.token()
    wherry.run("config", "configure", "--Token", token, "--URL", url, "--Ephemeral", "--UNATTENDED", "--No-Default-Labels", "--labels", "a",
               "--name", "box1", check=True)
    assert client.runner("box1")["labels"] == ["a"] and client.runner("box1")["ephemeral"]
    client.check()


def test_of_two_values_the_first(wherry: Wherry, client: Client) -> None:
    token, url = client.token()
    wherry.run("config", "--unattended", "--url", url, "--token", token, "--name", "box1", "--name", "box2", check=True)
    assert client.status()["runners"][0]["name"] == "box1"


def test_pat(wherry: Wherry, client: Client) -> None:
    _, url = client.token()
    pat = client.status()["pat"]
    wherry.run("config", "--unattended", "--url", url, "--pat", pat, "--name", "box1", check=True)
    wherry.run("config", "remove", "--pat", pat, check=True)
    assert client.status()["runners"] == []
    client.check()


def test_environment(wherry: Wherry, client: Client) -> None:
    """Flags too; a name with dashes may have underscores, as shells want it."""
    token, url = client.token()
    wherry.run("config", "--unattended", check=True, env={
        "ACTIONS_RUNNER_INPUT_URL": url, "ACTIONS_RUNNER_INPUT_TOKEN": token, "actions_runner_input_name": "box1",
        "ACTIONS_RUNNER_INPUT_LABELS": "x", "ACTIONS_RUNNER_INPUT_NO_DEFAULT_LABELS": "True", "ACTIONS_RUNNER_INPUT_EPHEMERAL": "true",
        "ACTIONS_RUNNER_INPUT_REPLACE": "no"})
    runner = client.runner("box1")
    assert runner["labels"] == ["x"] and runner["ephemeral"]
    client.check()


def test_the_command_line_comes_before_the_environment(wherry: Wherry, client: Client) -> None:
    token, url = client.token()
    wherry.run("config", "--unattended", "--url", url, "--name", "box1", check=True,
               env={"ACTIONS_RUNNER_INPUT_TOKEN": token, "ACTIONS_RUNNER_INPUT_NAME": "box2"})
    assert client.status()["runners"][0]["name"] == "box1"


def test_remove(wherry: Wherry, client: Client) -> None:
    wherry.register(client)
    token, _ = client.token(kind="remove")
    wherry.run("config", "remove", "--token", token, check=True)
    assert client.status()["runners"] == [] and not (wherry.state / "runners/box1").exists()
    client.check()


def test_remove_local(wherry: Wherry, client: Client) -> None:
    wherry.register(client)
    wherry.run("config", "remove", "--local", check=True)
    assert len(client.status()["runners"]) == 1 and not (wherry.state / "runners/box1").exists()


def test_remove_where_several_are(wherry: Wherry, client: Client) -> None:
    wherry.register(client)
    wherry.register(client, name="box2")
    token, _ = client.token(kind="remove")
    done = wherry.run("config", "remove", "--token", token)
    assert done.returncode == 1 and "box1, box2" in done.stderr
    wherry.run("config", "remove", "--token", token, "--name", "box2", check=True)
    assert [r["name"] for r in client.status()["runners"]] == ["box1"]


def test_configured_already(wherry: Wherry, client: Client) -> None:
    wherry.register(client)
    token, url = client.token()
    done = wherry.run("config", "--unattended", "--url", url, "--token", token, "--name", "box1")
    assert done.returncode == 1 and "config remove" in done.stderr


def test_unknown_options_are_passed_over(wherry: Wherry, client: Client) -> None:
    token, url = client.token()
    done = wherry.run("config", "--unattended", "--url", url, "--token", token, "--name", "box1", "--ephemera", "--runasservice",
                      "--windowslogonaccount", "x", "--what", "ever", check=True)
    assert "did you mean --ephemeral?" in done.stderr and "--what" in done.stderr
    assert "--runasservice is for Windows" in done.stderr and "--windowslogonaccount is not supported" in done.stderr
    assert not client.runner("box1")["ephemeral"]


@pytest.mark.parametrize("arguments, words", [
    (["--unattended"], "--url is missing"),
    (["--unattended", "--url", "http://127.0.0.1:9/a/b"], "neither --token nor --pat"),
    (["--generateServiceConfig"], "systemctl"),
    (["--check"], "wherry doctor"),
    (["remove"], "there is no runner"),
    (["--unattended", "--url"], "--url needs a value"),
])
def test_refusals(wherry: Wherry, arguments: list[str], words: str) -> None:
    done = wherry.run("config", *arguments)
    assert done.returncode == 1 and words in done.stderr


def test_version_is_the_official_one(wherry: Wherry) -> None:
    done = wherry.run("config", "--version", check=True)
    assert done.stdout.strip().count(".") == 2


# -- questions -------------------------------------------------------------------------------------------------------
def test_answers_from_a_pipe(wherry: Wherry, client: Client) -> None:
    """URL, token, group, name, labels, work folder: the official order."""
    token, url = client.token()
    done = wherry.run("config", given=f"{url}\n{token}\nBuilders\nbox1\nlabel-1,label-2\n\n", check=True)
    assert token not in done.stdout
    runner = client.runner("box1")
    assert runner["group"] == 3 and {"label-1", "label-2"} <= set(runner["labels"])
    client.check()


def test_defaults_at_the_end_of_the_pipe(wherry: Wherry, client: Client) -> None:
    token, url = client.token()
    wherry.run("config", "--url", url, "--token", token, "--name", "box1", given="\n\n", check=True)
    assert client.runner("box1")["group"] == 1
    client.check()


def test_end_of_input_without_a_default(wherry: Wherry, client: Client) -> None:
    _, url = client.token()
    done = wherry.run("config", "--url", url, given="")
    assert done.returncode == 1 and "standard input has ended" in done.stderr


def test_replace_is_asked_for(wherry: Wherry, client: Client, place: Path) -> None:
    Wherry(place / "other").register(client)
    token, url = client.token()
    wherry.run("config", "--url", url, "--token", token, "--name", "box1", "--runnergroup", "default", "--labels", "x", "--work", "_work",
               given="Y\n", check=True)
    assert len(client.status()["runners"]) == 1
    client.check()


def test_replace_refused(wherry: Wherry, client: Client, place: Path) -> None:
    Wherry(place / "other").register(client)
    token, url = client.token()
    done = wherry.run("config", "--url", url, "--token", token, "--name", "box1", given="\n\nN\n")
    assert done.returncode == 1 and "--replace" in done.stderr


class Terminal:
    """The command at a terminal, with somebody who types."""

    def __init__(self, wherry: Wherry, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen([str(wherry.binary), "config", *arguments], env=wherry.env, stdin=slave, stdout=slave, stderr=slave,
                                         start_new_session=True)
        os.close(slave)
        self.seen = ""

    def wait_for(self, text: str, timeout: float = 30) -> None:
        deadline = time.monotonic() + timeout
        start = len(self.seen)
        while text not in self.seen[start:]:
            ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError(f"{text!r} did not come:\n{self.seen}")
            try:
                self.seen += os.read(self._master, 4096).decode(errors="replace")
            except OSError:
                raise AssertionError(f"it ended before {text!r}:\n{self.seen}") from None

    def type(self, text: str) -> None:
        os.write(self._master, text.encode() + b"\n")

    def end(self) -> int:
        while True:
            try:
                data = os.read(self._master, 4096)
            except OSError:
                break
            if not data:
                break
            self.seen += data.decode(errors="replace")
        os.close(self._master)
        return self._process.wait(30)


def test_at_a_terminal(wherry: Wherry, client: Client) -> None:
    """A wrong token may be corrected, and no token is shown."""
    token, url = client.token()
    terminal = Terminal(wherry)
    for question, answer in (("URL of your repository", url), ("register token", "AWRONG"), ("URL of your repository", url),
                             ("register token", token), ("runner group", ""), ("name of runner", "box1"), ("additional labels", "gpu"),
                             ("work folder", "")):
        terminal.wait_for(question)
        terminal.type(answer)
    assert terminal.end() == 0, terminal.seen
    assert "AWRONG" not in terminal.seen and token not in terminal.seen
    assert "does not know this registration token" in terminal.seen
    assert "gpu" in client.runner("box1")["labels"]
    client.check()
