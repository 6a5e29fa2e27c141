"""A test's hand on the service: a small blocking client of the control API, with the standard library alone.

As a program: ``python3 -m tests.service.client CONTROL COMMAND`` (``--help``).
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Iterable

from . import workflow

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ProtocolErrors(AssertionError):
    """The runner broke the protocol; the text lists how."""


class Client:
    def __init__(self, control: str) -> None:
        self._control = control

    def call(self, method: str, path: str, body: Any = None, timeout: float = 60.0) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._control + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with _OPENER.open(request, timeout=timeout) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read().decode('utf-8', 'replace')}") from None

    # -- registration ------------------------------------------------------------------------------------------------
    def token(self, scope: str = "acme/web", kind: str = "registration", seconds: float = 3600) -> tuple[str, str]:
        """A registration (or ``remove``) token and the URL to register at."""
        got = self.call("POST", "/tokens", {"scope": scope, "kind": kind, "seconds": seconds})
        return got["token"], got["url"]

    def status(self) -> dict[str, Any]:
        return self.call("GET", "")

    def wait_runners(self, count: int = 1, timeout: float = 30.0) -> None:
        if not self.call("GET", f"/wait-runners?runners={count}&timeout={timeout}", timeout=timeout + 10)["done"]:
            raise TimeoutError(f"fewer than {count} runners polled within {timeout} s: {self.status()['runners']}")

    def runner(self, name: str | None = None) -> dict[str, Any]:
        return next(r for r in self.status()["runners"] if name is None or r["name"] == name)

    # -- jobs --------------------------------------------------------------------------------------------------------
    def queue(self, message: dict[str, Any], **options: Any) -> str:
        """Queue a job from a message (ids, endpoint and tokens are filled in); returns its id."""
        return self.call("POST", "/jobs", {"message": message, **options})["id"]

    def queue_raw(self, raw: bytes, **options: Any) -> str:
        """Queue a job whose message is these very bytes."""
        return self.call("POST", "/jobs", {"raw": base64.b64encode(raw).decode(), **options})["id"]

    def queue_workflow(self, path: Path | str, job: str | None = None, *, text: str | None = None, event: workflow.Event | None = None,
                       inputs: workflow.Inputs | None = None, **options: Any) -> str:
        """Queue one job of a workflow file, turned into a message as the service does."""
        event = event or workflow.Event()
        built = workflow.build(Path(path), job, text=text, event=event, inputs=inputs or workflow.Inputs())
        return self.call("POST", "/jobs", {"message": built.message, "name": built.job, "labels": built.labels, "repo": event.repository,
                                           **options})["id"]

    def job(self, ident: str) -> dict[str, Any]:
        return self.call("GET", f"/jobs/{ident}")

    def wait(self, ident: str, timeout: float = 60.0, until: str | None = None) -> dict[str, Any]:
        """Wait for the job's end (or for a mark such as ``first-renew``); returns what it uploaded."""
        query = {"timeout": str(timeout), **({"for": until} if until else {})}
        got = self.call("GET", f"/jobs/{ident}/wait?" + urllib.parse.urlencode(query), timeout=timeout + 10)
        if not got["done"]:
            raise TimeoutError(f"job {ident} is {got['state']} after {timeout} s ({until or 'end'} awaited); "
                               + "; ".join(self.error_lines()))
        return self.job(ident)

    def wait_for_text(self, ident: str, text: str, timeout: float = 60.0) -> None:
        """Wait until the live feed (or a log) shows a text."""
        query = urllib.parse.urlencode({"text": text, "timeout": str(timeout)})
        if not self.call("GET", f"/jobs/{ident}/wait-log?{query}", timeout=timeout + 10)["done"]:
            raise TimeoutError(f"{text!r} was not seen within {timeout} s")

    def cancel(self, ident: str, timeout: str = "00:05:00", repeat: bool = False) -> float:
        return self.call("POST", f"/jobs/{ident}/cancel", {"timeout": timeout, "repeat": repeat})["at"]

    def message(self, runner: int, kind: str, body: Any = "", **options: Any) -> None:
        self.call("POST", f"/runners/{runner}/message", {"type": kind, "body": body, **options})

    # -- faults ------------------------------------------------------------------------------------------------------
    def fault(self, at: str, do: str, **spec: Any) -> int:
        return self.call("POST", "/faults", {"at": at, "do": do, **spec})["id"]

    def plan(self, name: str, **spec: Any) -> None:
        """Arm a fault of the protocol's list by its name (tests/service/plan.py)."""
        self.call("POST", "/plan", {"name": name, **spec})

    def chaos(self, seed: int = 0, share: float = 0.0, only: list[str] | None = None) -> dict[str, Any]:
        """A share of all requests (to these endpoints only) fails from now on (0: none); returns what was spoiled until now."""
        return self.call("POST", "/chaos", {"seed": seed, "share": share, "only": only})

    def clear_faults(self) -> None:
        self.call("DELETE", "/faults")

    def outage(self, seconds: float) -> None:
        self.call("POST", "/outage", {"seconds": seconds})

    def drop_connections(self) -> None:
        self.call("POST", "/drop-connections")

    def revoke(self, kind: str, owner: str | None = None) -> int:
        return self.call("POST", "/revoke", {"kind": kind, "owner": owner})["count"]

    def expire_session(self, runner: int) -> None:
        self.call("POST", f"/runners/{runner}/expire-session")

    def set_clock(self, offset: float) -> None:
        self.call("POST", "/clock", {"offset": offset})

    def options(self, **values: Any) -> dict[str, Any]:
        return self.call("PATCH", "/options", values)

    # -- what was seen -----------------------------------------------------------------------------------------------
    def errors(self, job: str | None = None) -> list[dict[str, Any]]:
        return self.call("GET", "/errors" + (f"?job={job}" if job else ""))

    def error_lines(self) -> list[str]:
        return [f"{e['at']:.3f} {e['endpoint'] or '-'} [{e['rule']}] {e['text']}" for e in self.errors()]

    def clear_errors(self) -> None:
        self.call("DELETE", "/errors")

    def check(self, ignore: Iterable[str] = ()) -> None:
        """Raise unless the runner kept to the protocol (``ignore`` names rules)."""
        lines = [f"  {e['at']:.3f} {e['endpoint'] or '-'} [{e['rule']}] {e['text']}" for e in self.errors() if e["rule"] not in set(ignore)]
        if lines:
            raise ProtocolErrors(f"{len(lines)} protocol errors:\n" + "\n".join(lines))

    def requests(self, job: str | None = None, endpoint: str | None = None, since: int = 0) -> list[dict[str, Any]]:
        query = {k: v for k, v in (("job", job), ("endpoint", endpoint), ("since", str(since))) if v}
        return self.call("GET", "/requests?" + urllib.parse.urlencode(query))


