"""What woken threads waited for: idle states that were left, tasks that ran ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.model.topology import Topology
from vmlat_tui.tables.columns import COUNT, PERCENT, TEXT, TIME, Column
from vmlat_tui.tables.threads import ThreadRow, together
from vmlat_tui.words import clean


@dataclass(frozen=True)
class WaitRow:
    """What was waited for.

    Of an idle state ``count`` are the wake-ups that left it, ``share`` is of all wake-ups, and
    ``latency_us`` its own figure.  Of a task that ran ``held_ns`` is for how long, and ``share`` is
    of all waits behind tasks.
    """

    kind: str
    name: str
    share: float
    count: Optional[int] = None
    latency_us: Optional[int] = None
    held_ns: Optional[int] = None

    @property
    def key(self) -> tuple[str, str]:
        """Identity."""
        return (self.kind, self.name)


def wait_rows(topology: Topology, rows: Sequence[ThreadRow]) -> list[WaitRow]:
    """The largest share first; states have the names that they have on the threads' CPU."""
    woken = together(rows)
    if woken is None or not woken.count:
        return []
    cpus = {cpu.number: cpu.idle_states for cpu in topology.cpus}
    states = cpus.get(rows[0].cpu, ()) if rows[0].cpu is not None else ()
    found = []
    for number, count in woken.idle_states.items():
        known = states[number] if 0 <= number < len(states) else None
        name = clean(known.name) if known else f"state {number}" if number >= 0 else "not known"
        latency_us = known.latency_us if known else None
        found.append(WaitRow("left idle state", name, count / woken.count, count, latency_us))
    found += [
        WaitRow("behind task", clean(name), min(ns / woken.queued.sum_ns, 1.0), held_ns=ns)
        for name, ns in woken.ahead_ns.items()
        if woken.queued.sum_ns
    ]
    return sorted(found, key=lambda row: -row.share)


WAIT_COLUMNS: tuple[Column[WaitRow], ...] = (
    Column("kind", "waited for", 15, TEXT, lambda r: r.kind, 0),
    Column("name", "which", 15, TEXT, lambda r: r.name, 0, 24),
    Column("count", "wake-ups", 9, COUNT, lambda r: r.count, 0),
    Column("share", "share", 7, PERCENT, lambda r: r.share, 0,
           help="of all its wake-ups; of a task, of the time that it waited behind tasks"),
    Column("held", "ran", 8, TIME, lambda r: r.held_ns, 0,
           help="for how long the task ran while the thread waited"),
    Column("latency", "exit latency µs", 15, COUNT, lambda r: r.latency_us, 1,
           help="of the idle state, as its driver says"),
)  # fmt: skip


def thread_lines(rows: Sequence[ThreadRow]) -> list[str]:
    """Where they run, how often they were woken, how their halts ended."""
    return [_where(rows), _woken(rows), _halted(rows)]


def _where(rows: Sequence[ThreadRow]) -> str:
    if len(rows) != 1:
        return f"{len(rows)} vCPUs together"
    (row,) = rows
    parts = [f"tid {row.thread.tid}", f"CPU {row.cpu if row.cpu is not None else '–'}"]
    if row.rate is not None:
        parts.append(f"use {100 * row.rate.run_share:.1f} %")
        if row.rate.waited_share is not None:
            parts.append(f"waits for a CPU {100 * row.rate.waited_share:.1f} %")
    return " · ".join((*parts, *((f"with {row.company}",) if row.company else ())))


def _woken(rows: Sequence[ThreadRow]) -> str:
    woken = together(rows)
    if woken is None or not woken.count:
        return "no wake-up was counted in this span"
    rate = rows[0].per_second(woken.count)
    parts = [f"{woken.count} wake-ups, {rate or 0:.1f}/s", f"{woken.migrations} migrations"]
    for name, one in (("idle exit", woken.idle), ("run-queue wait", woken.queued)):
        if one.count:
            parts.append(f"{name} mean {one.sum_ns / one.count / 1000:.4g} µs")
    return " · ".join(parts)


def _halted(rows: Sequence[ThreadRow]) -> str:
    woken = together(rows)
    halts = woken.halts if woken else None
    if halts is None:
        packets = rows[0].packets
        return f"{packets:.1f} packets of its vNIC for each wake-up" if packets is not None else ""
    share = f"{100 * halts.polled_share:.1f} %" if halts.polled_share is not None else "–"
    parts = [f"polled {halts.polled}, slept {halts.slept}: {share} without sleep"]
    if halts.window_ns is not None:
        parts.append(f"window {halts.window_ns / 1000:.4g} µs")
    return " · ".join((*parts, f"grown {halts.grown}, shrunk {halts.shrunk} times"))
