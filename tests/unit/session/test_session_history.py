"""The history of a stream: what is known at each moment, and that it stays small."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.frames import encoded, seen, typed
from tests.tui import host
from tests.tui.streams import Stream
from vmlat_tui.errors import VmlatError
from vmlat_tui.model.flows import Flow
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.points import Direction
from vmlat_tui.model.topology import ThreadUse, Vitals
from vmlat_tui.protocol import frames
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.protocol.stats import FlowCount
from vmlat_tui.session import counted, rates, window
from vmlat_tui.session.history import History, Slowest
from vmlat_tui.session.sample import grown, median_ns, merged
from vmlat_tui.session.snapshot import Phase, Place
from vmlat_tui.session.window import Span

TX_TOTAL = ("vnet0", "tx:total")


def fed(stream: Stream, ticks: int = 4, depth: int = 300) -> History:
    """A history of a whole measurement."""
    history = History(depth)
    for frame in stream.whole(ticks):
        history.take(typed(frame))
    return history


def here(history: History, back: int = 0) -> Place:
    """The newest moment, or one before."""
    moments = history.moments()
    return Place(moments, len(moments) - 1 - back)


def values(*ns: int) -> Histogram:
    """A histogram of these values."""
    found = Histogram()
    for one in ns:
        found.add(one)
    return found


def key_of(row: Raw) -> tuple[str, str, Flow]:
    """What identifies a row of ``flows``."""
    return FlowCount(**{**row, "flow": Flow(**row["flow"])}).key


def test_a_sample_is_what_was_counted_in_between() -> None:
    before, after = values(100, 5_000), values(100, 5_000, 200, 300)
    sample = grown(before, after)
    between = merged([sample])
    assert (between.count, between.sum_ns) == (2, 500) and set(between.buckets.values()) == {1}
    assert 300 <= between.max_ns <= 320, "the maximum did not rise: the end of its bucket"
    assert merged([grown(before, values(100, 5_000, 9_000))]).max_ns == 9_000
    assert median_ns(sample) == between.quantile(0.5)
    assert merged([sample, grown(Histogram(), values(7))]).count == 3
    assert merged([grown(Histogram(), values(5, 70, 900))]) == values(5, 70, 900)
    assert merged([grown(after, after)]) == Histogram()


def test_the_first_reading_is_where_counting_begins() -> None:
    history = History()
    stream = Stream(host.NAMES[:1])
    for frame in (stream.hello(), stream.topology(), stream.measuring(), stream.stats()):
        history.take(typed(frame))
    stats = here(history).now.stats
    assert stats is not None and not stats.samples and stats.totals
    history.take(typed(stream.stats()))
    stats = here(history).now.stats
    assert stats is not None and merged([stats.samples[TX_TOTAL]]).count == 900
    assert stats.trust.own_cpu == pytest.approx(0.008) and stats.trust.matched == 1.0
    assert stats.drops[0].packets_per_second == pytest.approx(2.0)
    assert all(row.packets_per_second >= 40 for row in stats.flows or ())


def test_a_flow_without_traffic_stays_idle_and_one_that_was_forgotten_begins_anew() -> None:
    history = History()
    stream = Stream(host.NAMES[:1])
    for frame in (stream.hello(), stream.topology(), stream.measuring(), stream.stats()):
        history.take(typed(frame))
    frame = stream.stats()
    kept, idle = frame["flows"][0], frame["flows"][1]
    frame["flows"] = [{**kept, "packets": 7, "first_ns": kept["first_ns"] + 1}]
    history.take(typed(frame))
    stats = here(history).now.stats
    assert stats is not None and stats.flows is not None
    rows = {row.key: row for row in stats.flows}
    assert rows[key_of(kept)].packets_per_second == pytest.approx(7 / stats.seconds)
    assert rows[key_of(idle)].packets_per_second == 0
    assert rows[key_of(idle)].packets > 0


def test_between_the_wish_and_the_probes_it_is_attaching_and_a_refusal_ends_that() -> None:
    history = History()
    stream = Stream(host.NAMES[:1])
    history.take(typed(stream.hello()))
    history.take(typed({"type": "attaching", "t_ns": 5}))
    assert here(history).now.phase is Phase.ATTACHING
    error = {"type": "error", "title": "no", "cause": "", "remedy": "", "id": 1}
    history.take(typed(error))
    assert here(history).now.phase is Phase.WATCHING
    history.take(typed({"type": "attaching", "t_ns": 6}))
    history.take(typed(stream.measuring()))
    assert here(history).now.phase is Phase.MEASURING
    history.take(typed(error))
    assert here(history).now.phase is Phase.MEASURING


def test_legs_come_in_path_order_with_the_total_first_and_the_slowest_marked() -> None:
    rows = window.legs(here(fed(Stream())), "vnet0", Direction.RX)
    assert rows[0].total and [r.leg.start.point.id for r in rows[1:3] if r.leg.start] == [
        "phy_gro", "phy_rx"
    ]  # fmt: skip
    assert [r.leg.id for r in rows if r.slowest] == ["rx:vhost_woken>vhost_on_cpu"]
    assert sum(r.share or 0 for r in rows[1:]) == pytest.approx(1.0, abs=0.01)


def test_spans_reach_as_far_back_as_they_say() -> None:
    place = here(fed(Stream(host.NAMES[:1]), 20))
    counts = {
        span: window.histogram(place, TX_TOTAL, span, place.now.t_ns - 3_000_000_000).count
        for span in Span
    }
    assert counts == {
        Span.RECENT: 10 * 900, Span.MINUTE: 19 * 900, Span.MARK: 3 * 900, Span.START: 20 * 900
    }  # fmt: skip


def test_a_span_that_nobody_read_in_says_so_and_how_long_it_is() -> None:
    stream = Stream(("web-1",), flows=1)
    history = fed(stream, 20)

    def words(*more: Raw) -> dict[Span, str]:
        for frame in more:
            history.take(typed(frame))
        return {span: window.words(here(history), span, stream.t_ns) for span in Span}

    assert set(words().values()) == {"last 10 s", "last 60 s", "since mark", "since start"}
    stream.tick += 60  # a minute in which the agent is stopped
    after = words(stream.stats(), stream.stats(), stream.stats())
    assert after[Span.RECENT] == "last 63 s, no reading for 61 s"
    assert after[Span.MINUTE] == "last 63 s, no reading for 61 s"
    assert after[Span.START] == "since start, no reading for 61 s"
    assert after[Span.MARK] == "since mark", "the mark is behind it"
    later = words(*(stream.stats() for _ in range(9)))
    assert later[Span.RECENT] == "last 10 s" and "no reading" in later[Span.MINUTE]
    assert [m.stats.seconds for m in here(history).moments if m.stats and m.stats.seconds > 2] == [
        pytest.approx(61)
    ], "rates are of the time that it was"


def test_figures_over_many_moments_are_those_of_every_single_one() -> None:
    history = History()
    stream = Stream(host.NAMES[:1])
    for number, frame in enumerate(stream.whole(70)):
        history.take(typed(frame))
        if number % 40:
            continue
        place = here(history)
        inside = [m.stats.samples for m in window.stretch(place, Span.MINUTE) if m.stats]
        for key in place.now.stats.legs if place.now.stats else ():
            whole = merged(samples[key] for samples in inside if key in samples)
            assert window.histogram(place, key, Span.MINUTE) == whole


def test_an_earlier_moment_has_the_figures_that_it_had() -> None:
    history = fed(Stream(host.NAMES[:1]), 6)
    earlier = here(history, back=2)
    assert window.histogram(earlier, TX_TOTAL, Span.START).count == 4 * 900
    assert window.legs(earlier, "vnet0", Direction.TX)[0].count == 3 * 900
    assert earlier.now.t_ns < here(history).now.t_ns


def test_new_probes_begin_at_zero() -> None:
    stream = Stream(host.NAMES[:1])
    history = fed(stream, 3)
    stream._totals.clear()
    for frame in (stream.measuring(), stream.stats(), stream.stats()):
        history.take(typed(frame))
    place = here(history)
    assert window.histogram(place, TX_TOTAL, Span.MINUTE).count == 900
    assert window.histogram(place, TX_TOTAL, Span.START).count == 2 * 900


def test_after_the_probes_are_gone_nothing_is_measured_and_the_past_stays() -> None:
    stream = Stream(host.NAMES[:1])
    history = fed(stream, 3)
    history.take(typed(stream.released()))
    now = here(history).now
    assert (now.phase, now.measuring, now.stats, now.watched) == (Phase.WATCHING, None, None, ())
    assert window.vnics(here(history)) == ()
    assert window.legs(here(history, back=1), "vnet0", Direction.TX)[0].count == 2 * 900
    stream._totals.clear()
    for frame in (stream.measuring(), stream.links(), stream.stats(), stream.stats()):
        history.take(typed(frame))
    assert window.histogram(here(history), TX_TOTAL, Span.MINUTE).count == 900


def test_another_filter_begins_at_zero_too() -> None:
    stream = Stream(host.NAMES[:1])
    history = fed(stream, 3)
    for frame in stream.refiltered():
        history.take(typed(frame))
    assert window.legs(here(history), "vnet0", Direction.TX) == ()
    before = here(history, back=1)
    assert window.legs(before, "vnet0", Direction.TX)[0].count == 2 * 900
    assert window.histogram(before, TX_TOTAL, Span.START).count == 2 * 900
    for _ in range(2):
        history.take(typed(stream.stats()))
    place = here(history)
    assert window.histogram(place, TX_TOTAL, Span.MINUTE).count == 2 * 900
    assert window.histogram(place, TX_TOTAL, Span.START).count == 2 * 900


def test_the_history_is_bounded() -> None:
    history = fed(Stream(host.NAMES[:1]), 30, depth=10)
    moments = history.moments()
    assert len(moments) == 11 and moments[-1].number - moments[0].number == 10
    assert all(m.stats is None or m.stats.totals is None for m in moments[:-1])


def test_flows_of_old_moments_are_forgotten_before_memory_is() -> None:
    history = fed(Stream(host.NAMES[:1], flows=2_500), 8)
    kept = [m for m in history.moments() if m.stats and m.stats.flows is not None]
    assert 1 <= len(kept) <= 6 and kept[-1] is history.moments()[-1]


def many(stream: Stream, tick: int, rows: int = 4000) -> Raw:
    """A frame of a host that drops packets elsewhere each time."""
    row = {"direction": "tx", "vm_interface": "vnet0", "reason": "r", "function": "f", "packets": 2}
    drops = [{**row, "point": f"p{tick * rows + at}"} for at in range(rows)]
    return {**stream.stats(), "drops": drops}


def test_of_drops_without_number_the_rest_is_one_row_and_none_is_lost() -> None:
    stream = Stream(("web-1",), flows=1)
    history = fed(stream, 1)
    for tick in range(12):
        history.take(typed(many(stream, tick)))
    *before, now = (m.stats for m in history.moments() if m.stats)
    assert now.since and len(now.drops) <= 2001 and sum(row.packets for row in now.drops) == 8000
    other = now.drops[-1]
    assert (other.vnic, other.point, other.packets) == ("vnet0", "other", 4000)
    assert all(len(stats.drops) <= 201 for stats in before)
    found = counted.drops(here(history), "vnet0", Span.RECENT)
    assert sum(found.values()) == pytest.approx(10 * 8000, rel=0.01)
    assert found["tx", "vnet0", "other", None, None] > 60_000


def test_rows_beyond_all_bounds_are_summed_or_left_out_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("stats", "history"):
        monkeypatch.setattr(f"vmlat_tui.session.{module}.ROWS", 5)
    stream = Stream(("web-1",), flows=1)
    history = fed(stream, 2)
    for tick in range(3):
        history.take(typed(many(stream, tick)))
    now = history.moments()[-1]
    assert now.stats and len(now.stats.legs) == 5
    assert sum(row.packets for row in now.stats.drops) == 8000
    assert [text for text in now.notices if "rows" in text] == [
        "the host reports more than 5 rows at once: the rest is left out"
    ]


def test_names_that_come_and_go_are_forgotten() -> None:
    stream = Stream(("web-1",), flows=1)
    history = fed(stream, 1)
    for tick in range(20):
        frame = stream.stats()
        leg = frame["legs"][0]
        frame["legs"] = [{**leg, "leg": f"tx:a{tick * 500 + at}>b"} for at in range(500)]
        frame["absences"] = [
            {"vm_interface": "vnet0", "direction": "tx", "reason": f"r{tick * 500 + at}",
             "packets": 1} for at in range(500)
        ]  # fmt: skip
        history.take(typed(frame))
    assert len(history._reader._keys) <= 2000
    assert len(history._reader._absence_keys) <= 2000


@pytest.mark.parametrize("kind", ["drops", "vitals", "topology", "packet"])
def test_the_history_is_bounded_by_what_it_weighs(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmlat_tui.session.history._BYTES", 2_000_000)
    stream = Stream(("web-1",), flows=1, drawn=4)
    history = fed(stream, 3)
    for tick in range(60):
        vitals = stream.vitals()
        if kind == "vitals":
            thread = vitals["threads"][0]
            vitals["threads"] = [{**thread, "tid": tid} for tid in range(1, 1000)]
        history.take(typed(vitals))
        if kind == "topology":
            notes = [f"{at} {'x' * 100}" for at in range(1000)]
            history.take(typed({**stream.topology(), "notes": notes}))
        for at in range(40 if kind == "packet" else 0):
            packet = stream.packet(0, Direction.TX)
            history.take(typed({**packet, "total_ns": 10**9 * tick + at}))
        history.take(typed(many(stream, tick, 200 if kind == "drops" else 0)))
    moments = history.moments()
    assert 2 < len(moments) < 60
    assert history._weight == sum(history._weights) <= 2_000_000
    told = [text for text in moments[-1].notices if "less of the past" in text]
    assert len(told) == 1


def test_what_weighs_little_is_kept_as_before() -> None:
    history = fed(Stream(("web-1",), flows=1, drawn=4), 150)
    assert len(history.moments()) > 150 and not history.moments()[-1].notices


def test_names_in_packets_are_no_longer_than_the_kernels() -> None:
    stream = Stream(("web-1",))
    history = fed(stream, 1)
    packet = stream.packet(0, Direction.TX)
    long = "x" * 8000
    stages = [{**stage, "comm": long} for stage in packet["stages"]]
    process = {**packet["process"], "comm": long}
    history.take(typed({**packet, "total_ns": 10**12, "process": process, "stages": stages}))
    kept = history.moments()[-1].slowest[0]
    assert kept.total_ns == 10**12
    assert {len(kept.process.comm), *(len(str(s.comm)) for s in kept.stages)} == {64}


def test_the_more_vnics_the_fewer_slowest_packets_of_each() -> None:
    slowest = Slowest()
    packet = Stream(("web-1",)).packet(0, Direction.TX)
    for at in range(3000):
        for total in range(4):
            slowest.add(seen({**packet, "vm_interface": f"v{at}", "total_ns": at + total}))
    kept = slowest.ordered()
    assert 1000 < len(kept) <= 2000 and kept[0].total_ns >= kept[-1].total_ns


def test_vitals_become_rates_by_difference() -> None:
    topology = host.topology()
    found = rates.between(host.vitals(topology, 3), host.vitals(topology, 4))
    assert found is not None and found.seconds == 1.0
    assert found.interfaces["vnet0"]["rx_packets"] == 5200
    halt = found.halt["web-1"]
    assert (halt.attempted, halt.successful, halt.failed) == (820, 590, 230)
    assert halt.mean_wait_ns == 1_900_000 and halt.success_share == pytest.approx(590 / 820)
    thread = found.threads[2030]
    assert thread.run_share == pytest.approx(0.09) and thread.voluntary == 2100
    assert found.neighbours[6][0].name == "node_exporter"


def test_a_counter_that_began_anew_is_no_negative_rate() -> None:
    empty: dict[str, dict[str, int]] = {}
    before = Vitals(0, (ThreadUse(1, 0, 500, None, None, None),), (), empty, {"x": {"a": 9}}, empty)
    after = replace(before, t_ns=10**9, interfaces={"x": {"a": 2}, "new": {"a": 5}})
    found = rates.between(before, after)
    assert found and found.interfaces == {"x": {"a": 0.0}}
    assert found.threads[1].waited_share is None and rates.between(before, before) is None


def test_a_thread_is_stopped_in_a_share_of_the_readings() -> None:
    empty: dict[str, dict[str, int]] = {}
    intervals = []
    for number, stopped in enumerate((True, False, False, True)):
        before = Vitals(number * 10**9, (ThreadUse(1, 0, 0, None, None, None),), (), *[empty] * 3)
        use = replace(before.threads[0], stopped=stopped)
        found = rates.between(before, replace(before, t_ns=before.t_ns + 10**9, threads=(use,)))
        assert found and found.threads[1].stopped == stopped
        intervals.append(found)
    whole = rates.pooled(intervals)
    assert whole and whole.threads[1].stopped == 0.5


def test_the_slowest_packets_of_every_vnic_and_direction_are_kept() -> None:
    heap, packet = Slowest(room=2), Stream(("web-1",)).packet(0, Direction.TX)
    for vnic, total in (("a", 5), ("a", 9), ("a", 7), ("b", 1)):
        heap.add(seen({**packet, "vm_interface": vnic, "total_ns": total}))
    assert [(p.vm_interface, p.total_ns) for p in heap.ordered()] == [
        ("a", 9), ("a", 7), ("b", 1)
    ]  # fmt: skip


def test_a_refusal_is_known_and_nothing_else_changes() -> None:
    history = History()
    for frame in Stream().refusing():
        history.take(typed(frame))
    now = here(history).now
    assert now.phase is Phase.WATCHING and now.measuring is None
    assert now.refusal and "run as root" in str(now.refusal.error)


@pytest.mark.parametrize("kind", ["stats", "topology", "vitals", "links", "hello"])
def test_a_frame_that_cannot_be_read_is_one_clear_error(kind: str) -> None:
    with pytest.raises(VmlatError):
        History().take(frames.decode(encoded({"type": kind, "schema": 1, "t_ns": 1})))


def test_frames_of_unknown_use_are_passed_over() -> None:
    history = History()
    history.take(typed({"type": "ack", "id": 1}))
    assert here(history).now == here(History()).now


# ---- a lost connection ------------------------------------------------------------------------

LOST: Raw = {
    "type": "lost", "title": "the connection to hv1 was lost", "cause": "reset", "attempt": 2,
    "wait_s": 5.0,
}  # fmt: skip


def again(stream: Stream, boot: str = "one", later_ns: int = 0) -> list[Raw]:
    """What another agent says first; its host's clock may have begun anew."""
    stream._totals.clear()
    stream.tick += 20
    shifted = replace(stream.host, t_ns=stream.host.t_ns + later_ns)
    stream.host = shifted
    return [{**stream.hello(), "boot": boot}, stream.topology(), stream.vitals()]


