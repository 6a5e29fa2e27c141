"""Cases of tests/conformance/build: their text form, the context that a recipe makes, and what came out of a build as text.

The same code reads BuildKit's image when expectations are recorded and wherry's when they are compared.
"""

from __future__ import annotations

import ast
import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import re
import shlex
import shutil
import stat
import subprocess
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import ociimage
from .building import Image, read_archive
from .registry import Registry

CASES = Path(__file__).resolve().parents[2] / "conformance" / "build"
STAMP = 1577836800  # what a recipe's files get: 2020-01-01
_NAME = re.compile(r"(\w+) ('[^']*'|\S+)(.*)")
_HEAD = re.compile(r"^=== (\S+)(?:: (.*))?$")


@dataclass
class Case:
    """One Dockerfile, the context it is built in, and the options of the command."""

    group: str
    name: str
    about: str
    recipe: list[str] = field(default_factory=list)
    args: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    differs: str = ""  # why wherry's result is another one on purpose
    alone: str = ""  # why BuildKit can't be asked
    text: str = ""

    @property
    def id(self) -> str:
        return f"{self.group}/{self.name}"


def read_cases(path: Path) -> list[Case]:
    cases: list[Case] = []
    body = False
    for line in path.read_text().splitlines(keepends=True):
        head = _HEAD.match(line.rstrip("\n"))
        if head:
            cases.append(Case(path.stem, head[1], head[2] or ""))
            body = False
        elif not cases:
            continue  # what stands above the first case is a comment
        elif body:
            cases[-1].text += line
        elif line == "---\n":
            body = True
        else:
            _header(cases[-1], line.strip())
    return cases


def _header(case: Case, line: str) -> None:
    word, _, rest = line.partition(" ")
    if word == "args":
        case.args += shlex.split(rest)
    elif word == "env":
        name, _, value = rest.partition("=")
        case.env[name] = value
    elif word == "differs":
        case.differs = rest
    elif word == "alone":
        case.alone = rest
    elif line:
        case.recipe.append(line)


def all_cases() -> list[Case]:
    return [case for path in sorted(CASES.glob("*.cases")) for case in read_cases(path)]


def read_expected(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in path.read_text().splitlines(keepends=True) if path.exists() else []:
        head = _HEAD.match(line.rstrip("\n"))
        if head:
            name = head[1]
            found[name] = ""
        elif name:
            found[name] += line
    return found


# ---- contexts ----

def _tar(members: dict[str, Any]) -> bytes:
    """``path: content``; a path ending in / is a folder; ``(content, mode, uid, gid)``; ``->target``, ``=target`` links."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, value in members.items():
            content, mode, uid, gid = value if isinstance(value, tuple) else (value, 0o755 if path.endswith("/") else 0o644, 0, 0)
            entry = tarfile.TarInfo(path.rstrip("/"))
            entry.mode, entry.uid, entry.gid, entry.mtime = mode, uid, gid, STAMP + 3600
            data = content.encode()
            if path.endswith("/"):
                entry.type = tarfile.DIRTYPE
            elif content.startswith("->"):
                entry.type, entry.linkname = tarfile.SYMTYPE, content[2:]
            elif content.startswith("="):
                entry.type, entry.linkname = tarfile.LNKTYPE, content[1:]
            else:
                entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data) if entry.isreg() else None)
    return out.getvalue()


def _archive(path: Path, members: dict[str, Any]) -> None:
    raw = _tar(members)
    name = path.name
    if name.endswith(".zst"):
        raw = subprocess.run(["zstd", "-q", "-c"], input=raw, stdout=subprocess.PIPE, check=True).stdout
    else:
        raw = (gzip.compress(raw, mtime=0) if name.endswith("gz") else bz2.compress(raw) if name.endswith("bz2")
               else lzma.compress(raw) if name.endswith("xz") else raw)
    path.write_bytes(raw)


def make_context(case: Case, folder: Path) -> Path:
    """The folder that the recipe describes, with the Dockerfile in it, all stamps set."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for line in case.recipe:
        words = shlex.split(line) if not line.startswith(("file ", "tar ")) else line.split(None, 1)[:1] + [shlex.split(_NAME.match(line)[2])[0]]  # type: ignore[index]
        rest = (_NAME.match(line)[3] or "").strip()  # type: ignore[index]
        path = folder / words[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        if words[0] == "file":  # file PATH [MODE] 'content with \n'
            text = rest or "''"
            mode = "644"
            if re.match(r"[0-7]{3,4} ", text):
                mode, _, text = text.partition(" ")
            path.write_bytes(ast.literal_eval(text).encode())
            path.chmod(int(mode, 8))
        elif words[0] == "dir":
            path.mkdir(exist_ok=True)
            path.chmod(int(words[2] if len(words) > 2 else "755", 8))
        elif words[0] == "link":
            path.symlink_to(words[2])
        elif words[0] == "hard":
            os.link(folder / words[2], path)
        elif words[0] == "fifo":
            os.mkfifo(path, 0o644)
        elif words[0] == "xattr":
            os.setxattr(path, words[2], words[3].encode())
        elif words[0] == "own":
            os.chown(path, int(words[2]), int(words[3]), follow_symlinks=False)
        elif words[0] == "stamp":
            continue
        elif words[0] == "tar":
            _archive(path, ast.literal_eval(rest))
        elif words[0] == "git":
            _repository(path)
        else:
            raise ValueError(f"{case.id}: no such recipe: {line}")
    if case.text and not (folder / "Dockerfile").exists():
        (folder / "Dockerfile").write_text(case.text)
    for path in sorted(folder.rglob("*"), reverse=True):
        os.utime(path, (STAMP, STAMP), follow_symlinks=False)
    for line in case.recipe:
        if line.startswith("stamp "):
            _, name, seconds = line.split()
            os.utime(folder / name, (int(seconds), int(seconds)), follow_symlinks=False)
    return folder


def _repository(path: Path) -> None:
    """A git repository with two commits, a branch and a tag, the same on every machine."""
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_AUTHOR_DATE": f"{STAMP} +0000", "GIT_COMMITTER_DATE": f"{STAMP} +0000",
           "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b", "GIT_CONFIG_NOSYSTEM": "1"}

    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(path), "-c", "init.defaultBranch=main", *words], check=True, env=env, stdout=subprocess.DEVNULL)
    path.mkdir()
    git("init", "-q")
    (path / "a.txt").write_text("first\n")
    git("add", ".")
    git("commit", "-qm", "one")
    git("tag", "v1")
    (path / "sub").mkdir()
    (path / "sub/b.txt").write_text("second\n")
    git("add", ".")
    git("commit", "-qm", "two")


