"""Base images and registries that are broken or hostile: a clear error, nothing kept, the next build is right."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from typing import Iterator

import pytest

from .support import ociimage
from .support.agent import Wherry
from .support.badregistry import BadRegistry
from .support.building import Builder


@pytest.fixture
def bad(session_place, busybox: str) -> Iterator[BadRegistry]:
    made = BadRegistry(session_place / "busybox")
    yield made
    made.stop()


@pytest.fixture
def builder(wherry: Wherry, bad: BadRegistry, place) -> Builder:
    context = place / "context"
    context.mkdir()
    made = Builder(wherry, f"{bad.host}/base/busybox:latest", context)
    made.dockerfile("FROM BASE\nRUN echo x > /x\n")
    return made


def then_right(builder: Builder, bad: BadRegistry) -> None:
    """Without the trouble the same build is right, and the store is whole."""
    bad.troubles.clear()
    builder.wherry.verify_store()
    assert builder.image().read("x") == b"x\n"
    builder.wherry.verify_store()


@pytest.mark.parametrize("status", [401, 403, 404, 418])
@pytest.mark.parametrize("where", ["/manifests/", "/blobs/"])
def test_final_statuses(builder: Builder, bad: BadRegistry, status: int, where: str) -> None:
    bad.trouble(where, "status", status=status)
    said = builder.fails()
    assert str(status) in said and bad.host in said
    then_right(builder, bad)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_passing_statuses_are_retried(builder: Builder, bad: BadRegistry, status: int) -> None:
    bad.trouble("/manifests/", "status", status=status, times=1, headers={"Retry_After": "1"})
    bad.trouble("/blobs/", "status", status=status, times=1, headers={"Retry_After": "1"})
    assert builder.image().read("x") == b"x\n"


def test_lasting_500_ends(builder: Builder, bad: BadRegistry) -> None:
    bad.trouble("/manifests/", "status", status=500)
    assert "500" in builder.fails(timeout=180)
    then_right(builder, bad)


def test_half_a_blob_is_resumed(builder: Builder, bad: BadRegistry) -> None:
    bad.trouble("/blobs/", "half", times=2)
    assert builder.image().read("x") == b"x\n"
    assert any(r[3] for r in bad.requests), "the rest is asked for by Range"


@pytest.mark.parametrize("how", ["flip", "short"])
@pytest.mark.parametrize("where", ["/manifests/", "/blobs/"])
def test_wrong_bytes(builder: Builder, bad: BadRegistry, where: str, how: str) -> None:
    bad.trouble(where, how)
    said = builder.fails(timeout=180)
    assert any(word in said for word in ("digest", "size", "JSON", "manifest", "bytes"))
    then_right(builder, bad)


@pytest.mark.parametrize("where", ["/v2/", "/manifests/", "/blobs/"])
def test_html(builder: Builder, bad: BadRegistry, where: str) -> None:
    bad.trouble(where, "html")
    builder.fails(timeout=180)
    then_right(builder, bad)


def test_push_fails(builder: Builder, bad: BadRegistry) -> None:
    bad.trouble("/blobs/uploads/", "status", status=500, method="POST")
    said = builder.fails("-t", f"{bad.host}/x/y:1", "--push", timeout=180)
    assert "500" in said
    then_right(builder, bad)


# -- hostile layers ----------------------------------------------------------------------------------------------------
def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"evil", mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        info.devmajor, info.devminor = 8, 0
    return info, data


def tar_with(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data) if info.size else None)
    return out.getvalue()


def canary(place) -> str:
    path = place / "canary"
    path.write_text("untouched")
    return str(path)


@pytest.fixture
def hostile(wherry: Wherry, place, session_place, busybox: str) -> Iterator[Builder]:
    """A builder whose base is a busybox with one more, hostile layer; the layer comes by ``layer()``."""
    context = place / "context"
    context.mkdir()
    layout = place / "hostile"
    server = BadRegistry(layout)
    made = Builder(wherry, f"{server.host}/evil:latest", context)

    def layer(data: bytes) -> None:
        base = session_place / "busybox"
        first = gzip.decompress((base / "blobs/sha256" / ociimage.manifest_of(base)["layers"][0]["digest"][7:]).read_bytes())
        ociimage.layout_of_tars(layout, [first, data])

    made.layer = layer  # type: ignore[attr-defined]
    yield made
    server.stop()


NAMES = {
    "dotdot": lambda c: entry("../" * 12 + c.lstrip("/")),
    "absolute": lambda c: entry(c),
    "inner dotdot": lambda c: entry("a/../../../../../../../../.." + c),
}


@pytest.mark.parametrize("make", NAMES.values(), ids=NAMES.keys())
def test_names_out_of_the_root(hostile: Builder, place, make) -> None:
    path = canary(place)
    hostile.layer(tar_with(make(path)))  # type: ignore[attr-defined]
    hostile.dockerfile("FROM BASE\nRUN true\n")
    hostile.build(check=False)
    assert open(path).read() == "untouched"
    hostile.wherry.verify_store()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_out_of_the_root(hostile: Builder, place, kind: bytes) -> None:
    path = canary(place)
    folder, name = path.rsplit("/", 1)
    if kind == tarfile.SYMTYPE:
        hostile.layer(tar_with(entry("dir", kind, folder), entry(f"dir/{name}")))  # type: ignore[attr-defined]
    else:
        hostile.layer(tar_with(entry("hard", kind, "../" * 12 + path.lstrip("/")), entry("hard")))  # type: ignore[attr-defined]
    hostile.dockerfile("FROM BASE\nRUN true\n")
    hostile.build(check=False)
    assert open(path).read() == "untouched"
    hostile.wherry.verify_store()


def test_device_nodes(hostile: Builder) -> None:
    hostile.layer(tar_with(entry("disk", tarfile.BLKTYPE), entry("ok")))  # type: ignore[attr-defined]
    hostile.dockerfile("FROM BASE\nRUN ! head -c 1 /disk\n")
    hostile.build(check=False)
    assert not any(p.is_block_device() for p in hostile.wherry.state.rglob("*"))


def test_decompression_bomb(wherry: Wherry, place, session_place) -> None:
    """A layer that says 100 KB and unpacks to far more than any limit of a test machine."""
    layout = place / "bomb"
    raw = place / "bomb.gz"
    info = tarfile.TarInfo("zeros")
    info.size = 1 << 40
    header = info.tobuf()
    # A thousand members of gzip, each a hundred megabytes of zeros.
    piece = subprocess.run("head -c 104857600 /dev/zero | gzip -9", shell=True, check=True, stdout=subprocess.PIPE).stdout
    raw.write_bytes(gzip.compress(header) + piece * 1000)
    ociimage.layout_of_tars(layout, [b""])
    manifest = ociimage.manifest_of(layout)
    data = raw.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(data)
    manifest["layers"][0].update(digest=f"sha256:{digest}", size=len(data))
    text = json.dumps(manifest).encode()
    again = hashlib.sha256(text).hexdigest()
    (layout / "blobs/sha256" / again).write_bytes(text)
    index = json.loads((layout / "index.json").read_text())
    index["manifests"][0].update(digest=f"sha256:{again}", size=len(text))
    (layout / "index.json").write_text(json.dumps(index))
    server = BadRegistry(layout)
    context = place / "context"
    context.mkdir()
    builder = Builder(wherry, f"{server.host}/bomb:latest", context)
    builder.dockerfile("FROM BASE\nRUN true\n")
    try:
        said = builder.fails(timeout=300)
    finally:
        server.stop()
    assert "zeros" in said or "size" in said or "limit" in said or "ratio" in said
    wherry.verify_store()
