"""Attributes of outputs and attestations: what comes out, and that the same inputs give the same bytes."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from .support.agent import Wherry
from .support.building import Builder
from .support.registry import Registry

OCI_INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def builder(wherry: Wherry, busybox: str, place: Path) -> Builder:
    context = place / "context"
    context.mkdir()
    made = Builder(wherry, busybox, context)
    made.put("a", "a\n")
    made.dockerfile("FROM BASE\nARG V=1\nCOPY a /a\nRUN echo $V > /v\nLABEL v=$V\n")
    return made


class Layout:
    """An OCI archive, all of it."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as tar:
            self.files = {m.name: tar.extractfile(m).read() for m in tar if m.isreg()}  # type: ignore[union-attr]
        self.index = json.loads(self.files["index.json"])
        self.root = self.index["manifests"][0]
        for name, data in self.files.items():
            if name.startswith("blobs/sha256/"):
                assert hashlib.sha256(data).hexdigest() == name.rpartition("/")[2]

    def read(self, descriptor: dict[str, Any]) -> Any:
        data = self.files["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")]
        assert len(data) == descriptor["size"]
        return json.loads(data)


def layout(builder: Builder, attrs: str = "", *arguments: str) -> Layout:
    out = builder.wherry.folder / "layout.tar"
    builder.build("-o", f"type=oci,dest={out}{attrs}", *arguments)
    return Layout(out)


def statements(made: Layout) -> dict[str, Any]:
    """The in-toto statements of an archive's attestation manifest, by their type."""
    manifests = made.read(made.root)["manifests"]
    assert manifests[0]["platform"]["os"] == "linux" and len(manifests) == 2
    told = manifests[1]
    assert told["platform"] == {"architecture": "unknown", "os": "unknown"}
    assert told["annotations"] == {"vnd.docker.reference.digest": manifests[0]["digest"], "vnd.docker.reference.type": "attestation-manifest"}
    manifest = made.read(told)
    config = made.read(manifest["config"])
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    found = {}
    for layer in manifest["layers"]:
        assert layer["mediaType"] == "application/vnd.in-toto+json"
        statement = made.read(layer)
        assert statement["_type"] == "https://in-toto.io/Statement/v0.1"
        assert layer["annotations"]["in-toto.io/predicate-type"] == statement["predicateType"]
        assert statement["subject"][0]["digest"] == {"sha256": manifests[0]["digest"].removeprefix("sha256:")}
        found[statement["predicateType"]] = statement
    return found


def test_provenance_min_and_max(builder: Builder) -> None:
    least = statements(layout(builder, "", "--provenance", "mode=min", "-t", "x.example/team/app:1", "--build-arg", "V=7"))["https://slsa.dev/provenance/v0.2"]
    assert least["subject"][0]["name"] == "pkg:docker/x.example/team/app@1?platform=linux%2F" + _arch()
    predicate = least["predicate"]
    assert predicate["buildType"] == "https://mobyproject.org/buildkit@v1" and "args" not in predicate["invocation"]["parameters"]
    assert predicate["materials"][0]["uri"].startswith("pkg:docker/127.0.0.1:") and len(predicate["materials"][0]["digest"]["sha256"]) == 64
    most = statements(layout(builder, "", "--attest", "type=provenance,mode=max,builder-id=https://ci.example/1", "--build-arg", "V=7"))
    predicate = most["https://slsa.dev/provenance/v0.2"]["predicate"]
    assert predicate["builder"] == {"id": "https://ci.example/1"}
    assert predicate["invocation"]["parameters"]["args"] == {"build-arg:V": "7"}
    told = predicate["metadata"]["https://mobyproject.org/buildkit@v1#metadata"]["source"]["infos"][0]
    assert base64.b64decode(told["data"]).decode() == (builder.context / "Dockerfile").read_text()


def _arch() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