def step_log(job: dict[str, Any], name: str) -> str:
    """The text of one step's log, without time stamps, by the step's name."""
    ident = next(s["id"] for s in job["steps"] if s["name"] == name)
    return "\n".join(job["logs"][ident]["lines"])


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m tests.service.client")
    parser.add_argument("control", help="address of the control API, as tests.service printed it")
    verbs = parser.add_subparsers(dest="verb", required=True)
    queue = verbs.add_parser("queue", help="queue a job of a workflow file and print what it uploads")
    queue.add_argument("workflow", type=Path)
    queue.add_argument("--job")
    queue.add_argument("--repo", default="acme/web")
    queue.add_argument("--secret", action="append", default=[], metavar="K=V")
    queue.add_argument("--timeout", type=float, default=600)
    verbs.add_parser("errors", help="list the protocol errors; exit 1 if there is one")
    verbs.add_parser("requests", help="list the requests")
    fault = verbs.add_parser("fault", help="arm a fault of the protocol's list; without a name, list them")
    fault.add_argument("name", nargs="?")
    fault.add_argument("settings", nargs="*", metavar="K=V", help="after=SECONDS, when=MARK, at=ENDPOINT, times=N, seconds=N, job=ID")
    token = verbs.add_parser("token", help="print a registration token and its URL")
    token.add_argument("--repo", default="acme/web")
    given = parser.parse_args()
    client = Client(given.control)
    if given.verb == "token":
        print(*client.token(given.repo))
    elif given.verb == "errors":
        print("\n".join(client.error_lines()) or "no protocol errors")
        return 1 if client.errors() else 0
    elif given.verb == "fault" and given.name:
        settings = dict(item.split("=", 1) for item in given.settings)
        client.plan(given.name, **{k: float(v) if v.replace(".", "", 1).isdigit() else v for k, v in settings.items()})
    elif given.verb == "fault":
        for name, says in client.call("GET", "/plan").items():
            print(f"{name:28} {says}")
    elif given.verb == "requests":
        for r in client.requests():
            print(f"{r['at']:.3f} {r['method']:6} {r['path'][:100]} {r['status']} {((r['ended'] or r['at']) - r['at']) * 1000:.1f} ms")
    else:
        secrets = dict(item.split("=", 1) for item in given.secret)
        ident = client.queue_workflow(given.workflow, given.job, event=workflow.Event(repository=given.repo),
                                      inputs=workflow.Inputs(secrets=secrets))
        job = client.wait(ident, given.timeout)
        print("\n".join(job["log"]["lines"] if job["log"] else []))
        print(job["conclusion"])
    return 0


if __name__ == "__main__":
    sys.exit(_main())