# ---- base images ----

def push_bases(registry: Registry, folder: Path) -> str:
    """All base images that cases stand on; the registry that REGISTRY in a Dockerfile stands for."""
    ociimage.busybox(folder / "busybox")
    registry.push_layout(folder / "busybox", "busybox:latest")
    registry.push_layout(folder / "busybox", "busybox:other")
    binary = Path("/bin/busybox").read_bytes()
    commands = {f"bin/{name}": "busybox" for name in ("sh", "stat", "ls", "cat", "ln", "rm", "mkdir", "touch", "mv", "find", "sort", "chmod", "echo")}
    first = _tar_of_binary({"bin/busybox": binary}, commands, {
        "tmp/": ("", 0o1777, 0, 0), "data/": ("", 0o750, 5, 6), "data/file": ("lower\n", 0o640, 5, 6), "opaque/": "", "opaque/old": "old",
        "gone": "gone", "etc/": "", "dirlink": "->data"})
    # Without entries for tmp and data; a whiteout, and an opaque folder.
    second = _tar({"tmp/inner": "i", "data/more": "m", ".wh.gone": "", "opaque/": "", "opaque/.wh..wh..opq": "",
                   "opaque/new": "new"})
    ociimage.layout_of_tars(folder / "layers", [first, second], {"Env": ["PATH=/bin"]})
    registry.push_layout(folder / "layers", "layers:latest")
    ociimage.layout_of_tars(folder / "hardlink", [first, _tar({"linked": "=data/file"})], {"Env": ["PATH=/bin"]})
    registry.push_layout(folder / "hardlink", "hardlink:latest")
    small = [_tar({"base": "b"})]
    rich = {"User": "app:staff", "ExposedPorts": {"80/tcp": {}}, "Env": ["PATH=/usr/bin", "A=base", "B=x y"], "Entrypoint": ["/entry", "a b"], "Cmd": ["c"],
            "Volumes": {"/v": {}}, "WorkingDir": "/work", "Labels": {"z": "1", "a": "2"}, "StopSignal": "SIGINT",
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5000000000}, "Shell": ["/bin/ash", "-ec"]}
    ociimage.layout_of_tars(folder / "rich", small, rich)
    registry.push_layout(folder / "rich", "rich:latest")
    ociimage.layout_of_tars(folder / "onbuild", small, {"Env": ["PATH=/bin"], "OnBuild": [
        "ENV FROM_BASE=1", "COPY a.txt /from-trigger", "LABEL t=$FROM_BASE", "WORKDIR /trigger"]})
    registry.push_layout(folder / "onbuild", "onbuild:latest")
    ociimage.layout_of_tars(folder / "badonbuild", small, {"OnBuild": ["FROM scratch"]})
    registry.push_layout(folder / "badonbuild", "badonbuild:latest")
    return registry.pull_host


