"""What one observer saw of one packet: what every source of the ping analysis gives.

A live capture, a recording and an imported log all give readings; nothing behind them knows where
they came from.  The intervals of a reading are of one clock, and no clock is compared with another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional, Protocol

from vmlat_tui.model.segments import QUANTITIES


@dataclass(frozen=True)
class Packet:
    """An echo request and its reply, by the identity that all observers see (16 bits each)."""

    id: int
    sequence: int


@dataclass(frozen=True)
class Reading:
    """Intervals in nanoseconds by quantity; without ``packet`` where the source names none."""

    packet: Optional[Packet]
    intervals_ns: Mapping[str, int]


@dataclass(frozen=True)
class Average:
    """Over ``count`` packets, and their p50, p90 and p99, as far as they are known."""

    mean_ns: float
    count: Optional[int] = None
    quantiles_ns: Optional[tuple[float, float, float]] = None


class Sink(Protocol):
    """Takes readings.  For one thread."""

    def add(self, reading: Reading) -> bool:
        """Take one; false if this packet's interval is known already, which is kept then.

        ``KeyError`` for a quantity that is not of :data:`.segments.QUANTITIES`.
        """

    def state(self, quantity: str, average: Average) -> None:
        """Take an average that somebody else has computed."""


def to_json(reading: Reading) -> dict[str, object]:
    """One line of a capture: ``{"type": "reading", "id": 7, "seq": 1, "ns": {"B": 13500}}``."""
    packet = reading.packet
    return {
        "type": "reading",
        "id": packet.id if packet else None,
        "seq": packet.sequence if packet else None,
        "ns": dict(reading.intervals_ns),
    }


def from_json(value: Mapping[str, object]) -> Reading:
    """Inverse of :func:`to_json`; raises ``ValueError`` for anything else."""
    number, sequence, intervals = value.get("id"), value.get("seq"), value.get("ns")
    if not isinstance(intervals, dict) or not intervals:
        raise ValueError("a reading has no intervals")
    for name, interval in intervals.items():
        if name not in QUANTITIES:
            raise ValueError(f"there is no quantity {name!r}")
        if not _whole(interval) or not 0 <= interval < 1 << 62:
            raise ValueError(f"{name} is not a number of nanoseconds")
    if number is None and sequence is None:
        return Reading(None, intervals)
    if not (_whole(number) and _whole(sequence)):
        raise ValueError("id and seq are not numbers")
    assert isinstance(number, int) and isinstance(sequence, int)
    if not (0 <= number <= 0xFFFF and 0 <= sequence <= 0xFFFF):
        raise ValueError("id and seq have 16 bits")
    return Reading(Packet(number, sequence), intervals)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
