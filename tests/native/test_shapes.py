"""Frames of every measured shape: tags, options, fragments, segmentation, several vNICs."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator

import pytest

from tests.native.meter import (
    PHY_GRO,
    PHY_QUEUE,
    PHY_RX,
    PHY_XMIT,
    RX,
    TUN_OUT,
    TX,
    VNET_QUEUE,
    VNET_RX,
    Meter,
)
from tests.native.net import Bed, interface_counters, run, wait_until
from tests.native.wire import HEADER, ICMP, ICMPV6, TCP, V4, V6, Packet, filler
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.flows import Echo
from vmlat_tui.probes.engine import PathEngine, Settings

SHAPES = {
    "udp": V4,
    "tcp": V4.with_(protocol=TCP),
    "icmp": V4.with_(protocol=ICMP),
    "udp6": V6,
    "tcp6": V6.with_(protocol=TCP),
    "icmp6": V6.with_(protocol=ICMPV6),
    "ip options": V4.with_(options=b"\x01" * 8),
    "most ip options": V4.with_(options=b"\x01" * 40),
    "tcp behind ip options": V4.with_(options=b"\x01" * 12, protocol=TCP),
    "ipv6 fragment header, whole packet": V6.with_(fragment=(0, False), ident=7),
    "no payload": V4.with_(payload=4),
    "largest": V4.with_(payload=1472),
}


@pytest.mark.parametrize("tags", [(), (5,), (100, 200)], ids=["untagged", "vlan", "qinq"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_frame_is_measured_both_ways_whatever_its_shape(
    meter: Meter, shape: str, tags: tuple[int, ...]
) -> None:
    packet = SHAPES[shape].with_(tags=tags, sport=321)
    if shape == "largest":
        packet = packet.with_(payload=1472 - 4 * len(tags))
    meter.begin(Settings())
    meter.bed.tap.send(packet.frame(1))
    meter.bed.deliver(packet.mirrored().frame(2))
    assert meter.completed_into_vm(1)
    assert meter.result().bin(Bin.COMPLETED, TX) == 1
    by_direction = {r.direction: r for r in meter.packets(2)}
    assert sorted(by_direction) == [TX, RX]
    for direction, sent in ((TX, packet), (RX, packet.mirrored())):
        flow = by_direction[direction].flow
        assert (flow.src, flow.dst, flow.src_port) == (sent.src, sent.dst, sent.sport)
        expected = sent.sport if "icmp" in shape else sent.dport
        assert flow.dst_port == expected
        assert flow.protocol == shape[:4].strip("6") if "icmp" in shape else True
        echo = Echo(sent.sport, 1 + direction, request=direction is TX)
        assert by_direction[direction].echo == (echo if "icmp" in shape else None)
        # The outer tag has gone into the socket buffer's own field on some paths.
        assert abs(by_direction[direction].bytes - len(sent.frame())) <= 4
    assert sorted(by_direction[TX].times) == [VNET_RX, PHY_QUEUE, PHY_XMIT]
    assert sorted(by_direction[RX].times) == [PHY_RX, VNET_QUEUE, TUN_OUT]


@pytest.mark.parametrize("packet", [V4, V6], ids=["ipv4", "ipv6"])
def test_the_first_fragment_is_measured_and_the_later_ones_are_counted(
    meter: Meter, packet: Packet
) -> None:
    meter.begin(Settings())
    for ident in range(1, 11):
        for offset, more in ((0, True), (1448, True), (2896, False)):
            fragment = packet.with_(fragment=(offset, more), ident=ident, payload=1400)
            meter.bed.tap.send(fragment.frame(ident))
    result = meter.result()
    assert result.started() == result.bin(Bin.COMPLETED) == 10
    assert result.counters["fragments"] == 20
    [flow] = result.flows
    assert (flow.flow.src_port, flow.flow.dst_port) == (packet.sport, packet.dport)


def test_what_is_no_ip_or_another_protocol_is_counted_and_not_measured(meter: Meter) -> None:
    meter.begin()
    for _ in range(5):
        meter.bed.tap.send(filler())
        meter.bed.tap.send(V4.with_(protocol=47).frame(1))
    result = meter.result()
    assert result.started() == 0
    assert result.counters["unparsed"] == 10


def test_a_broken_ip_header_harms_nothing(meter: Meter) -> None:
    meter.begin()
    whole = V4.frame(1)
    for first in (0x40, 0x41, 0x4F, 0x05, 0xF5):
        meter.bed.tap.send(whole[:HEADER] + bytes([first]) + whole[HEADER + 1 :])
    for size in range(HEADER + 1, len(whole)):
        meter.bed.tap.send(whole[:size])
    meter.bed.tap.send(whole)
    result = meter.result()
    assert result.accounts[TX].balanced
    assert result.bin(Bin.IN_FLIGHT) == 0
    assert result.bin(Bin.COMPLETED) >= 1


# ---- GRO --------------------------------------------------------------------------------


@pytest.fixture
def with_gro(meter: Meter) -> Iterator[Meter]:
    """A veth delivers through NAPI and GRO if it has GRO and its peer no segmentation."""
    uplink, peer = meter.bed.uplink, meter.bed.peer
    meter.bed.namespace.run("ethtool", "-K", peer, "tso", "off")
    run("ethtool", "-K", uplink, "gro", "on")
    yield meter
    run("ethtool", "-K", uplink, "gro", "off")
    meter.bed.namespace.run("ethtool", "-K", peer, "tso", "on")


def test_with_gro_the_driver_s_point_comes_before_the_stack_s(with_gro: Meter) -> None:
    meter = with_gro
    meter.begin(Settings())
    for number in range(100):
        meter.bed.deliver(V4.mirrored().frame(number))
        time.sleep(0.0005)
    assert meter.completed_into_vm(100)
    records = meter.packets(100)
    assert len(records) == 100
    for record in records:
        assert sorted(record.times) == [PHY_GRO, PHY_RX, VNET_QUEUE, TUN_OUT]
        times = [record.times[s] for s in sorted(record.times)]
        assert times == sorted(times)
    legs = meter.result().legs
    assert legs[0, "rx:phy_gro>phy_rx"].count == 100
    parts = [h.sum_ns for (_, i), h in legs.items() if i.startswith("rx") and "total" not in i]
    assert sum(parts) == legs[0, "rx:total"].sum_ns


def test_with_gro_packets_that_are_merged_stay_balanced(with_gro: Meter) -> None:
    meter = with_gro
    inbound = V4.mirrored().with_(protocol=TCP, payload=1000)
    meter.begin(Settings())
    before = interface_counters(meter.bed.tap.name)["tx_packets"]
    for burst in range(20):
        for i in range(8):
            meter.bed.deliver(inbound.frame(burst * 8000 + i * 1000))
    assert wait_until(lambda: meter.bed.tap.drain() >= 0 and _settled(meter))
    result = meter.result()
    now = interface_counters(meter.bed.tap.name)["tx_packets"]
    assert result.accounts[RX].balanced
    assert result.bin(Bin.COMPLETED, RX) == result.started(RX)
    assert 0 < result.started(RX) <= 160
    assert now - before >= result.started(RX)


def _settled(meter: Meter) -> bool:
    result = meter.result()
    return result.started(RX) > 0 and result.bin(Bin.IN_FLIGHT, RX) == 0


# ---- segmentation -----------------------------------------------------------------------


@pytest.fixture
def gso(engine: PathEngine) -> Iterator[Meter]:
    """A tap whose VM sends packets larger than the wire's, and an uplink that cannot split them."""
    with Bed(vnet_header=True) as made:
        meter = Meter(engine, made)
        yield meter
        engine.configure(Settings(directions=()))
        meter.forget()


