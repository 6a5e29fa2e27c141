"""What the headers of a request may be: every one that the service does not know is a fault (protocol §0.2)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .endpoint import Call

_COMMON = {"host", "user-agent", "accept", "accept-encoding", "authorization", "content-type", "content-length", "transfer-encoding",
           "connection", "x-actions-session"}
_V1 = {"x-tfs-session", "x-vss-e2eid", "x-tfs-fedauthredirect", "x-vss-orchestrationid"}
_BLOB = {"x-ms-blob-type", "x-ms-blob-sealed", "x-ms-blob-condition-appendpos", "x-ms-blob-content-type", "x-ms-version",
         "x-ms-client-request-id", "if-none-match"}
_SOCKET = {"upgrade", "sec-websocket-key", "sec-websocket-version"}
# Called by tools of a job (git, curl, actions), which send what they like.
FOREIGN = ("rest.", "unknown")
_VERSION = re.compile(r"\d+\.\d+(-preview(\.\d+)?)?\Z")
# One header may hold a credential: its own. Everything else is scanned for secrets.
CREDENTIALS = ("authorization", "proxy-authorization")


def _allowed(name: str) -> set[str]:
    if name.startswith("blob."):
        return _COMMON | _BLOB
    if name.startswith("feed."):
        return _COMMON | _SOCKET
    return _COMMON | _V1 if name.startswith("v1.") else _COMMON


def parameter(value: str, name: str) -> str | None:
    """A parameter of a media type: ``application/json; api-version=6.0-preview.2``."""
    for part in value.split(";")[1:]:
        key, _, given = part.strip().partition("=")
        if key.lower() == name:
            return given.strip().strip('"')
    return None


def _api_version(call: "Call") -> None:
    """V1 calls say it in Accept and with a body in Content-Type; no other call says it anywhere."""
    headers, name = call.request.headers, call.record.endpoint
    accepted = parameter(headers.get("Accept", ""), "api-version")
    typed = parameter(headers.get("Content-Type", ""), "api-version")
    if not name.startswith("v1."):
        if accepted or typed:
            call.error("header", "api-version belongs to V1 calls alone")
        return
    if accepted is None:
        call.error("header", f"Accept is {headers.get('Accept')!r}, without api-version")
    elif not _VERSION.match(accepted):
        call.error("header", f"api-version is {accepted!r}")
    if call.body and typed != accepted:
        call.error("header", f"api-version is {typed!r} in Content-Type and {accepted!r} in Accept")
    if call.request.query.get("api-version", accepted) != accepted:
        call.error("query", f"api-version is {call.request.query['api-version']!r} in the query and {accepted!r} in Accept")


def check(call: "Call", api: bool) -> None:
    headers, name = call.request.headers, call.record.endpoint
    if not headers.get("User-Agent"):
        call.error("header", "User-Agent is missing or empty")
    if "Expect" in headers:
        call.error("header", f"Expect: {headers['Expect']} must not be sent")
    if name.startswith(FOREIGN):
        return
    for given in sorted({key.lower() for key in headers} - _allowed(name) - {"expect"}):
        call.error("header", f"the header {given} is unknown")
    for given in sorted({key.lower() for key in headers}):
        if len(headers.getall(given)) > 1:
            call.error("header", f"the header {given} is given {len(headers.getall(given))} times")
    accept = headers.get("Accept", "")
    if api and "application/json" not in accept and "application/vnd.github" not in accept:
        call.error("header", f"Accept is {headers.get('Accept')!r}, expected application/json")
    if call.body and "Content-Length" not in headers and headers.get("Transfer-Encoding", "").lower() != "chunked":
        call.error("header", "a body without a length")
    _api_version(call)


def scanned(call: "Call") -> bytes:
    """The headers' bytes that must be free of secrets."""
    return "\n".join(f"{k}: {v}" for k, v in call.request.headers.items() if k.lower() not in CREDENTIALS).encode("utf-8", "surrogateescape")
