"""A trace for people: each request with its answer as it happens, each fault, each protocol error. Secrets are hidden."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Callable, TextIO

if TYPE_CHECKING:
    from .recorder import ProtocolError, Recorder, RequestRecord

WIDTH = 160
_TWIRP = re.compile(r"/twirp/[\w.]+(?=/)")
_ID = re.compile(r"\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")


def _cut(text: str) -> str:
    """One line of at most WIDTH characters."""
    line = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in " ".join(text.split()))
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def _path(path: str) -> str:
    """Without what the endpoint's name says already, and with short ids."""
    return _cut(_ID.sub(r"\1…", _TWIRP.sub("", path)))


class Trace:
    """Lines like

        12.345 box1   POST run.acquire /_run/7/acquirejob -> 200 in 4 ms   [fault: delay]
                      > {"jobMessageId": "…"}
                      < {"messageType": "RunnerJobRequest", …
    """

    def __init__(self, recorder: "Recorder", out: TextIO, name_of: Callable[[int], str]) -> None:
        self._recorder, self._out, self._name_of = recorder, out, name_of
        self._began: float | None = None

    def _print(self, at: float, who: str, text: str) -> None:
        if self._began is None:
            self._began = at
        print(f"{at - self._began:9.3f} {who:<12.12} {text}", file=self._out, flush=True)

    def _more(self, mark: str, text: str) -> None:
        if text.strip():
            print(f"{'':22} {mark} {_cut(text)}", file=self._out, flush=True)

    def _who(self, entry: "RequestRecord") -> str:
        return self._name_of(entry.runner) if entry.runner else "-"

    def request(self, entry: "RequestRecord") -> None:
        took = ((entry.ended or entry.at) - entry.at) * 1000
        status = "lost" if entry.status is None else str(entry.status)
        fault = f"   [fault: {entry.fault}]" if entry.fault else ""
        job = f" job {entry.job[:8]}" if entry.job else ""
        self._print(entry.at, self._who(entry), f"{entry.method} {entry.endpoint}{job} {_path(self._recorder.hide(entry.path))} -> {status} in {took:.0f} ms{fault}")
        self._more(">", self._recorder.shown(entry.body))
        self._more("<", self._recorder.shown(entry.answer))

    def error(self, error: "ProtocolError") -> None:
        self._print(error.at, "ERROR", f"[{error.rule}] {error.endpoint or '-'}: {error.text}")

    def note(self, at: float, text: str) -> None:
        self._print(at, "service", self._recorder.hide(text))
