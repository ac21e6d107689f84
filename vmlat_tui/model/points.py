"""The points of the path and the steps at which one packet passes them.

A *point* is a place with a stable id (docs/path.md).  A *step* is a point at its place in
the order of one direction; it is the index of the timestamp in the packet state that the BPF
programs keep.  Steps of one direction, read in increasing order, are that direction's path, so the
legs of a packet are the differences between consecutive steps that it passed.

Ids, titles and step numbers are defined here and nowhere else; the BPF sources receive them
as macros.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Optional


class Direction(enum.IntEnum):
    """Seen from the VM: TX leaves the guest, RX enters it.  The value is the BPF index."""

    TX = 0
    RX = 1

    @property
    def id(self) -> str:
        """``tx`` or ``rx``, as the command line and JSON spell it."""
        return self.name.lower()


BOTH = (Direction.TX, Direction.RX)


@dataclass(frozen=True)
class Point:
    """A semantic place on the path."""

    id: str
    title: str


@dataclass(frozen=True)
class Step:
    """A point at its place in the path.

    ``seed_stages`` are the numbers that the text report prints for TX and RX, None where the
    requirement has none.  A packet may leave out ``optional`` steps, for a reason that is counted
    (:mod:`vmlat_tui.model.absences`) or seen from its path.
    """

    number: int
    point: Point
    directions: tuple[Direction, ...]
    seed_stages: tuple[Optional[int], Optional[int]]
    optional: bool = False

    @property
    def macro(self) -> str:
        """The name by which the BPF sources know this step."""
        prefix = (
            "RX_" if self.point.id in ("vhost_woken", "vhost_on_cpu") and self.number > 8 else ""
        )
        return f"STEP_{prefix}{self.point.id.upper()}"


_TITLES = (
    ("guest_exit", "guest leaves to kick"),
    ("guest_kick", "guest kicks the queue"),
    ("vhost_woken", "vhost worker woken"),
    ("vhost_on_cpu", "vhost worker on CPU"),
    ("vhost_tx", "vhost takes the TX queue"),
    ("tun_in", "tun takes the packet"),
    ("vnet_rx", "received on vnet"),
    ("phy_gro", "NIC driver hands it to GRO"),
    ("phy_rx", "received on the uplink"),
    ("switch_in", "enters the switch"),
    ("ovs_dp", "OVS datapath"),
    ("ovs_upcall", "OVS upcall"),
    ("ovs_reinject", "OVS re-injects"),
    ("switch_out", "leaves the switch"),
    ("phy_queue", "queued on the uplink"),
    ("phy_xmit", "given to the NIC driver"),
    ("vnet_queue", "queued on vnet"),
    ("tun_out", "tun queues it for the guest"),
    ("vhost_take", "vhost takes it from tun"),
    ("vhost_signal", "vhost signals the guest"),
    ("eventfd", "eventfd signalled"),
    ("irqfd", "irqfd woken"),
    ("irq_accept", "interrupt accepted"),
    ("vcpu_woken", "vCPU woken"),
    ("vcpu_on_cpu", "vCPU on CPU"),
    ("guest_entry", "guest entered"),
)

POINTS: dict[str, Point] = {id_: Point(id_, title) for id_, title in _TITLES}

_TX = (Direction.TX,)
_RX = (Direction.RX,)


def _steps() -> tuple[Step, ...]:
    # (point, directions, TX stage, RX stage, optional); the order is the path's.
    # A packet from one VM to another on this host goes TX up to vnet_queue and tun_out.
    rows: tuple[tuple[str, tuple[Direction, ...], Optional[int], Optional[int], bool], ...] = (
        ("guest_exit", _TX, None, None, True),
        ("guest_kick", _TX, None, None, True),
        ("vhost_woken", _TX, None, None, True),
        ("vhost_on_cpu", _TX, None, None, True),
        ("vhost_tx", _TX, None, None, True),
        ("tun_in", _TX, 0, None, False),
        ("vnet_rx", _TX, None, None, False),
        ("phy_gro", _RX, None, None, True),
        ("phy_rx", _RX, None, 0, False),
        ("switch_in", BOTH, 1, 1, False),
        ("ovs_dp", BOTH, 2, 2, True),
        ("ovs_upcall", BOTH, 3, 3, True),
        ("ovs_reinject", BOTH, 4, 4, True),
        ("switch_out", BOTH, 5, 5, False),
        ("phy_queue", _TX, 6, None, True),
        ("phy_xmit", _TX, None, None, True),
        ("vnet_queue", BOTH, None, None, False),
        ("tun_out", BOTH, None, 6, False),
        ("vhost_woken", _RX, None, None, True),
        ("vhost_on_cpu", _RX, None, None, True),
        ("vhost_take", _RX, None, None, False),
        ("vhost_signal", _RX, None, None, False),
        ("eventfd", _RX, None, None, True),
        ("irqfd", _RX, None, None, True),
        ("irq_accept", _RX, None, None, True),
        ("vcpu_woken", _RX, None, None, True),
        ("vcpu_on_cpu", _RX, None, None, True),
        ("guest_entry", _RX, None, None, True),
    )
    return tuple(
        Step(number, POINTS[point], directions, (tx_stage, rx_stage), optional)
        for number, (point, directions, tx_stage, rx_stage, optional) in enumerate(rows)
    )


STEPS: tuple[Step, ...] = _steps()

#: Length of the timestamp array; a power of two with room for what is not known yet.
STEP_ROOM = 32


def step(point_id: str, direction: Direction) -> Step:
    """The step of a point in a direction; ``KeyError`` if the point is not on that path."""
    for candidate in STEPS:
        if candidate.point.id == point_id and direction in candidate.directions:
            return candidate
    raise KeyError(f"{point_id} is not on the {direction.id} path")


def path(direction: Direction) -> tuple[Step, ...]:
    """The steps of one direction in the order a packet passes them."""
    return tuple(s for s in STEPS if direction in s.directions)
