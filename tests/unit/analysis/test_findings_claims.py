"""Whatever is measured, no finding claims more than that, and every one is complete."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.support.cases import (
    HALT,
    LEGS,
    OTHER_VCPU,
    TAP,
    VCPU,
    WORKER,
    busy,
    evidence,
    mixed,
    neighbour,
    rates,
    topology,
    woken,
)
from tests.tui import host
from vmlat_tui.analysis.findings import judge
from vmlat_tui.analysis.findings.evidence import Drop, Evidence
from vmlat_tui.analysis.findings.finding import Severity, Sureness
from vmlat_tui.analysis.findings.spent import PACKETS, material
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.points import Direction
from vmlat_tui.model.topology import HaltPolling, Irq, Qdisc, Topology

_EXTRA = ("rx:tun_out>vhost_take", "rx:ovs_upcall>ovs_reinject", "tx:ovs_upcall>ovs_reinject",
          "rx:irq_accept>guest_entry", "tx:guest_kick>vhost_tx")  # fmt: skip


def some_host(chance: random.Random) -> Topology:
    """Everything may be wrong with it."""
    domain = topology().domains[0]
    cpus = [chance.randrange(host.CPUS) for _ in range(3)]
    bound = chance.random() < 0.5
    worker = replace(
        domain.workers[0],
        thread=host.thread(WORKER, "vhost{x}", cpus[0], [cpus[0]] if bound else None),
    )
    vcpus = tuple(
        replace(vcpu, thread=host.thread(tid, f"CPU {vcpu.number}/KVM", cpu, None))
        for vcpu, tid, cpu in zip(domain.vcpus, (VCPU, OTHER_VCPU), cpus[1:])
    )
    queues = (Qdisc("fq_codel", "0:", "root", 1, 0, 9, 9),)
    return topology(
        replace(domain, workers=(worker,), vcpus=vcpus),
        nic={"node": chance.choice((0, 1, None)), "qdiscs": queues,
             "offloads": {"tx-checksum-ipv4": False},
             "irqs": (Irq(1, "x", (12,), (chance.randrange(host.CPUS),)),)},
        tap={"qdiscs": queues, "offloads": {"tx-scatter-gather": False}},
        cpus=tuple(replace(cpu, governor="schedutil") for cpu in host.cpus()),
        halt_polling=HaltPolling(chance.choice((0, 200_000)), 2, 1, 0),
        busy_poll_us={TAP: chance.choice((0, 50))},
    )  # fmt: skip


def some_evidence(seed: int) -> Evidence:
    chance = random.Random(seed)
    count = chance.choice((5, 50, 500))

    def some(most: int = count) -> Histogram:
        parts = range(chance.randrange(1, 5))
        scale = 10 ** chance.randrange(2, 7)
        return mixed(*((chance.randrange(1, scale), chance.randrange(most) + 1) for _ in parts))

    legs = {leg: some() for leg in (*LEGS, *_EXTRA) if chance.random() < 0.6}
    rows = tuple(
        woken(tid, some(), some(), migrations=chance.randrange(count),
              ahead_ns={"{tid}": 5_000, "y": 4_000},
              idle_states={-1: 1, 0: chance.randrange(count), 1: chance.randrange(count)})
        for tid in (WORKER, VCPU, OTHER_VCPU)
    )  # fmt: skip
    halt = replace(HALT, attempted=chance.choice((0.0, 900.0)), failed=chance.choice((9.0, 800.0)))
    given = evidence(
        legs,
        rows,
        some_host(chance),
        count,
        drops=(Drop(Direction.RX, "tun_out", "FULL_RING", None, chance.randrange(count)),),
    )
    found = rates(
        threads={
            tid: rate._replace(stopped=chance.choice((0.0, 0.5)))
            for tid, rate in busy(WORKER, chance.random(), chance.randrange(host.CPUS)).items()
        },
        neighbours={cpu: neighbour("{cpu}", chance.random()) for cpu in range(host.CPUS)},
        halt={"web-1": halt},
        idle={str(cpu): {"C6": chance.random()} for cpu in range(host.CPUS)},
    )
    return replace(given, rates=found)


SEEDS = range(300)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_finding_claims_more_than_was_measured(seed: int) -> None:
    given = some_evidence(seed)
    found = judge(given)
    assert len({finding.key for finding in found}) == len(found), "each has its own identity"
    for finding in found:
        time = finding.explained
        assert time is not None, finding
        total = given.total(time.direction)
        assert time.packets == total.count >= PACKETS and material(time)
        assert 0 <= time.p50_ns <= time.total_p50_ns == total.quantiles(0.5)[0]
        assert time.p50_ns <= time.p99_ns <= time.total_p99_ns == total.quantiles(0.99)[0]
        assert 0 <= time.share <= 1 and time.mean_ns <= total.mean_ns + 1
        assert finding.legs and set(finding.legs) <= set(given.legs)
        assert finding.sureness is not Sureness.POSSIBLE or finding.severity < Severity.WRONG


@pytest.mark.parametrize("seed", SEEDS[::10])
def test_what_is_known_comes_before_what_is_possible_and_more_time_before_less(seed: int) -> None:
    known, possible = [], []
    for finding in judge(some_evidence(seed)):
        assert finding.explained is not None
        if finding.sureness is Sureness.POSSIBLE:
            possible.append(finding.explained.mean_ns)
        else:
            assert not possible
            known.append(finding.explained.mean_ns)
    assert known == sorted(known, reverse=True) and possible == sorted(possible, reverse=True)


def test_every_rule_is_tried_and_every_text_is_whole() -> None:
    seen = {}
    for seed in SEEDS:
        seen.update({finding.id: finding for finding in judge(some_evidence(seed))})
    assert len(seen) >= 18, sorted(seen)
    for finding in seen.values():
        for text in (finding.word, finding.sentence, finding.meaning, finding.remedy):
            assert text and "{pid}" not in text and "None" not in text and "  " not in text
        assert finding.meaning.endswith(".") and finding.remedy.endswith(".")
