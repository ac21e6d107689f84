"""What comes out of one file: readings, and a count of everything that is none."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from vmlat_tui.importers.lines import Text
from vmlat_tui.model.readings import Average, Packet, Reading, Sink

#: Examples that are kept of each trouble.
EXAMPLES = 3
_EXAMPLE_LENGTH = 120
#: No interval is as long.
_MOST_NS = 1 << 62


class Side(enum.Enum):
    """Which end of the ping a log was written at."""

    SENDER = "sender"
    RECEIVER = "receiver"

    @property
    def other(self) -> Side:
        """The opposite end."""
        return Side.RECEIVER if self is Side.SENDER else Side.SENDER


class Trouble(enum.Enum):
    """Why lines gave no reading; the value says it."""

    FOREIGN = "lines of no known tool"
    DAMAGED = "lines that begin like a tool's and go on otherwise"
    INCOMPLETE = "records without an end"
    CONTRADICTORY = "records whose parts do not add up to their total"
    DUPLICATE = "packets that were recorded before"
    SIDELESS = "records of which the end, sender or receiver, is not known"
    OTHER = "records of traffic that is not a ping"


@dataclass(frozen=True)
class Example:
    """Where it was, and the line: data from outside, to be cleaned when it is shown."""

    line: int
    text: str


@dataclass
class SourceFile:
    """One file and what was found in it."""

    text: Text
    side: Optional[Side] = None
    #: What a banner says about it.
    banner_side: Optional[Side] = None
    #: How the side was found.
    side_reason: str = ""
    tools: Counter[str] = field(default_factory=Counter)
    #: Versions of the tools that measure something different under the same name.
    variants: set[str] = field(default_factory=set)
    records: Counter[str] = field(default_factory=Counter)
    troubles: Counter[Trouble] = field(default_factory=Counter)
    examples: dict[Trouble, list[Example]] = field(default_factory=dict)
    #: Place -> packets that were lost there.
    drops: Counter[str] = field(default_factory=Counter)
    #: The environment's name, where the file says it.
    label: Optional[str] = None
    #: Count and sum of a host's own totals: the sender's are longer than the receiver's.
    totals_ns: tuple[int, int] = (0, 0)
    notes: list[str] = field(default_factory=list)

    def trouble(self, kind: Trouble, text: str, count: int = 1) -> None:
        """Count one, and keep the first few."""
        self.troubles[kind] += count
        kept = self.examples.setdefault(kind, [])
        if len(kept) < EXAMPLES:
            kept.append(Example(self.text.lines, text.strip()[:_EXAMPLE_LENGTH]))

    def note(self, words: str) -> None:
        """Something to know about this file; each is said once."""
        if words not in self.notes:
            self.notes.append(words)


class ImportResult:
    """Passes readings of one file on to the sink.  For one thread."""

    def __init__(self, source: SourceFile, sink: Sink) -> None:
        """Counts in ``source``."""
        self.source = source
        self._sink = sink

    def tool(self, name: str) -> None:
        """A record of this tool was met."""
        self.source.tools[name] += 1

    def add(self, packet: Optional[Packet], intervals_ns: Mapping[str, int]) -> None:
        """One reading; nothing if it has no intervals."""
        if not intervals_ns:
            return
        words = f"id {packet.id}, sequence {packet.sequence}" if packet else ""
        if any(abs(interval_ns) >= _MOST_NS for interval_ns in intervals_ns.values()):
            self.source.trouble(Trouble.DAMAGED, words)
            return
        if not self._sink.add(Reading(packet, intervals_ns)):
            self.source.trouble(Trouble.DUPLICATE, words)
            return
        records = self.source.records
        for quantity in intervals_ns:
            records[quantity] += 1

    def state(self, quantity: str, average: Average) -> None:
        """An average that a tool or a person has computed."""
        self._sink.state(quantity, average)
        self.source.records[quantity] += average.count or 0


class Ignored:
    """A sink for a first look at a file."""

    def add(self, reading: Reading) -> bool:
        """Forget it."""
        return True

    def state(self, quantity: str, average: Average) -> None:
        """Forget it."""


def nanoseconds(text: str, unit_ns: int = 1000) -> Optional[int]:
    """A printed number of microseconds (or of ``unit_ns``); None for ``N/A`` and the like."""
    try:
        value = round(float(text) * unit_ns)
    except (ValueError, OverflowError):
        return None
    return value if abs(value) < _MOST_NS else None


def adds_up(parts_ns: list[Optional[int]], whole_ns: Optional[int]) -> bool:
    """Whether parts give their whole within rounding (1 µs and 1 %); true if one is missing."""
    if whole_ns is None:
        return True
    total = 0
    for part in parts_ns:
        if part is None:
            return True
        total += part
    return abs(total - whole_ns) <= 1000 + whole_ns // 100
