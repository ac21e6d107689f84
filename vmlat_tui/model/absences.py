"""Why a packet did not pass a point: a state of the path with its own count, never a zero.

The kernel's programs count these per vNIC, and a single packet says its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from vmlat_tui.model.points import Direction


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


_KICK = ("guest_exit", "guest_kick")
_WAKE = ("vhost_woken", "vhost_on_cpu")
_VCPU = ("vcpu_woken", "vcpu_on_cpu")
_ROWS: tuple[tuple[str, Direction, tuple[str, ...], str], ...] = (
    # One kick for many packets: they were all there, or the worker went on to look.
    ("kick_shared", Direction.TX, (*_KICK, *_WAKE, "vhost_tx"),
     "came with another packet's kick"),
    # vhost put itself back (its budget was used up), or polls.
    ("kick_none", Direction.TX, (*_KICK, *_WAKE), "the worker looked without a kick"),
    ("tx_worker_awake", Direction.TX, _WAKE, "the worker was already awake"),
    ("rx_worker_awake", Direction.RX, _WAKE, "the worker was already awake"),
    # It polls (NAPI), or has not looked since the last one.
    ("signal_suppressed", Direction.RX,
     ("eventfd", "irqfd", "irq_accept", *_VCPU, "guest_entry"), "the guest wanted no interrupt"),
    # No irqfd (QEMU injects), or a kernel thread does it later.
    ("injected_elsewhere", Direction.RX, ("irqfd", "irq_accept", *_VCPU, "guest_entry"),
     "another task injects the interrupt"),
    ("vcpu_running", Direction.RX, _VCPU, "the vCPU was running"),
    ("vcpu_polling", Direction.RX, _VCPU, "the vCPU was polling"),
    # The thread was not seen to run vhost's works before.
    ("tx_worker_new", Direction.TX, (*_KICK, *_WAKE), "the worker was not known yet"),
    ("rx_worker_new", Direction.RX, _WAKE, "the worker was not known yet"),
    # So many packets waited for their signal, or so many workers have packets waiting.
    ("ring_full", Direction.RX,
     ("vhost_signal", "eventfd", "irqfd", "irq_accept", *_VCPU, "guest_entry"),
     "too many packets waited for their signal"),
    ("entry_unseen", Direction.RX, (*_VCPU, "guest_entry"), "the vCPU's entry was not seen"),
    # Woken while it was on its way to sleep: it never left its CPU.
    ("tx_worker_not_asleep", Direction.TX, ("vhost_on_cpu",),
     "the worker was woken before it slept"),
    ("rx_worker_not_asleep", Direction.RX, ("vhost_on_cpu",),
     "the worker was woken before it slept"),
    ("vcpu_not_asleep", Direction.RX, ("vcpu_on_cpu",), "the vCPU was woken before it slept"),
)  # fmt: skip

ABSENCES: tuple[Absence, ...] = tuple(Absence(n, *row) for n, row in enumerate(_ROWS))
ABSENCE: dict[str, Absence] = {absence.id: absence for absence in ABSENCES}

#: Length of the kernel's array of counters; a power of two.
ABSENCE_ROOM = 16
