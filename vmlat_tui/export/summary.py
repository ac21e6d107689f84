"""The statistics at the end, after section 6.2 of the requirement: text and JSON."""

from __future__ import annotations

from typing import Any

from vmlat_tui.model.bins import Bin
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.protocol.stats import DropCount, FlowCount, StatsFrame
from vmlat_tui.words import clean, duration, microseconds, rate

_QUANTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
#: What a table of times has beside the count.
FIGURES = ("mean", *(name for name, _ in _QUANTILES), "max")
_BAR = 40
_TOP_FLOWS = 20


def summary_json(stats: StatsFrame, duration_ns: int) -> Raw:
    """The ``summary`` object: legs, flows, bins, drops and what was not seen."""
    legs = []
    whole = stats.to_json()
    for row in stats.legs:
        histogram = row.histogram
        legs.append(
            {
                "vm_interface": row.vm_interface,
                "direction": row.direction,
                "leg": row.leg,
                **figures_json(histogram),
                "histogram": [
                    {"from_ns": low, "to_ns": high, "count": count}
                    for low, high, count in histogram.octaves()
                ],
            }
        )
    flows = [
        {**shown, **_rates(row, duration_ns)} for shown, row in zip(whole["flows"], stats.flows)
    ]
    return {
        "type": "summary",
        "duration_ns": duration_ns,
        "legs": legs,
        "flows": flows,
        **counts_json(stats),
    }


def counts_json(stats: StatsFrame) -> dict[str, Any]:
    """How packets ended, where they were dropped, what was not seen, and what it cost."""
    whole = stats.to_json()
    return {key: whole[key] for key in ("bins", "drops", "counters", "hooks", "cost")}


def figures_json(histogram: Histogram) -> dict[str, Any]:
    """Count, sum, mean, quantiles and maximum."""
    return {
        "count": histogram.count,
        "sum_ns": histogram.sum_ns,
        "mean_ns": histogram.mean_ns,
        **{f"{name}_ns": histogram.quantile(q) for name, q in _QUANTILES},
        "max_ns": histogram.max_ns,
    }


def figures(histogram: Histogram) -> list[float]:
    """Mean, quantiles and maximum, as the heads of :data:`FIGURES` have it."""
    quantiles = (histogram.quantile(q) or 0 for _, q in _QUANTILES)
    return [histogram.mean_ns, *quantiles, histogram.max_ns]


def _rates(row: FlowCount, duration_ns: int) -> dict[str, float]:
    seconds = max(duration_ns, 1) / 1e9
    return {
        "packets_per_second": row.packets / seconds,
        "bits_per_second": row.bytes * 8 / seconds,
    }


def summary_text(stats: StatsFrame, duration_ns: int, interrupted: str = "") -> str:
    """The closing statistics as text; ``interrupted`` says why they are not the final ones."""
    lines = [f"=== VM Network Latency Statistics ({duration_ns / 1e9:.1f} s) ==="]
    if interrupted:
        lines.append(f"Not final: {interrupted}")
    keys = dict.fromkeys((row.vm_interface or "", row.direction) for row in stats.legs)
    for vm_interface, direction in keys:
        lines += ["", *_legs(stats, vm_interface, direction)]
    lines += ["", *_flows(stats, duration_ns), "", *bins_lines(stats)]
    if stats.drops:
        lines += ["", "Drops:", *(_drop(row) for row in stats.drops)]
    lines += remarks_lines(stats)
    return "\n".join(lines)


def _legs(stats: StatsFrame, vm_interface: str, direction: str) -> list[str]:
    rows = [
        (row, row.histogram)
        for row in stats.legs
        if (row.vm_interface or "") == vm_interface and row.direction == direction
    ]
    lines = [
        f"{clean(vm_interface)} {direction.upper()} legs (us):",
        f"  {'leg':<28}{'count':>9}" + "".join(f"{name:>12}" for name in FIGURES),
    ]
    for row, histogram in rows:
        numbers = "".join(f"{microseconds(v):>12}" for v in figures(histogram))
        lines.append(f"  {row.title:<28}{histogram.count:>9}{numbers}")
    for row, histogram in rows:
        lines += ["", f"  {row.title}: distribution", *_distribution(histogram)]
    return lines


def _distribution(histogram: Histogram) -> list[str]:
    rows = histogram.octaves()
    most = max((count for _, _, count in rows), default=1)
    return [
        f"    {duration(low):>8} .. {duration(high):<8}{count:>9} |"
        + "#" * round(_BAR * count / most)
        for low, high, count in rows
    ]


def _flows(stats: StatsFrame, duration_ns: int) -> list[str]:
    rows = sorted(stats.flows, key=lambda row: (-row.packets, str(row.flow.to_json())))
    lines = [f"Flows ({len(rows)}):"]
    for row in rows[:_TOP_FLOWS]:
        rates = _rates(row, duration_ns)
        lines.append(
            f"  {row.direction.upper()} {row.flow}"
            f" {clean(row.vm_interface)}: {row.packets} packets, {row.bytes} bytes,"
            f" {rate(rates['packets_per_second'], 'pps')},"
            f" {rate(rates['bits_per_second'], 'bit/s')}"
        )
    if len(rows) > _TOP_FLOWS:
        lines.append(f"  and {len(rows) - _TOP_FLOWS} more with fewer packets")
    return lines


def bins_lines(stats: StatsFrame) -> list[str]:
    """How the packets ended, and whether the counts add up."""
    names = [b.id for b in Bin]
    lines = [f"Packets: {'started':>11} = {'sum':>9}   of: {' + '.join(names)}"]
    for direction, row in stats.bins.items():
        parts = " + ".join(str(getattr(row, name)) for name in names)
        verdict = "" if row.started == row.sum else "   DOES NOT ADD UP"
        lines.append(
            f"  {direction.upper():<7}{row.started:>11} = {row.sum:>9}   of: {parts}{verdict}"
        )
    return lines


def _drop(row: DropCount) -> str:
    reason = f"reason {clean(row.reason)}" if row.reason else "no reason given"
    return (
        f"  {row.direction.upper()} {row.packets} after {row.point}: {reason},"
        f" freed by {clean(row.function)}"
    )


#: counter -> what it means to the reader, printed only when it is not 0.
_REMARKS = {
    "suppressed": "packets were not printed: over --max-rate",
    "lost": "packets were not printed: the event buffer was full",
    "fragments": "later fragments were seen; only first fragments are measured",
    "disorder": "steps carried an earlier time than the step before and were left out of the legs",
    "rows_left_out": "rows of flows, threads or legs had no room in one report of the agent",
    "unlisted": "legs had no room in the leg table",
    "unplaced": "values are in no distribution: the agent was kept from reading for too long",
    "flows_evicted": "flows were forgotten to make room for others",
    "flow_packets_evicted": "packets were of flows that were forgotten",
    "flows_full": "packets belong to flows that had no room in the flow table",
    "drops_full": "drops are in no row: the table of places and reasons was full",
    "threads_full": "times a thread was not followed, and packets lack its points: no room for it",
    "vcpus_left_out": "vCPU threads are not followed: there was no room for them",
    "vnics_left_out": "VM interfaces appeared later and are not measured: there was no room",
}


def remarks_lines(stats: StatsFrame) -> list[str]:
    """What was not seen, if anything."""
    lines = [
        f"  {stats.counters[k]} {text}" for k, text in _REMARKS.items() if stats.counters.get(k)
    ]
    missed = stats.cost.get("missed_runs", 0)
    if missed:
        lines.append(f"  {missed} runs of a probe were skipped by the kernel")
    return ["", "Remarks:", *lines] if lines else []
