"""Filters select exactly the packets that they describe, and may change at any time."""

from __future__ import annotations

import ipaddress
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.native.meter import RX, TX, VNET_RX, Meter
from tests.native.net import Task
from tests.native.wire import ICMP, ICMPV6, TCP, UDP, V4, V6, Packet
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.flows import Filter, Protocol
from vmlat_tui.probes.engine import Settings


class Case(NamedTuple):
    """``fits`` passes the filter; each of ``others`` differs from it in one field and does not."""

    filter: Filter
    fits: Packet
    others: tuple[Packet, ...]


def _ip(text: str) -> ipaddress._BaseAddress:
    return ipaddress.ip_address(text)


def _filter(**fields: object) -> Filter:
    return Filter(**fields)  # type: ignore[arg-type]


V4_OTHER = V4.with_(src="192.0.2.3")
CASES = {
    "src_ip": Case(_filter(src_ip=_ip(V4.src)), V4, (V4_OTHER, V4.with_(src="193.0.2.1"), V6)),
    "dst_ip": Case(_filter(dst_ip=_ip(V4.dst)), V4, (V4.with_(dst="192.0.2.4"), V6)),
    "src_ip v6": Case(
        _filter(src_ip=_ip(V6.src)),
        V6,
        (V6.with_(src="2001:db8::101"), V6.with_(src="2001:db9::1"), V4),
    ),
    "dst_ip v6": Case(
        _filter(dst_ip=_ip(V6.dst)),
        V6,
        (V6.with_(dst="2001:db8::102"), V6.with_(dst="2001:db8:1::2"), V4),
    ),
    "src_port": Case(_filter(src_port=40000), V4, (V4.with_(sport=40001), V4.with_(sport=16540))),
    "dst_port": Case(_filter(dst_port=7001), V4, (V4.with_(dport=7002), V4.with_(dport=22811))),
    "src_port v6": Case(_filter(src_port=40000), V6, (V6.with_(sport=40001),)),
    "dst_port v6": Case(_filter(dst_port=7001), V6, (V6.with_(dport=7002),)),
    "udp": Case(
        _filter(protocol=Protocol.UDP), V4, (V4.with_(protocol=TCP), V4.with_(protocol=ICMP))
    ),
    "tcp": Case(_filter(protocol=Protocol.TCP), V4.with_(protocol=TCP), (V4,)),
    "icmp": Case(_filter(protocol=Protocol.ICMP), V4.with_(protocol=ICMP), (V4,)),
    "udp v6": Case(_filter(protocol=Protocol.UDP), V6, (V6.with_(protocol=TCP),)),
    "tcp v6": Case(_filter(protocol=Protocol.TCP), V6.with_(protocol=TCP), (V6,)),
    "icmp v6": Case(
        _filter(protocol=Protocol.ICMP),
        V6.with_(protocol=ICMPV6),
        (V6, V6.with_(protocol=TCP), V4.with_(protocol=UDP)),
    ),
    "icmp id": Case(
        _filter(protocol=Protocol.ICMP, src_port=9),
        V4.with_(protocol=ICMP, sport=9),
        (V4.with_(protocol=ICMP, sport=10), V4.with_(sport=9)),
    ),
}
FULL = _filter(
    src_ip=_ip(V4.src), dst_ip=_ip(V4.dst), src_port=40000, dst_port=7001, protocol=Protocol.UDP
)
FULL6 = _filter(
    src_ip=_ip(V6.src), dst_ip=_ip(V6.dst), src_port=40000, dst_port=7001, protocol=Protocol.UDP
)


def _one_field_off(packet: Packet) -> tuple[Packet, ...]:
    v4 = packet.version == 4
    return (
        packet.with_(src="192.0.2.3" if v4 else "2001:db8::3"),
        packet.with_(dst="192.0.2.4" if v4 else "2001:db8::4"),
        packet.with_(sport=40001),
        packet.with_(dport=7002),
        packet.with_(protocol=TCP),
    )


