"""What every command has in common: help, unknown options, exit codes."""

from __future__ import annotations

import pytest

from .support.agent import Wherry

COMMANDS = ("register", "unregister", "run", "status", "drain", "resume", "cancel", "build", "cache", "doctor", "exec", "lint", "version")


@pytest.mark.parametrize("command", COMMANDS)
def test_help(wherry: Wherry, command: str) -> None:
    by_option = wherry.run(command, "--help", check=False)
    by_word = wherry.run("help", command, check=False)
    assert by_option.returncode == by_word.returncode == 0
    assert by_option.stdout == by_word.stdout
    assert by_option.stdout.startswith(f"usage: wherry {command}") and "Exit code: 0" in by_option.stdout


@pytest.mark.parametrize("command", ("worker", "builder"))
def test_hidden_commands_say_who_starts_them(wherry: Wherry, command: str) -> None:
    told = wherry.run(command, "--help", check=False)
    assert told.returncode == 0 and f"wherry {command} is started by " in told.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--cache-maxsize", "1g"], "there is no option --cache-maxsize; did you mean --cache-max-size?"),
        (["run", "--cache", "1g"], "--cache may mean several options: --cache-max-size --cache-min-free"),
        (["run", "--once=2"], "--once takes no value"),
        (["run", "--name"], "--name needs a value"),
        (["run", "--cache-max-size", "much"], "--cache-max-size takes a size"),
        (["exec", "-z"], "there is no option -z"),
        (["exec", "-j"], "-j needs a value"),
        (["cache", "prun"], "did you mean `prune`?"),
        (["build", "--tagg", "x", "."], "did you mean --tag?"),
        (["status", "x"], "belongs to no option"),
        (["stats"], "did you mean `status`?"),
    ],
)
def test_bad_usage_is_told_and_ends_with_2(wherry: Wherry, arguments: list[str], said: str) -> None:
    told = wherry.run(*arguments, check=False)
    assert told.returncode == 2 and said in told.stderr and "\x1b" not in told.stderr
