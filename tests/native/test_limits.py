"""At the limits of tables and fields a figure is exact, or what it leaves out is said."""

from __future__ import annotations

import gc
import socket
import struct
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Callable

import pytest

from tests.native.meter import RX, TX, Meter
from tests.native.net import Bed, Tap, alone, run, wait_until
from tests.native.wire import TCP, UDP, V4, V6
from tests.support.commands import command
from tests.support.frames import next_object
from vmlat_tui.agent.encode import Encoder
from vmlat_tui.agent.line import line_of
from vmlat_tui.errors import UsageError
from vmlat_tui.model.bins import Bin
from vmlat_tui.probes import layout
from vmlat_tui.probes.engine import Limits, PathEngine, Settings
from vmlat_tui.probes.ladder import Kernel
from vmlat_tui.probes.symbols import DropReasons, Symbols
from vmlat_tui.protocol.commands import Stop
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.transport.process import AgentProcess


@contextmanager
def engine_of(kernel: Kernel, limits: Limits) -> Iterator[PathEngine]:
    """An engine of the tracepoint rung with these limits."""
    made = PathEngine(kernel, limits, functions=False)
    try:
        yield made
    finally:
        made.close()


# ---- interfaces by number ----------------------------------------------------------------


@pytest.mark.parametrize("turns", [1, 3])
def test_an_uplink_and_a_tap_of_one_place_in_the_table_of_roles(kernel: Kernel, turns: int) -> None:
    """A host that has made 65,536 interfaces since it came up has such numbers."""
    with engine_of(kernel, Limits()) as engine, Bed() as bed:
        number = socket.if_nametoindex(bed.uplink) + turns * layout.ROLE_SLOTS
        tap = bed.add_tap(ifindex=number)
        assert socket.if_nametoindex(tap.name) == number
        meter = Meter(engine, bed)
        meter.begin()
        for i in range(100):
            tap.send(V4.frame(i))
        result = meter.result()
        assert result.started() == result.bin(Bin.COMPLETED) == 100
        assert result.bin(Bin.DROPPED) == 0 and result.accounts[TX].balanced
        assert {slot for slot, _ in result.legs} == {1}

        # The one in the place goes; the other is measured on.
        for i in range(10):
            bed.tap.send(V4.frame(i))
        meter.refresh([bed.tap.name])
        meter.refresh([bed.tap.name, tap.name])
        for i in range(10):
            tap.send(V4.frame(i))
        assert meter.result().bin(Bin.COMPLETED) == 120


def test_two_taps_of_one_place_are_told_apart(kernel: Kernel) -> None:
    with engine_of(kernel, Limits()) as engine, Bed() as bed:
        first = socket.if_nametoindex(bed.tap.name)
        others = [bed.add_tap(ifindex=first + n * layout.ROLE_SLOTS) for n in (1, 2)]
        meter = Meter(engine, bed)
        meter.begin()
        for slot, tap in enumerate((bed.tap, *others)):
            for i in range(10 * (slot + 1)):
                tap.send(V4.frame(i))
        counts = {f.slot: f.packets for f in meter.result().flows}
        assert counts == {0: 10, 1: 20, 2: 30}
        meter.refresh([tap.name for tap in others])
        others[0].send(V4.frame(1))
        others[1].send(V4.frame(1))
        bed.tap.send(V4.frame(1))
        assert meter.result().bin(Bin.COMPLETED) == 62, "and no longer the one that is left out"


# ---- many vNICs ----------------------------------------------------------------------------


