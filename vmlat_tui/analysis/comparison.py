"""Two environments side by side: the tables of the ping analysis, one definition each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.analysis.decomposition import Decomposition
from vmlat_tui.analysis.figures import Figure
from vmlat_tui.analysis.plan import REST, TOTAL, Item, Part
from vmlat_tui.model.segments import KICK_STAGES, LAYERS, ORDER, STAGES


@dataclass(frozen=True)
class Line:
    """A row: the same item in both environments; nanoseconds.

    ``beside`` marks the row that shows the same as it was printed or published.
    """

    item: Item
    a: Optional[Figure]
    b: Optional[Figure]
    statistic: str
    #: What the round trip differs by.
    whole_difference_ns: Optional[float]
    depth: int = 0
    beside: bool = False

    @property
    def a_ns(self) -> Optional[float]:
        """In the first."""
        return self.a.value_ns(self.statistic) if self.a else None

    @property
    def b_ns(self) -> Optional[float]:
        """In the second."""
        return self.b.value_ns(self.statistic) if self.b else None

    @property
    def difference_ns(self) -> Optional[float]:
        """How much longer it is in the second."""
        a, b = self.a_ns, self.b_ns
        return None if a is None or b is None else b - a

    @property
    def ratio(self) -> Optional[float]:
        """How many times as long; None unless both are times."""
        a, b = self.a_ns, self.b_ns
        return b / a if a is not None and b is not None and a > 0 and b >= 0 else None

    @property
    def share(self) -> Optional[float]:
        """Of the difference of the round trips."""
        difference, whole = self.difference_ns, self.whole_difference_ns
        return difference / whole if difference is not None and whole else None

    @property
    def negative(self) -> bool:
        """Whether one of the two is a negative time."""
        return any(value is not None and value < 0 for value in (self.a_ns, self.b_ns))


@dataclass(frozen=True)
class Section:
    """A table.  ``number`` is where the analysis document has it, if it does."""

    id: str
    number: str
    title: str
    lines: tuple[Line, ...]


class Comparison:
    """Both are taken apart by the same plan: by what was measured in both."""

    def __init__(self, a: Decomposition, b: Decomposition, statistic: str = "mean") -> None:
        """``statistic`` is one of :data:`.figures.STATISTICS`; only means add up."""
        common = a.available & b.available
        #: What only one of them has: it is not compared.
        self.only_in_a = a.available - common
        self.only_in_b = b.available - common
        self.a, self.b = a.limited(common), b.limited(common)
        self.statistic = statistic
        plan = self.a.plan
        self._parts = plan.parts
        whole = self._line(TOTAL, None) if TOTAL in plan.items else None
        #: How much longer the whole round trip is in the second.
        self.difference_ns = whole.difference_ns if whole else None

    def line(self, id_: str, depth: int = 0) -> Optional[Line]:
        """One item, if it is in the plan."""
        return self._line(id_, self.difference_ns, depth) if self.a.item(id_) else None

    def _line(self, id_: str, whole_ns: Optional[float], depth: int = 0) -> Line:
        item = self.a.plan.items[id_]
        figures = self.a.figure(id_), self.b.figure(id_)
        return Line(item, *figures, self.statistic, whole_ns, depth)

    def _beside(self, line: Line) -> Optional[Line]:
        if self.statistic != "mean":
            return None
        id_ = line.item.id
        a, b = self.a.beside(id_), self.b.beside(id_)
        if a is None and b is None:
            return None
        # Where one of them has nothing else to show, it is what it is.
        return Line(line.item, a or line.a, b or line.b, self.statistic, self.difference_ns,
                    line.depth, True)  # fmt: skip

    def _lines(self, *ids: str | tuple[str, int]) -> tuple[Line, ...]:
        return tuple(self._each(ids))

    def _each(self, ids: tuple[str | tuple[str, int], ...]) -> Iterator[Line]:
        for entry in ids:
            id_, depth = entry if isinstance(entry, tuple) else (entry, 0)
            line = self.line(id_, depth)
            if line is None:
                continue
            yield line
            beside = self._beside(line)
            if beside:
                yield beside

    # ---- the tables ---------------------------------------------------------------------------

    @property
    def sections(self) -> tuple[Section, ...]:
        """All tables that have rows, in the order of the document; each ends with the residual."""
        rests = tuple(rest.id for part in self._parts for rest in part.rest)
        made = (
            ("segments", "2.2", "Segment by segment", self._lines(*ORDER)),
            ("raw", "2.3", "What the parts are computed from",
             self._lines("rtt", "sender_external", "receiver_total")),
            ("parts", "2.3", "Sender, network, receiver",
             self._lines(*(part.item.id for part in self._parts), TOTAL)),
            ("metrics", "2.4", "Metrics in detail",
             self._lines("rtt", "A", "M", "sender_inter", "receiver_rtt", "sender_external",
                         "sender_total", "receiver_external", "receiver_total")),
            ("stages_receiver", "2.5", "tun to interrupt, receiver host",
             self._lines(*(f"E.{stage}" for stage in STAGES), "E")),
            ("stages_sender", "2.5", "tun to interrupt, sender host",
             self._lines(*(f"L.{stage}" for stage in STAGES), "L")),
            *((f"kick_{side}", "", f"Guest's kick to vnet, {side} host",
               self._lines(*(f"{segment}.{stage}" for stage in KICK_STAGES), segment))
              for segment, side in (("U1", "sender"), ("U3", "receiver"))),
            ("wake", "3.2", "Where the growth between tun and interrupt is",
             self._lines("E.s1_s2", "E", "L.s1_s2", "L")),
            ("tree", "3.3", "The round trip, part by part", tuple(self._tree())),
            *((layer.id, number, layer.title, self._layer(layer.id))
              for layer, number in zip(LAYERS, ("3.4.1", "3.4.2"))),
            ("virtualisation", "3.4.3", "Virtualisation, measured and not",
             self._lines("E", "L", "virt_receive", "U1", "U2", "U3", "U4", "virt_transmit",
                         *rests)),
            ("layers", "3.4.4", "Layer by layer",
             self._lines(*(layer.id for layer in LAYERS if layer.id != "physical"), "physical",
                         REST, TOTAL)),
        )  # fmt: skip
        return tuple(
            Section(id_, number, title, self._with_residual(lines))
            for id_, number, title, lines in made
            if lines
        )

    def _with_residual(self, lines: tuple[Line, ...]) -> tuple[Line, ...]:
        if any(line.item.id == REST for line in lines):
            return lines
        return (*lines, *self._lines(REST))

    def _layer(self, id_: str) -> tuple[Line, ...]:
        layer = next(layer for layer in LAYERS if layer.id == id_)
        return self._lines(*layer.segments, id_)

    def _tree(self) -> Iterator[Line]:
        for part in self._parts:
            yield from self._lines(part.item.id, *self._inside(part))
        yield from self._lines(TOTAL)

    def _inside(self, part: Part) -> list[tuple[str, int]]:
        return [(id_, 1) for id_ in (*part.measured, *(rest.id for rest in part.rest))]