def test_provenance_stays_out_of_archives_if_inline_only(builder: Builder) -> None:
    made = layout(builder, "", "--attest", "type=provenance,mode=min,inline-only=true")
    assert "manifests" not in made.read(made.root)
    made = layout(builder, "", "--provenance=false", "--sbom=false")
    assert "manifests" not in made.read(made.root)
    said = builder.fails("-o", f"type=docker,dest={builder.wherry.folder}/x.tar", "--provenance=true")
    assert "docker exporter does not currently support exporting manifest lists" in said
    assert "must be min or max" in builder.fails("--provenance=mode=most")
    assert "types provenance and sbom" in builder.fails("--attest", "type=vex")
    assert "generator=" in builder.fails("--sbom", "generator=docker/scout")


def test_sbom_of_dpkg_and_apk(builder: Builder) -> None:
    builder.put("status", "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\nArchitecture: amd64\nDescription: x\n more: y\n\n"
                          "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: tar\nStatus: install ok installed\nVersion: 1.34+dfsg")
    builder.put("installed", "P:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\n\nP:zlib\nV:1.3-r0\n\n")
    builder.put("os-release", 'ID="debian"\n')
    builder.dockerfile("FROM scratch\nCOPY status /var/lib/dpkg/status\nCOPY installed /lib/apk/db/installed\nCOPY os-release /etc/os-release\n")
    found = statements(layout(builder, "", "--sbom=true", "-t", "app:1"))
    document = found["https://spdx.dev/Document"]["predicate"]
    assert document["spdxVersion"] == "SPDX-2.3" and document["dataLicense"] == "CC0-1.0"
    named = {p["name"]: p for p in document["packages"][1:]}
    assert sorted(named) == ["libc6", "musl", "tar", "zlib"]
    assert named["libc6"]["externalRefs"][0]["referenceLocator"] == "pkg:deb/debian/libc6@2.36-9?arch=amd64"
    assert named["musl"]["licenseDeclared"] == "MIT"
    assert {r["relatedSpdxElement"] for r in document["relationships"]} >= {p["SPDXID"] for p in document["packages"]}


def test_push_with_attestations(builder: Builder, registry: Registry, place: Path) -> None:
    config = place / "docker"
    config.mkdir()
    (config / "config.json").write_text(registry.auth_file.read_text())
    metadata = place / "metadata.json"
    name = f"{registry.host}/attested"
    builder.build("--push", "-t", f"{name}:1", "--provenance=mode=max", "--sbom=true", "--metadata-file", str(metadata),
                  "--annotation", "index,manifest:team=blue", "--annotation", "manifest-descriptor:d=1", env={"DOCKER_CONFIG": str(config)})
    digest, index = registry.manifest("attested", "1")
    told = json.loads(metadata.read_text())
    assert told["containerimage.digest"] == digest and "containerimage.config.digest" not in told
    assert index["mediaType"] == OCI_INDEX and index["annotations"] == {"team": "blue"}
    assert index["manifests"][0]["annotations"] == {"d": "1"}
    _, manifest = registry.manifest("attested", index["manifests"][0]["digest"])
    assert manifest["annotations"] == {"team": "blue"}
    _, attested = registry.manifest("attested", index["manifests"][1]["digest"])
    assert len(attested["layers"]) == 2
    pulled = subprocess.run(["skopeo", "inspect", "--tls-verify=false", f"docker://{registry.pull_host}/attested:1"], stdout=subprocess.PIPE, check=True)
    assert json.loads(pulled.stdout)["Digest"] == digest


def test_annotations_of_an_archive(builder: Builder) -> None:
    made = layout(builder, ",annotation-index.i=1,annotation-index-descriptor.id=2,annotation-manifest-descriptor.md=3,annotation.m=4,"
                           f"annotation-manifest[linux/{_arch()}].p=5,annotation-manifest[linux/s390x].other=6", "-t", "app:1")
    index = made.read(made.root)
    assert made.root["annotations"]["id"] == "2" and index["annotations"] == {"i": "1"}
    assert index["manifests"][0]["annotations"] == {"md": "3"}
    assert made.read(index["manifests"][0])["annotations"] == {"m": "4", "p": "5"}
    assert "must be manifest, index" in builder.fails("-o", f"type=oci,dest={builder.wherry.folder}/x.tar,annotation-layer.k=v")