def test_each_of_300_vnics_has_its_own_exact_figures(kernel: Kernel) -> None:
    """A slot of one byte ended at 255."""
    many = 300
    with engine_of(kernel, Limits.of(many)) as engine, Bed() as bed:
        while len(bed.taps) < many:
            bed.add_tap()
        meter = Meter(engine, bed)
        meter.begin()
        sent = {slot: 1 + slot % 7 for slot in range(many)}
        for slot, tap in enumerate(bed.taps):
            for i in range(sent[slot]):
                tap.send(V4.frame(i))
        result = meter.result()
        assert result.bin(Bin.COMPLETED) == sum(sent.values()) == result.started()
        assert {f.slot: f.packets for f in result.flows} == sent
        totals = {slot: h.count for (slot, leg), h in result.legs.items() if leg == "tx:total"}
        assert totals == sent
        assert result.counters["unlisted"] == 0

        # From the wire, into the last of them.
        bed.learn(V4.src_mac, bed.taps[-1].name)
        for i in range(20):
            bed.deliver(V4.mirrored().frame(i))
            bed.taps[-1].drain()
        assert wait_until(lambda: bool(bed.taps[-1].drain() + 1) and
                          meter.result().bin(Bin.COMPLETED, RX) == 20)  # fmt: skip
        legs = meter.result().legs
        assert {slot: h.count for (slot, leg), h in legs.items() if leg == "rx:total"} == {
            many - 1: 20
        }


def test_more_vnics_than_the_memory_holds_are_refused_in_a_line(kernel: Kernel) -> None:
    with pytest.raises(UsageError, match="60000 VM interfaces are too many") as refused:
        PathEngine(kernel, Limits(vnics=60000, packets=1 << 27), functions=False)
    assert "MiB" in refused.value.cause and "--vm-interface" in refused.value.remedy


def _agent(**fields: object) -> AgentProcess:
    made = AgentProcess()
    made.send(command("configure", rung="tracepoints", directions=["tx"], interval_s=0.1, **fields))
    return made


def _how(bed: Bed) -> dict[str, Any]:
    """What :func:`_agent` measures, beside the taps."""
    return {"rung": "tracepoints", "directions": ["tx"], "uplinks": [bed.uplink]}


def next_of(agent: AgentProcess, kind: str, wanted: Callable[[Raw], bool] = lambda _: True) -> Raw:
    """The next frame of a type that is wanted."""
    end = time.monotonic() + 60
    while True:
        frame = next_object(agent, end - time.monotonic())
        assert frame is not None, f"no such {kind} came"
        if frame["type"] == kind and wanted(frame):
            return frame


def _final(agent: AgentProcess) -> Raw:
    return next_of(agent, "stats", lambda f: bool(f["final"]))


def _packets(stats: Raw) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for row in stats["legs"]:
        if row["leg"] == "tx:total":
            counted[row["vm_interface"]] += row["count"]
    return dict(counted)


def _latecomers(bed: Bed, agent: AgentProcess, room: int) -> list[Tap]:
    """Two taps more than there is room for, and told that they are."""
    next_of(agent, "links")
    late = [bed.add_tap() for _ in range(room + 1)]
    text = next_of(agent, "notice")["text"]
    assert "too late to be measured" in text and f"room for {room} VM" in text
    assert any(tap.name in text for tap in late)
    return late


def test_taps_that_come_when_all_slots_are_taken_are_left_out_and_named() -> None:
    room = Limits.of(1).vnics

    def work() -> None:
        with Bed() as bed, closing(_agent(uplinks=[bed.uplink])) as agent:
            late = _latecomers(bed, agent, room)
            next_of(agent, "stats", lambda f: f["counters"]["vnics_left_out"] == 2)
            for tap in (bed.tap, *late):
                tap.send(V4.frame(1))
            agent.send(Stop())
            final = _final(agent)
            measured = _packets(final)
            assert sum(measured.values()) == len(measured) == room
            assert bed.tap.name in measured
            assert final["counters"]["vnics_left_out"] == 2
            assert final["bins"]["tx"]["started"] == final["bins"]["tx"]["completed"] == room

    alone(work)


def test_the_interfaces_are_followed_on_while_taps_are_left_out() -> None:
    room = Limits.of(1).vnics

    def work() -> None:
        with Bed() as bed, closing(_agent(uplinks=[bed.uplink])) as agent:
            late = _latecomers(bed, agent, room)
            next_of(agent, "stats", lambda f: f["counters"]["vnics_left_out"] == 2)
            late[0].close()  # one of the two gets its slot
            next_of(agent, "stats", lambda f: f["counters"]["vnics_left_out"] == 1)
            for tap in late[-2:]:
                tap.send(V4.frame(1))
            agent.send(Stop())
            assert sum(_packets(_final(agent)).values()) == 1

    alone(work)


