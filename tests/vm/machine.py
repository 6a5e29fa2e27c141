"""A machine that boots, runs one command and stops, or whose power is cut. Emulated, so some ten times slower than
this one: it proves behaviour, never speed."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from .image import Image

# Written data is on the virtual disk once the machine flushed it; the power cut ends qemu, so only what the host's
# page cache holds counts: writes that the guest itself still held in memory are lost, as in life.
DRIVE = "if=none,format={format},cache=writeback"


@dataclass
class Outcome:
    """status is None where the power was cut, or the machine stopped by itself before its command ended."""

    status: int | None
    output: str
    console: str

    def check(self) -> "Outcome":
        assert self.status == 0, f"status {self.status}\n{self.output[-6000:]}\n--- console\n{self.console[-2000:]}"
        return self


class Machine:
    """One disk that outlives boots. Used as a context: its end deletes the disk."""

    def __init__(self, image: Image, memory: int = 2048) -> None:
        self.image = image
        self.memory = memory
        self.folder = Path(tempfile.mkdtemp(prefix="wherry-vm-", dir="/var/tmp"))
        self.disk = self.folder / "disk.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", image.disk, self.disk], check=True)

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *exc: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, command: str | list[str], files: dict[str, Path | str] | None = None, limit: float = 300,
            cut_after: float | None = None, cut_when: Callable[[str], bool] | None = None, network: bool = False) -> Outcome:
        """Boots, puts files (path below /test: a file or folder here, or a text) into place and runs the command in
        /test. The power is cut so many seconds after the command began, or as soon as cut_when is true of what it
        has printed. With a network the machine reaches this one's loopback as 10.0.2.2."""
        script = command if isinstance(command, str) else shlex.join(command)
        tar = self.folder / "files.tar"
        self._pack(tar, {**(files or {}), "command": script + "\n"})
        output, fate, console = (self.folder / name for name in ("output", "fate", "console"))
        for file in (output, fate, console):
            file.write_text("")
        qemu = subprocess.Popen(self._qemu(tar, output, fate, console, network), stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            status = self._watch(qemu, output, fate, limit, cut_after, cut_when)
        finally:
            qemu.kill()
            errors = qemu.communicate()[1].decode(errors="replace")
        texts = [file.read_text(errors="replace") for file in (output, console)]
        return Outcome(status, texts[0], texts[1] + errors)

    @staticmethod
    def _watch(qemu: subprocess.Popen, output: Path, fate: Path, limit: float, cut_after: float | None,
               cut_when: Callable[[str], bool] | None) -> int | None:
        end = time.monotonic() + limit
        began: float | None = None
        while time.monotonic() < end:
            lines = fate.read_text().split("\n")
            if began is None and "begun" in lines:
                began = time.monotonic()
            cut = began is not None and cut_after is not None and time.monotonic() - began >= cut_after
            if cut or (cut_when and began is not None and cut_when(output.read_text(errors="replace"))):
                return None
            if qemu.poll() is not None:
                return next((int(line.split()[1]) for line in lines if line.startswith("ended ")), None)
            time.sleep(0.02)
        raise TimeoutError(f"the machine ran for {limit} s; its command printed: {output.read_text(errors='replace')[-2000:]}")

    @staticmethod
    def _pack(tar: Path, files: dict[str, Path | str]) -> None:
        def as_root(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
            info.uid = info.gid = 0
            return None if "/__pycache__" in info.name else info

        with tarfile.open(tar, "w") as archive:
            for name, source in files.items():
                if isinstance(source, str):
                    text = tar.parent / "text"
                    text.write_text(source)
                    archive.add(text, name, filter=as_root)
                else:
                    archive.add(source, name, filter=as_root)
        with open(tar, "ab") as end:  # whole sectors
            end.truncate((tar.stat().st_size + 511) // 512 * 512)

    def _qemu(self, tar: Path, output: Path, fate: Path, console: Path, network: bool) -> list[str]:
        image = self.image
        disk, files = DRIVE.format(format="qcow2"), DRIVE.format(format="raw")
        return ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", str(self.memory), "-smp", "2",
                "-display", "none", "-monitor", "none", "-no-reboot", "-nic", "user,model=virtio-net-pci" if network else "none",
                "-kernel", str(image.kernel), "-initrd", str(image.initrd),
                "-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1 systemd.show_status=0",
                "-drive", f"file={self.disk},id=root,{disk}", "-device", "virtio-blk-pci,drive=root",
                "-drive", f"file={tar},id=files,readonly=on,{files}", "-device", "virtio-blk-pci,drive=files,serial=files",
                "-device", "virtio-serial-pci",
                "-chardev", f"file,id=output,path={output}", "-device", "virtserialport,chardev=output,name=output",
                "-chardev", f"file,id=fate,path={fate}", "-device", "virtserialport,chardev=fate,name=fate",
                "-serial", f"file:{console}",
                "-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"]
