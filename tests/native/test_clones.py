"""A switch that sends a packet to several ports gives all but the last of them a clone."""

from __future__ import annotations

import pytest

from tests.native.meter import PHY_QUEUE, PHY_XMIT, RX, TX, VNET_RX, Meter
from tests.native.net import Bed, run, wait_until
from tests.native.wire import GUEST_MAC, PEER_MAC, V4
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.points import step
from vmlat_tui.probes.engine import PathEngine, Settings

COUNT = 50
PHY_RX, VNET_QUEUE = step("phy_rx", RX).number, step("vnet_queue", RX).number


def _forget_address(bed: Bed, mac: bytes, port: str) -> None:
    run("bridge", "fdb", "del", mac.hex(":"), "dev", port, "master")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_flooded_packet_is_followed_into_the_vm_that_is_watched(
    engine: PathEngine, place: int
) -> None:
    """Of three taps one gets the packet itself and two a clone of it."""
    with Bed(taps=3) as bed:
        _forget_address(bed, GUEST_MAC, bed.tap.name)
        tap = bed.taps[place]
        meter = Meter(engine, bed)
        meter.refresh([tap.name])
        meter.begin(Settings())
        for number in range(COUNT):
            bed.deliver(V4.mirrored().frame(number))

        def taken() -> bool:
            for each in bed.taps:
                each.drain()
            return meter.result().bin(Bin.COMPLETED, RX) == COUNT

        assert wait_until(taken), meter.result()
        records = meter.packets(COUNT)
        assert len(records) == COUNT
        for record in records:
            assert min(record.times) == PHY_RX and VNET_QUEUE in record.times
        result = meter.result()
        assert result.started(RX) == COUNT
        assert result.bin(Bin.FILTERED, RX) == result.bin(Bin.EXPIRED, RX) == 0


@pytest.mark.parametrize("others", [1, 2])
def test_a_flooded_packet_of_a_vm_is_followed_to_the_uplink(
    engine: PathEngine, others: int
) -> None:
    with Bed(taps=1 + others) as bed:
        _forget_address(bed, PEER_MAC, bed.uplink)
        meter = Meter(engine, bed)
        meter.refresh([bed.tap.name])
        meter.begin(Settings())
        for number in range(COUNT):
            bed.tap.send(V4.frame(number))
        assert wait_until(lambda: meter.result().bin(Bin.COMPLETED, TX) == COUNT), meter.result()
        for record in meter.packets(COUNT):
            assert sorted(record.times) == [VNET_RX, PHY_QUEUE, PHY_XMIT]
        assert meter.result().started(TX) == COUNT