def test_an_interface_watched_instead_does_not_inherit_the_figures(bed: Bed) -> None:
    other = bed.add_tap()
    try:
        agent = _agent(vm_interfaces=[bed.tap.name], uplinks=[bed.uplink])
        with closing(agent):
            next_of(agent, "stats")
            for i in range(20):
                bed.tap.send(V4.frame(i))
            next_of(agent, "stats", lambda f: _packets(f) == {bed.tap.name: 20})
            agent.send(command("measure", id=1, vm_interfaces=[other.name], **_how(bed)))
            next_of(agent, "ack")
            for i in range(3):
                other.send(V4.frame(i))
            agent.send(Stop())
            final = _final(agent)
            assert _packets(final) == {other.name: 3}
            assert {row["vm_interface"]: row["packets"] for row in final["flows"]} == {
                other.name: 3
            }
            assert final["bins"]["tx"]["completed"] == 23
    finally:
        other.close()


def test_more_interfaces_to_watch_than_there_is_room_for_are_refused(bed: Bed) -> None:
    agent = _agent(vm_interfaces=[bed.tap.name], uplinks=[bed.uplink])
    with closing(agent):
        next_of(agent, "links")
        agent.send(
            command(
                "measure",
                id=4,
                vm_interfaces=[f"none{i}" for i in range(5)],
                **{**_how(bed), "filters": [{"protocol": "tcp"}]},
            )
        )
        error = next_of(agent, "error")
        assert error["id"] == 4 and error["title"] == "5 VM interfaces are too many"
        bed.tap.send(V4.frame(1))
        agent.send(Stop())
        final = _final(agent)
        assert _packets(final) == {bed.tap.name: 1}, "what was watched still is"


def test_more_filters_than_there_are_rules_are_refused_in_a_line(bed: Bed) -> None:
    agent = _agent(vm_interfaces=[bed.tap.name], uplinks=[bed.uplink])
    with closing(agent):
        next_of(agent, "links")
        filters = [{"src_port": p} for p in range(1, layout.RULES + 2)]
        agent.send(
            command(
                "measure",
                id=9,
                vm_interfaces=[f"none{i}" for i in range(2)],
                filters=filters,
                **_how(bed),
            )
        )
        error = next_of(agent, "error")
        assert error["id"] == 9 and f"holds {layout.RULES}" in error["cause"]
        bed.tap.send(V4.frame(1))
        agent.send(Stop())
        assert _packets(_final(agent)) == {bed.tap.name: 1}, "the interfaces stayed too"


# ---- tables that fill up ---------------------------------------------------------------------


def test_more_flows_than_the_table_holds_add_up_with_those_left_out(kernel: Kernel) -> None:
    with engine_of(kernel, Limits(flows=64)) as engine, Bed() as bed:
        meter = Meter(engine, bed)
        meter.begin()
        for port in range(2000, 2500):
            for _ in range(2):
                bed.tap.send(V4.with_(sport=port).frame(port))
            if port == 2300:
                engine.read(exact=False)
        result = meter.result()
        counters = result.counters
        assert result.bin(Bin.COMPLETED) == 1000
        assert counters["flows_full"] > 0 and counters["flow_packets_evicted"] > 0
        listed = sum(flow.packets for flow in result.flows)
        assert listed + counters["flows_full"] + counters["flow_packets_evicted"] == 1000


