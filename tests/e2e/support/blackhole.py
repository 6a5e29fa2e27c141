"""Peers that never answer: a TCP port that accepts and stays silent, a name server that drops every question."""

from __future__ import annotations

import errno
import random
import socket
import threading


class SilentPort:
    """Accepts connections and never sends a byte."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._socket.getsockname()[1]
        self._kept: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                self._kept.append(self._socket.accept()[0])
            except OSError:
                return

    def stop(self) -> None:
        self._socket.close()
        for connection in self._kept:
            connection.close()


class FullPort:
    """A listening port whose queue is full: connects to it neither succeed nor fail."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(0)
        self.port: int = self._socket.getsockname()[1]
        self._kept = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", self.port))
            self._kept.append(client)

    def stop(self) -> None:
        for client in self._kept:
            client.close()
        self._socket.close()


class SilentNameServer:
    """A UDP socket on port 53 of a loopback address that reads questions and answers none."""

    def __init__(self) -> None:
        self.questions = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        while True:  # port 53 is the only one that resolv.conf knows, so the address differs
            self.address = f"127.{random.randint(1, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"
            try:
                self._socket.bind((self.address, 53))
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                self._socket.recvfrom(4096)
            except OSError:
                return
            self.questions += 1

    def stop(self) -> None:
        self._socket.close()
