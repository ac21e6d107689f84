"""How time is added up, divided and judged, and that nobody claims more than was measured."""

from __future__ import annotations

import random

import pytest

from tests.support.cases import COUNT, LEGS, TX_WAKE, evidence, ids, many, mixed, near
from vmlat_tui.analysis.findings.evidence import Evidence
from vmlat_tui.analysis.findings.finding import Explained
from vmlat_tui.analysis.findings.spent import (
    capped,
    explained,
    kept,
    material,
    slowest,
    split,
    thinned,
    waiting,
)
from vmlat_tui.model.histogram import Histogram, bucket_of, middle
from vmlat_tui.model.points import Direction

TX = Direction.TX


def with_total(total: Histogram) -> Evidence:
    given = evidence()
    return Evidence(given.topology, given.domain, given.tap, {"tx:total": total})


def test_a_packet_that_spent_nothing_on_it_counts_as_zero() -> None:
    given = with_total(many(100_000))
    rare = explained(given, TX, [many(80_000, COUNT // 50)])
    assert rare is not None and (rare.p50_ns, rare.p99_ns) == (0, near(80_000))
    assert rare.mean_ns == 80_000 / 50 and rare.share == pytest.approx(0.016)
    assert explained(given, TX, [many(80_000, COUNT // 200)]) is None, "rarer than a hundredth"
    most = explained(given, TX, [many(80_000, COUNT * 6 // 10)])
    assert most is not None and most.p50_ns == near(80_000)


def test_nothing_explains_more_than_there_is() -> None:
    time = explained(with_total(many(100_000)), TX, [many(90_000), many(90_000)])
    assert time is not None and time.p50_ns == time.p99_ns == near(100_000)
    assert time.share == 1.0 and time.mean_ns == 100_000


def test_parts_of_different_places_add_up_and_a_factor_takes_a_part() -> None:
    time = explained(with_total(many(100_000)), TX, [many(20_000), many(40_000)], 0.5)
    assert time is not None and time.p50_ns == near(30_000) and time.share == pytest.approx(0.3)


def test_it_matters_from_a_twentieth_and_a_microsecond_on() -> None:
    def judged(p50: int, total: int, p99: int = 0, packets: int = 1000, lost: float = 0.0) -> bool:
        return material(Explained(TX, packets, p50, p99, total, total, 0.0, 0.0, lost))

    assert judged(5_000, 100_000) and not judged(4_999, 100_000)
    assert judged(1_000, 5_000) and not judged(999, 5_000)
    assert judged(0, 100_000, p99=5_000)
    assert not judged(0, 100_000, p99=50_000, packets=99), "the slowest is one packet"
    assert judged(0, 100_000, lost=0.001) and not judged(0, 100_000, lost=0.0009)


def test_few_packets_are_not_judged() -> None:
    slow = {TX_WAKE: many(90_000, 9)}
    assert explained(with_total(many(100_000, 9)), TX, slow.values()) is None
    assert explained(with_total(many(100_000, 10)), TX, [many(90_000, 10)]) is not None


def test_a_leg_is_divided_by_the_wakeups_of_the_same_length() -> None:
    leg = mixed((5_000, 60), (900_000, 40))
    parts = split(leg, idle=mixed((5_000, 600)), queued=mixed((900_000, 20)))
    assert parts.idle.count == 60 and parts.queued.count == 40 and parts.purity == 1.0
    assert parts.queued.sum_ns == pytest.approx(40 * 900_000, rel=0.07)
    half = split(leg, idle=mixed((5_000, 30)), queued=mixed((5_000, 10)))
    assert (half.idle.count, half.queued.count) == (45, 15), "the long ones belong to neither"
    assert half.purity == pytest.approx(0.75)


def test_a_leg_that_is_all_of_one_kind_stays_exact() -> None:
    leg = mixed((5_000, 60), (900_123, 40))
    parts = split(leg, Histogram(), leg)
    assert parts.queued == leg and not parts.idle.count and not parts.idle.sum_ns


def test_parts_of_a_division_never_exceed_the_leg() -> None:
    chance = random.Random(1)

    def some() -> Histogram:
        return mixed(*((chance.randrange(1, 10**6), chance.randrange(40)) for _ in range(30)))

    for _ in range(50):
        leg = some()
        parts = split(leg, some(), some())
        assert parts.idle.count + parts.queued.count <= leg.count
        assert parts.idle.sum_ns + parts.queued.sum_ns <= leg.sum_ns * 1.0001
        assert 0.5 <= parts.purity <= 1.0
        for part in parts[:2]:
            assert part.count == sum(part.buckets.values()) and part.max_ns <= leg.max_ns


def test_the_slowest_the_thinned_and_the_capped() -> None:
    leg = mixed((1_000, 90), (50_000, 8), (900_000, 2))
    assert slowest(leg, 0.1).buckets == {bucket_of(50_000): 8, bucket_of(900_000): 2}
    assert slowest(leg, 1.0) is leg and not slowest(leg, 0.0).count
    assert thinned(leg, 0.5).count == 50
    limited = capped(leg, 60_000)
    assert limited.max_ns == 60_000 and limited.count == leg.count
    assert (
        limited.sum_ns == 90 * middle(bucket_of(1_000)) + 8 * middle(bucket_of(50_000)) + 2 * 60_000
    )
    assert capped(leg, 900_000) is leg
    assert kept(leg, {}) == Histogram()


def test_a_leg_whose_median_is_longer_than_code_takes_is_waiting() -> None:
    assert max(LEGS[f"tx:{leg}"] for leg in ("tun_in>vnet_rx", "ovs_dp>switch_out")) == 400
    leg = mixed((300, 400), (1_500, 500), (40_000, 100))
    found = waiting(evidence(), TX, leg)
    assert found.buckets == {bucket_of(1_500): 500, bucket_of(40_000): 100}
    assert not waiting(with_total(many(9)), TX, leg).count, "nothing to compare with"


def test_else_only_what_is_longer_than_what_interrupts_code() -> None:
    leg = mixed((300, 900), (20_000, 60), (90_000, 40))
    assert waiting(evidence(), TX, leg).count == 100
    noisy = {"tx:ovs_dp>switch_out": mixed((400, 960), (30_000, 40))}
    assert waiting(evidence(noisy), TX, leg).buckets == {bucket_of(90_000): 40}


def test_a_way_that_is_in_order_has_no_findings() -> None:
    assert ids(evidence()) == []