def test_20000_flows_are_more_than_the_table_holds_and_add_up(kernel: Kernel) -> None:
    limits = Limits()
    with engine_of(kernel, limits) as engine, Bed() as bed:
        meter = Meter(engine, bed)
        meter.begin()
        for port in range(20_000):
            bed.tap.send(V4.with_(sport=1 + port % 10_000, dport=1 + port // 10_000).frame(port))
        result = meter.result()
        assert result.bin(Bin.COMPLETED) == result.started() == 20_000
        listed = sum(flow.packets for flow in result.flows)
        assert listed <= limits.flows
        assert listed + result.counters["flows_full"] == 20_000


def test_flows_that_came_and_went_leave_nothing_behind(kernel: Kernel) -> None:
    """Each in its turn for one reading or two: what is kept of one would be kept of thousands."""
    phases, count = 6, 1000
    kept = []
    with engine_of(kernel, Limits(flows=1024)) as engine, Bed() as bed:
        encoder = Encoder(Symbols(), DropReasons(kernel.btf))
        Meter(engine, bed).begin(Settings())
        tracemalloc.start()
        try:
            for port in range(1, phases * count + 1):
                bed.tap.send(V4.with_(sport=port).frame(port))
                if port % 250 == 0:
                    for record in engine.packets():
                        line_of(encoder.packet_frame(record))
                    reading = engine.read(exact=False)
                    line_of(encoder.stats_frame(reading, engine.wakeups(), 1, {}, False))
                if port % count == 0:
                    del reading
                    gc.collect()
                    kept.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        assert engine.read(exact=True).counters["flows_evicted"] > 2 * count
    assert kept[-1] - kept[2] < 16 * (phases - 3) * count, kept


def test_drops_beyond_the_table_are_in_the_bin_and_counted_as_unlisted(kernel: Kernel) -> None:
    with engine_of(kernel, Limits(drops=1)) as engine, Bed() as bed:
        second = bed.add_tap()
        meter = Meter(engine, bed)
        meter.begin()
        run("ip", "link", "set", bed.uplink, "down")
        for tap, count in ((bed.tap, 5), (second, 7)):
            for i in range(count):
                tap.send(V4.frame(i))
        result = meter.result()
        run("ip", "link", "set", bed.uplink, "up")
        assert result.bin(Bin.DROPPED) == 12
        assert sum(drop.count for drop in result.drops) == 5
        assert result.counters["drops_full"] == 7


def test_packets_parked_beyond_the_table_are_evicted_and_add_up(kernel: Kernel) -> None:
    """Segmented in software behind a qdisc that holds them, so that all wait at once."""
    with engine_of(kernel, Limits(parked=8)) as engine, Bed(vnet_header=True) as bed:
        meter = Meter(engine, bed)
        meter.begin()
        bed.hold()
        flow = V4.with_(protocol=TCP, payload=3000)
        header = struct.pack("<BBHHHH", 1, 1, 54, 1400, 34, 16)
        for i in range(100):
            bed.tap.send(header + flow.with_(sport=3000 + i).frame(i))
        result = meter.result()
        assert result.started() == 100
        account = result.accounts[TX]
        assert account.balanced and account.bins[Bin.EVICTED] >= 100 - 8 - 1
        bed.unhold()


# ---- lengths -----------------------------------------------------------------------------------


def test_a_packet_of_64_kb_has_its_length(kernel: Kernel) -> None:
    with engine_of(kernel, Limits()) as engine, Bed(vnet_header=True) as bed:
        meter = Meter(engine, bed)
        meter.begin()
        frame = V4.with_(protocol=TCP, payload=65000).frame(1)
        bed.tap.send(struct.pack("<BBHHHH", 1, 1, 54, 1400, 34, 16) + frame)
        result = meter.result()
        assert result.bin(Bin.COMPLETED) == 1
        assert sum(flow.bytes for flow in result.flows) == len(frame)


def with_option(frame: bytes) -> bytes:
    """With a hop-by-hop header of 8 bytes, as Linux gives IPv6 packets of over 64 KB (RFC 2675).

    Its option is padding: bridges refuse a jumbogram that is none.
    """
    ip, rest = bytearray(frame[14:54]), frame[54:]
    header = struct.pack("!BBBBI", ip[6], 0, 1, 4, 0)
    ip[4:6], ip[6] = struct.pack("!H", len(rest) + len(header)), 0
    return frame[:14] + bytes(ip) + header + rest


def test_the_header_of_a_jumbogram_does_not_hide_the_packet(kernel: Kernel) -> None:
    with engine_of(kernel, Limits()) as engine, Bed() as bed:
        meter = Meter(engine, bed)
        meter.begin()
        for protocol in (TCP, UDP):
            flow = V6.with_(protocol=protocol, sport=4000 + protocol)
            for i in range(10):
                bed.tap.send(with_option(flow.frame(i)))
        result = meter.result()
        assert result.bin(Bin.COMPLETED) == 20 and result.counters["unparsed"] == 0
        assert {f.flow.src_port: f.packets for f in result.flows} == {4006: 10, 4017: 10}
