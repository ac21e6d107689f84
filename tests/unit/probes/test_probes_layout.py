"""The layouts that the BPF programs and Python share, checked against the C source itself."""

from __future__ import annotations

import ipaddress
import re
import struct
from pathlib import Path
from typing import Optional

import pytest

from vmlat_tui.errors import UsageError
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.flows import Echo, Filter, Protocol
from vmlat_tui.model.histogram import BUCKETS
from vmlat_tui.model.legs import LegTable
from vmlat_tui.model.points import STEP_ROOM, STEPS, Direction, step
from vmlat_tui.probes import guest, layout
from vmlat_tui.probes.engine import Limits

BPF = Path(__file__).resolve().parents[3] / "bpf"
HEADER = (BPF / "include/vmlat/record.h").read_text()
SOURCE = "\n".join(path.read_text() for path in sorted(BPF.rglob("*.[ch]")))


STRUCTURES = layout.STRUCTURES


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("packets", "packet"),
        ("roles", "role"),
        ("roles_beside", "role"),
        ("rulesets", "rules"),
        ("controls", "control"),
        ("statistics", "stats"),
        ("legs", "leg"),
        ("leg_tables", "leg_table"),
        ("flows", "flow_value"),
        ("taken", "packet"),
        ("works", "work"),
        ("workers", "worker"),
        ("vcpus", "vcpu"),
        ("wakes", "wake"),
    ],
)
def test_the_values_of_maps_are_those_structures(table: str, name: str) -> None:
    assert layout.SIZES[table] == STRUCTURES[name].size
    assert re.search(rf"\({table}, (?:[\w ]+, )?struct {name}[,)]|struct {name}, {table}\)", SOURCE)


def test_every_macro_that_the_source_uses_is_given() -> None:
    given = guest.macros()
    used = set(re.findall(r"\b((?:STEP|BIN|HOOK|ROLE|FIELD|ABSENT|POINT)_[A-Z0-9_]+)\b", SOURCE))
    used -= set(re.findall(r"#define\s+(\w+)", SOURCE))
    assert used <= set(given), used - set(given)
    assert given["BUCKETS"] == BUCKETS
    assert given["BINS"] == len(Bin) - 1


# ---- packets ----------------------------------------------------------------------------


def _packed(
    fields: dict[str, tuple[str, object]], indexed: dict[str, tuple[str, int, int]]
) -> bytes:
    place = STRUCTURES["packet"]
    data = bytearray(place.size)
    for name, (code, value) in fields.items():
        struct.pack_into("<" + code, data, place.offsets[name], value)
    for name, (code, index, value) in indexed.items():
        field = name.split("@")[0]
        width = struct.calcsize(code)
        struct.pack_into("<" + code, data, place.offsets[field] + width * index, value)
    return bytes(data)


def _flow(src: str, dst: str, sport: int, dport: int, proto: int) -> bytes:
    a, b = ipaddress.ip_address(src), ipaddress.ip_address(dst)
    ports = struct.pack("!HH", sport, dport)
    return (
        a.packed.ljust(16, b"\0")
        + b.packed.ljust(16, b"\0")
        + ports
        + bytes([proto, a.version, 0, 0])
    )


def _record() -> bytes:
    vnet, queue = step("vnet_rx", Direction.TX).number, step("phy_queue", Direction.TX).number
    flow = _flow("192.0.2.1", "192.0.2.2", 1234, 80, 6)
    data = bytearray(
        _packed(
            {
                "skb": ("Q", 0xFFFF888012345678),
                "seen": ("I", 1 << vnet | 1 << queue),
                "bytes": ("I", 1514),
                "vm_ifindex": ("I", 7),
                "phy_ifindex": ("I", 3),
                "tgid": ("I", 100),
                "tid": ("I", 101),
                "comm": ("16s", b"vhost-100"),
                "reason": ("I", 5),
                "direction": ("B", 0),
                "slot": ("H", 1002),
                "last": ("B", queue),
                "active": ("B", 1),
                "bin": ("B", int(Bin.DROPPED)),
                "location": ("Q", 0xFFFFFFFF81000000),
            },
            {
                "t@0": ("Q", vnet, 1_000_000_007),
                "t@1": ("Q", queue, 1_000_002_000),
                "t@2": ("Q", 20, 999),
                "cpu@0": ("H", vnet, 300),
                "cpu@1": ("H", queue, 1),
                "hook@0": ("B", vnet, 2),
                "hook@1": ("B", queue, 14),
                "stack@0": ("Q", 0, 0xFFFFFFFF81000010),
                "stack@1": ("Q", 1, 0xFFFFFFFF81000020),
            },
        )
    )
    at = STRUCTURES["packet"].offsets["flow"]
    data[at : at + len(flow)] = flow
    return bytes(data)