def _large_tcp(number: int, segments: int, version: int = 4) -> bytes:
    """A frame as virtio-net hands it over: virtio_net_hdr, then TCP without a checksum."""
    base = V4 if version == 4 else V6
    frame = base.with_(protocol=TCP, payload=1400 * segments).frame(number)
    start = HEADER + (20 if version == 4 else 40)
    kind = 1 if version == 4 else 4
    return struct.pack("<BBHHHH", 1, kind, start + 20, 1400, start, 16) + frame


@pytest.mark.parametrize("version", [4, 6])
def test_a_packet_that_software_splits_at_the_uplink_is_one_packet(
    gso: Meter, version: int
) -> None:
    bed = gso.bed
    run("ethtool", "-K", bed.uplink, "tso", "off", "gso", "off")
    before = interface_counters(bed.uplink)["tx_packets"]
    gso.begin(Settings())
    for number in range(20):
        bed.tap.send(_large_tcp(number * 100_000, 10, version))
    result = gso.result()
    left = interface_counters(bed.uplink)["tx_packets"] - before
    assert left == 200, "the kernel did not split the packets: nothing was tested"
    assert result.started() == result.bin(Bin.COMPLETED) == 20
    assert result.counters["adopted"] == 20
    records = gso.packets(20)
    assert len(records) == 20
    for record in records:
        assert sorted(record.times) == [VNET_RX, PHY_QUEUE, PHY_XMIT]
        assert record.bytes > 14_000
    assert result.accounts[TX].balanced


