"""Absent points, wake-ups and drops over a span: what was counted in it and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Optional

import pytest

from tests.support.frames import typed, wakeups_object
from tests.tui import host
from tests.tui.streams import Stream
from tests.tui.wakeful import Wakeful
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.rates import HaltRate, NeighbourRate, Rates, ThreadRate
from vmlat_tui.model.wakeups import Halts, Role, Wakeups
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.protocol.stats import WakeupsRow
from vmlat_tui.session import counted, rates, window
from vmlat_tui.session.history import History
from vmlat_tui.session.snapshot import Place
from vmlat_tui.session.wakes import read, together, without, woken
from vmlat_tui.session.window import Span

TAP = "vnet0"
WORKER, VCPU = TIDS = 2030, 2010


def fed(frames: Iterator[Raw], depth: int = 300) -> History:
    history = History(depth)
    for frame in frames:
        history.take(typed(frame))
    return history


def here(history: History, back: int = 0) -> Place:
    moments = history.moments()
    return Place(moments, len(moments) - 1 - back)


def one(*idle: int, migrations: int = 0, states: Optional[dict[int, int]] = None) -> Wakeups:
    histogram = Histogram()
    for value in idle:
        histogram.add(value)
    return Wakeups(7, Role.WORKER, histogram, Histogram(), migrations, states or {}, {"x": 1}, TAP)


def test_wakeups_grow_and_are_put_together_again() -> None:
    first, second = one(5, 70), one(5, 70, 900, migrations=2, states={1: 3})
    grown = woken(first, second)
    assert grown.migrations == 2 and grown.idle_states == ((1, 3),) and grown.ahead_ns == ()
    assert together(7, (woken(None, first), grown)) == second
    assert together(7, ()) is None
    left = without(second, one(900, migrations=2, states={1: 3}))
    assert left is not None and left.count == 2 and left.migrations == 0
    assert without(second, None) is second and without(second, second) is None


def halted(polled: int, slept: int, window_ns: Optional[int]) -> Wakeups:
    halts = Halts(polled, 10 * polled, slept, 99 * slept, polled, slept, window_ns)
    return Wakeups(7, Role.VCPU, Histogram(), Histogram(), 0, halts=halts)


def test_halts_grow_and_the_window_is_the_newest() -> None:
    first, second = halted(4, 1, None), halted(9, 1, 50_000)
    grown = woken(first, second)
    assert grown.halts == Halts(5, 50, 0, 0, 5, 0, 50_000)
    assert together(7, (woken(None, first), grown)) == second
    assert read(WakeupsRow.of(second, None), first) == second, "nobody was woken, but it halted"
    assert without(second, first) == halted(5, 0, 50_000) and without(second, second) is None


def test_a_vcpu_that_is_never_woken_still_halts_and_its_window_is_that_of_the_moment() -> None:
    windows = iter((10_000, 20_000, 40_000, 80_000))

    class Polling(Wakeful):
        def wakeups(self) -> list[dict[str, Any]]:
            row = halted(5 * self.tick, 0, next(windows))
            return [wakeups_object(replace(row, tid=VCPU))]

    history = fed(Polling(host.NAMES[:1]).whole(4))
    for back, polled, window_ns in ((0, 30, 80_000), (1, 25, 40_000), (2, 20, 20_000)):
        found = counted.wakeups(here(history, back), TIDS, Span.START)[VCPU].halts
        assert found is not None and (found.polled, found.window_ns) == (polled, window_ns)


def test_the_seconds_of_a_span_are_those_in_which_it_was_counted() -> None:
    history = fed(Wakeful(host.NAMES[:1]).whole(30))
    assert counted.seconds(here(history), Span.START) == 30.0
    assert counted.seconds(here(history, 5), Span.START) == 25.0
    assert counted.seconds(here(history), Span.RECENT) == 10.0
    for frame in Stream().refiltered():
        history.take(typed(frame))
    assert counted.seconds(here(history), Span.START) == 0.0


def test_a_row_in_which_nothing_was_counted_since_is_not_read_again() -> None:
    before = one(5, 70, states={1: 2})
    assert read(WakeupsRow.of(before, before.vm_interface), None) == before
    assert read(WakeupsRow.of(before, before.vm_interface), before) is before


def test_a_span_has_what_was_counted_in_it() -> None:
    history = fed(Wakeful(host.NAMES[:2]).whole(12))
    start = counted.wakeups(here(history), TIDS, Span.START)[WORKER]
    recent = counted.wakeups(here(history), TIDS, Span.RECENT)[WORKER]
    assert start.count == 12 * 2 * 900 and recent.count == 10 * 2 * 900
    assert start.idle_states == {1: start.count} and start.vm_interface == TAP
    assert counted.absences(here(history), TAP, "rx", Span.RECENT) == {
        "rx_worker_awake": 310, "vcpu_polling": 170,
    }  # fmt: skip
    assert counted.absences(here(history), TAP, "tx", Span.RECENT) == {}
    assert sum(counted.drops(here(history), TAP, Span.RECENT).values()) == 20
    assert counted.drops(here(history), "vnet1", Span.RECENT) == {}


def test_the_leg_and_its_wakeups_are_of_the_same_packets() -> None:
    history = fed(Wakeful(host.NAMES[:1]).whole(14))
    for back in (0, 3):
        for span in (Span.RECENT, Span.START):
            place = here(history, back)
            legs = window.histograms(place, TAP, span)
            woken_ = counted.wakeups(place, TIDS, span)
            wakes = (legs["tx:vhost_woken>vhost_on_cpu"], legs["rx:vhost_woken>vhost_on_cpu"])
            assert woken_[WORKER].idle.count == sum(leg.count for leg in wakes)
            assert woken_[VCPU].idle.buckets == legs["rx:vcpu_woken>vcpu_on_cpu"].buckets


def test_an_earlier_moment_knows_nothing_of_later_ones() -> None:
    history = fed(Wakeful(host.NAMES[:1]).whole(12))
    place = here(history, back=4)
    assert counted.wakeups(place, TIDS, Span.START)[WORKER].count == 8 * 2 * 900
    assert counted.absences(place, TAP, "rx", Span.START)["vcpu_polling"] == 17 * (8 + 2)
    # Two readings of the counters were before the measurement: the stream's ticks go on.
    assert sum(counted.drops(place, TAP, Span.START).values()) == 2 * (8 + 2)


def test_a_new_filter_begins_to_count_anew() -> None:
    stream = Wakeful(host.NAMES[:1])
    history = fed(stream.whole(3))
    for frame in (*stream.refiltered(), stream.stats(), stream.stats()):
        history.take(typed(frame))
    assert counted.wakeups(here(history), TIDS, Span.START)[WORKER].count == 2 * 2 * 900
    assert counted.absences(here(history), TAP, "rx", Span.START)["vcpu_polling"] == 34
    assert sum(counted.drops(here(history), TAP, Span.START).values()) == 4


def test_only_the_newest_moment_keeps_what_was_counted_since_the_start() -> None:
    *past, now = fed(Wakeful(host.NAMES[:1]).whole(6)).moments()
    assert now.stats is not None and now.stats.since is not None
    assert all(m.stats.since is None for m in past if m.stats)


def test_the_probes_know_the_workers_of_a_vnic() -> None:
    place = here(fed(Wakeful(host.NAMES[:2]).whole(3)))
    assert counted.workers(place, TAP) == {WORKER}
    assert counted.workers(here(fed(Stream(host.NAMES[:1]).looking())), TAP) == set()


def test_older_recordings_have_neither() -> None:
    place = here(fed(Stream(host.NAMES[:1]).whole(3)))
    assert (
        counted.wakeups(place, TIDS, Span.START) == {} == counted.wakeups(place, TIDS, Span.RECENT)
    )
    assert counted.absences(place, TAP, "rx", Span.START) == {}


# ---- fast counters ------------------------------------------------------------------------------


def interval(seconds: float, use: float, **fields: Any) -> Rates:
    values: dict[str, Any] = {
        "threads": {7: ThreadRate(3, use, None, 10.0, 1.0)},
        "neighbours": {3: (NeighbourRate(9, "x", use),)},
        "halt": {"vm": HaltRate(use, use, 0.0, 0.0, use, 0.1, 0.2, 100 * use, None, 50.0)},
        "interfaces": {TAP: {"rx_packets": use}},
        "idle": {"3": {"C6": use}},
        **fields,
    }
    return Rates(int(seconds), seconds, **values)


def test_intervals_are_weighted_by_how_long_they_were() -> None:
    found = rates.pooled([interval(1.0, 0.0), interval(3.0, 0.8)])
    assert found is not None and found.seconds == 4.0
    assert found.threads[7].run_share == pytest.approx(0.6)
    assert found.threads[7].waited_share is None and found.threads[7].voluntary == 10.0
    assert found.neighbours[3][0].run_share == pytest.approx(0.6)
    assert found.interfaces[TAP]["rx_packets"] == pytest.approx(0.6)
    assert found.idle["3"]["C6"] == pytest.approx(0.6)
    assert found.halt["vm"].attempted == pytest.approx(0.6)
    assert found.halt["vm"].mean_success_ns == pytest.approx(80.0), "of those that succeeded"
    assert found.halt["vm"].mean_fail_ns is None


def test_one_interval_is_itself_and_none_is_none() -> None:
    only = interval(1.0, 0.5)
    assert rates.pooled([only]) is only and rates.pooled([]) is None


def test_what_came_later_counts_from_then_and_a_task_that_was_away_did_nothing() -> None:
    empty = interval(1.0, 0.0, threads={}, neighbours={}, halt={}, interfaces={}, idle={})
    found = rates.pooled([empty, interval(1.0, 0.5)])
    assert found is not None and found.threads[7].run_share == 0.5
    assert found.neighbours[3][0].run_share == 0.25