def test_a_packet_decodes() -> None:
    vnet, queue = step("vnet_rx", Direction.TX).number, step("phy_queue", Direction.TX).number
    record = layout.packet(_record())
    assert str(record.flow) == "192.0.2.1:1234 -> 192.0.2.2:80 (TCP)"
    assert record.times == {vnet: 1_000_000_007, queue: 1_000_002_000}
    assert record.processors == {vnet: 300, queue: 1}
    assert record.hooks == {vnet: 2, queue: 14}
    assert (record.direction, record.slot, record.last) == (0, 1002, queue)
    assert record.bin == Bin.DROPPED and record.active
    assert (record.bytes, record.vm_ifindex, record.phy_ifindex) == (1514, 7, 3)
    assert (record.tgid, record.tid, record.comm) == (100, 101, "vhost-100")
    assert (record.reason, record.location) == (5, 0xFFFFFFFF81000000)
    assert record.stack == (0xFFFFFFFF81000010, 0xFFFFFFFF81000020)


@pytest.mark.parametrize(
    ("src", "dst", "protocol", "kind", "request_"),
    [
        ("192.0.2.1", "192.0.2.2", 1, 8, True),
        ("192.0.2.1", "192.0.2.2", 1, 0, False),
        ("2001:db8::1", "2001:db8::2", 58, 128, True),
        ("2001:db8::1", "2001:db8::2", 58, 129, False),
    ],
)
def test_an_echo_packet_has_its_number_and_sequence(
    src: str, dst: str, protocol: int, kind: int, request_: bool
) -> None:
    place = STRUCTURES["packet"].offsets
    data = bytearray(_record())
    flow = _flow(src, dst, 4711, 4711, protocol)
    data[place["flow"] : place["flow"] + len(flow)] = flow
    # As the wire has them, and behind an IP id.
    struct.pack_into("!HH", data, place["id1"], 4711, 258)
    struct.pack_into("<I", data, place["id2"], 0xBEEF << 8 | kind)
    assert layout.packet(bytes(data)).echo == Echo(4711, 258, request_)
    assert layout.packet(_record()).echo is None, "TCP has none"


def test_the_short_look_at_a_state_agrees_with_the_decoder() -> None:
    queue = step("phy_queue", Direction.TX).number
    assert layout.packet_state(_record()) == (True, 0, 1_000_002_000)
    place = STRUCTURES["packet"].offsets
    data = bytearray(_record())
    data[place["active"]] = 0
    data[place["direction"]] = 1
    struct.pack_into("<Q", data, place["t"] + 8 * queue, 5)
    assert layout.packet_state(bytes(data)) == (False, 1, 5)


def test_a_name_that_is_no_text_does_not_stop_the_decoder() -> None:
    data = bytearray(_record())
    at = STRUCTURES["packet"].offsets["comm"]
    data[at : at + 16] = b"\xff\xfe" * 8
    assert layout.packet(bytes(data)).comm


# ---- rules ------------------------------------------------------------------------------


def _rules(data: bytes) -> list[dict[str, object]]:
    whole, rule = STRUCTURES["rules"], STRUCTURES["rule"]
    assert len(data) == whole.size
    count = struct.unpack_from("<I", data)[0]
    found: list[dict[str, object]] = []
    for i in range(count):
        at = whole.offsets["rule"] + i * rule.size
        raw = data[at : at + rule.size]
        sport, dport = struct.unpack_from("!HH", raw, 32)
        fields, either = struct.unpack_from("<II", raw, rule.offsets["fields"])
        found.append(
            {
                "src": raw[:16],
                "dst": raw[16:32],
                "sport": sport,
                "dport": dport,
                "proto": raw[36],
                "version": raw[37],
                "fields": fields,
                "either": either,
            }
        )
    return found


