"""Makes Ethernet frames; every UDP datagram and echo request carries its number."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, replace

#: Addresses of the far side and of the VM; nobody owns them, so no stack ever answers.
PEER_MAC = bytes.fromhex("525400bb0001")
GUEST_MAC = bytes.fromhex("525400aa0001")
HEADER = 14
ARP, IPV4, IPV6, VLAN, QINQ = 0x0806, 0x0800, 0x86DD, 0x8100, 0x88A8
ICMP, TCP, UDP, FRAGMENT, ICMPV6 = 1, 6, 17, 44, 58


def checksum(data: bytes) -> int:
    """The Internet checksum."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


@dataclass(frozen=True)
class Packet:
    """What a frame is made of; ``frame(number)`` makes it.

    ``tags`` are the outer to inner VLAN ids (two give a QinQ frame).  ``fragment`` is the offset in
    bytes and whether more follow; None is a whole packet.  ``flags`` are of TCP.
    """

    src: str = "192.0.2.1"
    dst: str = "192.0.2.2"
    sport: int = 40000
    dport: int = 7001
    protocol: int = UDP
    payload: int = 32
    tags: tuple[int, ...] = ()
    options: bytes = b""
    fragment: tuple[int, bool] = (-1, False)
    ident: int = 0
    reply: bool = False
    dst_mac: bytes = PEER_MAC
    src_mac: bytes = GUEST_MAC

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.src else 4

    def with_(self, **changes: object) -> Packet:
        """The same but for some fields."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def mirrored(self) -> Packet:
        """The answer: every address and port exchanged."""
        return replace(
            self,
            src=self.dst,
            dst=self.src,
            sport=self.dport,
            dport=self.sport,
            dst_mac=self.src_mac,
            src_mac=self.dst_mac,
            reply=not self.reply,
        )

    def frame(self, number: int = 0) -> bytes:
        """The whole frame."""
        src, dst = (ipaddress.ip_address(a).packed for a in (self.src, self.dst))
        body = struct.pack("!I", number & 0xFFFFFFFF).ljust(self.payload, b"v")
        segment = self._segment(number, body, src, dst)
        if self.version == 4:
            packet, kind = self._ip4(segment, src, dst), IPV4
        else:
            packet, kind = self._ip6(segment, src, dst), IPV6
        tags = b""
        for i, tag in enumerate(self.tags):
            outer_of_two = i == 0 and len(self.tags) > 1
            tags += struct.pack("!HH", QINQ if outer_of_two else VLAN, tag)
        return self.dst_mac + self.src_mac + tags + struct.pack("!H", kind) + packet

    def _segment(self, number: int, body: bytes, src: bytes, dst: bytes) -> bytes:
        if self.protocol == UDP:
            header = struct.pack("!HHHH", self.sport, self.dport, 8 + len(body), 0)
            return header + body
        if self.protocol == TCP:
            header = struct.pack(
                "!HHIIBBHHH", self.sport, self.dport, number & 0xFFFFFFFF, 1, 0x50, 0x10, 512, 0, 0
            )
            pseudo = src + dst + struct.pack("!II", len(header) + len(body), TCP)
            sum_ = checksum(pseudo + header + body)
            return header[:16] + struct.pack("!H", sum_) + header[18:] + body
        kinds = (8, 0) if self.protocol == ICMP else (128, 129)
        return struct.pack("!BBHHH", kinds[self.reply], 0, 0, self.sport, number & 0xFFFF) + body

    def _ip4(self, segment: bytes, src: bytes, dst: bytes) -> bytes:
        offset, more = self.fragment
        flags = 0x4000 if offset < 0 else (0x2000 if more else 0) | offset // 8
        header = struct.pack(
            "!BBHHHBBH4s4s",
            0x45 + len(self.options) // 4,
            0,
            20 + len(self.options) + len(segment),
            self.ident,
            flags,
            64,
            self.protocol,
            0,
            src,
            dst,
        )
        header += self.options
        return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + segment

    def _ip6(self, segment: bytes, src: bytes, dst: bytes) -> bytes:
        offset, more = self.fragment
        following = self.protocol
        if offset >= 0:
            segment = struct.pack("!BBHI", following, 0, offset | int(more), self.ident) + segment
            following = FRAGMENT
        return struct.pack("!IHBB16s16s", 6 << 28, len(segment), following, 64, src, dst) + segment


#: Not IP: goes through the switch and is not measured.
def filler(size: int = 60, dst_mac: bytes = PEER_MAC) -> bytes:
    """A frame of another protocol."""
    return (dst_mac + GUEST_MAC + struct.pack("!H", 0x88B5)).ljust(size, b"f")


def number_of(frame: bytes) -> int:
    """The number that a :class:`Packet` of UDP over untagged IPv4 carries."""
    return int(struct.unpack_from("!I", frame, HEADER + 28)[0])


V4 = Packet()
V6 = Packet(src="2001:db8::1", dst="2001:db8::2")
