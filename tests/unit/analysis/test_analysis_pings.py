"""Round trips whose times are known, taken apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pings import USUAL, Ping, logs, pings, write
from vmlat_tui.analysis.collection import Collection
from vmlat_tui.analysis.decomposition import Decomposition
from vmlat_tui.analysis.figures import Basis
from vmlat_tui.analysis.plan import make
from vmlat_tui.analysis.slow import single_packets, slow, slowest
from vmlat_tui.importers import directory
from vmlat_tui.importers.directory import Ends, Imported
from vmlat_tui.model.readings import Packet, Reading
from vmlat_tui.model.segments import NESTED, ORDER, QUANTITIES


def ns(us: float) -> int:
    return round(1000 * us)


def live(p: Ping, without: str = "") -> list[Reading]:
    """What a capture at all points gives of a packet: one reading for each observer."""
    us = p.us
    observers = (
        {"rtt": p.rtt, "A": us["A"], "M": us["M"]},
        {"U1": us["U1"], "B": us["B"], "sender_external": p.external, "K": us["K"],
         "L": us["L"], "U4": us["U4"]},
        {"D": us["D"], "E": us["E"], "U2": us["U2"], "U3": us["U3"], "I": us["I"],
         "receiver_total": p.receiver},
        {"F": us["F"], "G": us["G"], "H": us["H"]},
    )  # fmt: skip
    packet = Packet(p.id, p.sequence)
    return [
        Reading(packet, {q: ns(v) for q, v in seen.items() if q not in without.split()})
        for seen in observers
    ]


def collected(found: list[Ping], without: str = "") -> Decomposition:
    collection = Collection()
    for p in found:
        for reading in live(p, without):
            if reading.intervals_ns:
                assert collection.add(reading)
    return Decomposition("test", collection)


def imported(path: Path, ends: Ends | None = None) -> tuple[Decomposition, Imported]:
    collection = Collection()
    read = directory.read([path], collection, ends or Ends())
    return Decomposition(path.name, collection, read.published_ns), read


def mean_us(found: Decomposition, id_: str) -> float:
    figure = found.figure(id_)
    assert figure is not None, id_
    return figure.mean_ns / 1000


def test_a_capture_at_all_points_leaves_nothing() -> None:
    found = collected(pings(20))
    rest = found.figure("rest")
    assert rest is not None
    assert (rest.mean_ns, rest.spread_ns, rest.count) == (0, 0, 20)
    assert rest.basis is Basis.PACKETS
    assert mean_us(found, "physical") == 20
    assert mean_us(found, "virt_transmit") == USUAL["U1"] + USUAL["U3"]
    assert {p.id for p in found.plan.pieces} >= set(ORDER) - {"C", "J"}


@pytest.mark.parametrize("error_us", [-30, 30])
def test_the_residual_keeps_its_sign(error_us: int) -> None:
    collection = Collection()
    for p in pings(9):
        for reading in live(p):
            intervals = dict(reading.intervals_ns)
            if "rtt" in intervals:
                intervals["rtt"] += ns(error_us)
            collection.add(Reading(reading.packet, intervals))
    rest = Decomposition("test", collection).figure("rest")
    assert rest is not None
    assert rest.mean_ns == ns(error_us)
    assert rest.negative == (error_us < 0)


@pytest.mark.parametrize("segment", [s for s in ORDER if s not in "CJ"])
def test_a_delay_is_blamed_on_the_segment_where_it_was(segment: str) -> None:
    found = pings(50)
    found[7] = Ping(8, us={**USUAL, segment: USUAL[segment] + 500})
    parted = collected(found)
    blamed = slow(parted, ns(600))
    assert blamed is not None
    assert (blamed.count, blamed.of) == (1, 50)
    first = blamed.blames[0]
    assert (first.item.id, first.largest, first.excess_ns) == (segment, 1, ns(500))
    assert all(blame.excess_ns == 0 for blame in blamed.blames[1:])
    assert parted.packet(slowest(parted, 1)[0]).sequence == 8


@pytest.mark.parametrize("segment", ["C", "J"])
def test_a_delay_on_the_cable_is_of_both_ways(segment: str) -> None:
    found = pings(50)
    found[7] = Ping(8, us={**USUAL, segment: 510})
    blamed = slow(collected(found))
    assert blamed is not None
    assert blamed.blames[0].item.id == "physical"


def test_what_was_not_measured_is_named_in_the_remainder() -> None:
    found = collected(pings(5), without="U1 U4 F G H")
    items = found.plan.items
    assert items["sender_rest"].title == "U1+U4"
    assert items["receiver_rest"].title == "F+G+H"
    assert mean_us(found, "sender_rest") == USUAL["U1"] + USUAL["U4"]
    assert mean_us(found, "receiver_rest") == sum(USUAL[s] for s in "FGH")


@pytest.mark.parametrize(
    "available",
    [
        {"rtt"},
        {"rtt", "A", "M", "sender_inter"},
        {"rtt", "sender_external", "B", "K"},
        {"rtt", "receiver_total"},
        {"sender_total", "sender_external", "B", "K", "receiver_total", "D", "I"},
        {"sender_external", "receiver_total", "E"},
        {"receiver_total", "receiver_external", "receiver_rtt", "D", "I", "E"},
        {"receiver_rtt", "F", "G", "H"},
        {"A", "B"},
        set(QUANTITIES),
    ],
)
def test_any_subset_adds_up(available: set[str]) -> None:
    plan = make(available)
    everything = frozenset().union(*(p.item.of.split("+") for p in plan.parts))
    outermost = next((q for q in NESTED if q in available), None)
    assert everything == (NESTED[outermost] if outermost else frozenset())
    total: dict[str, int] = {}
    for piece in plan.pieces:
        for quantity, factor in piece.formula.items():
            total[quantity] = total.get(quantity, 0) + factor
    assert {q for q, factor in total.items() if factor} == ({outermost} if outermost else set())


def test_logs_join_by_packet(tmp_path: Path) -> None:
    found, read = imported(write(tmp_path / "pair", logs(pings(30))))
    assert not any(source.troubles for source in read.sources)
    assert len(found.rows) == 30
    assert mean_us(found, "E") == USUAL["E"]
    beside = found.beside("E")
    assert beside is not None and beside.mean_ns == ns(USUAL["E"] + 7)
    assert mean_us(found, "rest") == sum(USUAL[u] for u in ("U1", "U2", "U3", "U4"))
    for closure in found.closures:
        assert abs(closure.residual.mean_ns) < 100


def test_a_few_common_numbers_are_no_join(tmp_path: Path) -> None:
    files = logs(pings(100))
    other = logs([Ping(n + 97, us=USUAL) for n in range(1, 101)])
    files["host-send.log"] = other["host-send.log"]
    found, _ = imported(write(tmp_path / "pair", files))
    assert not found.rows and found.too_few == 3
    sender = found.figure("sender_host")
    assert sender is not None and sender.basis is Basis.MEANS


def test_single_packets_of_the_observers_that_join(tmp_path: Path) -> None:
    files = logs(pings(20))
    for name in ("vhost-request.log", "vhost-reply.log"):
        files[name] = logs([Ping(n, id=99) for n in range(1, 21)])[name]
    found, _ = imported(write(tmp_path / "pair", files))
    assert not found.rows
    single = single_packets(found)
    assert single is not None and len(single.rows) == 20
    assert "E" not in single.plan.items and "D" in single.plan.items


def test_a_log_that_names_no_packets_does_not_hinder_the_join(tmp_path: Path) -> None:
    files = logs(pings(20))
    files["kick-send.log"] = ["[14:20:31.412] tid=301 queue=1 s0=4us s1=1us s2=2us total=7us"] * 9
    found, _ = imported(write(tmp_path / "pair", files))
    assert len(found.rows) == 20 and not found.complete
    sender, rest = found.figure("sender_host"), found.figure("sender_rest")
    assert sender is not None and sender.basis is Basis.PACKETS
    assert rest is not None and rest.basis is Basis.MEANS
    assert rest.mean_ns == pytest.approx(ns(USUAL["U4"]), abs=100)
    assert mean_us(found, "U1") == 7 and mean_us(found, "virt_transmit") == 7
    single = single_packets(found)
    assert single is not None and len(single.rows) == 20
    assert "U1" not in single.plan.items and "L" in single.plan.items


def test_a_packet_that_comes_twice_counts_once() -> None:
    collection = Collection()
    first, again = (Reading(Packet(1, 1), {"B": value}) for value in (10, 99))
    assert collection.add(first)
    assert not collection.add(again)
    assert collection.all_values("B") == ([10], 1, 10)


def test_a_sequence_that_starts_again_is_another_packet() -> None:
    collection = Collection()
    for quantity, late in (("rtt", False), ("B", True)):
        numbers = [65534, 65535, 0, 1, 2]
        if late:
            # One that was overtaken at the turn.
            numbers = [65534, 0, 65535, 1, 2]
        for lap in range(2):
            for sequence in [*range(1000 * lap, 1000 * lap + 3), 30_000, 60_000, *numbers]:
                collection.add(Reading(Packet(5, sequence), {quantity: 1}))
    rows = collection.rows_with(("rtt", "B"))
    assert len(rows) == collection.all_values("rtt")[1] == collection.all_values("B")[1]
    assert collection.joined_unevenly == ()


def test_logs_with_a_different_number_of_turns_are_not_joined() -> None:
    collection = Collection()
    for sequence in (1, 40_000, 60_000, 1):
        collection.add(Reading(Packet(5, sequence), {"rtt": 100}))
    for number in (5, 6):
        collection.add(Reading(Packet(number, 1), {"B": 1}))
    collection.add(Reading(Packet(6, 1), {"rtt": 100}))
    assert collection.joined_unevenly == (5,)
    assert [collection.packet(row).id for row in collection.rows_with(("rtt", "B"))] == [6]


def test_memory_is_bounded_and_means_stay_exact() -> None:
    collection = Collection(most_packets=100)
    for n in range(1000):
        collection.add(Reading(Packet(n % 7, n), {"B": n}))
        collection.add(Reading(None, {"U1": n}))
    for n in range(1000):
        collection.add(Reading(Packet(n % 7, n), {"D": 2 * n}))
    for quantity, factor in (("B", 1), ("U1", 1), ("D", 2)):
        values, count, total = collection.all_values(quantity)
        assert len(values) <= 202
        assert (count, total) == (1000, factor * sum(range(1000)))
        assert (min(values), max(values)) == (0, factor * 999)
    rows = collection.rows_with(("B", "D"))
    assert 30 <= len(rows) <= 100
    assert 0.03 < collection.kept < 0.2
    sequences = [collection.packet(row).sequence for row in rows]
    assert sequences == [collection.value("B", row) for row in rows]
    assert [2 * s for s in sequences] == [collection.value("D", row) for row in rows]
    assert min(sequences) < 100 and max(sequences) > 900
    host = Decomposition("test", collection).figure("host_internal")
    assert host is not None and host.basis is Basis.PACKETS and host.count == len(rows)
    figure = Decomposition("test", collection).figure("U1")
    assert figure is not None and figure.p50_ns is not None
    assert 350 < figure.p50_ns < 650
