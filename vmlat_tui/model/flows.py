"""Flows (5-tuples) and the filter that selects packets."""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
from dataclasses import dataclass
from typing import Annotated, Any, Callable, NamedTuple, Optional, Union

from vmlat_tui.errors import quoted
from vmlat_tui.model import checks

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


class Protocol(enum.Enum):
    """A measured protocol; the value is its name on the command line and in JSON."""

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"

    def numbers(self, version: Optional[int]) -> tuple[int, ...]:
        """IP protocol numbers for an IP version, or for both when it is None."""
        if self is Protocol.TCP:
            return (6,)
        if self is Protocol.UDP:
            return (17,)
        return {4: (1,), 6: (58,)}.get(version or 0, (1, 58))


_BY_NUMBER = {6: Protocol.TCP, 17: Protocol.UDP, 1: Protocol.ICMP, 58: Protocol.ICMP}


def protocol_of(number: int) -> Protocol:
    """The protocol of an IP protocol number; ``KeyError`` if vmlat does not measure it."""
    return _BY_NUMBER[number]


class Flow(NamedTuple):
    """A 5-tuple.  For ICMP echo both ports hold the echo id."""

    src: Annotated[str, checks.address]
    dst: Annotated[str, checks.address]
    src_port: Annotated[int, checks.port]
    dst_port: Annotated[int, checks.port]
    #: What vmlat measures; other protocols by number, as a later version may.
    protocol: Annotated[str, checks.word(r"tcp|udp|icmp|[0-9]{1,3}")]

    def validate(self) -> None:
        """Raise ``ValueError`` unless both ends are of one IP version."""
        checks.one_version(self.src, self.dst)

    def to_json(self) -> dict[str, object]:
        """The ``flow`` object of packet and summary JSON."""
        return {
            "src": self.src,
            "dst": self.dst,
            "src_port": self.src_port,
            "dst_port": self.dst_port,
            "protocol": self.protocol,
        }

    def __str__(self) -> str:
        def side(address: str, port: int) -> str:
            return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

        return (
            f"{side(self.src, self.src_port)} -> {side(self.dst, self.dst_port)}"
            f" ({self.protocol.upper()})"
        )


@dataclass(frozen=True)
class Echo:
    """What an ICMP or ICMPv6 echo packet says of itself: 16 bits each, and which way it goes."""

    id: int
    sequence: int
    request: bool

    def to_json(self) -> dict[str, object]:
        """The ``icmp`` object of packet JSON."""
        kind = "request" if self.request else "reply"
        return {"id": self.id, "seq": self.sequence, "kind": kind}

    @classmethod
    def from_json(cls, value: Any) -> Echo:
        """Inverse of :meth:`to_json`; raises ``ValueError``."""
        ECHO(value)
        return cls(value["id"], value["seq"], value["kind"] == "request")


#: What ``icmp`` must look like.
ECHO = checks.fields({"id": checks.port, "seq": checks.port, "kind": checks.word("request|reply")})


@dataclass(frozen=True)
class Filter:
    """What a packet must be to be measured; None matches everything.

    ``either`` also accepts the mirrored packet, so that one filter selects both directions of a
    conversation.  ICMP echo has its id in both ports.
    """

    src_ip: Optional[Address] = None
    dst_ip: Optional[Address] = None
    src_port: Optional[int] = None
    dst_port: Optional[int] = None
    protocol: Optional[Protocol] = None
    either: bool = False

    def __post_init__(self) -> None:
        if self.src_ip and self.dst_ip and self.src_ip.version != self.dst_ip.version:
            raise ValueError(f"{self.src_ip} and {self.dst_ip} are not of one IP version")
        for port in (self.src_port, self.dst_port):
            if port is not None and not 0 <= port <= 65535:
                raise ValueError(f"{port} is not a port (0 to 65535)")

    @property
    def version(self) -> Optional[int]:
        """IP version that the addresses imply, None without addresses."""
        address = self.src_ip or self.dst_ip
        return address.version if address else None

    @property
    def matches_all(self) -> bool:
        """Whether no packet is excluded."""
        return (
            self.src_ip is None
            and self.dst_ip is None
            and self.src_port is None
            and self.dst_port is None
            and self.protocol is None
        )

    def admits(self, ends: tuple[str, str]) -> bool:
        """Whether the addresses are those of a ping: of who pings, and of who is pinged.

        An agent with ``either`` also lets through the pings the other way.
        """
        ours = (self.src_ip, self.dst_ip)
        return all(one is None or str(one) == end for one, end in zip(ours, ends))

    def to_json(self) -> dict[str, object]:
        """JSON-ready form, as commands to the agent carry it."""
        return {
            "src_ip": str(self.src_ip) if self.src_ip else None,
            "dst_ip": str(self.dst_ip) if self.dst_ip else None,
            "src_port": self.src_port,
            "dst_port": self.dst_port,
            "protocol": self.protocol.value if self.protocol else None,
            "either": self.either,
        }

    @classmethod
    def from_json(cls, value: Any) -> Filter:
        """Inverse of :meth:`to_json`; raises ``ValueError`` for anything that is not a filter."""
        _FILTER(value)
        unknown = value.keys() - {f.name for f in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"a filter has no {quoted(min(unknown))}")

        def made(key: str, kind: Callable[[str], Any]) -> Any:
            return None if value.get(key) is None else kind(value[key])

        return cls(
            made("src_ip", ipaddress.ip_address),
            made("dst_ip", ipaddress.ip_address),
            value.get("src_port"),
            value.get("dst_port"),
            made("protocol", Protocol),
            value.get("either", False),
        )


_FILTER = checks.fields(
    {},
    {
        "src_ip": checks.or_none(checks.address),
        "dst_ip": checks.or_none(checks.address),
        "src_port": checks.or_none(checks.port),
        "dst_port": checks.or_none(checks.port),
        "protocol": checks.or_none(checks.word("|".join(p.value for p in Protocol))),
        "either": checks.flag,
    },
)
