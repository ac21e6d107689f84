"""A worker or vCPU that was stopped."""

from __future__ import annotations

from typing import Optional

import pytest

from tests.support.cases import (
    OTHER_VCPU,
    VCPU,
    WORKER,
    evidence,
    ids,
    many,
    mixed,
    near,
    one,
    rates,
)
from vmlat_tui.analysis.findings.evidence import Evidence
from vmlat_tui.analysis.findings.finding import Severity, Sureness
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.points import Direction
from vmlat_tui.model.rates import Rates, ThreadRate

KICK, TAKE, ENTER = "tx:guest_kick>vhost_tx", "rx:tun_out>vhost_take", "rx:irq_accept>guest_entry"
#: Half of the packets met a thread that was stopped for 50 ms.
STOP = 25_000_000
LEG = mixed((600, 500), (STOP, 500))


def found_stopped(tid: Optional[int], share: float = 0.5) -> Rates:
    """Readings that found one thread stopped, or none."""
    threads = {
        other: ThreadRate(None, 0.1, 0.0, 1.0, 0.0, share if other == tid else 0.0)
        for other in (WORKER, VCPU, OTHER_VCPU)
    }
    return rates(threads=threads)


def waited(leg_id: str, tid: Optional[int], leg: Histogram = LEG) -> Evidence:
    return evidence({leg_id: leg}, rates=found_stopped(tid))


@pytest.mark.parametrize(
    ("leg_id", "tid", "id_", "who"),
    [
        (KICK, WORKER, "worker-stopped", "vhost worker 2030"),
        (TAKE, WORKER, "worker-stopped", "vhost worker 2030"),
        (ENTER, VCPU, "vcpu-stopped", "vCPU 0"),
        (ENTER, OTHER_VCPU, "vcpu-stopped", "vCPU 1"),
    ],
)
def test_a_stopped_thread_is_named_and_nothing_else_is(
    leg_id: str, tid: int, id_: str, who: str
) -> None:
    given = waited(leg_id, tid)
    assert ids(given) == [id_]
    finding = one(given, id_)
    assert finding.severity is Severity.WRONG and finding.sureness is Sureness.LIKELY
    assert finding.sentence.startswith(f"{who} was stopped in 50 % of the readings")
    assert finding.numbers["tid"] == tid and finding.numbers["stopped_share"] == 0.5
    assert f"/proc/{tid}/status" in finding.remedy
    assert f"kill -CONT {given.domain.pid} " in finding.remedy
    assert finding.legs == (leg_id,) and finding.explained is not None
    assert finding.explained.direction is Direction[leg_id[:2].upper()]
    assert finding.explained.p99_ns == near(STOP)
    assert finding.explained.mean_ns == pytest.approx(STOP / 2, rel=0.01), "but not what code takes"


def test_a_wait_is_not_blamed_on_a_stop_that_was_not_seen() -> None:
    assert ids(waited(TAKE, None)) == []
    assert ids(evidence({TAKE: LEG}, rates=None)) == []


def test_the_stop_of_another_thread_is_not_blamed() -> None:
    assert ids(waited(TAKE, VCPU)) == []
    assert ids(waited(ENTER, WORKER)) == []


def test_a_stop_that_no_packet_waited_for_is_no_finding() -> None:
    assert ids(evidence(rates=found_stopped(WORKER))) == []
    assert ids(waited(TAKE, WORKER, many(600))) == []
