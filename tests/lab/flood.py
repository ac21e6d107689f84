"""Many short flows from the lab's remote side to its guest, which sends everything back.

Run in the remote namespace with standard input and output: for each line ``udp FIRST COUNT`` it
sends COUNT datagrams, each from a port of its own; for ``tcp COUNT`` it makes that many
connections, one after another.  It answers each line with how many were answered.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

#: Datagrams on the way at once: fewer than any queue on it holds.
_WINDOW = 32
_PATIENCE_S = 2.0


def udp(wire: socket.socket, address: str, first: int, count: int) -> int:
    """From a raw socket: a socket for each port takes several times as long."""
    answered = 0
    for begin in range(first, first + count, _WINDOW):
        ports = range(begin, min(begin + _WINDOW, first + count))
        for port in ports:
            wire.sendto(struct.pack(">HHHH8x", port, 7001, 16, 0), (address, 0))
        answered += _answers(wire, set(ports))
    return answered


def _answers(wire: socket.socket, ports: set[int]) -> int:
    wanted, deadline = len(ports), time.monotonic() + _PATIENCE_S
    while ports and time.monotonic() < deadline:
        try:
            data = wire.recv(2048)
        except socket.timeout:
            break
        ports.discard(struct.unpack_from(">H", data, 22)[0])
    return wanted - len(ports)


def tcp(address: str, count: int) -> int:
    answered = 0
    for _ in range(count):
        with socket.create_connection((address, 7000), 10) as connection:
            connection.sendall(b"vmlat")
            answered += connection.recv(16) == b"vmlat"
    return answered


def main() -> None:
    address = sys.argv[1]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as wire:
        wire.settimeout(_PATIENCE_S)
        for line in sys.stdin:
            kind, *numbers = line.split()
            if kind == "udp":
                print(udp(wire, address, int(numbers[0]), int(numbers[1])), flush=True)
            else:
                print(tcp(address, int(numbers[0])), flush=True)


if __name__ == "__main__":
    main()
