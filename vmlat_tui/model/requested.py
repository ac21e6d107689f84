"""What a user wants measured: one state, sent whole and acknowledged whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vmlat_tui.model import checks, filters
from vmlat_tui.model.checks import Check, direction, each, flag, number, or_none, text, time, word
from vmlat_tui.model.flows import Filter
from vmlat_tui.model.points import BOTH

#: Field -> what it must look like in JSON; one that is missing, or null where it may be,
#: has its default.
FIELDS: Mapping[str, Check] = {
    "vm_interfaces": or_none(each(text, most=4096)),
    "uplinks": or_none(each(text, most=4096)),
    "filters": or_none(each(Filter.from_json, most=4096)),
    "directions": each(direction, most=2),
    "threshold_ns": time,
    "max_rate": number(0, 1 << 31),
    "sample": number(0, 1 << 31),
    "emit": flag,
    "detail": flag,
    "rung": word("full|tracepoints"),
    "offsets": word("btf|headers"),
}
_CHECK = checks.fields({}, FIELDS)


@dataclass(frozen=True)
class Requested:
    """Which packets of which interfaces are measured, and which of them are reported singly.

    Every packet that is measured is counted; ``threshold_ns``, ``max_rate``, ``sample``, ``emit``
    and ``detail`` are about single packets only.
    """

    #: Taps.  Empty: every tap of a switch, and those that appear later.
    vm_interfaces: tuple[str, ...] = ()
    #: Empty: those that the taps share a switch with.
    uplinks: tuple[str, ...] = ()
    #: A packet is measured that one of them matches.  Empty: every packet.
    filters: tuple[Filter, ...] = ()
    #: By their ids, TX first.  Empty: nothing is measured for now.
    directions: tuple[str, ...] = ("tx", "rx")
    threshold_ns: int = 0
    #: Packets a second, 0: without limit.
    max_rate: int = 0
    #: One packet in so many.
    sample: int = 1
    emit: bool = True
    #: With the time and place of every point.
    detail: bool = True
    #: Which probes there are, and where their offsets come from: the same for a whole measurement.
    rung: str = "full"
    offsets: str = "btf"

    def to_json(self) -> dict[str, Any]:
        """JSON-ready form, as commands and acknowledgements carry it."""
        value = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        value["filters"] = [one.to_json() for one in self.filters]
        return {name: list(v) if isinstance(v, tuple) else v for name, v in value.items()}

    @classmethod
    def from_json(cls, value: Any) -> Requested:
        """Inverse of :meth:`to_json`; other fields of the object are those of its command.

        Raises ``ValueError`` for what is out of bounds.
        """
        _CHECK(value)
        given = {name: value[name] for name in FIELDS if value.get(name) is not None}
        for name in given.keys() & {"vm_interfaces", "uplinks"}:
            given[name] = tuple(given[name])
        if "filters" in given:
            given["filters"] = tuple(map(Filter.from_json, given["filters"]))
        if "directions" in given:
            given["directions"] = tuple(d.id for d in BOTH if d.id in given["directions"])
        return cls(**given)

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
