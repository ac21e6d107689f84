"""Legs: the time between two consecutive points that one packet passed.

Which two are consecutive depends on the packet (no upcall, another switch) and on the hooks
that this kernel has, so a leg is named by its two points.  The leg table numbers them for the BPF
programs; it is built once per program load from the steps that can occur.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.model.points import STEPS, Direction, Step, path

#: In :meth:`LegTable.square`: these two steps are not a leg.
NO_LEG = 0xFFFF

#: So many steps in a row may be missing from a packet that should have passed them.
MISSED = 2


@dataclass(frozen=True)
class Leg:
    """One leg; ``start`` and ``end`` are None for the total of a direction."""

    direction: Direction
    start: Optional[Step]
    end: Optional[Step]

    @property
    def id(self) -> str:
        """Stable id, e.g. ``tx:ovs_dp>switch_out`` or ``rx:total``."""
        if self.start is None or self.end is None:
            return f"{self.direction.id}:total"
        return f"{self.direction.id}:{self.start.point.id}>{self.end.point.id}"

    @property
    def title(self) -> str:
        """For people: ``ovs_dp -> switch_out``."""
        if self.start is None or self.end is None:
            return "total"
        return f"{self.start.point.id} -> {self.end.point.id}"

    def __str__(self) -> str:
        return self.title


class LegTable:
    """Numbers the legs that can occur between the given steps; the last two are the totals.

    A pair of steps gets a number if a packet can pass nothing in between: optional steps, and up to
    :data:`MISSED` others whose probe the kernel skipped.
    """

    def __init__(self, steps: Iterable[int]) -> None:
        """``steps`` are the numbers of the steps that can be observed."""
        numbers = set(steps)
        self._index: dict[tuple[Direction, int, int], int] = {}
        #: Number -> leg, totals included, in path order.
        self.numbered: dict[int, Leg] = {}
        for direction in Direction:
            passed = [s for s in path(direction) if s.number in numbers]
            for i, start in enumerate(passed):
                between = 0
                for end in passed[i + 1 :]:
                    if between > MISSED:
                        break
                    between += not end.optional
                    self._index[direction, start.number, end.number] = len(self.numbered)
                    self.numbered[len(self.numbered)] = Leg(direction, start, end)
        self.totals = tuple(len(self.numbered) + direction for direction in Direction)
        for direction in Direction:
            self.numbered[self.totals[direction]] = Leg(direction, None, None)

    @property
    def room(self) -> int:
        """How many numbers there are."""
        return len(self.numbered)

    def square(self, width: int) -> list[int]:
        """Numbers of the legs, for ``width`` steps each way: [direction][start][end], flat."""
        table = [NO_LEG] * (len(Direction) * width * width)
        for (direction, start, end), number in self._index.items():
            table[(direction * width + start) * width + end] = number
        return table


def sort_key(leg: Leg) -> tuple[int, int, int]:
    """Path order: direction, then start, then end; totals last."""
    last = len(STEPS)
    return (
        int(leg.direction),
        leg.start.number if leg.start else last,
        leg.end.number if leg.end else last,
    )
