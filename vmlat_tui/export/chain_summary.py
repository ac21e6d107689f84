"""The statistics of ``irq`` and ``kick`` at the end: text and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Optional

from vmlat_tui.export.chain import Chain
from vmlat_tui.export.chain_stats import (
    ChainLeg,
    Singles,
    StageRow,
    leg_rows,
    stage_json,
    stage_rows,
    vnics,
)
from vmlat_tui.export.summary import (
    FIGURES,
    bins_lines,
    counts_json,
    figures,
    figures_json,
    remarks_lines,
)
from vmlat_tui.export.wakes import names, wakeups, wakeups_json, wakeups_lines
from vmlat_tui.model.absences import ABSENCE
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.points import Direction
from vmlat_tui.model.topology import Topology
from vmlat_tui.model.wakeups import Role
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.protocol.stats import AbsenceCount, StatsFrame
from vmlat_tui.tables.passage import reason_words
from vmlat_tui.words import clean, microseconds

_TITLE = 32
_UNKNOWN = "-"


def _roles(chain: Chain) -> tuple[Role, ...]:
    """A kick wakes the worker; an interrupt comes from the worker and wakes the vCPU."""
    return (Role.WORKER,) if chain.direction is Direction.TX else (Role.WORKER, Role.VCPU)


def _absences(chain: Chain, stats: StatsFrame) -> list[AbsenceCount]:
    rows = [r for r in stats.absences or () if r.direction == chain.direction.id]
    return [r for r in rows if r.packets]


# ---- text ---------------------------------------------------------------------------------------


def summary_text(
    chain: Chain,
    stats: StatsFrame,
    singles: Singles,
    topology: Optional[Topology],
    duration_ns: int,
    interrupted: str = "",
) -> str:
    """As text; ``interrupted`` says why the figures are not the final ones."""
    lines = [f"=== VM {chain.title} Statistics ({duration_ns / 1e9:.1f} s) ==="]
    if interrupted:
        lines.append(f"Not final: {interrupted}")
    found = vnics(chain, stats)
    if not found:
        lines += ["", "No packet passed two of these points."]
    for vnic in found:
        lines += ["", *_all_packets(chain, stats, vnic)]
        if singles.packets[vnic]:
            lines += ["", *_single_packets(chain, singles, vnic)]
    absent = [_absence_line(row) for row in _absences(chain, stats)]
    lines += ["", "Absent points:", *absent] if absent else []
    woken = wakeups_lines(wakeups(stats, _roles(chain)), names(topology))
    lines += ["", *woken] if woken else []
    lines += ["", *bins_lines(stats), *remarks_lines(stats)]
    return "\n".join(lines)


def _head(what: str) -> str:
    return f"  {what:<{_TITLE}}{'count':>9}" + "".join(f"{name:>12}" for name in FIGURES)


def _line(title: str, count: int, values: Sequence[str]) -> str:
    return f"  {title:<{_TITLE}}{count:>9}" + "".join(f"{value:>12}" for value in values)


def _full(title: str, histogram: Histogram) -> str:
    return _line(title, histogram.count, list(map(microseconds, figures(histogram))))


def _all_packets(chain: Chain, stats: StatsFrame, vnic: str) -> list[str]:
    stages, legs = stage_rows(chain, stats, vnic), leg_rows(chain, stats, vnic)
    lines = [f"{clean(vnic)}, all packets (us):", _head("stage, and its legs")]
    shown: list[ChainLeg] = []
    totals = {f"{a}->{b}" for a, b in chain.totals}
    for stage in stages:
        lines.append(_stage_line(stage))
        if stage.name not in totals:
            shown += stage.legs
            if stage.histogram is None:
                lines += [_full(f"  {leg.title}", leg.histogram) for leg in stage.legs]
    left = [leg for leg in legs if leg not in shown]
    lines += [_full(leg.title, leg.histogram) for leg in left]
    return [*lines, *_notes(stages)]


def _stage_line(stage: StageRow) -> str:
    if stage.histogram is not None:
        return _full(stage.name, stage.histogram)
    mean = stage.mean_ns
    text = _UNKNOWN if mean is None else ("" if stage.exact else "~") + microseconds(mean)
    return _line(stage.name, stage.count, [text, *[_UNKNOWN] * (len(FIGURES) - 1)])


def _notes(stages: Sequence[StageRow]) -> Iterator[str]:
    if any(stage.histogram is None for stage in stages):
        yield "  -: not known of all packets, as each leg is counted for itself"
    if any(stage.mean_ns is not None and not stage.exact for stage in stages):
        yield "  ~: up to 1 % of these packets passed only a part of the stage"


def _single_packets(chain: Chain, singles: Singles, vnic: str) -> list[str]:
    rows, least_ns = singles.rows(chain, vnic), singles.least_ns
    slow = f" and took at least {microseconds(least_ns)} us" if least_ns else ""
    return [
        f"{clean(vnic)}, the {singles.packets[vnic]} packets that were printed{slow} (us):",
        _head("stage"),
        *(_full(name, histogram) for name, histogram in rows),
    ]


def _absence_line(row: AbsenceCount) -> str:
    absence = ABSENCE.get(row.reason)
    without = f" without {', '.join(absence.points)}" if absence else ""
    return (
        f"  {clean(row.vm_interface)}: {row.packets} packets{without}: {reason_words(row.reason)}"
    )


# ---- JSON ---------------------------------------------------------------------------------------


def summary_json(
    chain: Chain,
    stats: StatsFrame,
    singles: Singles,
    topology: Optional[Topology],
    duration_ns: int,
) -> Raw:
    """The ``summary`` object."""
    found = vnics(chain, stats)
    return {
        "type": "summary",
        "chain": chain.title.lower(),
        "duration_ns": duration_ns,
        "stages": [
            {"vm_interface": vnic, **stage_json(row)}
            for vnic in found
            for row in stage_rows(chain, stats, vnic)
        ],
        "legs": [
            {"vm_interface": vnic, "from": r.start, "to": r.end, **figures_json(r.histogram)}
            for vnic in found
            for r in leg_rows(chain, stats, vnic)
        ],
        "single": [
            {"vm_interface": vnic, "stage": name, **figures_json(histogram)}
            for vnic in singles.packets
            for name, histogram in singles.rows(chain, vnic)
        ],
        "absences": [
            {**row._asdict(), "words": reason_words(row.reason)} for row in _absences(chain, stats)
        ],
        "wakeups": wakeups_json(wakeups(stats, _roles(chain)), names(topology)),
        **counts_json(stats),
    }
