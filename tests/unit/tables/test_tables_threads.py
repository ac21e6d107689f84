"""Rows of workers and vCPUs: what is known, and what must stay unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.frames import typed
from tests.tui import host
from tests.tui.wakeful import Wakeful
from vmlat_tui.model.topology import Domain
from vmlat_tui.session.history import History
from vmlat_tui.session.snapshot import Place
from vmlat_tui.session.window import Span
from vmlat_tui.tables import halting, thread_columns, threads
from vmlat_tui.tables.threads import Look
from vmlat_tui.tables.waited import WAIT_COLUMNS, wait_rows


def place(ticks: int = 30, ahead: str = "") -> Place:
    history = History(300)
    for frame in Wakeful(host.NAMES[:1], ahead=ahead).whole(ticks):
        history.take(typed(frame))
    moments = history.moments()
    return Place(moments, len(moments) - 1)


def look(here: Place, span: Span = Span.RECENT) -> Look:
    assert here.now.topology is not None
    found = threads.look(here, here.now.topology.domains[0], "vnet0", span)
    assert found is not None
    return found


@pytest.mark.parametrize("ticks", [30, 90])
@pytest.mark.parametrize("span", list(Span))
def test_wakes_and_packets_are_per_second_of_the_span(span: Span, ticks: int) -> None:
    (row,) = threads.worker_rows(look(place(ticks), span))
    # 15 of each 900 packets a leg, woken for both directions.
    assert row.woken is not None
    assert row.per_second(row.woken.count) == pytest.approx(1800, rel=0.01)
    # The tap counts 5200 and 4700 packets a second.
    assert row.packets == pytest.approx(9900 / 1800, rel=0.05)


def changed(seen: Look, *queues: tuple[str, ...]) -> Look:
    (worker,) = seen.domain.workers
    workers = tuple(
        replace(worker, queues=names, thread=replace(worker.thread, tid=worker.thread.tid + n))
        for n, names in enumerate(queues)
    )
    domain: Domain = replace(seen.domain, workers=workers)
    return replace(seen, domain=domain)


def test_packets_are_not_told_where_several_workers_may_have_taken_them() -> None:
    seen = look(place())
    for queues in ((("vnet0/0",), ("vnet0/1",)), (("vnet0/0",), ()), ((),), (("vnet9/0",),)):
        assert threads.worker_rows(changed(seen, *queues))[0].packets is None
    assert threads.worker_rows(changed(seen, ("vnet0/0",), ("vnet1/0",)))[0].packets


def test_waiting_in_the_run_queue_and_for_an_idle_exit_are_never_mixed() -> None:
    values = {c.id: c.value for c in thread_columns.WORKER_COLUMNS}
    (queued,) = threads.worker_rows(look(place(ahead="busyloop")))
    (idle,) = threads.worker_rows(look(place()))
    assert values["queued"](queued) > 30_000 and values["idle"](queued) is None
    assert values["idle"](idle) > 30_000 and values["queued"](idle) is None
    assert values["longest"](idle) is None
    assert (values["behind"](queued), values["behind"](idle)) == (1.0, 0.0)


def test_halts_of_the_vcpu_that_has_none_are_not_known() -> None:
    values = {c.id: c.value for c in thread_columns.VCPU_COLUMNS}
    first, second = look(place()).vcpus
    assert values["hits"](first) == 3 * values["blocks"](first) > 0
    assert values["window"](first) == 50_000
    assert [values[name](second) for name in ("hits", "blocks", "window", "wakes")] == [None] * 4
    assert values["wait"](first) == pytest.approx(0.0015), "steal"


def test_what_a_miss_costs_is_what_was_measured() -> None:
    here = place()
    seen = look(here)
    rows = {row.title: row for row in halting.halt_rows(here, seen)}
    assert rows["misses"].mean_ns == pytest.approx(48_000, rel=0.01)
    assert rows["then sleep"].mean_ns == pytest.approx(1_900_000, rel=0.01)
    waking_ns = rows["then wake"].mean_ns
    assert waking_ns is not None and 5_000 < waking_ns < 20_000
    lines = halting.halt_lines(here, seen)
    assert lines[0].startswith("hit rate 72.0 %") and lines[2] == "window of vCPU 0: 50 µs"
    assert lines[3].startswith("a miss: 48 µs CPU + ") and lines[3].endswith("to wake")
    assert seen.rates is not None
    halt = replace(seen.rates.halt["web-1"], mean_fail_ns=0.0, mean_wait_ns=0.0)
    old = replace(seen, woken={}, rates=replace(seen.rates, halt={"web-1": halt}))
    titles = {row.title: row.mean_ns for row in halting.halt_rows(here, old)}
    assert "then wake" not in titles and titles["misses"] is titles["then sleep"] is None
    assert halting.halt_lines(here, old)[3] == "", "nothing is made up"


def test_a_window_that_never_changed_is_not_known() -> None:
    seen = look(place())
    woken = {
        tid: replace(row, halts=replace(row.halts, window_ns=None))
        for tid, row in seen.woken.items()
        if row.halts
    }
    assert halting.windows(replace(seen, woken=woken)) == "window now: no change seen yet"
    assert halting.windows(replace(seen, woken={})) == "window now: not known"


def test_what_was_waited_for_has_the_names_of_the_host() -> None:
    here = place()
    seen = look(here)
    rows = seen.vcpus
    (state,) = wait_rows(seen.topology, rows)
    assert (state.name, state.latency_us, state.share) == ("C6", 133, 1.0)
    assert rows[0].woken is not None
    odd = replace(rows[0], woken=replace(rows[0].woken, idle_states={-1: 3, 9: 2},
                                         ahead_ns={"\x1b[2Jx": 9}))  # fmt: skip
    assert [row.name for row in wait_rows(seen.topology, [odd])] == ["not known", "state 9"]
    (busy,) = threads.worker_rows(look(place(ahead="\x1b[2Jx")))
    (row,) = wait_rows(seen.topology, [busy])
    assert busy.woken and (row.held_ns, row.share) == (busy.woken.queued.sum_ns, 1.0)
    shown = {column.id: column.value(row) for column in WAIT_COLUMNS}
    assert (shown["held"], shown["share"], shown["count"]) == (row.held_ns, 1.0, None)
    assert row.kind == "behind task" and "\x1b" not in row.name
