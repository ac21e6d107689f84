"""What a user wants measured: one state, sent whole and acknowledged whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

from vmlat_tui.errors import quoted
from vmlat_tui.model import checks, filters
from vmlat_tui.model.checks import number, word
from vmlat_tui.model.flows import Filter
from vmlat_tui.model.jsonable import Jsonable, Size
from vmlat_tui.model.points import BOTH

_Names = Annotated[tuple[str, ...], Size(0, 4096)]
_Often = Annotated[int, number(0, 1 << 31)]

#: In JSON these may be null as well.
NULLABLE = frozenset({"vm_interfaces", "uplinks", "filters"})


@dataclass(frozen=True)
class Requested(Jsonable):
    """Which packets of which interfaces are measured, and which of them are reported singly.

    Every packet that is measured is counted; ``threshold_ns``, ``max_rate``, ``sample``, ``emit``
    and ``detail`` are about single packets only.
    """

    #: Taps.  Empty: every tap of a switch, and those that appear later.
    vm_interfaces: _Names = ()
    #: Empty: those that the taps share a switch with.
    uplinks: _Names = ()
    #: A packet is measured that one of them matches.  Empty: every packet.
    filters: Annotated[tuple[Filter, ...], Size(0, 4096)] = ()
    #: By their ids, TX first.  Empty: nothing is measured for now.
    directions: Annotated[tuple[Annotated[str, checks.direction], ...], Size(0, 2)] = ("tx", "rx")
    threshold_ns: Annotated[int, checks.time] = 0
    #: Packets a second, 0: without limit.
    max_rate: _Often = 0
    #: One packet in so many.
    sample: _Often = 1
    emit: bool = True
    #: With the time and place of every point.
    detail: bool = True
    #: Which probes there are, and where their offsets come from: the same for a whole measurement.
    rung: Annotated[str, word("full|tracepoints")] = "full"
    offsets: Annotated[str, word("btf|headers")] = "btf"

    @classmethod
    def from_json(cls, value: Any) -> Requested:
        """Inverse of :meth:`to_json`; other fields of the object are those of its command.

        Raises ``ValueError`` for what is out of bounds.
        """
        if type(value) is not dict:
            raise ValueError(f"{quoted(value)} is not an object")
        given = {n: v for n, v in value.items() if v is not None or n not in NULLABLE}
        found = super().from_json(given)
        return replace(found, directions=tuple(d.id for d in BOTH if d.id in found.directions))

    @property
    def interfaces(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Taps and uplinks."""
        return self.vm_interfaces, self.uplinks

    def same_packets(self, other: Requested) -> bool:
        """Whether they differ in interfaces at most: what was counted goes on being counted."""
        moved = replace(other, vm_interfaces=self.vm_interfaces, uplinks=self.uplinks)
        return self == moved

    def same_probes(self, other: Requested) -> bool:
        """Whether a measurement of one can become one of the other while it runs."""
        return (self.rung, self.offsets) == (other.rung, other.offsets)

    @property
    def filter_words(self) -> str:
        """The filters as a line that :func:`.filters.parse` reads; empty if there is none."""
        return filters.words(self.filters) if self.filters else ""

    @property
    def words(self) -> str:
        """What is left out, in a few words; empty if nothing is."""
        parts = [self.filter_words] if self.filters else []
        if len(self.directions) == 1:
            parts.append(f"{self.directions[0].upper()} only")
        if self.threshold_ns:
            parts.append(f"packets from {self.threshold_ns / 1000:g} µs")
        return ", ".join(parts)
