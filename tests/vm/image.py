"""Disk images of Debian machines, made once for each set of packages and kept below ``WHERRY_VM_CACHE``.

A machine has no network: whatever a test needs is a package of its image, or goes in with the test's files.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("WHERRY_VM_CACHE", "/var/cache/wherry-vm"))
# A change of what is written into an image below wants a new number.
RECIPE = 1
SIZE = "12G"
BASE = ("systemd-sysv", "dbus", "udev", "kmod", "iproute2", "procps", "ca-certificates", "linux-image-cloud-amd64")
# What the tests of this project run beside the program.
TOOLS = ("crun", "git", "uidmap", "busybox-static", "python3", "python3-aiohttp", "python3-cryptography", "python3-yaml",
         "python3-pytest", "dmsetup", "e2fsprogs", "sqlite3", "docker-registry", "skopeo", "apache2-utils")

UNIT = """[Unit]
Description=the command of a test
After=multi-user.target
[Service]
Type=oneshot
Delegate=yes
ExecStart=/usr/lib/test-command
TimeoutStartSec=infinity
[Install]
WantedBy=multi-user.target
"""

# The files come on the second disk as a tar; what the command prints leaves by one port, its fate by another.
COMMAND = """#!/bin/sh
modprobe virtio_console
while [ ! -e /dev/virtio-ports/output ] || [ ! -e /dev/virtio-ports/fate ]; do sleep 0.05; done
ip link set lo up
mkdir -p /test && tar -C /test -xf /dev/disk/by-id/virtio-files && cd /test || exit 1
echo begun >/dev/virtio-ports/fate
env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \\
    sh ./command >/dev/virtio-ports/output 2>&1 </dev/null
echo "ended $?" >/dev/virtio-ports/fate
sync
systemctl poweroff --no-block
"""


@dataclass(frozen=True)
class Image:
    disk: Path
    kernel: Path
    initrd: Path


def libraries_of(program: Path) -> list[str]:
    """The packages of the shared libraries that a program is linked with."""
    paths = re.findall(r"=> (/\S+)", subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout)
    packages = set()
    for path in paths:
        # merged /usr: dpkg knows either name
        for name in (path, path.removeprefix("/usr"), "/usr" + path):
            found = subprocess.run(["dpkg-query", "-S", name], capture_output=True, text=True)
            if found.returncode == 0:
                packages.add(found.stdout.split(":")[0])
                break
    return sorted(packages)


def make(packages: list[str] = []) -> Image:
    """The image with these packages besides BASE and TOOLS; made now if it is not there."""
    wanted = sorted({*BASE, *TOOLS, *packages})
    suite = _suite()
    key = hashlib.sha256("\n".join([str(RECIPE), suite, SIZE, *wanted]).encode()).hexdigest()[:12]
    image = Image(*(CACHE / f"{key}.{kind}" for kind in ("raw", "kernel", "initrd")))
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{key}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side
        if not image.disk.exists():
            _build(image, suite, wanted)
    return image


def _suite() -> str:
    text = Path("/etc/os-release").read_text()
    return re.search(r"^VERSION_CODENAME=(\w+)", text, re.M).group(1)


def _build(image: Image, suite: str, packages: list[str]) -> None:
    work = Path(tempfile.mkdtemp(prefix="new-", dir=CACHE))
    tree = work / "tree"
    try:
        # mmdebstrap takes the package sources of this machine
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "--format=directory", f"--include={','.join(packages)}",
                        suite, tree], check=True, stdin=subprocess.DEVNULL)
        _arrange(tree)
        shutil.copyfile(next((tree / "boot").glob("vmlinuz-*")), image.kernel)
        shutil.copyfile(next((tree / "boot").glob("initrd.img-*")), image.initrd)
        disk = work / "disk"
        subprocess.run(["truncate", "-s", SIZE, disk], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-d", tree, disk], check=True)
        disk.rename(image.disk)
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", work], check=False)


def _arrange(tree: Path) -> None:
    (tree / "etc/fstab").write_text("/dev/vda / ext4 defaults 0 1\n")
    (tree / "etc/hostname").write_text("machine\n")
    (tree / "etc/hosts").write_text("127.0.0.1 localhost machine\n::1 localhost\n")
    (tree / "etc/systemd/system/test-command.service").write_text(UNIT)
    command = tree / "usr/lib/test-command"
    command.write_text(COMMAND)
    command.chmod(0o755)
    wants = tree / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "test-command.service").symlink_to("../test-command.service")
