"""The statistics of ``vmlat icmp``: how pings ended, and what their parts took."""

from __future__ import annotations

from collections import Counter
from typing import Optional

from vmlat_tui.export.summary import (
    FIGURES,
    bins_lines,
    counts_json,
    figures,
    figures_json,
    remarks_lines,
)
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.pings import Outcome, Ping
from vmlat_tui.model.segments import HOST_PARTS, HOST_VIEW, ORDER, QUANTITIES, Observer
from vmlat_tui.ping.capture import HOST_SIDES
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.protocol.stats import StatsFrame
from vmlat_tui.words import clean, microseconds

#: Side and vNIC.
_Place = tuple[Optional[Observer], str]
_TITLE = 52
#: So many places are distinguished: an agent chooses the vNICs' names.
_MOST_PLACES, _OTHERS = 1024, "other vNICs"


class Tally:
    """What pings took, by the end that this host is, vNIC and quantity."""

    def __init__(self) -> None:
        """None yet."""
        self.outcomes: Counter[Outcome] = Counter()
        self._parts: dict[_Place, dict[str, Histogram]] = {}

    def add(self, ping: Ping) -> None:
        """Count one."""
        self.outcomes[ping.outcome] += 1
        if ping.outcome is not Outcome.COMPLETE:
            return
        values = dict(ping.intervals_ns)
        if ping.observer is None:
            values = {n: ns for n, ns in zip(HOST_PARTS, ping.parts_ns) if ns is not None}
        place = ping.observer, ping.request.vm_interface or ""
        if place not in self._parts and len(self._parts) >= _MOST_PLACES:
            place = ping.observer, _OTHERS
        for name, ns in values.items():
            self._parts.setdefault(place, {}).setdefault(name, Histogram()).add(ns)

    def rows(self) -> list[tuple[_Place, list[tuple[str, Histogram]]]]:
        """The parts of each place, those that the requirement names first."""
        return [
            (place, sorted(found.items(), key=lambda item: _order(place[0], item[0])))
            for place, found in self._parts.items()
        ]


def _order(observer: Optional[Observer], name: str) -> tuple[int, ...]:
    parts = HOST_VIEW[observer] if observer else HOST_PARTS
    if name in parts:
        return 0, parts.index(name)
    # Then segments as a round trip passes them, each before its stages.
    return 1, ORDER.index(name.partition(".")[0]), list(QUANTITIES).index(name)


def _title(observer: Optional[Observer], name: str) -> str:
    if observer is None:
        return name
    parts = HOST_VIEW[observer]
    if name in parts:
        said = HOST_PARTS[parts.index(name)]
        return f"{said} ({name}: {QUANTITIES[name].title})" if name in ORDER else said
    indent = "  " if "." in name else f"{name}: "
    return f"{indent}{QUANTITIES[name].title}"


def summary_text(
    tally: Tally,
    waiting: int,
    unmatched: int,
    stats: StatsFrame,
    duration_ns: int,
    interrupted: str,
) -> str:
    """As text.  ``waiting`` pings were on their way; ``unmatched`` replies had no request."""
    lines = ["=== ICMP Flow Statistics ==="]
    lines += [f"Not final: {interrupted}"] if interrupted else []
    count = tally.outcomes
    lines += [
        f"Total flows tracked: {sum(count.values()) + waiting}",
        f"Complete flows: {count[Outcome.COMPLETE]}",
        f"Request internal drops: {count[Outcome.REQUEST_INSIDE]}",
        f"External drops: {count[Outcome.OUTSIDE]}",
        f"Reply internal drops: {count[Outcome.REPLY_INSIDE]}",
    ]
    lines += [
        f"{title}: {number}"
        for title, number in (
            ("On their way", waiting),
            ("Outcome not known, packets were lost from sight", count[Outcome.UNSEEN]),
            ("Replies without a request, or later than --timeout", unmatched),
        )
        if number
    ]
    lines.append(f"Duration: {duration_ns / 1e9:.1f} s")
    for (observer, vnic), parts in tally.rows():
        lines += [
            "",
            f"{clean(vnic)}, {HOST_SIDES[observer]} (us):",
            f"  {'':<{_TITLE}}{'count':>9}" + "".join(f"{name:>12}" for name in FIGURES),
            *(_line(_title(observer, name), histogram) for name, histogram in parts),
        ]
    lines += ["", *bins_lines(stats), *remarks_lines(stats)]
    return "\n".join(lines)


def _line(title: str, histogram: Histogram) -> str:
    numbers = "".join(f"{microseconds(value):>12}" for value in figures(histogram))
    return f"  {title:<{_TITLE}}{histogram.count:>9}{numbers}"


def summary_json(
    tally: Tally,
    waiting: int,
    unmatched: int,
    stats: StatsFrame,
    duration_ns: int,
) -> Raw:
    """The ``summary`` object."""
    return {
        "type": "summary",
        "duration_ns": duration_ns,
        "pings": {
            **{outcome.value: tally.outcomes[outcome] for outcome in Outcome},
            "waiting": waiting,
            "unmatched_replies": unmatched,
        },
        "parts": [
            {
                "side": HOST_SIDES[observer],
                "vm_interface": vnic,
                "quantity": name,
                **figures_json(histogram),
            }
            for (observer, vnic), parts in tally.rows()
            for name, histogram in parts
        ],
        **counts_json(stats),
    }
