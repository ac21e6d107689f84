"""Talks to a lab guest's echo services (UDP port 7001, TCP port 7000) until it is stopped.

Usage: demo_traffic.py ADDRESS
"""

from __future__ import annotations

import itertools
import socket
import sys
import time

UDP_PORT = 7001
TCP_PORT = 7000
PAUSE_S = 0.2


def exchange_udp(address: str, number: int) -> None:
    """Send one numbered datagram and wait a moment for its echo."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(1.0)
        sender.sendto(f"udp {number}".encode(), (address, UDP_PORT))
        sender.recv(2048)


def exchange_tcp(address: str, number: int) -> None:
    """Open a connection, send 4 kB, read the echo back, close."""
    message = f"tcp {number} ".encode().ljust(4096, b".")
    with socket.create_connection((address, TCP_PORT), timeout=2.0) as connection:
        connection.sendall(message)
        got = 0
        while got < len(message):
            chunk = connection.recv(65536)
            if not chunk:
                return
            got += len(chunk)


def main() -> None:
    """Alternate UDP and TCP; a lost exchange is not an error here."""
    address = sys.argv[1]
    for number in itertools.count():
        for exchange in (exchange_udp, exchange_tcp):
            try:
                exchange(address, number)
            except OSError:
                pass
            time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
