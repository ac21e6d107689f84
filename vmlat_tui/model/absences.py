"""Why a packet did not pass a point: a state of the path with its own count, never a zero.

The kernel's programs count these per vNIC, and a single packet says its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from vmlat_tui.model.points import Direction, path


@dataclass(frozen=True)
class Absence:
    """One reason; ``points`` are the ids of those that the packet left out."""

    number: int
    id: str
    direction: Direction
    points: tuple[str, ...]
    words: str

    @property
    def macro(self) -> str:
        """The name by which the BPF sources know it."""
        return f"ABSENT_{self.id.upper()}"


def _span(direction: Direction, first: Optional[str], last: Optional[str]) -> tuple[str, ...]:
    """The points of a path from one to another; None is its beginning or end."""
    ids = [step.point.id for step in path(direction)]
    return tuple(ids[ids.index(first) if first else 0 : ids.index(last) + 1 if last else None])


# (id, direction, the first and the last point that were left out, words)
_ROWS: tuple[tuple[str, Direction, Optional[str], Optional[str], str], ...] = (
    # One kick for many packets: they were all there, or the worker went on to look.
    ("kick_shared", Direction.TX, None, "vhost_tx", "came with another packet's kick"),
    # vhost put itself back (its budget was used up), or polls.
    ("kick_none", Direction.TX, None, "vhost_on_cpu", "the worker looked without a kick"),
    ("tx_worker_awake", Direction.TX, "vhost_woken", "vhost_on_cpu",
     "the worker was already awake"),
    ("rx_worker_awake", Direction.RX, "vhost_woken", "vhost_on_cpu",
     "the worker was already awake"),
    # It polls (NAPI), or has not looked since the last one.
    ("signal_suppressed", Direction.RX, "eventfd", None, "the guest wanted no interrupt"),
    # No irqfd (QEMU injects), or a kernel thread does it later.
    ("injected_elsewhere", Direction.RX, "irqfd", None, "another task injects the interrupt"),
    ("vcpu_running", Direction.RX, "vcpu_woken", "vcpu_on_cpu", "the vCPU was running"),
    ("vcpu_polling", Direction.RX, "vcpu_woken", "vcpu_on_cpu", "the vCPU was polling"),
    # The thread was not seen to run vhost's works before.
    ("tx_worker_new", Direction.TX, None, "vhost_on_cpu", "the worker was not known yet"),
    ("rx_worker_new", Direction.RX, "vhost_woken", "vhost_on_cpu", "the worker was not known yet"),
    # So many packets waited for their signal, or so many workers have packets waiting.
    ("ring_full", Direction.RX, "vhost_signal", None, "too many packets waited for their signal"),
    ("entry_unseen", Direction.RX, "vcpu_woken", None, "the vCPU's entry was not seen"),
    # Woken while it was on its way to sleep: it never left its CPU.
    ("tx_worker_not_asleep", Direction.TX, "vhost_on_cpu", "vhost_on_cpu",
     "the worker was woken before it slept"),
    ("rx_worker_not_asleep", Direction.RX, "vhost_on_cpu", "vhost_on_cpu",
     "the worker was woken before it slept"),
    ("vcpu_not_asleep", Direction.RX, "vcpu_on_cpu", "vcpu_on_cpu",
     "the vCPU was woken before it slept"),
)  # fmt: skip

ABSENCES: tuple[Absence, ...] = tuple(
    Absence(number, id_, direction, _span(direction, first, last), words)
    for number, (id_, direction, first, last, words) in enumerate(_ROWS)
)
ABSENCE: dict[str, Absence] = {absence.id: absence for absence in ABSENCES}

#: Length of the kernel's array of counters; a power of two.
ABSENCE_ROOM = 16
