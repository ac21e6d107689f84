"""A packet that does not arrive is reported with the place and the reason where it was lost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.native.meter import (
    PHY_QUEUE,
    RX,
    TUN_OUT,
    TX,
    VNET_RX,
    Meter,
    Result,
    function_at,
)
from tests.native.net import Bed, Task, interface_counters, read_all, run, send_all, wait_until
from tests.native.wire import GUEST_MAC, PEER_MAC, V4, V6
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.points import Direction
from vmlat_tui.probes.engine import Settings
from vmlat_tui.probes.ladder import Kernel


@pytest.fixture
def bed() -> Iterator[Bed]:
    """A network of each test's own: these tests break it."""
    with Bed() as made:
        yield made


@pytest.fixture
def reasons(kernel: Kernel) -> dict[int, str]:
    assert kernel.btf is not None
    return kernel.btf.enumerators("skb_drop_reason")


def _dropped(
    meter: Meter, result: Result, count: int, last: int, direction: Direction = TX
) -> tuple[int, str]:
    """Check the bin and the place; gives the reason's number and the function's name."""
    assert result.bin(Bin.DROPPED, direction) == count
    assert result.accounts[direction].balanced
    assert sum(d.count for d in result.drops) == count
    [drop] = result.drops
    assert (drop.direction, drop.last_step) == (direction, last)
    records = meter.packets(1)
    assert records
    for record in records:
        assert record.bin == Bin.DROPPED
        assert (record.reason, record.location) == (drop.reason, drop.location)
        assert record.last == last
        assert record.stack, "a drop has a call stack"
    return drop.reason, function_at(drop.location)


def test_an_uplink_taken_down_drops_in_the_bridge(meter: Meter, reasons: dict[int, str]) -> None:
    run("ip", "link", "set", meter.bed.uplink, "down")
    meter.begin(Settings())
    for number in range(50):
        meter.bed.tap.send(V4.frame(number))
    reason, function = _dropped(meter, meter.result(), 50, VNET_RX)
    assert "br_" in function
    assert reasons[reason]


def test_a_full_qdisc_on_the_uplink_drops_after_phy_queue(
    meter: Meter, reasons: dict[int, str]
) -> None:
    bed = meter.bed
    tbf = ("rate", "8bit", "burst", "1540", "limit", "3000")
    run("tc", "qdisc", "replace", "dev", bed.uplink, "root", "tbf", *tbf)
    bed.tap.send((PEER_MAC + GUEST_MAC + b"\x88\xb5").ljust(1510, b"f"))
    meter.begin(Settings())
    for number in range(100):
        bed.tap.send(V4.frame(number))
    result = meter.result()
    kept = result.bin(Bin.IN_FLIGHT)
    assert 0 < kept < 100
    reason, function = _dropped(meter, result, 100 - kept, PHY_QUEUE)
    assert reasons[reason].startswith("SKB_DROP_REASON_QDISC")
    assert function
    [qdisc] = json.loads(run("tc", "-s", "-j", "qdisc", "show", "dev", bed.uplink))
    assert 100 - kept == qdisc["drops"]


def test_a_qdisc_removed_drops_what_it_kept(meter: Meter) -> None:
    meter.bed.hold()
    meter.begin(Settings())
    for number in range(40):
        meter.bed.tap.send(V4.frame(number))
    assert meter.result().bin(Bin.IN_FLIGHT) == 40
    meter.bed.unhold()
    assert wait_until(lambda: meter.result().bin(Bin.IN_FLIGHT) == 0)
    _dropped(meter, meter.result(), 40, PHY_QUEUE)


def test_a_full_tap_drops_after_tun_out(meter: Meter, reasons: dict[int, str]) -> None:
    """Nobody reads the tap, as when the guest is stopped."""
    bed, room = meter.bed, 16
    run("ip", "link", "set", bed.tap.name, "txqueuelen", str(room))
    meter.begin(Settings())
    before = interface_counters(bed.tap.name)
    for number in range(100):
        bed.deliver(V4.mirrored().frame(number))
    now = interface_counters(bed.tap.name)
    result = meter.result()
    assert result.bin(Bin.IN_FLIGHT, RX) == room
    reason, function = _dropped(meter, result, 100 - room, TUN_OUT, RX)
    assert reasons[reason] == "SKB_DROP_REASON_FULL_RING"
    assert function == "tun_net_xmit"
    assert now["tx_dropped"] - before["tx_dropped"] == 100 - room
    assert bed.tap.drain() == room
    assert meter.result().bin(Bin.COMPLETED, RX) == room


