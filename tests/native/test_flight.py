"""Packets of one flow that are in flight at once never mix."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Iterator

import pytest

from tests.native.meter import (
    PHY_QUEUE,
    PHY_XMIT,
    RX,
    TX,
    VNET_RX,
    Meter,
    latencies,
)
from tests.native.net import Bed, interface_counters, wait_until
from tests.native.wire import ICMP, TCP, V4, V6, Packet, number_of
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.flows import Filter
from vmlat_tui.model.histogram import bucket_of
from vmlat_tui.probes import layout
from vmlat_tui.probes.engine import Limits, PathEngine, Settings
from vmlat_tui.probes.ladder import Kernel

BURST = 64
KINDS = {
    "udp": V4,
    "udp6": V6,
    "tcp": V4.with_(protocol=TCP),
    "icmp": V4.with_(protocol=ICMP),
}


def _in_flight(meter: Meter) -> int:
    return meter.result().bin(Bin.IN_FLIGHT)


@pytest.mark.parametrize("kind", KINDS)
def test_each_packet_of_a_held_burst_keeps_its_own_times(meter: Meter, kind: str) -> None:
    """Its first point lies between two readings of the clock around its own sending, and so does
    the moment at which all of them left: no other packet's times would fit."""
    packet, tap = KINDS[kind], meter.bed.tap
    meter.bed.hold()
    meter.begin(Settings())
    frames = [packet.frame(number) for number in range(BURST)]
    around = []
    for frame in frames:
        before = time.monotonic_ns()
        tap.send(frame)
        around.append((before, time.monotonic_ns()))
        time.sleep(0.0002)
    assert _in_flight(meter) == BURST
    meter.engine.sweep()
    assert _in_flight(meter) == BURST
    released = time.monotonic_ns()
    meter.bed.release()
    assert wait_until(lambda: _in_flight(meter) == 0)
    arrived = time.monotonic_ns()

    records = meter.packets(BURST)
    assert len(records) == BURST
    # A first-in first-out queue lets them out in the order of their sending.
    for (before, after), record in zip(around, records):
        times = record.times
        assert sorted(times) == [VNET_RX, PHY_QUEUE, PHY_XMIT]
        assert before <= times[VNET_RX] <= times[PHY_QUEUE] <= after
        assert released <= times[PHY_XMIT] <= arrived
        assert record.bin == Bin.COMPLETED
        assert not record.active
    assert len({r.times[VNET_RX] for r in records}) == BURST
    left = [r.times[PHY_XMIT] for r in records]
    assert left == sorted(left)
    result = meter.result()
    assert result.bin(Bin.COMPLETED) == result.started() == BURST
    assert result.counters["reused"] == result.counters["disorder"] == 0


def test_bursts_of_64_in_flight_over_and_over_and_the_far_side_agrees(meter: Meter) -> None:
    """The far side reads the number in each packet: what arrived is what was reported."""
    far = meter.bed.receive_in_namespace()
    rounds = 20
    meter.begin(Settings())
    numbers: list[int] = []
    spans = []
    for round_ in range(rounds):
        meter.bed.hold()
        for i in range(BURST):
            number = round_ * BURST + i
            # Length and IP id alike in all of them: nothing but the socket buffer tells them apart.
            frame = V4.with_(payload=40).frame(number)
            before = time.monotonic_ns()
            meter.bed.tap.send(frame)
            spans.append((before, time.monotonic_ns()))
        meter.bed.release()
        assert wait_until(lambda: _in_flight(meter) == 0)
        meter.bed.unhold()
    records = meter.packets(rounds * BURST)
    while len(numbers) < rounds * BURST:
        frame = far.recv(2048)
        if frame[12:14] == b"\x08\x00":
            numbers.append(number_of(frame))
    assert numbers == list(range(rounds * BURST))
    assert len(records) == rounds * BURST
    for (before, after), record in zip(spans, records):
        assert before <= record.times[VNET_RX] <= after
        assert record.times[PHY_XMIT] > after
    assert meter.result().counters["reused"] == 0


def test_bursts_into_the_vm_never_mix(meter: Meter) -> None:
    meter.begin(Settings())
    inbound = V4.mirrored()
    spans = []
    for number in range(BURST):
        before = time.monotonic_ns()
        meter.bed.deliver(inbound.frame(number))
        spans.append((before, time.monotonic_ns()))
    # All 64 wait in the tap until the VM takes them.
    assert meter.result().bin(Bin.IN_FLIGHT, RX) == BURST
    got = []
    for _ in range(BURST):
        frame = meter.bed.tap.receive()
        assert frame is not None
        got.append(number_of(frame))
    assert got == list(range(BURST))
    records = meter.packets(BURST)
    assert len(records) == BURST
    for (before, after), record in zip(spans, records):
        times = [record.times[s] for s in sorted(record.times)]
        assert times == sorted(times)
        assert before <= times[0] and times[-1] <= after
        assert record.direction == RX
    assert meter.result().bin(Bin.COMPLETED, RX) == BURST


