"""Images made without a builder: a root file system as tar becomes an OCI layout with one layer."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import subprocess
import tarfile
from pathlib import Path
from typing import Any

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def _blob(layout: Path, data: bytes) -> tuple[str, int]:
    digest = hashlib.sha256(data).hexdigest()
    target = layout / "blobs/sha256" / digest
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return f"sha256:{digest}", len(data)


def layout_of_tars(layout: Path, tars: list[bytes | Path], config: dict[str, Any] | None = None) -> str:
    """Write an OCI layout whose layers are these tars; returns the manifest's digest."""
    layers, diff_ids = [], []
    for tar in tars:
        raw = tar.read_bytes() if isinstance(tar, Path) else tar
        diff_ids.append("sha256:" + hashlib.sha256(raw).hexdigest())
        digest, size = _blob(layout, gzip.compress(raw, 1, mtime=0))
        layers.append({"mediaType": LAYER, "digest": digest, "size": size})
    image = {"architecture": ARCHITECTURES[platform.machine()], "os": "linux", "created": "2026-01-01T00:00:00Z",
             "config": config or {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
             "rootfs": {"type": "layers", "diff_ids": diff_ids},
             "history": [{"created": "2026-01-01T00:00:00Z", "created_by": f"layer {n}"} for n in range(len(tars))]}
    config_digest, config_size = _blob(layout, json.dumps(image).encode())
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": {"mediaType": CONFIG, "digest": config_digest, "size": config_size},
                "layers": layers}
    digest, size = _blob(layout, json.dumps(manifest).encode())
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [{"mediaType": MANIFEST, "digest": digest, "size": size}]}))
    return digest


def manifest_of(layout: Path) -> dict[str, Any]:
    """The manifest of a layout's only image."""
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    return json.loads((layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_text())


def tar_of(files: dict[str, bytes | str], links: dict[str, str] | None = None, folders: tuple[str, ...] = ()) -> bytes:
    """A small tar: ``files`` by path (executable if under bin/), symbolic ``links``, empty ``folders``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in folders:
            entry = tarfile.TarInfo(path)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if path == "tmp" else 0o755
            tar.addfile(entry)
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), 0o755 if path.startswith(("bin/", "usr/bin/")) else 0o644
            tar.addfile(entry, io.BytesIO(data))
        for path, target in (links or {}).items():
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, target, 0o777
            tar.addfile(entry)
    return out.getvalue()


def busybox(layout: Path) -> str:
    """A one-layer image of Debian's static busybox with the usual commands."""
    binary = Path("/bin/busybox").read_bytes()
    applets = subprocess.run(["/bin/busybox", "--list"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    tar = tar_of(
        {"bin/busybox": binary, "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n",
         "etc/group": "root:x:0:\nuser:x:1000:\n"},
        {f"bin/{applet}": "busybox" for applet in applets if applet != "busybox"},
        ("bin", "etc", "tmp", "root", "home", "home/user", "proc", "sys", "dev", "var"),
    )
    return layout_of_tars(layout, [tar], {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]})
