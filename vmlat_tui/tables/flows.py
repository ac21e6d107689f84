"""The table of flows."""

from __future__ import annotations

from collections.abc import Callable

from vmlat_tui.session.snapshot import FlowRow, Place
from vmlat_tui.tables.columns import COUNT, NAME, RATE, TEXT, Column, Number

_BITS = Number((("bit/s", 1.0), ("kbit/s", 1e3), ("Mbit/s", 1e6), ("Gbit/s", 1e9)), digits=1)
_AGE = Number((("s", 1e9),), digits=1)


def rows(place: Place, vnic: str) -> tuple[FlowRow, ...]:
    """The flows of a vNIC at this moment."""
    stats = place.now.stats
    if stats is None or stats.flows is None:
        return ()
    return tuple(row for row in stats.flows if row.vnic == vnic)


def _side(address: str, port: int, protocol: str) -> str:
    if protocol == "icmp":
        return f"{address} id {port}"
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def source(row: FlowRow) -> str:
    """Address and port that it comes from."""
    return _side(row.flow.src, row.flow.src_port, row.flow.protocol)


def target(row: FlowRow) -> str:
    """Address and port that it goes to."""
    return _side(row.flow.dst, row.flow.dst_port, row.flow.protocol)


def columns(now_ns: Callable[[], int]) -> tuple[Column[FlowRow], ...]:
    """The columns; ages are against ``now_ns()``."""
    return (
        Column("direction", "dir", 3, TEXT, lambda r: r.direction.upper(), 1),
        Column("protocol", "proto", 5, NAME, lambda r: r.flow.protocol, 2),
        Column("source", "from", 21, NAME, source, 0, 34),
        Column("target", "to", 21, NAME, target, 0, 34),
        Column("rate", "pps", 7, RATE, lambda r: r.packets_per_second, 0,
               help="packets a second"),
        Column("bits", "", 8, _BITS, lambda r: r.bits_per_second, 3, help="bits a second"),
        Column("packets", "pkts", 9, COUNT, lambda r: r.packets, 5, help="since the start"),
        Column("age", "seen", 7, _AGE, lambda r: max(0, now_ns() - r.last_ns), 4,
               help="since its last packet"),
    )  # fmt: skip