def _tar_of_binary(binaries: dict[str, bytes], links: dict[str, str], members: dict[str, Any]) -> bytes:
    out = io.BytesIO(_tar({"bin/": "", **{path: "->" + target for path, target in links.items()}, **members}))
    with tarfile.open(fileobj=out, mode="a", format=tarfile.PAX_FORMAT) as tar:
        for path, data in binaries.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode, entry.mtime = len(data), 0o755, STAMP
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


# ---- what came out ----

_KINDS = {tarfile.REGTYPE: "f", tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l", tarfile.LNKTYPE: "h", tarfile.CHRTYPE: "c", tarfile.BLKTYPE: "b",
          tarfile.FIFOTYPE: "p"}


# BuildKit takes a context's files over while it sets the stamps of their folders: which comes last differs from run to run.
_FOLDER_STAMPS = ("now", "2020-01-01", "2011-03-13-07:06:40")


def _when(seconds: float) -> str:
    if seconds > STAMP + 86400 * 900:
        return "now"
    return time.strftime("%F-%T" if seconds % 86400 else "%F", time.gmtime(seconds))


def _entry(tar: tarfile.TarFile, m: tarfile.TarInfo) -> str:
    kind = _KINDS.get(m.type, "?")
    when = _when(m.mtime)
    if kind == "d" and when in _FOLDER_STAMPS:
        when = "-"
    line = f"  {kind} {stat.S_IMODE(m.mode):04o} {m.uid}:{m.gid} {when} {m.name.rstrip('/')!r}"
    if kind in "lh":
        line += f" -> {m.linkname!r}"
    if kind in "cb":
        line += f" {m.devmajor}:{m.devminor}"
    if kind == "f":
        data = tar.extractfile(m).read()  # type: ignore[union-attr]
        short = len(data) <= 120 and data.isascii()
        line += f" {data.decode()!r}" if short else f" {len(data)} sha256:{hashlib.sha256(data).hexdigest()}"
    for name in sorted(m.pax_headers):
        if name.startswith("SCHILY.xattr."):
            value = m.pax_headers[name].encode("utf-8", "surrogateescape")
            line += f" {name.removeprefix('SCHILY.xattr.')}={value!r}"
    return line


def listing(image: Image, base_layers: int) -> str:
    """Config, history and the layers above the base's, as lines."""
    config = dict(image.config)
    diff_ids = config.pop("rootfs", {}).get("diff_ids") or []
    history = config.pop("history", None) or []
    config.pop("created", None)
    config.pop("moby.buildkit.buildinfo.v1", None)
    out = []
    for name in ("architecture", "os", "variant"):
        value = config.pop(name, None)
        if name != "architecture" and value not in (None, "linux"):
            out.append(f"{name}: {value}")
    inner = config.pop("config", None) or {}
    out += [f"{name}: {json.dumps(config[name], sort_keys=True)}" for name in sorted(config)]
    out += [f"config.{name}: {json.dumps(inner[name], sort_keys=name != 'Env')}" for name in sorted(inner)]
    for entry in history:
        mark = "empty" if entry.get("empty_layer") else "layer"
        comment = {"buildkit.dockerfile.v0": "", None: " (no comment)"}.get(entry.get("comment"), f" ({entry.get('comment')})")
        out.append(f"history {mark} {entry.get('created_by', '')!r}{comment}")
    layers = image.manifest.get("layers") or []
    assert len(layers) == len(diff_ids)
    below: set[str] = set()
    for n, layer in enumerate(layers):
        with image._open(layer["digest"]) as tar:
            members = list(tar)
            if n >= base_layers:
                out.append(f"layer {n + 1}")
                out += [line for m in members for line in _lines(tar, m, members, below)]
        _stack(below, members)
    return "\n".join(out) + "\n"


def _lines(tar: tarfile.TarFile, m: tarfile.TarInfo, members: list[tarfile.TarInfo], below: set[str]) -> list[str]:
    """An entry; an opaque folder as the whiteouts that it stands for: both forms hide the same names."""
    folder, _, name = m.name.rpartition("/")
    if name != ".wh..wh..opq" or m.size:
        return [_entry(tar, m)]
    here = {other.name.rstrip("/") for other in members}
    hidden = sorted({path for path in below if path.rpartition("/")[0] == folder} - here)
    return [f"  f 0000 0:0 1970-01-01 {folder + '/.wh.' + path.rpartition('/')[2]!r} ''" for path in hidden]