def test_a_large_packet_that_stays_whole_is_one_packet(gso: Meter) -> None:
    bed = gso.bed
    before = interface_counters(bed.uplink)["tx_packets"]
    gso.begin(Settings())
    for number in range(20):
        bed.tap.send(_large_tcp(number * 100_000, 10))
    result = gso.result()
    assert interface_counters(bed.uplink)["tx_packets"] - before == 20
    assert result.started() == result.bin(Bin.COMPLETED) == 20
    assert result.accounts[TX].balanced
    assert result.bin(Bin.IN_FLIGHT) == 0


def test_split_packets_held_in_the_qdisc_together_stay_apart(gso: Meter) -> None:
    bed = gso.bed
    run("ethtool", "-K", bed.uplink, "tso", "off", "gso", "off")
    bed.hold()
    gso.begin(Settings())
    spans = []
    for number in range(32):
        before = time.monotonic_ns()
        bed.tap.send(_large_tcp(number * 100_000, 4))
        spans.append((before, time.monotonic_ns()))
    assert gso.result().bin(Bin.IN_FLIGHT) == 32
    bed.release()
    assert wait_until(lambda: gso.result().bin(Bin.IN_FLIGHT) == 0)
    records = gso.packets(32)
    assert gso.result().bin(Bin.COMPLETED) == len(records) == 32
    for (before, after), record in zip(spans, records):
        assert before <= record.times[VNET_RX] <= record.times[PHY_QUEUE] <= after
        assert record.times[PHY_XMIT] > after


def test_large_udp_that_software_splits_is_one_packet(gso: Meter) -> None:
    bed = gso.bed
    run("ethtool", "-K", bed.uplink, "gso", "off", "tx-udp-segmentation", "off")
    frame = V4.with_(payload=10_000, ident=9).frame(1)
    header = struct.pack("<BBHHHH", 1, 5, HEADER + 28, 1000, HEADER + 20, 6)
    before = interface_counters(bed.uplink)["tx_packets"]
    gso.begin(Settings())
    try:
        bed.tap.send(header + frame)
    except OSError:
        pytest.skip("this kernel's tap takes no large UDP")
    result = gso.result()
    assert interface_counters(bed.uplink)["tx_packets"] - before == 10
    assert result.started() == result.bin(Bin.COMPLETED) == 1
    assert result.counters["adopted"] == 1


# ---- several vNICs ----------------------------------------------------------------------


