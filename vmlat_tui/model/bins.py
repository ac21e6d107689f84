"""The bins: every packet that starts ends in exactly one."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Bin(enum.IntEnum):
    """Where a packet ended.  The value is the BPF programs' index."""

    COMPLETED = 0
    #: Freed on the way: with the kernel's reason, or inside the switch without an action.
    DROPPED = 1
    #: It turned out not to be on the selected path: delivered to the host or another interface.
    FILTERED = 2
    #: Lost from sight: not seen for longer than the expiry, or its buffer was re-used.
    EXPIRED = 3
    #: The tables were full, or two packets could not be told apart.
    EVICTED = 4
    #: Still on the way when the measurement was read.
    IN_FLIGHT = 5

    @property
    def id(self) -> str:
        """Name in JSON, e.g. ``in_flight``."""
        return self.name.lower()


@dataclass
class Account:
    """Packets started in one direction and where they ended."""

    started: int = 0
    bins: dict[Bin, int] = field(default_factory=lambda: dict.fromkeys(Bin, 0))

    @property
    def ended(self) -> int:
        """Sum of all bins."""
        return sum(self.bins.values())

    @property
    def balanced(self) -> bool:
        """Whether every started packet is in a bin."""
        return self.started == self.ended

    def to_json(self) -> dict[str, int]:
        """``started``, one field per bin, and their ``sum``."""
        row = {"started": self.started}
        row.update({b.id: self.bins[b] for b in Bin})
        row["sum"] = self.ended
        return row

    @classmethod
    def from_json(cls, value: dict[str, int]) -> Account:
        """Inverse of :meth:`to_json`; raises ``KeyError`` or ``ValueError``."""
        return cls(int(value["started"]), {b: int(value[b.id]) for b in Bin})
