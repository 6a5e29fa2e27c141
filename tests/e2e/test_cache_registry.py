"""cache-to and cache-from through a registry: another machine (store) answers from it, and fetches only what it needs."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from .support.agent import Wherry
from .support.building import Builder, cached, read_archive
from .support.registry import Registry

FILE = """FROM BASE AS tools
RUN head -c 300000 /dev/urandom > /tool; echo x > /other
FROM BASE
COPY a /a
COPY --from=tools /tool /tool
RUN cat /a /tool | wc -c > /count
"""


@pytest.fixture
def builder(wherry: Wherry, busybox: str, place: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Builder:
    context = place / "context"
    context.mkdir()
    config = place / "docker"
    config.mkdir()
    (config / "config.json").write_text(registry.auth_file.read_text())
    wherry.env["DOCKER_CONFIG"] = str(config)
    made = Builder(wherry, busybox, context)
    made.put("a", "a\n")
    made.dockerfile(FILE)
    return made


def gets(registry: Registry) -> list[str]:
    return [path for method, path, status in registry.requests() if method == "GET" and "/blobs/" in path and status < 400]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_another_machine_answers_from_it(builder: Builder, registry: Registry, place: Path, mode: str) -> None:
    ref = f"{registry.host}/cache/{mode}:1"
    first = place / "first.tar"
    builder.build("-o", f"type=oci,dest={first}", "--cache-to", f"type=registry,ref={ref},mode={mode}")
    digest, manifest = registry.manifest(f"cache/{mode}", "1")
    assert manifest["config"]["mediaType"] == "application/vnd.buildkit.cacheconfig.v0"
    assert len(manifest["layers"]) == (4 if mode == "max" else 3)
    assert all(set(layer["annotations"]) == {"containerd.io/uncompressed", "buildkit/createdat"} for layer in manifest["layers"])
    document = json.loads(registry.blob_path(manifest["config"]["digest"]).read_text())
    assert document["layers"][0]["parent"] == -1 and "parent" not in document["layers"][1]
    before = len(gets(registry))
    second = place / "second.tar"
    done = builder.build("-o", f"type=oci,dest={second}", "--cache-from", f"type=registry,ref={ref}", "--state", str(place / "other"))
    ran, hit = cached(done)
    # with mode=min the other stage's RUN is not in the cache, and not needed either
    assert not ran, ran
    one, two = read_archive(first), read_archive(second)
    assert one.manifest["layers"] == two.manifest["layers"] and one.config["rootfs"] == two.config["rootfs"]
    assert two.read("tool") == one.read("tool")
    fetched = gets(registry)[before:]
    assert len(fetched) == 1 + 3, fetched  # the config, and the three layers that the archive holds


def test_nothing_moves_that_nobody_needs(builder: Builder, registry: Registry, place: Path) -> None:
    ref = f"{registry.host}/cache/lazy:1"
    builder.build("--cache-to", f"type=registry,ref={ref},mode=max")
    before = len(gets(registry))
    done = builder.build("--cache-from", ref, "--state", str(place / "other"), "-o", "type=cacheonly")
    assert not cached(done)[0]
    assert len(gets(registry)) == before + 1
    # a push to another repository of that registry: the layers are mounted from the cache's
    builder.build("--cache-from", ref, "--state", str(place / "third"), "--push", "-t", f"{registry.host}/lazy/app:1")
    assert len(gets(registry)) == before + 2
    _, manifest = registry.manifest("lazy/app", "1")
    assert all(registry.blob_path(layer["digest"]).exists() for layer in manifest["layers"])


def test_a_changed_step_builds_on_imported_layers(builder: Builder, registry: Registry, place: Path) -> None:
    ref = f"{registry.host}/cache/changed:1"
    builder.build("--cache-to", f"type=registry,ref={ref},mode=max")
    builder.dockerfile(FILE.replace("wc -c", "wc -l"))
    builder.wherry.env["WHERRY_STATE"] = str(place / "other")
    image = builder.image("--cache-from", ref)
    assert image.read("count").strip().isdigit() and len(image.read("tool")) == 300000
    builder.wherry.run("cache", "verify", "--state", str(place / "other"), check=True)


def test_inline(builder: Builder, registry: Registry, place: Path) -> None:
    name = f"{registry.host}/inline/app:1"
    builder.build("--push", "-t", name, "--cache-to", "type=inline")
    _, manifest = registry.manifest("inline/app", "1")
    config = json.loads(registry.blob_path(manifest["config"]["digest"]).read_text())
    document = json.loads(base64.b64decode(config["moby.buildkit.cache.v0"]))
    assert len(document["records"]) == 3 and "layers" not in document
    done = builder.build("--cache-from", f"type=registry,ref={name}", "--state", str(place / "other"), "-o", "type=cacheonly")
    assert not {text for text in cached(done)[0] if "urandom" not in text}
    assert {"COPY a /a"} <= {text.strip() for text in cached(done)[1]}


def test_bad_caches(builder: Builder, registry: Registry, place: Path) -> None:
    """What can't be imported costs time, not the build; what can't be exported is said before anything is built."""
    done = builder.build("--cache-from", f"type=registry,ref={registry.host}/cache/none:1", "-o", "type=cacheonly")
    assert "importing cache manifest from" in done.stderr and "cache/none" in done.stderr
    builder.build("--push", "-t", f"{registry.host}/plain/app:1")
    done = builder.build("--cache-from", f"{registry.host}/plain/app:1", "-o", "type=cacheonly")
    assert "holds no inline cache" in done.stderr
    assert "type=s3 is not supported" in builder.fails("--cache-to", "type=s3,bucket=x,region=y")
    assert "ref is missing" in builder.fails("--cache-to", "type=registry")
    assert "must be min or max" in builder.fails("--cache-to", f"type=registry,ref={registry.host}/c,mode=all")
    said = builder.fails("--cache-to", "type=registry,ref=127.0.0.1:9/nobody/there:1")
    assert "failed to export the cache" in said
    builder.build("--cache-to", "type=registry,ref=127.0.0.1:9/nobody/there:1,ignore-error=true")