def test_a_lost_connection_keeps_what_was_known_and_says_when_it_is_tried_again() -> None:
    history = fed(Stream(host.NAMES[:1]), 4)
    before = here(history).now
    history.take(typed(LOST))
    now = here(history).now
    assert now.phase is Phase.LOST and now.stats is before.stats and now.rates is before.rates
    assert "hv1 was lost: reset; attempt 2 in 5 s" in str(now.problem)
    history.take(typed({**LOST, "wait_s": 0}))
    assert "attempt 2 is being made" in str(here(history).now.problem)


def test_nothing_is_counted_across_a_gap() -> None:
    stream = Stream(host.NAMES[:1])
    history = fed(stream, 4)
    moments = len(history.moments())
    history.take(typed(LOST))
    for frame in again(stream, boot=""):
        history.take(typed(frame))
    now = here(history).now
    assert now.phase is Phase.WATCHING and now.problem is None
    assert now.stats is None and now.rates is None and now.measuring is None and not now.watched
    assert len(history.moments()) == moments + 1, "what was known is a moment of its own"
    for frame in (stream.measuring(), stream.stats(), stream.vitals(), stream.stats()):
        history.take(typed(frame))
    place = here(history)
    assert window.histogram(place, TX_TOTAL, Span.MINUTE).count == 900
    rates_seen = [m.rates for m in history.moments() if m.rates]
    assert max(r.seconds for r in rates_seen) < 2, "the gap is no interval"
    trust = [m.stats.trust.own_cpu for m in history.moments() if m.stats]
    assert all(cpu is None or 0 <= cpu < 0.1 for cpu in trust)
    for moment in history.moments():
        for row in (moment.stats.flows if moment.stats else None) or ():
            assert 0 <= row.packets_per_second < 1_000
    earlier = Place(history.moments(), moments - 1)
    assert window.histogram(earlier, TX_TOTAL, Span.MINUTE).count == 3 * 900


def test_after_another_boot_the_past_is_told_by_the_new_clock() -> None:
    stream = Stream(host.NAMES[:1])
    history = History()
    for frame in [{**stream.hello(), "boot": "one"}, *list(stream.whole(4))[1:]]:
        history.take(typed(frame))
    past = history.moments()
    history.take(typed(LOST))
    hello, *rest = again(stream, "two", -past[-1].t_ns // 2)
    hello["clock"]["wall_ns"] = past[-1].wall_ns + 60_000_000_000
    for frame in (hello, *rest, stream.measuring(), stream.stats(), stream.stats()):
        history.take(typed(frame))
    moments = history.moments()
    assert [m.wall_ns for m in moments[: len(past)]] == [m.wall_ns for m in past]
    assert all(a.t_ns <= b.t_ns for a, b in zip(moments, moments[1:]))
    packet = moments[-1].slowest[0].stages[0].t_ns + moments[-1].wall_offset_ns
    assert packet in [p.stages[0].t_ns + past[-1].wall_offset_ns for p in past[-1].slowest]
