"""A measurement taken apart: figures of every item of the plan.

Wherever one packet was seen by all observers that it takes, an item is computed for each packet and
summarised then.  Where no packets join (tools that ran at different times, published averages) it
is computed from the means, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.analysis import plan as planning
from vmlat_tui.analysis.collection import Collection
from vmlat_tui.analysis.figures import Basis, Figure, given, summary
from vmlat_tui.analysis.plan import Formula, Item, Plan
from vmlat_tui.model.readings import Packet
from vmlat_tui.model.segments import CLOSURES, QUANTITIES

#: A join of fewer than this share of the packets may be by chance.
_FEWEST = 0.1


@dataclass(frozen=True)
class Closure:
    """What an observer's parts leave of its own whole."""

    parts: tuple[str, ...]
    whole: str
    residual: Figure


class Decomposition:
    """One environment.  Figures are computed when asked for; for one thread."""

    def __init__(
        self,
        name: str,
        collection: Collection,
        published_ns: Optional[Mapping[str, float]] = None,
        available: Optional[frozenset[str]] = None,
    ) -> None:
        """``available`` limits the plan, so that two environments can have the same one."""
        self.name = name
        self.collection = collection
        self.available = collection.quantities if available is None else available
        self.plan: Plan = planning.make(self.available)
        self._published_ns = published_ns or {}
        self._figures: dict[tuple[tuple[str, int], ...], Optional[Figure]] = {}
        # A log that names no packets joins nothing, and must not keep the others from it.
        self._joining = self.plan.needed & collection.keyed
        rows = collection.rows_with(self._joining)
        #: Packets that were seen by all who name them.
        self.rows: Sequence[int] = rows if self._enough(rows, self._joining) else ()
        #: How many were, but too few of all.
        self.too_few = 0 if self.rows else len(rows)

    @property
    def complete(self) -> bool:
        """Whether each of :attr:`rows` has all that the plan needs."""
        return bool(self.rows) and self._joining == self.plan.needed

    def limited(self, available: frozenset[str]) -> Decomposition:
        """The same environment, taken apart by these quantities only."""
        if available == self.available:
            return self
        return Decomposition(self.name, self.collection, self._published_ns, available)

    def item(self, id_: str) -> Optional[Item]:
        """An item of the plan."""
        return self.plan.items.get(id_)

    def figure(self, id_: str) -> Optional[Figure]:
        """Of an item; None if it cannot be computed."""
        item = self.plan.items.get(id_)
        return self.of(item.formula) if item else None

    def beside(self, id_: str) -> Optional[Figure]:
        """The same as the source printed or published it, where that differs; else None."""
        if id_ in self._published_ns:
            return Figure(self._published_ns[id_], Basis.PUBLISHED)
        item = self.plan.items.get(id_)
        if item is None:
            return None
        printed = {self._printed(quantity): f for quantity, f in item.formula.items()}
        return None if printed == dict(item.formula) else self.of(printed)

    def _printed(self, quantity: str) -> str:
        printed = f"{quantity}_printed"
        known = printed in QUANTITIES and printed in self.collection.quantities
        return printed if known else quantity

    def of(self, formula: Formula) -> Optional[Figure]:
        """Of any sum of quantities."""
        key = tuple(sorted(formula.items()))
        if key not in self._figures:
            self._figures[key] = self._compute(formula) if formula else None
        return self._figures[key]

    def _compute(self, formula: Formula) -> Optional[Figure]:
        if any(quantity not in self.collection.quantities for quantity in formula):
            return None
        single = next(iter(formula)) if list(formula.values()) == [1] else None
        rows = self._rows(formula)
        if rows:
            basis = Basis.MEASURED if single else Basis.PACKETS
            return summary(self.values(formula, rows), basis)
        if single:
            return self._alone(single)
        mean, counts = 0.0, []
        for quantity, factor in formula.items():
            figure = self.of({quantity: 1})
            assert figure is not None
            mean += factor * figure.mean_ns
            counts.append(figure.count)
        known = [count for count in counts if count is not None]
        return Figure(mean, Basis.MEANS, min(known) if len(known) == len(counts) else None)

    def _rows(self, formula: Formula) -> Sequence[int]:
        if self.rows:
            extra = set(formula) - self._joining
            rows = self.collection.rows_with(self._joining | extra) if extra else self.rows
            if rows:
                return rows
        if len(formula) == 1:
            return ()
        rows = self.collection.rows_with(formula)
        return rows if self._enough(rows, formula) else ()

    def _enough(self, rows: Sequence[int], quantities: Mapping[str, int] | frozenset[str]) -> bool:
        if not rows:
            return False
        counts = [self.collection.all_values(quantity)[1] for quantity in quantities]
        return len(rows) >= _FEWEST * self.collection.kept * min(counts)

    def _alone(self, quantity: str) -> Figure:
        values, count, total_ns = self.collection.all_values(quantity)
        if values:
            return summary(values, Basis.MEASURED, count, total_ns)
        return given(self.collection.averages[quantity])

    def values(self, formula: Formula, rows: Sequence[int]) -> list[int]:
        """Of each of these packets, which must have all that it takes."""
        columns = [self.collection.values(quantity, rows) for quantity in formula]
        factors = list(formula.values())
        if factors == [1]:
            return columns[0]
        return [sum(map(int.__mul__, factors, values)) for values in zip(*columns)]

    def packet(self, row: int) -> Packet:
        """The packet of a row."""
        return self.collection.packet(row)

    @property
    def closures(self) -> tuple[Closure, ...]:
        """For each observer that saw a whole and all its parts."""
        found = []
        for parts, whole in CLOSURES:
            residual = self.of({whole: 1, **dict.fromkeys(parts, -1)})
            if residual is not None:
                found.append(Closure(parts, whole, residual))
        return tuple(found)
