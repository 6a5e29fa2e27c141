"""One job of a workflow file as a job message (the parts that depend on the service are filled in there)."""

from __future__ import annotations

import itertools
import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .event import Event, Inputs
from .tokens import TokenWriter, condition, context
from .yamlnode import Node, WorkflowError, parse

SELF_HOSTED = ["self-hosted"]


@dataclass
class Built:
    message: dict[str, Any]
    job: str
    labels: list[str]


def _choose(jobs: Node, wanted: str | None) -> tuple[str, Node]:
    listed = [(key.text(), value) for key, value in jobs.pairs()]
    if wanted is None:
        if len(listed) != 1:
            raise WorkflowError(f"the workflow has {len(listed)} jobs: name one of {', '.join(name for name, _ in listed)}")
        return listed[0]
    for name, node in listed:
        if name == wanted:
            return name, node
    raise WorkflowError(f"no job {wanted!r}; there are {', '.join(name for name, _ in listed)}")


def _labels(node: Node | None) -> list[str]:
    """The labels that the job asks for; an expression counts as any self-hosted runner."""
    if node is None:
        raise WorkflowError("Required property is missing: runs-on")
    if node.kind == "mapping":
        inner = node.get("labels")
        return _labels(inner) if inner else SELF_HOSTED
    items = [node.text()] if node.kind == "scalar" else [item.text() for item in node.items()]
    return SELF_HOSTED if any("${{" in item for item in items) else items


def _matrix(strategy: Node | None, given: Inputs) -> tuple[dict[str, Any] | None, int]:
    """The chosen row of a matrix of plain lists, and how many rows there are."""
    node = strategy.get("matrix") if strategy else None
    if given.matrix is not None or node is None:
        return given.matrix, 1
    axes = {k: v for k, v in node.plain().items() if k not in ("include", "exclude")}  # type: ignore[attr-defined]
    rows = [dict(zip(axes, values)) for values in itertools.product(*axes.values())]
    return rows[given.matrix_index], len(rows)


def _reference(uses: str) -> dict[str, Any]:
    if uses.startswith("docker://"):
        return {"type": "containerRegistry", "image": uses.removeprefix("docker://")}
    if uses.startswith("./"):
        return {"type": "repository", "repositoryType": "self", "path": uses}
    name, at, ref = uses.partition("@")
    parts = name.split("/")
    if not at or not ref or len(parts) < 2:
        raise WorkflowError(f"Expected format {{owner}}/{{repo}}[/path]@{{ref}}. Actual {uses!r}")
    return {"type": "repository", "name": "/".join(parts[:2]), "ref": ref, "repositoryType": "GitHub", "path": "/".join(parts[2:])}


def _generated_name(step: Node, taken: set[str]) -> str:
    uses = step.get("uses")
    base = "__run"
    if uses is not None:
        name = uses.text().removeprefix("docker://").partition("@")[0]
        base = "__" + re.sub(r"[^A-Za-z0-9_-]", "_", name.removeprefix("./") if name.startswith("./") else name)
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    return name


def _script_inputs(step: Node, writer: TokenWriter) -> dict[str, Any]:
    entries = []
    for key, yaml_key in (("script", "run"), ("shell", "shell"), ("workingDirectory", "working-directory")):
        node = step.get(yaml_key)
        if node is not None:
            entries.append({"Key": key, "Value": writer.text(node, node.text())})
    return {"type": 2, "map": entries}


def _step(step: Node, writer: TokenWriter, taken: set[str]) -> dict[str, Any]:
    run, uses, ident = step.get("run"), step.get("uses"), step.get("id")
    if (run is None) == (uses is None):
        raise WorkflowError(f"(Line: {step.line}, Col: {step.col}): a step needs one of run and uses")
    name = ident.text() if ident else _generated_name(step, taken)
    taken.add(name)
    built: dict[str, Any] = {"type": "action", "id": str(uuid.uuid4()), "name": name, "contextName": name,
                             "condition": condition(step.get("if"))}
    if uses is not None:
        given = step.get("with")
        built["reference"] = _reference(uses.text())
        built["inputs"] = writer.token(given) if given is not None and given.value else {"type": 2}
    else:
        built["reference"] = {"type": "script"}
        built["inputs"] = _script_inputs(step, writer)
    for key, field in (("name", "displayNameToken"), ("env", "environment"), ("continue-on-error", "continueOnError"),
                       ("timeout-minutes", "timeoutInMinutes")):
        node = step.get(key)
        if node is not None:
            built[field] = writer.token(node)
    return built


def _contexts(event: Event, given: Inputs, workflow: str, path: str, matrix: dict[str, Any] | None, total: int) -> dict[str, Any]:
    strategy = {"fail-fast": True, "job-index": given.matrix_index, "job-total": total, "max-parallel": total}
    return {"github": context(event.github(workflow, path)), "inputs": context(given.inputs), "vars": context(given.vars),
            "needs": context(given.needs), "strategy": context(strategy), "matrix": context(matrix)}


def build(path: Path, job: str | None = None, *, text: str | None = None, event: Event, inputs: Inputs) -> Built:
    """The message for ``job`` of a workflow file (or of ``text``, with ``path`` as its name)."""
    root = parse(path.read_text() if text is None else text)
    file = path.as_posix()
    if ".github/" in file:
        file = file[file.index(".github/"):]
    jobs = root.get("jobs")
    if jobs is None:
        raise WorkflowError("Required property is missing: jobs")
    name, node = _choose(jobs, job)
    writer, taken = TokenWriter(1), set[str]()
    title, label = root.get("name"), node.get("name")
    matrix, total = _matrix(node.get("strategy"), inputs)
    steps = node.get("steps")
    message: dict[str, Any] = {
        "jobDisplayName": label.text() if label and "${{" not in label.text() else name,
        "fileTable": [file],
        "environmentVariables": [writer.token(e) for e in (root.get("env"), node.get("env")) if e is not None],
        "defaults": [writer.token(d) for d in (root.get("defaults"), node.get("defaults")) if d is not None],
        "contextData": _contexts(event, inputs, title.text() if title else file, file, matrix, total),
        "variables": {key: {"value": value, "isSecret": True} for key, value in inputs.secrets.items()},
        "steps": [_step(step, writer, taken) for step in (steps.items() if steps else ())],
    }
    for key, value in inputs.variables.items():
        message["variables"][key] = {"value": value}
    if inputs.github_token:
        for key in ("system.github.token", "github_token"):
            message["variables"][key] = {"value": inputs.github_token, "isSecret": True}
    environment = node.get("environment")
    if environment is not None and environment.kind == "mapping":
        url = environment.get("url")
        message["actionsEnvironment"] = {"name": environment.get("name").text(), **({"url": writer.token(url)} if url is not None else {})}
    for key, field in (("container", "jobContainer"), ("services", "jobServiceContainers"), ("outputs", "jobOutputs")):
        value_node = node.get(key)
        message[field] = writer.token(value_node) if value_node is not None else None
    return Built(message, name, _labels(node.get("runs-on")))
