"""A COPY with one file changed: what is unchanged shares files and compressed segments with the layer before, and the image is byte for byte
what a store that knows nothing makes of it."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from .support.agent import Wherry
from .support.building import Builder, Image


@pytest.fixture
def builder(wherry: Wherry, busybox: str, place: Path) -> Builder:
    context = place / "context"
    context.mkdir()
    return Builder(wherry, busybox, context)


def tree(builder: Builder, seed: int = 7) -> None:
    """Big files (cut at fixed places), many small ones, a link, two names of one file."""
    source = random.Random(seed)
    for name, size in (("big.so", 9_000_000), ("exact.so", 4 << 20), ("middle.so", 700_000)):
        builder.put(f"tree/lib/{name}", source.randbytes(size // 2) + bytes(size - size // 2))
    for number in range(400):
        builder.put(f"tree/include/h{number % 7}/{number}.h", f"/* {source.random()} */\n" * (number % 50 + 1))
    (builder.context / "tree/lib/link.so").symlink_to("big.so")
    os.link(builder.context / "tree/lib/middle.so", builder.context / "tree/lib/second-name.so")
    # Files of the last two seconds are distrusted; the tests want them known.
    for path in builder.context.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)


def layers(image: Image) -> tuple[list[str], list[str]]:
    return [layer["digest"] for layer in image.manifest["layers"]], image.config["rootfs"]["diff_ids"]


def shared(builder: Builder) -> int:
    """Names in the store's newest tree that other trees share."""
    newest = max((p for p in (builder.wherry.state / "layers").iterdir()), key=lambda p: int(p.name))
    inodes: dict[int, int] = {}
    for path in newest.rglob("*"):
        if path.is_file() and not path.is_symlink():
            inodes[path.stat().st_ino] = inodes.get(path.stat().st_ino, 0) + 1
    return sum(1 for path in newest.rglob("*") if path.is_file() and not path.is_symlink() and path.stat().st_nlink > inodes[path.stat().st_ino])


def elsewhere(builder: Builder, place: Path) -> Image:
    """The same build in an empty store."""
    return builder.image("--state", str(place / "other"))


@pytest.mark.parametrize("base", ["scratch", "BASE"])
def test_one_file_changed(builder: Builder, place: Path, base: str) -> None:
    tree(builder)
    builder.dockerfile(f"FROM {base}\nCOPY tree /tree\n")
    builder.image()
    changed = builder.put("tree/include/h3/3.h", "changed\n")
    os.utime(changed, (1_700_000_000, 1_700_000_000))
    second = builder.image()
    assert shared(builder) > 350
    assert layers(second) == layers(elsewhere(builder, place))
    assert second.read("tree/include/h3/3.h") == b"changed\n"
    assert second.read("tree/lib/big.so") == (builder.context / "tree/lib/big.so").read_bytes()


def test_other_mode_owner_time_or_place(builder: Builder, place: Path) -> None:
    tree(builder)
    builder.dockerfile("FROM scratch\nCOPY tree /tree\n")
    builder.image()
    (builder.context / "tree/lib/big.so").chmod(0o755)
    os.utime(builder.context / "tree/lib/exact.so", (1_600_000_000, 1_600_000_000))
    image = builder.image()
    assert layers(image) == layers(elsewhere(builder, place))
    assert image.layers()[0]["tree/lib/big.so"].mode == 0o755
    assert image.layers()[0]["tree/lib/exact.so"].mtime == 1_600_000_000
    builder.dockerfile("FROM scratch\nCOPY --chown=5:6 tree /tree\n")
    image = builder.image()
    assert layers(image) == layers(builder.image("--state", str(place / "third")))
    assert image.layers()[0]["tree/include/h1/1.h"].uid == 5


def test_a_file_that_lost_its_second_name(builder: Builder, place: Path) -> None:
    """Names that shared a file in the layer before are files of their own now."""
    tree(builder)
    builder.dockerfile("FROM scratch\nCOPY tree /tree\n")
    builder.image()
    second = builder.context / "tree/lib/second-name.so"
    content = second.read_bytes()
    second.unlink()
    second.write_bytes(content)
    os.utime(second, (1_700_000_000, 1_700_000_000))
    builder.put("tree/new", "names alone are no change\n")
    image = builder.image()
    assert layers(image) == layers(elsewhere(builder, place))
    assert all(image.layers()[0][f"tree/lib/{name}"].isreg() for name in ("middle.so", "second-name.so"))


def test_two_sources_of_one_place(builder: Builder, place: Path) -> None:
    """What a later source writes over is not taken from the layer before."""
    tree(builder)
    builder.put("over/lib/big.so", "small now\n")
    os.utime(builder.context / "over/lib/big.so", (1_700_000_000, 1_700_000_000))
    builder.dockerfile("FROM scratch\nCOPY tree /tree/\n")
    builder.image()
    builder.dockerfile("FROM scratch\nCOPY tree over /tree/\n")
    image = builder.image()
    assert image.read("tree/lib/big.so") == b"small now\n"
    assert layers(image) == layers(elsewhere(builder, place))


def test_a_run_does_not_write_through(builder: Builder) -> None:
    """A shared file is copied up before a RUN changes it."""
    tree(builder)
    builder.dockerfile("FROM BASE\nCOPY tree /tree\n")
    first = builder.image()
    changed = builder.put("tree/include/h3/3.h", "changed\n")
    os.utime(changed, (1_700_000_000, 1_700_000_000))
    builder.dockerfile("FROM BASE\nCOPY tree /tree\nRUN echo more >> /tree/lib/big.so; chmod 600 /tree/include/h1/1.h\n")
    image = builder.image()
    assert image.read("tree/lib/big.so").endswith(b"more\n")
    for old in (p for p in (builder.wherry.state / "layers").rglob("lib/big.so") if not p.is_symlink()):
        assert old.stat().st_size in (9_000_000, 9_000_005)
    builder.wherry.run("cache", "verify", check=True)
    builder.put("tree/include/h3/3.h", first.read("tree/include/h3/3.h"))