def test_no_filter_and_one_that_matches_all_are_no_rules() -> None:
    assert _rules(layout.rules([])) == []
    assert _rules(layout.rules([Filter(src_port=1), Filter()])) == []


def test_a_full_filter_is_one_rule_with_every_field() -> None:
    source, target = (ipaddress.ip_address(a) for a in ("192.0.2.1", "192.0.2.2"))
    [rule] = _rules(layout.rules([Filter(source, target, 40000, 80, Protocol.TCP, True)]))
    assert rule == {
        "src": source.packed + bytes(12),
        "dst": target.packed + bytes(12),
        "sport": 40000,
        "dport": 80,
        "proto": 6,
        "version": 4,
        "fields": 63,
        "either": 1,
    }


def test_port_zero_is_a_condition_and_an_absent_port_is_none() -> None:
    [rule] = _rules(layout.rules([Filter(src_port=0)]))
    assert rule["fields"] == layout.FIELD_SPORT


@pytest.mark.parametrize(
    ("address", "wanted"),
    [(None, [(1, 4), (58, 6)]), ("192.0.2.1", [(1, 4)]), ("2001:db8::1", [(58, 6)])],
)
def test_icmp_is_one_rule_for_each_ip_version_it_may_have(
    address: Optional[str], wanted: list[tuple[int, int]]
) -> None:
    source = ipaddress.ip_address(address) if address else None
    rules = _rules(layout.rules([Filter(src_ip=source, protocol=Protocol.ICMP)]))
    assert [(r["proto"], r["version"]) for r in rules] == wanted


def test_as_many_rules_as_fit_and_not_one_more() -> None:
    ports = [Filter(src_port=p) for p in range(1, layout.RULES + 1)]
    assert len(_rules(layout.rules(ports))) == layout.RULES
    with pytest.raises(UsageError, match=f"need {layout.RULES + 1} rules"):
        layout.rules([*ports, Filter(src_port=99)])
    with pytest.raises(UsageError):
        layout.rules([Filter(protocol=Protocol.ICMP, src_port=p) for p in range(5)])


# ---- the other records --------------------------------------------------------------------


def test_a_role_and_the_control_record_are_where_the_program_reads_them() -> None:
    place = STRUCTURES["role"].offsets
    role = layout.role(70_000, layout.ROLE_VNET, 1003, True, 4026531840)
    assert struct.unpack_from("<I", role, place["ifindex"])[0] == 70_000
    assert struct.unpack_from("<I", role, place["netns"])[0] == 4026531840
    assert struct.unpack_from("<H", role, place["slot"])[0] == 1003
    assert [role[place[k]] for k in ("kind", "join_task")] == [layout.ROLE_VNET, 1]
    values = {"active_rules": 1, "directions": 2, "sample": 4, "max_rate": 5}
    control = layout.control(
        active_rules=1,
        directions=2,
        detail=True,
        switched=False,
        emit=True,
        sample=4,
        max_rate=5,
        tun_tracepoint=True,
        threshold_ns=1 << 40,
    )
    place = STRUCTURES["control"].offsets
    for name, value in values.items():
        assert struct.unpack_from("<I", control, place[name])[0] == value
    assert struct.unpack_from("<I", control, place["detail"])[0] == 1
    assert struct.unpack_from("<I", control, place["tun_tracepoint"])[0] == 1
    assert struct.unpack_from("<Q", control, place["threshold_ns"])[0] == 1 << 40


def test_statistics_of_all_processors_add_up() -> None:
    place = STRUCTURES["stats"]
    first, second = bytearray(place.size), bytearray(place.size)
    struct.pack_into("<2Q", first, place.offsets["started"], 5, 6)
    struct.pack_into("<2Q", second, place.offsets["started"], 10, 20)
    bins = place.offsets["bins"]
    struct.pack_into("<Q", first, bins + 8 * int(Bin.EVICTED), 3)
    struct.pack_into("<Q", second, bins + 8 * (len(Bin) - 1 + Bin.DROPPED), 4)
    struct.pack_into("<Q", second, place.offsets["hits"] + 8 * 17, 9)
    names = [n for n in place.offsets if place.offsets[n] > place.offsets["hits"]]
    for i, name in enumerate(names):
        struct.pack_into("<Q", first, place.offsets[name], 100 + i)
    whole = layout.statistics([bytes(first), bytes(second)])
    assert whole.started == [15, 26]
    assert whole.bins[0][Bin.EVICTED] == 3
    assert whole.bins[1][Bin.DROPPED] == 4
    assert whole.hits[17] == 9
    assert [whole.counters[name] for name in names] == [100 + i for i in range(len(names))]