@pytest.mark.parametrize("compression", ["gzip", "zstd", "uncompressed"])
def test_force_compression_recompresses_the_base(builder: Builder, compression: str) -> None:
    plain = layout(builder, f",compression={compression}")
    forced = layout(builder, f",compression={compression},compression-level=2,force-compression=true")
    before, after = plain.read(plain.root), forced.read(forced.root)
    ending = {"gzip": "tar+gzip", "zstd": "tar+zstd", "uncompressed": "layer.v1.tar"}[compression]
    assert all(layer["mediaType"].endswith(ending) for layer in after["layers"])
    assert before["layers"][0]["mediaType"].endswith("tar+gzip")
    assert plain.read(before["config"])["rootfs"] == forced.read(after["config"])["rootfs"]
    for descriptor, diff in zip(after["layers"], forced.read(after["config"])["rootfs"]["diff_ids"]):
        data = forced.files["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")]
        if compression != "uncompressed":
            data = subprocess.run(["gzip" if compression == "gzip" else "zstd", "-dc"], input=data, stdout=subprocess.PIPE, check=True).stdout
        assert "sha256:" + hashlib.sha256(data).hexdigest() == diff


def test_two_builds_with_a_source_date_are_equal(builder: Builder, place: Path) -> None:
    """Two machines (stores), another day: the same digest. COPY's parents and RUN's files have times of the build."""
    builder.dockerfile("FROM BASE\nCOPY a /new/folder/a\nRUN echo hello > /made; mkdir /d\nWORKDIR /w\n")
    arguments = ["--build-arg", "SOURCE_DATE_EPOCH=1600000000"]
    first = layout(builder, ",rewrite-timestamp=true", *arguments)
    again = layout(builder, ",rewrite-timestamp=true", *arguments)
    second = layout(builder, ",rewrite-timestamp=true", *arguments, "--state", str(place / "other"))
    assert first.root["digest"] == again.root["digest"] == second.root["digest"]
    manifest = first.read(first.root)
    assert manifest["layers"][-1]["annotations"] == {"buildkit/rewritten-timestamp": "1600000000"}
    # without it RUN's layer keeps its times (WORKDIR's folder has the epoch's anyway), and the image of the same build is still right
    plain = layout(builder, "", *arguments)
    assert plain.read(plain.root)["layers"][-2]["digest"] != manifest["layers"][-2]["digest"]
    by_attribute = layout(builder, ",rewrite-timestamp=true,source-date-epoch=1600000000")
    assert by_attribute.root["digest"] == first.root["digest"]


@pytest.mark.parametrize("attrs, said", [
    ("compression=estargz", "estargz is not supported"), ("compression=brotli", "must be gzip, zstd or uncompressed"),
    ("tar=false", "tar=false is not supported"), ("oci-artifact=true", "oci-artifact=true is not supported"),
    ("source-date-epoch=now", "must be seconds since 1970"), ("force-compression=maybe", "must be true or false"), ("colour=blue", "colour is not supported"),
])
def test_refused_by_name(builder: Builder, attrs: str, said: str) -> None:
    assert said in builder.fails("-o", f"type=oci,dest={builder.wherry.folder}/x.tar,{attrs}")


def test_attributes_without_effect(builder: Builder) -> None:
    plain = layout(builder)
    told = layout(builder, ",unpack=true,store=false,name-canonical=true,prefer-nondist-layers=true,attestation-inline=true,dangling-name-prefix=x")
    assert told.read(told.root) == plain.read(plain.root)
