"""Wake-ups of vhost workers and vCPUs, taken apart: what the thread waited for.

From being woken (``sched_waking``) to running (``sched_switch``) a thread waits for its CPU to
leave an idle state, or for another task to leave that CPU.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from vmlat_tui.model.histogram import Histogram


class Role(enum.Enum):
    """What a watched thread is."""

    WORKER = "worker"
    VCPU = "vcpu"


@dataclass(frozen=True)
class Wakeups:
    """All wake-ups of one thread since the measurement began.

    ``idle``: waking to running where the CPU was idle before; ``queued``: where another task ran
    there.  ``idle_states`` counts the former by the number of the idle state that was left (-1: not
    known).  ``ahead`` are the tasks that ran there instead: name -> wake-ups that waited for it.
    ``migrations``: wake-ups after which it ran on another CPU than before.
    """

    tid: int
    role: Role
    idle: Histogram
    queued: Histogram
    migrations: int
    idle_states: Mapping[int, int] = field(default_factory=dict)
    ahead: Mapping[str, int] = field(default_factory=dict)
    #: The worker's vNIC, None for a vCPU.
    vm_interface: Optional[str] = None

    @property
    def count(self) -> int:
        """How often it was woken."""
        return self.idle.count + self.queued.count

    def to_json(self) -> dict[str, Any]:
        """One row of ``wakeups`` in a ``stats`` frame."""
        return {
            "tid": self.tid,
            "role": self.role.value,
            "vm_interface": self.vm_interface,
            "idle": self.idle.to_json(),
            "queued": self.queued.to_json(),
            "migrations": self.migrations,
            "idle_states": [[state, count] for state, count in sorted(self.idle_states.items())],
            "ahead": [[name, count] for name, count in self.ahead.items()],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Wakeups:
        """Inverse of :meth:`to_json`; raises ``KeyError``, ``TypeError`` or ``ValueError``."""
        return cls(
            tid=int(value["tid"]),
            role=Role(value["role"]),
            idle=Histogram.from_json(value["idle"]),
            queued=Histogram.from_json(value["queued"]),
            migrations=int(value["migrations"]),
            idle_states={int(state): int(count) for state, count in value["idle_states"]},
            ahead={str(name): int(count) for name, count in value["ahead"]},
            vm_interface=value["vm_interface"],
        )
