"""Every packet is accounted for, at full speed."""

from __future__ import annotations

import os
import random
from collections import Counter

from tests.native.meter import RX, TX, Meter
from tests.native.net import (
    Bed,
    Task,
    interface_counters,
    read_all,
    send_all,
    wait_until,
    write_all,
)
from tests.native.wire import ICMP, TCP, V4, V6
from vmlat_tui.model.bins import Bin
from vmlat_tui.probes.engine import Limits, PathEngine
from vmlat_tui.probes.ladder import Kernel

FLOWS = [
    V4.with_(sport=1000),
    V4.with_(sport=1001, src="192.0.2.9"),
    V6.with_(sport=1002),
    V4.with_(sport=1003, protocol=TCP, payload=200),
    V4.with_(sport=1004, protocol=ICMP),
]


def test_each_of_200000_packets_of_many_flows_and_tasks_is_accounted_for(meter: Meter) -> None:
    bed, per_writer, delivered = meter.bed, 60_000, 80_000
    sets = [[f.with_(sport=f.sport + 100 * n).frame(n) for f in FLOWS] for n in range(2)]
    inbound = [f.mirrored().frame(7) for f in FLOWS]
    before = {name: interface_counters(name) for name in (bed.tap.name, bed.uplink)}
    meter.begin()

    tap = bed.tap.descriptor
    reader = Task(lambda: read_all(tap, delivered, 3.0))
    senders = [
        Task(lambda: write_all(tap, sets[0], per_writer)),
        Task(lambda: write_all(tap, sets[1], per_writer)),
        Task(lambda: send_all(bed.socket, inbound, delivered)),
    ]
    for sender in senders:
        sender.wait()
    received = reader.wait()
    assert wait_until(lambda: meter.result().bin(Bin.IN_FLIGHT, RX) == 0)
    result = meter.result()
    now = {name: interface_counters(name) for name in (bed.tap.name, bed.uplink)}
    grown = {
        (name, field): now[name][field] - before[name][field]
        for name in now
        for field in ("rx_packets", "tx_packets", "tx_dropped")
    }

    tx, rx = result.accounts[TX], result.accounts[RX]
    assert tx.started + rx.started == 200_000
    assert tx.balanced and rx.balanced, (tx, rx)
    assert tx.bins[Bin.COMPLETED] == 2 * per_writer == grown[bed.tap.name, "rx_packets"]
    assert result.legs[0, "tx:phy_queue>phy_xmit"].count == grown[bed.uplink, "tx_packets"]
    assert result.legs[0, "tx:vnet_rx>phy_queue"].count == grown[bed.uplink, "tx_packets"]
    # A tap whose reader is too slow drops: those are the kernel's losses, and counted as such.
    assert rx.bins[Bin.COMPLETED] == grown[bed.tap.name, "tx_packets"] == received
    assert rx.bins[Bin.DROPPED] == grown[bed.tap.name, "tx_dropped"] == delivered - received
    assert result.legs[0, "rx:phy_rx>vnet_queue"].count == rx.bins[Bin.COMPLETED]
    assert rx.started == grown[bed.uplink, "rx_packets"]

    for direction in ("tx", "rx"):
        legs = {i: h for (_, i), h in result.legs.items() if i.startswith(direction)}
        total = legs.pop(f"{direction}:total")
        assert sum(h.sum_ns for h in legs.values()) == total.sum_ns
        for histogram in (*legs.values(), total):
            assert sum(histogram.buckets.values()) == histogram.count == total.count
            assert 0 <= histogram.max_ns < 60_000_000_000  # a wrapped one would be 2**64
    assert all(result.counters[k] == 0 for k in ("disorder", "unlisted", "flows_full", "lost"))
    assert result.counters["unparsed"] == 0, "somebody else's packet was seen"


def test_packets_and_bytes_are_counted_per_flow(meter: Meter) -> None:
    choice = random.Random(1)
    chosen = [choice.choice(FLOWS) for _ in range(2000)]
    meter.begin()
    for number, flow in enumerate(chosen):
        meter.bed.tap.send(flow.frame(number))
    wanted = Counter(chosen)
    result = meter.result()
    assert result.started() == 2000
    assert len(result.flows) == len(wanted)
    for flow, count in wanted.items():
        [totals] = [
            t
            for t in result.flows
            if t.flow.src_port == flow.sport and t.flow.src == flow.src and t.direction == TX
        ]
        assert (totals.packets, totals.bytes) == (count, count * len(flow.frame()))
        assert totals.first_ns <= totals.last_ns


def test_the_flow_table_makes_room_for_new_flows(kernel: Kernel) -> None:
    """400 flows through a table of 64: those that came last are known, and none was refused."""
    engine = PathEngine(kernel, Limits(flows=64), functions=False)
    try:
        with Bed() as bed:
            meter = Meter(engine, bed)
            meter.begin()
            for first in range(2000, 2400, 10):
                for port in range(first, first + 10):
                    bed.tap.send(V4.with_(sport=port).frame(port))
                engine.read(exact=False)
            result = meter.result()
    finally:
        engine.close()
    assert result.bin(Bin.COMPLETED) == 400
    assert result.counters["flows_full"] == 0
    assert result.counters["flows_evicted"] >= 400 - 64
    ports = {flow.flow.src_port for flow in result.flows}
    assert set(range(2380, 2400)) <= ports and len(ports) <= 64


def test_a_reading_has_the_flows_with_traffic_since_the_one_before(meter: Meter) -> None:
    meter.begin()
    for port in (3001, 3002):
        meter.bed.tap.send(V4.with_(sport=port).frame(port))
    assert {f.flow.src_port for f in meter.engine.read(exact=False).flows} == {3001, 3002}
    meter.bed.tap.send(V4.with_(sport=3002).frame(1))
    [flow] = meter.engine.read(exact=False).flows
    assert (flow.flow.src_port, flow.packets) == (3002, 2)
    assert meter.engine.read(exact=False).flows == []
    assert {3001, 3002} <= {f.flow.src_port for f in meter.engine.read().flows}


def test_packets_of_one_flow_on_two_processors_are_all_counted(meter: Meter) -> None:
    count, tap = 30_000, meter.bed.tap.descriptor
    frames = [V4.frame(1)]

    def pinned(processor: int) -> Task:
        def work() -> int:
            os.sched_setaffinity(0, {processor})
            return write_all(tap, frames, count)

        return Task(work)

    processors = sorted(os.sched_getaffinity(0))
    meter.begin()
    for task in [pinned(processors[0]), pinned(processors[-1])]:
        task.wait()
    result = meter.result()
    assert result.bin(Bin.COMPLETED) == result.started() == 2 * count
    [flow] = result.flows
    assert flow.packets == 2 * count


def test_a_leg_total_is_the_sum_of_its_legs_whatever_is_filtered(meter: Meter) -> None:
    meter.begin()
    for number in range(500):
        meter.bed.tap.send(V4.frame(number))
        meter.bed.deliver(V4.mirrored().frame(number))
    assert meter.completed_into_vm(500)
    legs = meter.result().legs
    for direction in ("tx", "rx"):
        parts = [h.sum_ns for (_, i), h in legs.items() if i.startswith(direction)]
        total = legs[0, f"{direction}:total"].sum_ns
        assert sum(parts) == 2 * total
