"""YAML nodes as template tokens: expressions found, mixed text turned into ``format()``, positions kept."""

from __future__ import annotations

import re
from typing import Any

from .yamlnode import Node, WorkflowError

_STATUS = re.compile(r"\b(always|cancelled|failure|success)\s*\(", re.IGNORECASE)
_STRING = re.compile(r"'(?:[^']|'')*'")


def split(text: str) -> list[tuple[bool, str]]:
    """(is expression, text) pieces of a string with ``${{ }}`` in it."""
    pieces: list[tuple[bool, str]] = []
    at = 0
    while True:
        start = text.find("${{", at)
        if start < 0:
            if at < len(text):
                pieces.append((False, text[at:]))
            return pieces
        if start > at:
            pieces.append((False, text[at:start]))
        end, quoted = start + 3, False
        while end < len(text) and (quoted or not text.startswith("}}", end)):
            quoted ^= text[end] == "'"
            end += 1
        if end >= len(text):
            raise WorkflowError("The expression is not closed. An unescaped ${{ sequence was found, but the closing }} sequence was not found.")
        expression = text[start + 3:end].strip()
        if not expression:
            raise WorkflowError("An expression was expected")
        pieces.append((True, expression))
        at = end + 2


def expression_of(pieces: list[tuple[bool, str]]) -> str:
    """One expression for text that mixes literals and expressions."""
    if len(pieces) == 1 and pieces[0][0]:
        return pieces[0][1]
    layout = ""
    arguments: list[str] = []
    for is_expression, piece in pieces:
        if is_expression:
            layout += "{%d}" % len(arguments)
            arguments.append(piece)
        else:
            layout += piece.replace("'", "''").replace("{", "{{").replace("}", "}}")
    return f"format('{layout}', {', '.join(arguments)})"


class TokenWriter:
    def __init__(self, file: int) -> None:
        self._file = file

    def _at(self, node: Node) -> dict[str, int]:
        return {"file": self._file, "line": node.line, "col": node.col}

    def token(self, node: Node) -> Any:
        """Any node, with expressions allowed in every string and key."""
        if node.kind == "sequence":
            return {"type": 1, **self._at(node), "seq": [self.token(item) for item in node.items()]}
        if node.kind == "mapping":
            return {"type": 2, **self._at(node), "map": [{"Key": self.key(k), "Value": self.token(v)} for k, v in node.pairs()]}
        value = node.scalar()
        if value is None:
            return {"type": 7, **self._at(node)}
        if isinstance(value, bool):
            return {"type": 5, **self._at(node), "bool": value}
        if isinstance(value, (int, float)):
            return {"type": 6, **self._at(node), "num": value}
        return self.text(node, value)

    def text(self, node: Node, value: str) -> dict[str, Any]:
        pieces = split(value)
        if not any(is_expression for is_expression, _ in pieces):
            return {"type": 0, **self._at(node), "lit": value}
        expression = expression_of(pieces)
        # A lone string literal folds.
        if _STRING.fullmatch(expression):
            return {"type": 0, **self._at(node), "lit": expression[1:-1].replace("''", "'")}
        return {"type": 3, **self._at(node), "expr": expression}

    def key(self, node: Node) -> Any:
        text = node.text()
        if re.fullmatch(r"\$\{\{\s*insert\s*\}\}", text):
            return {"type": 4, **self._at(node), "directive": "insert"}
        return self.text(node, text) if "${{" in text else text


def condition(node: Node | None) -> str:
    """A step's ``if`` as the plain expression that the runner gets."""
    text = node.text().strip() if node is not None else ""
    if "${{" in text:
        text = expression_of(split(text))
    if not text:
        return "success()"
    if _STATUS.search(_STRING.sub("''", text)):
        return text
    return f"success() && ({text})"


def context(value: Any) -> Any:
    """A JSON value as ContextData."""
    if isinstance(value, dict):
        if not value:
            return {"t": 2}
        return {"t": 2, "d": [{"k": k, "v": context(v)} for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        return {"t": 1, "a": [context(item) for item in value]} if value else {"t": 1}
    return value