def test_several_vnics_are_counted_in_slots_of_their_own(engine: PathEngine) -> None:
    with Bed(taps=3) as bed:
        meter = Meter(engine, bed)
        macs = [bytes.fromhex(f"525400aa000{i + 1}") for i in range(3)]
        for mac, tap in zip(macs, bed.taps):
            bed.learn(mac, tap.name)
        meter.begin()
        for i, tap in enumerate(bed.taps):
            for number in range(10 * (i + 1)):
                tap.send(V4.with_(sport=100 + i, src_mac=macs[i]).frame(number))
                back = V4.mirrored().with_(dport=100 + i, dst_mac=macs[i])
                bed.deliver(back.frame(number))
                bed.deliver(back.frame(number))
        for tap in bed.taps:
            tap.drain()
        result = meter.result()
        for i in range(3):
            assert result.legs[i, "tx:total"].count == 10 * (i + 1)
            assert result.legs[i, "rx:total"].count == 20 * (i + 1)
        flows = {(f.slot, f.direction): (f.flow.src_port, f.packets) for f in result.flows}
        assert flows[2, TX] == (102, 30)
        assert flows[1, RX] == (V4.dport, 40)
        engine.configure(Settings(directions=()))
        meter.forget()


def test_from_one_vm_to_another_on_the_same_host(engine: PathEngine) -> None:
    with Bed(taps=2) as bed:
        meter = Meter(engine, bed)
        other = bytes.fromhex("525400aa0002")
        bed.learn(other, bed.taps[1].name)
        meter.begin(Settings())
        for number in range(20):
            bed.taps[0].send(V4.with_(dst_mac=other).frame(number))
        bed.taps[1].drain()
        result = meter.result()
        assert result.bin(Bin.COMPLETED, TX) == result.started(TX) == 20
        assert result.started(RX) == 0
        records = meter.packets(20)
        assert all(sorted(r.times) == [VNET_RX, VNET_QUEUE, TUN_OUT] for r in records)
        assert {r.slot for r in records} == {0}
        engine.configure(Settings(directions=()))
        meter.forget()


def test_a_vnic_that_vanishes_and_comes_back_is_measured_again(engine: PathEngine) -> None:
    with Bed() as bed:
        meter = Meter(engine, bed)
        name = bed.tap.name
        meter.begin()
        bed.tap.send(V4.frame(1))
        with open(f"/sys/class/net/{name}/ifindex") as file:
            former = int(file.read())
        bed.tap.close()
        meter.refresh()
        again = bed.add_tap(name=name)
        with open(f"/sys/class/net/{name}/ifindex") as file:
            assert int(file.read()) != former
        again.send(V4.frame(2))
        assert meter.result().started() == 1, "nobody has told the engine yet"
        meter.refresh()
        again.send(V4.frame(3))
        result = meter.result()
        assert result.started() == result.bin(Bin.COMPLETED) == 2
        assert result.legs[0, "tx:total"].count == 2
        engine.configure(Settings(directions=()))
        meter.forget()


def test_an_interface_of_the_same_number_in_another_namespace_is_not_the_vnic(
    engine: PathEngine,
) -> None:
    """Interface numbers are unique in one namespace only, and hypervisors have many."""
    with Bed() as bed, Bed() as other:
        meter = Meter(engine, bed)
        with open(f"/sys/class/net/{bed.tap.name}/ifindex") as file:
            number = file.read().strip()
        inside = other.namespace
        inside.run(
            *("ip", "link", "add", "twin", "index", number, "type", "veth"),
            *("peer", "name", "other"),
        )
        for name in ("twin", "other"):
            inside.run("sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1")
            inside.run("ip", "link", "set", name, "arp", "off", "up")
        sender = inside.packet_socket("other")
        meter.begin()
        for i in range(20):
            sender.send(V4.frame(i))
        sender.close()
        assert meter.result().started() == 0