def test_a_tap_closed_with_packets_in_it_drops_them(meter: Meter) -> None:
    """As when QEMU is killed while packets wait for the guest."""
    meter.begin(Settings())
    for number in range(25):
        meter.bed.deliver(V4.mirrored().frame(number))
    assert meter.result().bin(Bin.IN_FLIGHT, RX) == 25
    meter.bed.tap.close()
    assert wait_until(lambda: meter.result().bin(Bin.IN_FLIGHT, RX) == 0)
    _dropped(meter, meter.result(), 25, TUN_OUT, RX)


def test_a_slow_reader_at_full_speed_every_packet_is_completed_or_dropped(meter: Meter) -> None:
    bed, count = meter.bed, 100_000
    run("ip", "link", "set", bed.tap.name, "txqueuelen", "64")
    before = interface_counters(bed.tap.name)
    meter.begin()
    frames, tap = [V4.mirrored().frame(n) for n in range(16)], bed.tap.descriptor

    def slowly() -> int:
        got = 0
        while True:
            some = read_all(tap, 50, 1.0)
            got += some
            if some < 50:
                return got
            time.sleep(0.001)

    reader = Task(slowly)
    Task(lambda: send_all(bed.socket, frames, count)).wait()
    got = reader.wait()
    result, now = meter.result(), interface_counters(bed.tap.name)
    assert result.started(RX) == count
    assert result.accounts[RX].balanced
    assert result.bin(Bin.COMPLETED, RX) == now["tx_packets"] - before["tx_packets"] == got
    assert result.bin(Bin.DROPPED, RX) == now["tx_dropped"] - before["tx_dropped"] == count - got
    assert result.bin(Bin.DROPPED, RX) > 1000, "nothing was dropped: nothing was tested"
    assert result.counters["reused"] == result.counters["disorder"] == 0


def test_a_packet_for_the_host_itself_is_filtered(meter: Meter) -> None:
    path = f"/sys/class/net/{meter.bed.bridge}/address"
    with open(path) as file:
        mac = bytes.fromhex(file.read().strip().replace(":", ""))
    meter.begin()
    for number in range(30):
        meter.bed.tap.send(V4.with_(dst_mac=mac).frame(number))
        meter.bed.deliver(V4.mirrored().with_(dst_mac=mac).frame(number))
    result = meter.result()
    assert result.bin(Bin.FILTERED, TX) == result.started(TX) == 30
    assert result.accounts[RX].balanced
    assert result.bin(Bin.COMPLETED, RX) == result.bin(Bin.DROPPED, RX) == 0


def test_a_packet_for_a_vnic_that_is_not_selected_is_filtered(meter: Meter) -> None:
    other_mac = bytes.fromhex("525400aa0099")
    other = meter.bed.add_tap()
    meter.bed.learn(other_mac, other.name)
    meter.refresh()
    meter.begin()
    for number in range(30):
        meter.bed.tap.send(V4.with_(dst_mac=other_mac).frame(number))
        meter.bed.deliver(V4.mirrored().with_(dst_mac=other_mac).frame(number))
    other.drain()
    result = meter.result()
    assert result.bin(Bin.FILTERED, TX) == result.started(TX) == 30
    assert result.bin(Bin.FILTERED, RX) == result.started(RX) == 30


def test_a_flooded_packet_ends_in_one_bin(meter: Meter) -> None:
    """The bridge copies it to every port; whichever port gets the socket buffer itself."""
    other = meter.bed.add_tap()
    meter.refresh()
    meter.begin()
    for number in range(30):
        meter.bed.tap.send(V4.with_(dst_mac=b"\xff" * 6).frame(number))
        meter.bed.tap.send(V6.with_(dst_mac=bytes.fromhex("333300000042")).frame(number))
    other.drain()
    result = meter.result()
    assert result.started() == 60
    assert result.accounts[TX].balanced
    ended = (Bin.COMPLETED, Bin.FILTERED, Bin.DROPPED)
    assert sum(result.bin(b) for b in ended) == 60


def test_a_vnic_that_sends_what_the_switch_throws_away_at_once(meter: Meter) -> None:
    """Its own address as destination: the bridge would send it back where it came from."""
    meter.begin(Settings())
    for number in range(10):
        meter.bed.tap.send(V4.with_(dst_mac=GUEST_MAC).frame(number))
    _, function = _dropped(meter, meter.result(), 10, VNET_RX)
    assert "br_" in function


def test_drops_at_different_places_are_kept_apart(meter: Meter) -> None:
    bed = meter.bed
    run("ip", "link", "set", bed.tap.name, "txqueuelen", "1")
    meter.begin()
    for number in range(10):
        bed.tap.send(V4.with_(dst_mac=GUEST_MAC).frame(number))
        bed.deliver(V4.mirrored().frame(number))
    result = meter.result()
    assert {(d.direction, d.last_step, d.count) for d in result.drops} == {
        (TX, VNET_RX, 10),
        (RX, TUN_OUT, 9),
    }
