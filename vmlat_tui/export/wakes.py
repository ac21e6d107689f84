"""Wake-ups of vhost workers and vCPUs in the statistics of ``irq`` and ``kick``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from vmlat_tui.export.summary import figures, figures_json
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.jsonable import to_json
from vmlat_tui.model.topology import Topology
from vmlat_tui.model.wakeups import Role, Wakeups
from vmlat_tui.protocol.stats import StatsFrame, WakeupsRow
from vmlat_tui.words import clean, microseconds

#: So many of the tasks that a thread waited for are named.
_AHEAD = 3


def wakeups(stats: StatsFrame, roles: Sequence[Role]) -> list[Wakeups]:
    """Those of threads in these roles, workers first, by vNIC and thread."""
    found = [row.wakeups for row in stats.wakeups or ()]
    kept = [row for row in found if row.role in roles and row.count]
    return sorted(kept, key=lambda r: (roles.index(r.role), r.vm_interface or "", r.tid))


def names(topology: Optional[Topology]) -> dict[int, str]:
    """Thread -> its name, cleaned, of the workers and vCPUs that discovery found."""
    found = {}
    for domain in topology.domains if topology else ():
        for thread in (*(w.thread for w in domain.workers), *(v.thread for v in domain.vcpus)):
            if thread:
                found[thread.tid] = clean(thread.name)
    return found


def wakeups_json(rows: Sequence[Wakeups], known: Mapping[int, str]) -> list[dict[str, Any]]:
    """For each thread: how often it was woken, and what it waited for."""
    return [
        {
            **to_json(WakeupsRow.of(row, row.vm_interface)),
            "comm": known.get(row.tid),
            "count": row.count,
            "idle": figures_json(row.idle),
            "queued": figures_json(row.queued),
        }
        for row in rows
    ]


def wakeups_lines(rows: Sequence[Wakeups], known: Mapping[int, str]) -> list[str]:
    """For each thread a line, then what it waited for."""
    lines = ["Wake-ups, from being woken to running (us):"] if rows else []
    for row in rows:
        of = f" of {clean(row.vm_interface)}" if row.vm_interface else ""
        name = f" {known[row.tid]}" if row.tid in known else ""
        kind = "vCPU" if row.role is Role.VCPU else "worker"
        moved = f", {row.migrations} on another CPU than before" if row.migrations else ""
        lines.append(f"  {kind} TID={row.tid}{name}{of}: {row.count} wake-ups{moved}")
        states = ", ".join(
            f"{n} from {'an unknown state' if state < 0 else f'state {state}'}"
            for state, n in sorted(row.idle_states.items(), key=lambda item: -item[1])
        )
        lines += _waited("its CPU was idle", row.idle, states)
        ahead = sorted(row.ahead_ns.items(), key=lambda item: -item[1])
        behind = ", ".join(
            f"{microseconds(ns)} behind {clean(task)}" for task, ns in ahead[:_AHEAD]
        )
        lines += _waited("another task ran", row.queued, behind)
    return lines


def _waited(what: str, histogram: Histogram, more: str) -> list[str]:
    if not histogram.count:
        return []
    mean, p50, _, p99, most = map(microseconds, figures(histogram))
    times = f"mean {mean}, p50 {p50}, p99 {p99}, max {most}"
    return [f"    {what}: {histogram.count}, {times}" + (f"; {more}" if more else "")]