def _stack(below: set[str], members: list[tarfile.TarInfo]) -> None:
    for m in members:
        folder, _, name = m.name.rstrip("/").rpartition("/")
        if name.startswith(".wh."):
            gone = folder if name == ".wh..wh..opq" else f"{folder}/{name[4:]}".lstrip("/")
            below.difference_update({path for path in below if path.startswith(gone + "/") or (path == gone and gone != folder)})
    below.update(m.name.rstrip("/") for m in members if not m.name.rpartition("/")[2].startswith(".wh."))


def placed_as(said: str, wanted: str) -> str:
    """Where BuildKit names no line, one that is named is no difference."""
    return said if "\nat: " in wanted or not wanted.startswith("error: ") else re.sub(r"^at: .*\n", "", said, flags=re.M)


_ERROR = re.compile(r"^ERROR: (?:failed to build: )?((?:failed to solve: )?.*)$", re.M | re.S)
_PLACE = re.compile(r"^ *(\d+) \| (?:>>>|   )", re.M)


def failure(said: str) -> str:
    """The sentence, and the lines that the excerpt marks."""
    error = _ERROR.search(said)
    text = error[1].strip() if error else "(no error line) " + said[-600:]
    text = text.removeprefix("failed to solve: ")
    marked = re.findall(r"^ *(\d+) \| >>> ", said, re.M)
    out = f"error: {text}\n"
    if marked:
        out += f"at: {marked[0]}" + (f"-{marked[-1]}" if marked[-1] != marked[0] else "") + "\n"
    return out


def warnings(said: str) -> str:
    """The findings of lint rules; what else a builder warns of is its own."""
    said = re.sub(r"\x1b\[[0-9;]*m", "", said)
    found = re.search(r"^ \d+ warnings? found.*\n((?: - .*\n?)*)", said, re.M)
    return "".join(f"warning: {line[3:]}\n" for line in sorted(found[1].splitlines()) if re.match(r" - [A-Z]\w+: .*\(line \d+\)$", line)) if found else ""


def normal(text: str, host: str, folder: Path) -> str:
    text = text.replace(host, "REGISTRY").replace(str(folder), "CONTEXT")
    text = re.sub(r"/\S*/cachemounts/buildkit\d+(?=/)", "", text)  # where BuildKit mounted the image's root
    text = re.sub(r"calculate checksum of ref \S+: ", "calculate checksum of ref ID: ", text)
    return re.sub(r"\S+ \(no error line\)", "(no error line)", text)


def arguments(case: Case, host: str) -> list[str]:
    return [word.replace("REGISTRY", host) for word in case.args]


def is_call(case: Case) -> bool:
    return any(word.startswith(("--call", "--check")) for word in case.args)


def _call(text: str) -> str:
    """What --call printed; of JSON without the Dockerfile's text."""
    if not text.startswith("{"):
        return text
    return json.dumps({k: v for k, v in json.loads(text).items() if k != "sources"}, indent=2) + "\n"


def run_case(case: Case, command: list[str], host: str, folder: Path, env: dict[str, str], progress: tuple[str, ...] = ("--progress", "plain")) -> str:
    """Build a case with ``command`` (up to and with the word ``build``) and say what came out."""
    # A folder of its own: BuildKit takes a file with the size and stamp of an earlier build's for the same one.
    context = make_context(case, folder / "contexts" / case.id.replace("/", "-"))
    for path in [context / "Dockerfile", *context.glob("*.Dockerfile"), *context.rglob("*.df")]:
        if path.is_file() and not path.is_symlink():
            path.write_bytes(path.read_bytes().replace(b"REGISTRY", host.encode()))
            os.utime(path, (STAMP, STAMP))
    archive = folder / "out.tar"
    archive.unlink(missing_ok=True)
    output = [] if is_call(case) else ["--output", f"type=oci,dest={archive}"]
    done = subprocess.run([*command, *progress, *output, *arguments(case, host), "." if "-f-" not in case.args else "."], cwd=context,
                          env={**env, **case.env}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    said, text = done.stderr.decode(errors="replace"), done.stdout.decode(errors="replace")
    if done.returncode in (-6, -11) or "AddressSanitizer" in said or "runtime error" in said:
        raise AssertionError(f"{case.id}: crashed\n{said}")
    if is_call(case):
        out = _call(text) + ("" if done.returncode == 0 else failure(said) if _ERROR.search(said) else f"exit: {done.returncode}\n")
    elif done.returncode:
        out = failure(said)
    else:
        image = read_archive(archive)
        base = sum(1 for h in image.config.get("history") or [] if not h.get("empty_layer") and h.get("created_by", "").startswith("layer "))
        out = warnings(said) + listing(image, base)
    shutil.rmtree(context, ignore_errors=True)
    return normal(out, host, context)
