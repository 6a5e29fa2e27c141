"""What stands after a call that passed: store, registry and the figures of its cold run.

A later call with the same tree, base image and binary goes on from there: it shows the cold run's figures with their date,
and makes the other runs anew.
"""

from __future__ import annotations

import hashlib
import json
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_FILE = "kept.json"


@dataclass
class Kept:
    key: str
    # Of registry, anonymous registry and git server: they are part of names that builds know.
    ports: list[int]
    calls: int
    cold: dict[str, Any]
    at: str


def key_of(tree: str, base: str, binary: Path) -> str:
    return hashlib.sha256(f"{tree} {base} {hashlib.sha256(binary.read_bytes()).hexdigest()}".encode()).hexdigest()


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def load(place: Path, key: str) -> Kept | None:
    """The kept things, if they are of this very tree, image and binary and their ports are free."""
    try:
        kept = Kept(**json.loads((place / _FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return kept if kept.key == key and all(map(_free, kept.ports)) else None


def save(place: Path, kept: Kept) -> None:
    (place / _FILE).write_text(json.dumps(asdict(kept)))


def forget(place: Path) -> None:
    """Until a call passes again nothing stands."""
    (place / _FILE).unlink(missing_ok=True)
