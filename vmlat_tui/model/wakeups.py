"""Wake-ups of vhost workers and vCPUs, taken apart: what the thread waited for.

From being woken (``sched_waking``) to running (``sched_switch``) a thread waits for its CPU to
leave an idle state, or for another task to leave that CPU.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from vmlat_tui.model.histogram import Histogram


class Role(enum.Enum):
    """What a watched thread is."""

    WORKER = "worker"
    VCPU = "vcpu"


@dataclass(frozen=True)
class Halts:
    """How the halts of one vCPU ended.

    ``polled``: it had not slept, as KVM's polling was successful or the event was there already;
    ``slept``: it had, and ``slept_ns`` contains the poll before.  ``grown`` and ``shrunk`` are
    changes of the window in which KVM polls for it; ``window_ns`` is the window now, None as long
    as it was not seen to be set.
    """

    polled: int = 0
    polled_ns: int = 0
    slept: int = 0
    slept_ns: int = 0
    grown: int = 0
    shrunk: int = 0
    window_ns: Optional[int] = None

    @property
    def count(self) -> int:
        """How often it halted."""
        return self.polled + self.slept

    @property
    def polled_share(self) -> Optional[float]:
        """Of all halts those in which it did not sleep; None if there was none."""
        return self.polled / self.count if self.count else None


@dataclass(frozen=True)
class Wakeups:
    """All wake-ups of one thread since the measurement began.

    ``idle``: waking to running where the CPU was idle for most of that time; ``queued``: where
    another task ran there.  ``idle_states`` counts the former by the number of the idle state that
    was left (-1: not known).  ``ahead_ns`` are the tasks that ran there instead: name -> for how
    long; of many tasks only those that ran for longest are known.
    ``migrations``: wake-ups after which it ran on another CPU than before.
    """

    tid: int
    role: Role
    idle: Histogram
    queued: Histogram
    migrations: int
    idle_states: Mapping[int, int] = field(default_factory=dict)
    ahead_ns: Mapping[str, int] = field(default_factory=dict)
    #: The worker's vNIC, None for a vCPU.
    vm_interface: Optional[str] = None
    #: Of a vCPU; None for a worker, and where they were not counted.
    halts: Optional[Halts] = None

    @property
    def count(self) -> int:
        """How often it was woken."""
        return self.idle.count + self.queued.count

    @property
    def events(self) -> int:
        """Wake-ups and halts: 0 if there is nothing to tell."""
        return self.count + (self.halts.count if self.halts else 0)