CASES["all fields"] = Case(FULL, V4, _one_field_off(V4))
CASES["all fields v6"] = Case(FULL6, V6, _one_field_off(V6))
MIRRORED = V4.mirrored()
MIRRORED6 = V6.mirrored()


def _only_the_fitting_one_is_measured(meter: Meter, case: Case, inbound: bool) -> None:
    direction = RX if inbound else TX
    meter.begin(Settings(), [case.filter])
    for number, packet in enumerate((*case.others, case.fits, *case.others)):
        if inbound:
            mac = (packet.src_mac, packet.dst_mac)
            frame = packet.with_(dst_mac=mac[0], src_mac=mac[1]).frame(number)
            meter.bed.deliver(frame)
        else:
            meter.bed.tap.send(packet.frame(number))
    assert not inbound or meter.completed_into_vm(1)
    assert meter.result().bin(Bin.COMPLETED, direction) == 1
    result = meter.result()
    assert result.started(direction) == 1
    [record] = meter.packets(1)
    flow = record.flow
    assert (flow.src, flow.dst, flow.src_port) == (case.fits.src, case.fits.dst, case.fits.sport)


@pytest.mark.parametrize("name", CASES)
def test_a_filter_takes_what_fits_and_nothing_that_differs_in_one_field(
    meter: Meter, name: str
) -> None:
    _only_the_fitting_one_is_measured(meter, CASES[name], inbound=False)


@pytest.mark.parametrize("name", ["src_ip", "dst_ip v6", "src_port", "all fields", "icmp v6"])
def test_filters_judge_packets_into_the_vm_alike(meter: Meter, name: str) -> None:
    _only_the_fitting_one_is_measured(meter, CASES[name], inbound=True)


@pytest.mark.parametrize("full", [FULL, FULL6])
def test_either_takes_the_answer_as_well_and_no_half_mirrored_packet(
    meter: Meter, full: Filter
) -> None:
    packet = V4 if full is FULL else V6
    answer = packet.mirrored()
    half = (
        answer.with_(src=packet.src, dst=packet.dst),
        answer.with_(sport=packet.sport, dport=packet.dport),
    )
    both = Filter(**{**vars(full), "either": True})
    for chosen, wanted in ((full, 0), (both, 1)):
        meter.begin(Settings(), [chosen])
        meter.bed.tap.send(packet.frame(1))
        for number, inbound in enumerate((answer, *half, *_one_field_off(packet))):
            frame = inbound.with_(dst_mac=answer.dst_mac, src_mac=answer.src_mac)
            meter.bed.deliver(frame.frame(number))
        time.sleep(0.02)
        result = meter.result()
        assert result.started(TX) == 1
        assert result.started(RX) == wanted


def test_several_filters_take_what_any_of_them_describes(meter: Meter) -> None:
    ports = (10, 20, 30)
    meter.begin(Settings(), [_filter(src_port=p, protocol=Protocol.UDP) for p in ports])
    for port in range(5, 40):
        meter.bed.tap.send(V4.with_(sport=port).frame(port))
        meter.bed.tap.send(V4.with_(sport=port, protocol=TCP).frame(port))
    result = meter.result()
    assert sorted(f.flow.src_port for f in result.flows) == list(ports)
    assert result.started() == result.bin(Bin.COMPLETED) == len(ports)


def test_without_a_filter_everything_measurable_counts(meter: Meter) -> None:
    meter.begin()
    every = {p for case in CASES.values() for p in (case.fits, *case.others)}
    for number, packet in enumerate(every):
        meter.bed.tap.send(packet.frame(number))
    assert meter.result().started() == len(every)


A, B, C = (V4.with_(sport=port) for port in (1111, 2222, 3333))


