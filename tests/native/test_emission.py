"""Single packets reach user space when they are slow, sampled or asked for; the rest is counted."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from tests.native.meter import Meter
from tests.native.net import wait_until
from tests.native.wire import V4
from vmlat_tui.model.bins import Bin
from vmlat_tui.probes.engine import Settings


def _send(meter: Meter, count: int) -> None:
    frame, tap = V4.frame(1), meter.bed.tap
    for _ in range(count):
        tap.send(frame)


def test_every_packet_is_emitted_when_asked_for(meter: Meter) -> None:
    meter.begin(Settings())
    records = []
    for _ in range(20):
        _send(meter, 500)
        records += meter.packets(500)
    result = meter.result()
    assert len(records) == result.counters["emitted"] == result.started() == 10_000
    assert result.counters["suppressed"] == result.counters["lost"] == 0


def test_nothing_is_emitted_when_it_is_off(meter: Meter) -> None:
    meter.begin(Settings(emit=False))
    _send(meter, 1000)
    result = meter.result()
    assert result.bin(Bin.COMPLETED) == 1000
    assert [result.counters[k] for k in ("emitted", "suppressed", "lost")] == [0, 0, 0]
    assert not meter.engine.packets()


def test_a_threshold_emits_the_slow_packets_and_no_other(meter: Meter) -> None:
    meter.begin(Settings(threshold_ns=20_000_000))
    _send(meter, 1000)
    meter.bed.hold()
    for number in range(7):
        meter.bed.tap.send(V4.with_(sport=99).frame(number))
    time.sleep(0.03)
    meter.bed.release()
    assert wait_until(lambda: meter.result().bin(Bin.IN_FLIGHT) == 0)
    meter.bed.unhold()
    _send(meter, 1000)
    records = meter.packets(7)
    assert [r.flow.src_port for r in records] == [99] * 7
    assert all(max(r.times.values()) - min(r.times.values()) >= 20_000_000 for r in records)
    result = meter.result()
    assert result.counters["emitted"] == 7
    assert result.bin(Bin.COMPLETED) == 2007


def test_a_threshold_is_met_by_exactly_the_packets_at_or_above_it(meter: Meter) -> None:
    """The threshold is a latency that occurs: the median of what was just measured."""
    meter.begin(Settings())
    _send(meter, 500)
    totals = sorted(max(r.times.values()) - min(r.times.values()) for r in meter.packets(500))
    limit = totals[250]
    meter.begin(Settings(threshold_ns=limit))
    _send(meter, 1000)
    records = meter.packets()
    emitted = meter.result().counters["emitted"]
    assert 0 < len(records) == emitted < 1000
    assert all(max(r.times.values()) - min(r.times.values()) >= limit for r in records)


@pytest.mark.parametrize("one_in", [2, 10, 100])
def test_a_sample_emits_about_one_packet_in_n(meter: Meter, one_in: int) -> None:
    meter.begin(Settings(sample=one_in))
    records = []
    for _ in range(20):
        _send(meter, 1000)
        records += meter.packets()
    result = meter.result()
    expected = 20_000 / one_in
    assert len(records) == result.counters["emitted"]
    assert abs(len(records) - expected) < 6 * expected**0.5
    assert result.bin(Bin.COMPLETED) == 20_000


def test_above_max_rate_packets_are_suppressed_and_each_is_counted(meter: Meter) -> None:
    meter.begin(Settings(max_rate=100))
    begin = time.monotonic()
    records = []
    for _ in range(15):
        _send(meter, 2000)
        records += meter.packets()
    seconds = time.monotonic() - begin
    counters = meter.result().counters
    assert counters["emitted"] + counters["suppressed"] + counters["lost"] == 30_000
    assert len(records) == counters["emitted"]
    assert 100 <= len(records) <= 100 * (int(seconds) + 2)
    assert counters["lost"] == 0


def test_packets_that_find_the_ring_full_are_counted_as_lost(meter: Meter) -> None:
    meter.begin(Settings())
    _send(meter, 10_000)
    counters = meter.result().counters
    assert counters["emitted"] + counters["lost"] == 10_000
    assert counters["lost"] > 0
    records = meter.packets()
    assert len(records) == counters["emitted"]
    # The statistics know them all; and once the ring is read, packets arrive again.
    assert meter.result().bin(Bin.COMPLETED) == 10_000
    _send(meter, 5)
    assert len(meter.packets(5)) == 5


def test_the_ring_survives_many_times_its_size(meter: Meter) -> None:
    """Records wrap around the end of the ring; each comes out whole and in its order."""
    meter.begin(Settings())
    last = 0
    for round_ in range(40):
        for number in range(100):
            meter.bed.tap.send(V4.with_(sport=1 + round_ * 100 + number).frame(number))
        for record in meter.packets(100):
            assert record.flow.src_port == last + 1
            last = record.flow.src_port
    assert last == 4000


def test_a_record_tells_task_processor_and_interfaces(meter: Meter) -> None:
    meter.begin(Settings(detail=True))
    meter.bed.tap.send(V4.frame(1))
    [record] = meter.packets(1)
    bed = meter.bed
    tap, uplink = (
        int(Path("/sys/class/net", name, "ifindex").read_text())
        for name in (bed.tap.name, bed.uplink)
    )
    assert record.tgid == os.getpid()
    assert record.tid == threading.get_native_id()
    assert record.comm == Path("/proc/self/comm").read_text().strip()
    assert record.vm_ifindex == tap
    assert record.phy_ifindex == uplink
    assert record.bytes == len(V4.frame())
    assert set(record.processors.values()) <= os.sched_getaffinity(0)
    assert record.slot == 0
