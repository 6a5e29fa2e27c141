"""A machine of its own for the agent: a network namespace with one link to here, and a name server that can be away."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import threading
from pathlib import Path

from .agent import Wherry

NAME = "github.wherry.test"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, stdout=subprocess.DEVNULL)


class Box:
    """The namespace. ``here`` is our end's address, ``there`` the agent's."""

    def __init__(self, folder: Path) -> None:
        number = os.getpid() % 250 + 1
        self.name, self._ours, self._theirs = f"wherry{os.getpid()}", f"wh{os.getpid() % 100000}a", f"wh{os.getpid() % 100000}b"
        self.here, self._net = f"10.213.{number}.1", f"10.213.{number}"
        self.there = f"{self._net}.2"
        _ip("netns", "add", self.name)
        _ip("link", "add", self._ours, "type", "veth", "peer", "name", self._theirs, "netns", self.name)
        _ip("addr", "add", f"{self.here}/24", "dev", self._ours)
        _ip("link", "set", self._ours, "up")
        self.inside("link", "set", "lo", "up")
        self.inside("addr", "add", f"{self.there}/24", "dev", self._theirs)
        self.inside("link", "set", self._theirs, "up")
        self._etc = Path("/etc/netns") / self.name
        self._etc.mkdir(parents=True)
        (self._etc / "resolv.conf").write_text(f"nameserver {self.here}\noptions timeout:1 attempts:1\n")
        self._folder = folder

    def inside(self, *arguments: str) -> None:
        _ip("-n", self.name, *arguments)

    def wrap(self, wherry: Wherry) -> None:
        """All commands of this binary run in the namespace from now on."""
        script = self._folder / "wherry-in-box"
        script.write_text(f"#!/bin/sh\nexec ip netns exec {self.name} {wherry.binary} \"$@\"\n")
        script.chmod(0o755)
        wherry.binary = script

    def link(self, up: bool) -> None:
        _ip("link", "set", self._ours, "up" if up else "down")
        self.inside("link", "set", self._theirs, "up" if up else "down")

    def move(self, last: int) -> None:
        """Another address: the old one is gone."""
        self.inside("addr", "del", f"{self.there}/24", "dev", self._theirs)
        self.there = f"{self._net}.{last}"
        self.inside("addr", "add", f"{self.there}/24", "dev", self._theirs)

    def stop(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=False)
        subprocess.run(["ip", "link", "del", self._ours], check=False, stderr=subprocess.DEVNULL)
        (self._etc / "resolv.conf").unlink()
        self._etc.rmdir()


class NameServer:
    """Answers each question for an IPv4 address with one address; may fall silent."""

    def __init__(self, address: str) -> None:
        self.silent, self._address = False, socket.inet_aton(address)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                question, peer = self._socket.recvfrom(1500)
            except OSError:
                return
            if self.silent or len(question) < 17:
                continue
            end = question.index(b"\0", 12) + 5
            wanted = struct.unpack("!H", question[end - 4:end - 2])[0] == 1
            head = question[:2] + struct.pack("!HHHHH", 0x8180, 1, 1 if wanted else 0, 0, 0) + question[12:end]
            record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 1, 4) + self._address if wanted else b""
            self._socket.sendto(head + record, peer)

    def stop(self) -> None:
        self._socket.close()