def test_two_flows_held_together_stay_apart(meter: Meter) -> None:
    meter.bed.hold()
    meter.begin(Settings())
    flows = [V4.with_(sport=port, payload=40 + port % 7) for port in range(5000, 5008)]
    sent: list[tuple[Packet, int]] = []
    for number in range(256):
        flow = flows[number * 5 % len(flows)]
        meter.bed.tap.send(flow.frame(number))
        sent.append((flow, time.monotonic_ns()))
    meter.bed.release()
    assert wait_until(lambda: _in_flight(meter) == 0)
    records = meter.packets(256)
    assert len(records) == 256
    for i, ((flow, after), record) in enumerate(zip(sent, records)):
        assert (record.flow.src_port, record.bytes) == (flow.sport, len(flow.frame()))
        assert (sent[i - 1][1] if i else 0) <= record.times[VNET_RX] <= after


def test_the_kernel_files_each_latency_in_the_bucket_that_the_model_names(meter: Meter) -> None:
    """Held packets get start times in the past written into their states, so that their legs
    cover the whole range from 0 ns to beyond the last bucket; the two bucket functions, C and
    Python, must then agree on each."""
    engine = meter.engine
    states = engine._program.map("packets")
    per_round = 500
    wanted: list[int] = [*range(200)]
    wanted += [(1 << e) + d for e in range(4, 37) for d in (-9, -8, -7, -1, 0, 1, 5)]
    wanted += [int(1.03**i) for i in range(200, 880)]
    wanted = [w for w in wanted if 0 <= w < 90_000_000_000]
    seen: list[int] = []
    for at in range(0, len(wanted), per_round):
        chosen = wanted[at : at + per_round]
        meter.bed.hold()
        meter.begin(Settings())
        for number in range(len(chosen)):
            meter.bed.tap.send(V4.frame(number))
        held = [(k, bytearray(v)) for k, v in states.items() if _active(v)]
        assert len(held) == len(chosen)
        for (key, state), distance in zip(held, chosen):
            queued = int.from_bytes(state[layout._TIMES + 8 * PHY_QUEUE :][:8], "little")
            start = (queued - distance) % (1 << 64)
            state[layout._TIMES + 8 * VNET_RX : layout._TIMES + 8 * VNET_RX + 8] = start.to_bytes(
                8, "little"
            )
            states.put(key, bytes(state))
        meter.bed.release()
        assert wait_until(lambda: _in_flight(meter) == 0)
        records = meter.packets(len(chosen))
        meter.bed.unhold()
        assert len(records) == len(chosen)
        first: dict[int, int] = {}
        second: dict[int, int] = {}
        whole: dict[int, int] = {}
        for record in records:
            a, b = latencies(record)
            seen.append(a)
            for histogram, value in ((first, a), (second, b), (whole, a + b)):
                histogram[bucket_of(value)] = histogram.get(bucket_of(value), 0) + 1
        legs = meter.result().legs
        assert legs[0, "tx:vnet_rx>phy_queue"].buckets == first
        assert legs[0, "tx:phy_queue>phy_xmit"].buckets == second
        assert legs[0, "tx:total"].buckets == whole
    assert sorted(seen) == sorted(wanted)


def _active(state: bytes) -> bool:
    return layout.packet_state(state)[0]


def test_a_packet_that_is_expired_while_held_is_not_counted_again_when_it_leaves(
    meter: Meter,
) -> None:
    meter.bed.hold()
    meter.begin(Settings())
    for number in range(10):
        meter.bed.tap.send(V4.frame(number))
    gone = meter.engine._reader.sweep(1 << 30, 0, time.monotonic_ns())[0]
    assert len(gone) == 10
    assert {r.last for r in gone} == {PHY_QUEUE}
    assert meter.result().bin(Bin.EXPIRED) == 10
    meter.bed.release()
    time.sleep(0.05)
    result = meter.result()
    assert result.accounts[TX].balanced
    assert result.bin(Bin.EXPIRED) == 10
    assert result.bin(Bin.COMPLETED) == 0


