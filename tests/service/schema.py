"""Strict shapes of JSON values: type, presence and unknown members, with the path of every fault.

A shape is a callable ``shape(value, path, faults)`` that appends sentences to ``faults``.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Iterable, Mapping

Faults = list[str]
Shape = Callable[[Any, str, Faults], None]

_GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z\Z")
_MILLIS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")


def _kind(value: Any) -> str:
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", list: "an array", dict: "an object"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def string(value: Any, path: str, faults: Faults) -> None:
    if not isinstance(value, str):
        faults.append(f"{path}: expected a string, got {_kind(value)}")


def anything(_value: Any, _path: str, _faults: Faults) -> None:
    """Not looked at."""


def text(value: Any, path: str, faults: Faults) -> None:
    """A string that is not empty."""
    string(value, path, faults)
    if value == "":
        faults.append(f"{path}: must not be empty")


def integer(value: Any, path: str, faults: Faults) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        faults.append(f"{path}: expected an integer, got {_kind(value)}")


def boolean(value: Any, path: str, faults: Faults) -> None:
    if not isinstance(value, bool):
        faults.append(f"{path}: expected a boolean, got {_kind(value)}")


def _matching(pattern: re.Pattern[str], what: str) -> Shape:
    def check(value: Any, path: str, faults: Faults) -> None:
        if not isinstance(value, str):
            faults.append(f"{path}: expected {what}, got {_kind(value)}")
        elif not pattern.match(value):
            faults.append(f"{path}: expected {what}, got {value[:60]!r}")

    return check


guid = _matching(_GUID, "a lower-case GUID")
time = _matching(_TIME, "a UTC time")
millis = _matching(_MILLIS, "a UTC time with exactly three fraction digits")


def at_least(low: int) -> Shape:
    def check(value: Any, path: str, faults: Faults) -> None:
        integer(value, path, faults)
        if isinstance(value, int) and value < low:
            faults.append(f"{path}: must be at least {low}, got {value}")

    return check


def one_of(*allowed: Any) -> Shape:
    def check(value: Any, path: str, faults: Faults) -> None:
        if not any(value == item and type(value) is type(item) for item in allowed):
            faults.append(f"{path}: expected one of {', '.join(map(repr, allowed))}, got {value!r}"[:300])

    return check


def nullable(shape: Shape) -> Shape:
    def check(value: Any, path: str, faults: Faults) -> None:
        if value is not None:
            shape(value, path, faults)

    return check


def list_of(shape: Shape, most: int | None = None) -> Shape:
    def check(value: Any, path: str, faults: Faults) -> None:
        if not isinstance(value, list):
            faults.append(f"{path}: expected an array, got {_kind(value)}")
            return
        if most is not None and len(value) > most:
            faults.append(f"{path}: at most {most} items, got {len(value)}")
        for index, item in enumerate(value):
            shape(item, f"{path}[{index}]", faults)

    return check


def map_of(shape: Shape) -> Shape:
    def check(value: Any, path: str, faults: Faults) -> None:
        if not isinstance(value, dict):
            faults.append(f"{path}: expected an object, got {_kind(value)}")
            return
        for key, item in value.items():
            shape(item, f"{path}.{key}", faults)

    return check


def record(required: Mapping[str, Shape], optional: Mapping[str, Shape] | None = None) -> Shape:
    others: Mapping[str, Shape] = optional or {}

    def check(value: Any, path: str, faults: Faults) -> None:
        if not isinstance(value, dict):
            faults.append(f"{path}: expected an object, got {_kind(value)}")
            return
        prefix = path + "." if path else ""
        for key, shape in required.items():
            if key not in value:
                faults.append(f"{prefix}{key}: missing")
            else:
                shape(value[key], prefix + key, faults)
        for key, item in value.items():
            if key in required:
                continue
            if key in others:
                others[key](item, prefix + key, faults)
            else:
                faults.append(f"{prefix}{key}: unknown field")

    return check


def verify(value: Any, shape: Shape) -> Faults:
    faults: Faults = []
    shape(value, "", faults)
    return faults


def is_unknown_only(faults: Iterable[str]) -> bool:
    """True when nothing worse than a field that the service does not know was found."""
    return all(fault.endswith(": unknown field") for fault in faults)
