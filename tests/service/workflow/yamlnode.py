"""YAML with positions, scalars resolved by the YAML 1.2 core schema (PyYAML's own rules are those of 1.1)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Iterator

import yaml

_INT = re.compile(r"[-+]?[0-9]+\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_OCT = re.compile(r"0o[0-7]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_INF = re.compile(r"[-+]?\.(inf|Inf|INF)\Z")
_WORDS: dict[str, bool | None] = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
                                  "null": None, "Null": None, "NULL": None, "~": None, "": None}

Scalar = str | int | float | bool | None


class WorkflowError(ValueError):
    """The workflow file is not what it should be; the text starts with its position."""


@dataclass
class Node:
    """A YAML node: ``value`` is a scalar, a list of nodes, or a list of (key, value) node pairs."""

    kind: str
    value: object
    line: int
    col: int

    def scalar(self) -> Scalar:
        if self.kind != "scalar":
            raise WorkflowError(f"(Line: {self.line}, Col: {self.col}): a {self.kind} was not expected")
        return self.value  # type: ignore[return-value]

    def text(self) -> str:
        value = self.scalar()
        if value is None:
            return ""
        if isinstance(value, bool):
            return str(value).lower()
        return "%.15G" % value if isinstance(value, float) else str(value)

    def items(self) -> Iterator["Node"]:
        if self.kind != "sequence":
            raise WorkflowError(f"(Line: {self.line}, Col: {self.col}): a sequence was expected")
        yield from self.value  # type: ignore[misc]

    def pairs(self) -> Iterator[tuple["Node", "Node"]]:
        if self.kind == "scalar" and self.value is None:
            return
        if self.kind != "mapping":
            raise WorkflowError(f"(Line: {self.line}, Col: {self.col}): a mapping was expected")
        yield from self.value  # type: ignore[misc]

    def get(self, key: str) -> "Node | None":
        return next((value for name, value in self.pairs() if name.text() == key), None)

    def plain(self) -> object:
        """Without positions."""
        if self.kind == "scalar":
            return self.value
        if self.kind == "sequence":
            return [item.plain() for item in self.items()]
        return {key.text(): value.plain() for key, value in self.pairs()}


def resolve(text: str) -> Scalar:
    """A plain scalar's value."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        return int(text)
    if _HEX.match(text) or _OCT.match(text):
        return int(text, 0)
    if _INF.match(text):
        return -math.inf if text.startswith("-") else math.inf
    if text in (".nan", ".NaN", ".NAN"):
        return math.nan
    return float(text) if _FLOAT.match(text) else text


def _convert(node: yaml.Node) -> Node:
    line, col = node.start_mark.line + 1, node.start_mark.column + 1
    if isinstance(node, yaml.ScalarNode):
        return Node("scalar", resolve(node.value) if node.style is None else node.value, line, col)
    if isinstance(node, yaml.SequenceNode):
        return Node("sequence", [_convert(item) for item in node.value], line, col)
    return Node("mapping", [(_convert(key), _convert(value)) for key, value in node.value], line, col)


def parse(text: str) -> Node:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise WorkflowError(str(error)) from None
    if root is None:
        raise WorkflowError("the file is empty")
    return _convert(root)