def test_sweep_expires_only_what_stood_still_longer_than_the_limit(meter: Meter) -> None:
    limit = meter.engine._limits.expire_ns
    states = meter.engine._program.map("packets")
    meter.bed.hold()
    meter.begin()
    for number in range(6):
        meter.bed.tap.send(V4.frame(number))
    held = [(k, bytearray(v)) for k, v in states.items() if _active(v)]
    at = layout._TIMES + 8 * PHY_QUEUE
    for key, state in held[:4]:
        old = int.from_bytes(state[at : at + 8], "little") - limit
        state[at : at + 8] = old.to_bytes(8, "little")
        states.put(key, bytes(state))
    assert len(meter.engine.sweep()) == 4
    result = meter.result()
    assert (result.bin(Bin.EXPIRED), result.bin(Bin.IN_FLIGHT)) == (4, 2)
    assert result.accounts[TX].balanced


def _plant(meter: Meter, packet: Packet) -> int:
    """Give every finished state the content of ``packet`` and make it active again, as if each
    socket buffer had been lost from sight while it carried that packet.  Returns how many."""
    states = meter.engine._program.map("packets")
    src = ipaddress.ip_address(packet.src).packed
    found = states.items()
    model = next(v for _, v in found if v[8:12] == src)
    for key, _ in found:
        state = bytearray(model)
        state[0:8] = key
        state[layout._ACTIVE] = 1
        states.put(key, bytes(state))
    return len(found)


@pytest.fixture
def one_processor() -> Iterator[None]:
    """Freed socket buffers are used again by the processor that freed them."""
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(all_of_them)})
    yield
    os.sched_setaffinity(0, all_of_them)


@pytest.mark.parametrize("measured", [True, False])
def test_a_reused_socket_buffer_is_never_mistaken_for_its_former_packet(
    meter: Meter, one_processor: None, measured: bool
) -> None:
    """Stale states of another flow lie under the addresses of all socket buffers known; packets
    that use these buffers again, measured or filtered out, must not touch the old packets'
    times, and each stale one is booked as expired."""
    old, new = V4.with_(src="192.0.2.77", sport=77), V4.with_(sport=78, payload=48)
    meter.begin(Settings())
    # Many at once, so that there are many addresses.
    meter.bed.hold()
    for number in range(200):
        meter.bed.tap.send(old.frame(number))
    meter.bed.release()
    assert wait_until(lambda: _in_flight(meter) == 0)
    meter.bed.unhold()

    meter.begin(Settings(), [] if measured else [Filter(src_port=1)])
    planted, uplink = _plant(meter, old), meter.bed.uplink
    left = interface_counters(uplink)["tx_packets"]
    # Again many at once: one after another would all use the same buffer.
    meter.bed.hold()
    for number in range(400):
        meter.bed.tap.send(new.frame(number))
    meter.bed.release()
    assert wait_until(lambda: interface_counters(uplink)["tx_packets"] >= left + 400)
    result = meter.result()
    records = meter.packets()
    reused = result.counters["reused"]
    assert reused >= 1, "no socket buffer was used again: nothing was tested"
    assert result.bin(Bin.EXPIRED) == reused
    assert result.bin(Bin.IN_FLIGHT) == planted - reused
    assert result.started() == result.bin(Bin.COMPLETED) == (400 if measured else 0)
    assert {r.flow.src_port for r in records} == ({78} if measured else set())
    assert all(max(latencies(r)) < 1_000_000_000 for r in records)


def test_more_packets_in_flight_than_there_is_room_for_are_counted_as_evicted(
    kernel: Kernel, bed: Bed
) -> None:
    room = 64
    engine = PathEngine(kernel, Limits(packets=room), functions=False)
    try:
        meter = Meter(engine, bed)
        bed.hold()
        meter.begin()
        for number in range(3 * room):
            bed.tap.send(V4.frame(number))
        result = meter.result()
        assert result.bin(Bin.IN_FLIGHT) == room
        assert result.bin(Bin.EVICTED) == 2 * room
        assert result.accounts[TX].balanced
        bed.release()
        assert wait_until(lambda: _in_flight(meter) == 0)
        result = meter.result()
        assert (result.bin(Bin.COMPLETED), result.started()) == (room, 3 * room)
        # The periodic sweep forgets what is finished, and there is room again.
        bed.unhold()
        time.sleep(1.1)
        engine.sweep()
        meter.begin()
        for number in range(room // 2):
            bed.tap.send(V4.frame(number))
        assert meter.result().bin(Bin.COMPLETED) == room // 2
    finally:
        engine.close()
