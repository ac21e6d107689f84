"""Coalescing and offloads of all interfaces, over the kernel's ethtool netlink (5.7 and later).

Two dumps, a few attributes each.  pyroute2 has these two only as ioctls, one interface at a time,
and its generic netlink is another in each of the versions that distributions carry.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

_NETLINK_GENERIC = 16
_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
_CONTROL, _GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 0x10, 3, 1, 2
_NESTED = 0x8000

_STRINGS_GET, _FEATURES_GET, _COALESCE_GET = 1, 11, 19
_FEATURE_NAMES = 4
_COMPACT = 1
_HEADER = 1
#: A kernel has some sixty.
_MOST_FEATURES = 1024

#: ethtool's names of the attributes of a coalescing message, from the second one on.
_COALESCING = (
    "rx-usecs", "rx-frames", "rx-usecs-irq", "rx-frames-irq",
    "tx-usecs", "tx-frames", "tx-usecs-irq", "tx-frames-irq",
    "stats-block-usecs", "adaptive-rx", "adaptive-tx",
    "pkt-rate-low", "rx-usecs-low", "rx-frames-low", "tx-usecs-low", "tx-frames-low",
    "pkt-rate-high", "rx-usecs-high", "rx-frames-high", "tx-usecs-high", "tx-frames-high",
    "sample-interval", "cqe-mode-tx", "cqe-mode-rx",
)  # fmt: skip


@dataclass(frozen=True)
class EthtoolSettings:
    """What ethtool says, by interface name."""

    coalescing: dict[str, dict[str, int]] = field(default_factory=dict)
    offloads: dict[str, dict[str, bool]] = field(default_factory=dict)


def attribute(kind: int, payload: bytes) -> bytes:
    """One netlink attribute."""
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in a message or a nest."""
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4 or length > len(data):
            return
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]


def _number(payload: bytes) -> int:
    return int.from_bytes(payload, "little" if struct.pack("=H", 1)[0] else "big")


class _Socket:
    """A generic netlink socket with a time limit."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_GENERIC
        )
        self._socket.settimeout(2.0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind((0, 0))
        name = attribute(_FAMILY_NAME, b"ethtool\0")
        answer = next(self.ask(_CONTROL, _GET_FAMILY, name, 0), {})
        self.family = _number(answer.get(_FAMILY_ID, b""))

    def ask(self, family: int, command: int, body: bytes, flags: int) -> Iterator[dict[int, bytes]]:
        message = struct.pack("=BBH", command, 1, 0) + body
        header = struct.pack("=IHHII", 16 + len(message), family, _REQUEST | flags, 1, 0)
        self._socket.send(header + message)
        while True:
            data = self._socket.recv(1 << 20)
            while len(data) >= 16:
                length, kind = struct.unpack_from("=IH", data)
                if kind in (_ERROR, _DONE) or not 20 <= length <= len(data):
                    return
                yield dict(attributes(data[20:length]))
                data = data[(length + 3) & ~3 :]
            if not flags & _DUMP:
                return

    def close(self) -> None:
        self._socket.close()


def read_settings() -> EthtoolSettings:
    """Of every interface that has any; nothing where the kernel or its policy says no."""
    settings = EthtoolSettings()
    try:
        connection = _Socket()
    except OSError:
        return settings
    try:
        if connection.family:
            _read(connection, settings)
    except OSError:
        pass
    finally:
        connection.close()
    return settings


def _read(connection: _Socket, settings: EthtoolSettings) -> None:
    compact = attribute(_HEADER | _NESTED, attribute(3, struct.pack("=I", _COMPACT)))
    wanted = attribute(1 | _NESTED, attribute(1, struct.pack("=I", _FEATURE_NAMES)))
    names: dict[int, str] = {}
    strings = compact + attribute(2 | _NESTED, wanted)
    for answer in connection.ask(connection.family, _STRINGS_GET, strings, 0):
        names = feature_names(answer.get(2, b""))
    for answer in connection.ask(connection.family, _FEATURES_GET, compact, _DUMP):
        possible, active, fixed = (bitset(answer.get(kind, b"")) for kind in (2, 4, 5))
        known = active | (possible & ~fixed)  # the rest can only be off
        settings.offloads[_device(answer)] = {
            name: bool(active >> n & 1) for n, name in names.items() if known >> n & 1
        }
    for answer in connection.ask(connection.family, _COALESCE_GET, compact, _DUMP):
        settings.coalescing[_device(answer)] = {
            _COALESCING[kind - 2]: _number(payload)
            for kind, payload in answer.items()
            if 2 <= kind < 2 + len(_COALESCING)
        }


def bitset(nest: bytes) -> int:
    """A compact bit set as one number, the lowest bit first."""
    words = dict(attributes(nest)).get(4, b"")
    numbers = struct.unpack_from(f"={len(words) // 4}I", words)
    return sum(word << 32 * n for n, word in enumerate(numbers))


def _device(answer: dict[int, bytes]) -> str:
    name = dict(attributes(answer.get(_HEADER, b""))).get(2, b"")
    return name.rstrip(b"\0").decode("utf-8", "surrogateescape")


def feature_names(sets: bytes) -> dict[int, str]:
    """Bit -> the kernel's name of an offload, from the string sets of an answer."""
    names = {}
    for _, one in attributes(sets):
        for _, entry in attributes(dict(attributes(one)).get(3, b"")):
            parts = dict(attributes(entry))
            word = parts.get(2, b"").rstrip(b"\0").decode("ascii", "replace")
            bit = _number(parts.get(1, b""))
            if word and bit < _MOST_FEATURES:
                names[bit] = word
    return names
