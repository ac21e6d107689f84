"""How one round trip is taken apart, given what was measured of it.

The round trip contains what the sender's host sees from outside, and that contains what the
receiver's host sees: the differences between one and the next are *parts*.  A part consists of
segments; those that were measured are taken away from it, and what remains stands for the others.
Everything is a sum of measured quantities with signs, so it can be computed for every packet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vmlat_tui.model.segments import LAYERS, NESTED, ORDER, QUANTITIES

#: Quantity -> factor.
Formula = Mapping[str, int]

_CABLE = frozenset("CJ")
_SENDER = NESTED["rtt"] - NESTED["sender_external"]
_PARTS = {
    _SENDER: ("sender_host", "Sender host", "sender_rest"),
    _CABLE: ("physical", "Physical network", ""),
    NESTED["receiver_total"]: ("receiver_host", "Receiver host", "receiver_rest"),
}
#: The remainder of the whole round trip, and the whole.
REST, TOTAL = "rest", "total"


@dataclass(frozen=True)
class Item:
    """Something that a table may have a row for.  ``of`` says what it consists of."""

    id: str
    title: str
    formula: Formula
    of: str = ""

    @property
    def derived(self) -> bool:
        """Whether it is more than one interval as it was measured."""
        return len(self.formula) > 1


@dataclass(frozen=True)
class Part:
    """A part of the round trip: itself, the segments measured in it, and what remains."""

    item: Item
    measured: tuple[str, ...]
    #: Missing where nothing was measured in it, so that the part is its own remainder.
    rest: tuple[Item, ...]


@dataclass(frozen=True)
class Plan:
    """All items by id, and the parts in the order of their nesting."""

    items: Mapping[str, Item]
    parts: tuple[Part, ...]

    @property
    def needed(self) -> frozenset[str]:
        """Quantities that a packet must have to be taken apart completely."""
        found: set[str] = set()
        for part in self.parts:
            found.update(part.item.formula, part.measured)
        return frozenset(found)

    @property
    def pieces(self) -> tuple[Item, ...]:
        """The finest pieces that add up to the whole."""
        found: list[Item] = []
        for part in self.parts:
            found += [self.items[segment] for segment in part.measured]
            found += part.rest or (part.item,)
        return tuple(found)


def joined(segments: Iterable[str]) -> str:
    """Segments in the order of the path: ``A+B+K``."""
    wanted = set(segments)
    return "+".join(segment for segment in ORDER if segment in wanted)


def make(available: Iterable[str]) -> Plan:
    """The finest decomposition for these quantities; without a whole there are no parts."""
    there = set(available)
    items = {q.id: Item(q.id, q.title, {q.id: 1}) for q in QUANTITIES.values() if q.id in there}
    parts = tuple(_parts(there, items))
    for part in parts:
        items[part.item.id] = part.item
        items.update((rest.id, rest) for rest in part.rest)
    rests = [rest for part in parts for rest in part.rest]
    if rests:
        missing = joined(s for rest in rests for s in rest.of.split("+"))
        title = f"Remainder: {missing}" if missing else "Residual"
        items[REST] = Item(REST, title, _sum(rest.formula for rest in rests), missing)
    for layer in LAYERS:
        known = [s for s in layer.segments if s in there]
        if known:
            formula = _sum(items[s].formula for s in known)
            items[layer.id] = Item(layer.id, layer.title, formula, joined(known))
    if parts:
        whole = _sum(part.item.formula for part in parts)
        items[TOTAL] = Item(TOTAL, "Total", whole, QUANTITIES[next(iter(whole))].title)
    return Plan(items, parts)


def _parts(there: set[str], items: Mapping[str, Item]) -> Iterable[Part]:
    levels = [quantity for quantity in NESTED if quantity in there]
    # What only repeats another level's ends gives no part of its own.
    for finer, coarser in (("sender_total", "rtt"), ("receiver_external", "receiver_total")):
        if finer in levels and coarser in levels:
            levels.remove(finer)
    if len(levels) > 1 and "receiver_rtt" in levels:
        levels.remove("receiver_rtt")
    for outer, inner in zip(levels, [*levels[1:], None]):
        segments = NESTED[outer] - (NESTED[inner] if inner else frozenset())
        formula = {outer: 1, inner: -1} if inner else {outer: 1}
        id_, title, rest_id = _PARTS.get(
            segments, (f"part_{outer}", joined(segments), f"rest_{outer}")
        )
        item = Item(id_, title, formula, joined(segments))
        measured = tuple(s for s in ORDER if s in segments and s in there)
        rest: tuple[Item, ...] = ()
        if segments != _CABLE:
            missing = joined(segments - set(measured))
            remains = _sum([formula, *({s: -1} for s in measured)])
            rest = (Item(rest_id, missing or f"residual of {title.lower()}", remains, missing),)
        yield Part(item, measured, rest)


def _sum(formulas: Iterable[Formula]) -> Formula:
    total: dict[str, int] = {}
    for formula in formulas:
        for quantity, factor in formula.items():
            total[quantity] = total.get(quantity, 0) + factor
    return {quantity: factor for quantity, factor in total.items() if factor}