def _sending(meter: Meter, seconds: float, pause: float = 0.0) -> Task:
    """Sends A, B, C in turn; tells how often it went around and when it began and ended."""
    tap = meter.bed.tap

    def work() -> tuple[int, int, int]:
        frames = [p.frame(n) for n, p in enumerate((A, B, C))]
        begin, turns = time.monotonic_ns(), 0
        end = begin + int(seconds * 1e9)
        while time.monotonic_ns() < end:
            for frame in frames:
                tap.send(frame)
            turns += 1
            time.sleep(pause)
        return turns, begin, time.monotonic_ns()

    return Task(work)


def _now() -> int:
    """Nanoseconds, without the time this thread waits for a processor that others have."""
    waited = int(Path("/proc/thread-self/schedstat").read_text().split()[1])
    return time.monotonic_ns() - waited


def _sent(task: Task) -> int:
    result = task.wait()
    assert isinstance(result, list)
    return int(result[0])


def test_changing_a_filter_while_packets_run_takes_under_50_ms_and_loses_none(
    meter: Meter,
) -> None:
    old = [_filter(src_port=A.sport), _filter(src_port=C.sport)]
    new = [_filter(src_port=B.sport), _filter(src_port=C.sport)]
    meter.begin(Settings(), old)
    task = _sending(meter, 0.6, 0.0002)
    records = meter.packets(1)
    deadline = time.monotonic() + 0.2
    while time.monotonic() < deadline:
        records += meter.engine.packets()
    called, begin = time.monotonic_ns(), _now()
    meter.engine.set_filters(new)
    took, returned = _now() - begin, time.monotonic_ns()
    deadline = time.monotonic() + 0.6
    while time.monotonic() < deadline:
        records += meter.engine.packets()
    turns = _sent(task)

    result = meter.result()
    by_port = {f.flow.src_port: f.packets for f in result.flows}
    assert by_port[C.sport] == turns, "a packet that both sets match was not counted"
    at = {
        port: [r.times[VNET_RX] for r in records if r.flow.src_port == port]
        for port in (A.sport, B.sport)
    }
    assert at[A.sport] and at[B.sport]
    # No packet is judged by the old set after the call, none by the new one before it, ...
    assert max(at[A.sport]) <= returned
    assert min(at[B.sport]) >= called
    # ... and the change itself is quick.
    assert took < 50_000_000
    assert min(at[B.sport]) - returned < 50_000_000
    assert result.accounts[TX].balanced
    assert result.counters["lost"] == 0


def test_hundreds_of_changes_a_second_lose_none(meter: Meter) -> None:
    sets = [[_filter(src_port=p.sport), _filter(src_port=C.sport)] for p in (A, B)]
    meter.begin(filters=sets[0])
    task = _sending(meter, 0.8)
    deadline, changes, slowest = time.monotonic() + 0.9, 0, 0
    while time.monotonic() < deadline:
        called = _now()
        meter.engine.set_filters(sets[changes % 2])
        slowest = max(slowest, _now() - called)
        changes += 1
        time.sleep(0.001)
    turns = _sent(task)
    result = meter.result()
    by_port = {f.flow.src_port: f.packets for f in result.flows}
    assert by_port[C.sport] == turns
    assert 0 < by_port[A.sport] < turns and 0 < by_port[B.sport] < turns
    assert changes > 200
    assert slowest < 50_000_000
    assert result.accounts[TX].balanced


def test_switching_a_direction_off_and_on_takes_effect_at_once(meter: Meter) -> None:
    meter.begin(Settings(emit=False, directions=(RX,)))
    meter.bed.tap.send(V4.frame(1))
    meter.bed.deliver(MIRRORED.frame(1))
    assert meter.completed_into_vm(1)
    assert meter.result().started(TX) == 0
    meter.engine.configure(Settings(emit=False, directions=(TX,)))
    meter.bed.deliver(MIRRORED6.frame(1))
    meter.bed.tap.send(V4.frame(1))
    result = meter.result()
    assert (result.started(TX), result.started(RX)) == (1, 1)
