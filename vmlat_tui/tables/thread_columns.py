"""The columns of vhost workers and of vCPUs."""

from __future__ import annotations

from typing import Optional

from vmlat_tui.model.histogram import Histogram
from vmlat_tui.tables.columns import COUNT, PERCENT, RATE, TEXT, TIME, Column
from vmlat_tui.tables.threads import ThreadRow


def _mean(histogram: Histogram) -> Optional[float]:
    return histogram.sum_ns / histogram.count if histogram.count else None


def _p50(histogram: Histogram) -> Optional[int]:
    return histogram.quantiles(0.5)[0] if histogram.count else None


def _behind(row: ThreadRow) -> Optional[float]:
    return row.queued.count / row.woken.count if row.woken and row.woken.count else None


def _columns(name: str, waits: str, about: str) -> tuple[Column[ThreadRow], ...]:
    """What both kinds have; ``waits`` is what waiting for a CPU is called."""
    return (
        Column("title", name, 6, TEXT, lambda r: r.title, 0, 16),
        Column("tid", "tid", 7, TEXT, lambda r: str(r.thread.tid), 4),
        Column("cpu", "CPU", 3, COUNT, lambda r: r.cpu, 0),
        Column("node", "node", 4, TEXT, lambda r: _node(r), 6,
               role=lambda r: "bad" if r.far else "",
               help="NUMA node; ≠ is not where the memory is"),
        Column("affinity", "may run", 7, TEXT, lambda r: r.affinity, 7, 12),
        Column("use", "use", 5, PERCENT, lambda r: r.rate.run_share if r.rate else None, 0,
               help="of one CPU"),
        Column("wait", waits, 7, PERCENT, lambda r: r.rate.waited_share if r.rate else None, 0,
               help=about),
        Column("wakes", "wakes/s", 7, RATE,
               lambda r: r.per_second(r.woken.count) if r.woken else None, 0,
               help="how often it was woken a second, whatever the filter is"),
        Column("queued", "rq p50", 9, TIME, lambda r: _p50(r.queued), 0,
               help="run-queue wait: woken to running where another task ran on its CPU"),
        Column("longest", "rq max", 9, TIME, lambda r: r.queued.max_ns or None, 5,
               help="the longest run-queue wait"),
        Column("behind", "queued", 8, PERCENT, _behind, 5,
               help="share of its wake-ups that waited in the run queue"),
        Column("idle", "exit", 7, TIME, lambda r: _mean(r.idle), 0,
               help="idle exit: woken to running where its CPU was idle, mean"),
    )  # fmt: skip


_SWITCHES: Column[ThreadRow] = Column(
    "switches", "cs/s", 6, RATE, lambda r: r.switches, 8, help="context switches a second"
)
_COMPANY: Column[ThreadRow] = Column(
    "company", "also on that CPU", 15, TEXT, lambda r: r.company, 3, 60
)

WORKER_COLUMNS: tuple[Column[ThreadRow], ...] = (
    *_columns("queues", "wait", "time ready to run, waiting for a CPU"),
    Column("packets", "pkt/wake", 8, RATE, lambda r: r.packets, 0,
           help="packets of its vNIC for each wake-up; not known where it has several workers"),
    _SWITCHES,
    _COMPANY,
)  # fmt: skip


def _of_halts(row: ThreadRow, count: str) -> Optional[float]:
    return row.per_second(getattr(row.halts, count)) if row.halts else None


VCPU_COLUMNS: tuple[Column[ThreadRow], ...] = (
    *_columns("vCPU", "steal", "steal: time ready to run, waiting for a CPU"),
    Column("hits", "hits/s", 6, RATE, lambda r: _of_halts(r, "polled"), 0,
           help="halts a second without sleep: polled until there was work, or there was already"),
    Column("blocks", "blocks/s", 8, RATE, lambda r: _of_halts(r, "slept"), 0,
           help="halts a second in which it slept and had to be woken"),
    Column("window", "window", 9, TIME, lambda r: r.halts.window_ns if r.halts else None, 1,
           help="how long KVM polls for it now; known from its first change on"),
    _SWITCHES,
    _COMPANY,
)  # fmt: skip


def emphasis(row: ThreadRow) -> tuple[str, str]:
    """What runs far from its memory is marked, also where there is no room for its node."""
    return ("≠" if row.far else "", "")


def _node(row: ThreadRow) -> Optional[str]:
    if row.node is None:
        return None
    return f"{row.node} ≠" if row.far else str(row.node)