def test_a_leg_decodes() -> None:
    place = STRUCTURES["leg"]
    data = bytearray(place.size)
    for name, value in (("count", 3), ("sum_ns", 600), ("max_ns", 300)):
        struct.pack_into("<Q", data, place.offsets[name], value)
    struct.pack_into("<I", data, place.offsets["bucket"] + 4 * 40, 2)
    struct.pack_into("<I", data, place.offsets["bucket"] + 4 * (BUCKETS - 1), 1)
    histogram = layout.leg(bytes(data))
    assert (histogram.count, histogram.sum_ns, histogram.max_ns) == (3, 600, 300)
    assert histogram.buckets == {40: 2, BUCKETS - 1: 1}
    assert place.offsets["count"] == 0


def test_flow_and_drop_entries_decode() -> None:
    place = STRUCTURES["flow_key"]
    key = bytearray(_flow("2001:db8::1", "::2", 1, 65535, 17).ljust(place.size, b"\0"))
    key[place.offsets["direction"]] = 1
    struct.pack_into("<H", key, place.offsets["slot"], 1004)
    value = struct.pack("<4Q", 10, 1000, 5, 6)
    flow, direction, slot, totals = layout.flow_entry(bytes(key), value)
    assert str(flow) == "[2001:db8::1]:1 -> [::2]:65535 (UDP)"
    assert (direction, slot, totals) == (1, 1004, (10, 1000, 5, 6))
    assert layout.flow_packets(value) == 10
    place = STRUCTURES["drop_key"]
    drop = bytearray(place.size)
    struct.pack_into("<Q", drop, place.offsets["location"], 1 << 63)
    struct.pack_into("<I", drop, place.offsets["reason"], 77)
    struct.pack_into("<H", drop, place.offsets["slot"], 1002)
    for name, number in (("direction", 1), ("last", 3), ("hook", 4)):
        drop[place.offsets[name]] = number
    count = (12).to_bytes(8, "little")
    assert layout.drop_entry(bytes(drop), count) == (1 << 63, 77, 1, 1002, 3, 4, 12)


def test_a_worker_says_the_vnic_whose_packets_it_took_last() -> None:
    place = STRUCTURES["worker"]
    value = bytearray(place.size)
    struct.pack_into("<I", value, place.offsets["slot"], 1005)
    assert layout.worker_slot(bytes(value)) == 1005


@pytest.mark.parametrize("name", ["packet", "role", "signal", "worker", "flow_key", "drop_key"])
def test_no_slot_of_a_vnic_is_narrower_than_the_slots_are_many(name: str) -> None:
    """A byte ended at 255 vNICs; :data:`layout.NO_SLOT` fits and stands for none of them."""
    body = re.search(rf"struct {name} \{{(.*?)\n\}};", HEADER, re.DOTALL)
    assert body and re.search(r"\bu(?:16|32) slot;", body.group(1))
    assert Limits.of(1000).vnics < layout.NO_SLOT < 1 << 16


def test_a_leg_table_is_where_the_program_looks_legs_up() -> None:
    table = LegTable(s.number for s in STEPS)
    place, packed = STRUCTURES["leg_table"].offsets, layout.leg_table(table, 3)
    assert struct.unpack_from("<3I", packed) == (table.room, 3 * table.room, 3)
    assert struct.unpack_from("<2H", packed, place["total"]) == table.totals
    for number, leg in table.numbered.items():
        if leg.start is not None and leg.end is not None:
            at = (leg.direction * STEP_ROOM + leg.start.number) * STEP_ROOM + leg.end.number
            assert struct.unpack_from("<H", packed, place["leg"] + 2 * at) == (number,)


def test_every_step_lies_within_the_walk_over_the_legs() -> None:
    values = layout.macros()
    assert values["FIRST_START"] == 0
    assert values["LAST_STEP"] == len(STEPS) - 1 < values["STEPS"]
