"""What the BPF programs and Python share: records and constants.

The records are those of bpf/include/vmlat/record.h, which is read here.  The constants are defined
in the model or here, and reach the programs as macros.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, field
from typing import Optional

from vmlat_tui.errors import UsageError
from vmlat_tui.model.absences import ABSENCE_ROOM, ABSENCES, Absence
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.flows import Echo, Filter, Flow, Protocol, protocol_of
from vmlat_tui.model.histogram import BUCKETS, Histogram
from vmlat_tui.model.hooks import HOOK_ROOM, NUMBER
from vmlat_tui.model.legs import LegTable
from vmlat_tui.model.points import STEP_ROOM, STEPS, Direction, Step, Task
from vmlat_tui.model.wakeups import Halts, Role, Wakeups
from vmlat_tui.probes import records
from vmlat_tui.sources import bpf_directory

RULES = 8
DROP_FRAMES = 6
#: Interfaces are found by the lower bits of their number.
ROLE_SLOTS = 65536
#: The slot of a packet whose vNIC is not known yet.
NO_SLOT = 0xFFFF
#: Packets of one worker that wait for their signal or its end, and the most of one signal: vhost
#: signals at the latest after 64 (VHOST_NET_BATCH).
TAKEN_ROOM, BATCH_ROOM = 256, 66
#: Workers whose signals a vCPU can have open at the same time, and how many of each.
LANES, LANE_ROOM = 4, 2
#: vCPU numbers of one VM (KVM_MAX_VCPU_IDS of x86); of a higher one, each wake-up tells the thread.
VCPU_ROOM = 4096
#: Threads are looked for by the lower bits of their number first.
WATCH_ROOM = 65536
WATCH_WORKER, WATCH_VCPU = 1, 2
#: The last idle state stands for all deeper ones.
IDLE_STATES = 16
#: Places for tasks that a thread waited behind, by their numbers: of two in one place the longer
#: remains, less the other's time.
AHEAD = 16
#: The last tasks of a processor that are remembered.
TURNS = 8
FIELD_SRC, FIELD_DST, FIELD_SPORT, FIELD_DPORT, FIELD_PROTO, FIELD_VERSION = 1, 2, 4, 8, 16, 32
ROLE_VNET, ROLE_LEAF, ROLE_TOP, ROLE_ELSEWHERE = 1, 2, 4, 8

#: The bins that the kernel counts; what is in flight is found by looking at the states.
KERNEL_BINS = tuple(b for b in Bin if b is not Bin.IN_FLIGHT)


def macros() -> dict[str, int]:
    """Everything that the model defines and the BPF sources use."""
    values = {
        "STEPS": STEP_ROOM,
        "BUCKETS": BUCKETS,
        "BINS": len(KERNEL_BINS),
        "HOOKS": HOOK_ROOM,
        "RULES": RULES,
        "DROP_FRAMES": DROP_FRAMES,
        "ROLE_SLOTS": ROLE_SLOTS,
        "TAKEN_ROOM": TAKEN_ROOM,
        "BATCH_ROOM": BATCH_ROOM,
        "LANES": LANES,
        "LANE_ROOM": LANE_ROOM,
        "VCPU_ROOM": VCPU_ROOM,
        "WATCH_ROOM": WATCH_ROOM,
        "WATCH_WORKER": WATCH_WORKER,
        "WATCH_VCPU": WATCH_VCPU,
        "IDLE_STATES": IDLE_STATES,
        "AHEAD": AHEAD,
        "TURNS": TURNS,
        "ABSENCE_ROOM": ABSENCE_ROOM,
        "FIELD_SRC": FIELD_SRC,
        "FIELD_DST": FIELD_DST,
        "FIELD_SPORT": FIELD_SPORT,
        "FIELD_DPORT": FIELD_DPORT,
        "FIELD_PROTO": FIELD_PROTO,
        "FIELD_VERSION": FIELD_VERSION,
        "ROLE_VNET": ROLE_VNET,
        "ROLE_LEAF": ROLE_LEAF,
        "ROLE_TOP": ROLE_TOP,
        "ROLE_ELSEWHERE": ROLE_ELSEWHERE,
        "FIRST_START": min(step.number for step in STEPS),
        "LAST_STEP": max(step.number for step in STEPS),
    }
    values.update({direction.name: int(direction) for direction in Direction})
    values.update({step.macro: step.number for step in STEPS})
    values.update({f"BIN_{b.name}": int(b) for b in KERNEL_BINS})
    values.update({absence.macro: absence.number for absence in ABSENCES})
    values.update({f"HOOK_{id_.upper()}": number for id_, number in NUMBER.items()})
    return values


#: The structures of the header by their names.  Addresses and ports are in network byte order.
STRUCTURES = records.read(
    (bpf_directory() / "include/vmlat/record.h").read_text(encoding="utf-8"),
    macros(),
    raw=frozenset({"src", "dst", "sport", "dport"}),
)
_FLOW, _PACKET = STRUCTURES["flow"], STRUCTURES["packet"]
_RULE, _STATS = STRUCTURES["rule"], STRUCTURES["stats"]

#: Map -> structure of its values.
_VALUES = {
    "packets": "packet",
    "taken": "packet",
    "roles": "role",
    "roles_beside": "role",
    "rulesets": "rules",
    "controls": "control",
    "statistics": "stats",
    "legs": "leg",
    "leg_tables": "leg_table",
    "works": "work",
    "workers": "worker",
    "vcpus": "vcpu",
    "wakes": "wake",
    "flows": "flow_value",
}
#: Map -> size of its values in bytes, with which the compiled program must agree.
SIZES: dict[str, int] = {"drops": 8, **{m: STRUCTURES[name].size for m, name in _VALUES.items()}}


@dataclass(frozen=True)
class PacketRecord:
    """One packet as the kernel recorded it.  Times are ``bpf_ktime_get_ns``.

    ``times``, ``hooks`` and ``processors`` are by step number and hold only steps that were passed.
    """

    flow: Flow
    times: dict[int, int]
    hooks: dict[int, int]
    processors: dict[int, int]
    direction: int
    slot: int
    bin: int
    active: bool
    last: int
    bytes: int
    vm_ifindex: int
    phy_ifindex: int
    tgid: int
    tid: int
    comm: str
    reason: int
    #: Threads that it met, 0 if none: who kicked its queue, its vhost worker, the vCPU it woke.
    kicker: int
    worker: int
    vcpu: int
    absences: tuple[Absence, ...]
    #: Of an echo packet.
    echo: Optional[Echo]
    location: int
    stack: tuple[int, ...]

    def task(self, step: Step) -> Optional[int]:
        """The thread that ran when it passed a step; None where that was not recorded."""
        if step.task is None:
            return None
        if step.task is Task.FIRST:
            return self.tid
        threads = {Task.KICKER: self.kicker, Task.WORKER: self.worker, Task.VCPU: self.vcpu}
        return threads[step.task] or None


_read_flow = _FLOW.reader("src", "dst", "sport", "dport", "proto", "version")


def flow_of(data: bytes) -> Flow:
    """Decode ``struct flow``."""
    src, dst, sport, dport, proto, version = _read_flow(data)

    def address(data: bytes) -> str:
        return str(ipaddress.ip_address(data[:4] if version == 4 else data))

    return Flow(
        address(src),
        address(dst),
        int.from_bytes(sport, "big"),
        int.from_bytes(dport, "big"),
        protocol_of(proto).value,
    )


#: Types of ICMP and ICMPv6.
_ECHO_REQUESTS = (8, 128)


def echo_of(flow: Flow, id1: int, id2: int) -> Optional[Echo]:
    """From the content identity (``identify()``): number and sequence as sent, and the type."""
    if flow.protocol != Protocol.ICMP.value:
        return None
    number, sequence = struct.unpack("!HH", id1.to_bytes(4, "little"))
    return Echo(number, sequence, id2 & 0xFF in _ECHO_REQUESTS)


_pick_steps = _PACKET.picker("t", "hook", "cpu", "seen")
_pick_place = _PACKET.picker(
    *("direction", "slot", "bin", "active", "last", "bytes"),
    *("vm_ifindex", "phy_ifindex", "tgid", "tid"),
)
_pick_content = _PACKET.picker("flow", "id1", "id2")
_pick_rest = _PACKET.picker(
    "comm", "reason", "kicker", "worker", "vcpu", "absent", "location", "stack"
)


def packet(data: bytes) -> PacketRecord:
    """Decode ``struct packet``."""
    values = _PACKET.struct.unpack_from(data)
    times, hooks, processors, seen = _pick_steps(values)
    direction, slot, bin_, active, last, length, vm, phy, tgid, tid = _pick_place(values)
    raw, id1, id2 = _pick_content(values)
    comm, reason, kicker, worker, vcpu, absent, location, stack = _pick_rest(values)
    passed = [s for s in range(STEP_ROOM) if seen >> s & 1]
    flow = flow_of(raw)
    return PacketRecord(
        flow,
        {s: times[s] for s in passed},
        {s: hooks[s] for s in passed},
        {s: processors[s] for s in passed},
        direction,
        slot,
        bin_,
        bool(active),
        last,
        length,
        vm,
        phy,
        tgid,
        tid,
        comm.split(b"\0")[0].decode(errors="replace"),
        reason,
        kicker,
        worker,
        vcpu,
        tuple(ABSENCES[number - 1] for number in absent if number),
        echo_of(flow, id1, id2),
        location,
        tuple(a for a in stack if a),
    )


_TIMES, _LAST, _ACTIVE, _DIRECTION = (
    _PACKET.offsets[name] for name in ("t", "last", "active", "direction")
)


def packet_state(data: bytes) -> tuple[bool, int, int]:
    """(active, direction, time of the last step) of a state, without decoding all of it."""
    last, active = data[_LAST], data[_ACTIVE]
    return bool(active), data[_DIRECTION], int(struct.unpack_from("<Q", data, _TIMES + 8 * last)[0])


def role(ifindex: int, kind: int, slot: int, join_task: bool, netns: int) -> bytes:
    """``struct role``."""
    return STRUCTURES["role"].pack(
        ifindex=ifindex, slot=slot, kind=kind, join_task=join_task, netns=netns
    )


def control(
    *,
    active_rules: int,
    directions: int,
    detail: bool,
    switched: bool,
    emit: bool,
    sample: int,
    max_rate: int,
    tun_tracepoint: bool,
    threshold_ns: int,
) -> bytes:
    """``struct control``."""
    return STRUCTURES["control"].pack(
        active_rules=active_rules,
        directions=directions,
        detail=detail,
        switched=switched,
        emit=emit,
        sample=sample,
        max_rate=max_rate,
        tun_tracepoint=tun_tracepoint,
        threshold_ns=threshold_ns,
    )


def leg_table(table: LegTable, vnics: int) -> bytes:
    """``struct leg_table`` for ``vnics`` slots."""
    return STRUCTURES["leg_table"].pack(
        room=table.room,
        processor=table.room * vnics,
        vnics=vnics,
        total=table.totals,
        leg=table.square(STEP_ROOM),
    )


def rules(filters: list[Filter]) -> bytes:
    """``struct rules``; raises :class:`UsageError` when they need more than :data:`RULES`.

    A filter that matches everything makes the whole set match everything.
    """
    packed: list[bytes] = []
    if any(f.matches_all for f in filters):
        filters = []
    for f in filters:
        versions: tuple[Optional[int], ...] = (f.version,)
        if f.protocol is not None and len(f.protocol.numbers(f.version)) > 1:
            versions = (4, 6)
        for version in versions:
            fields = 0
            source = target = b""
            if f.src_ip:
                fields, source = fields | FIELD_SRC, f.src_ip.packed
            if f.dst_ip:
                fields, target = fields | FIELD_DST, f.dst_ip.packed
            fields |= FIELD_SPORT if f.src_port is not None else 0
            fields |= FIELD_DPORT if f.dst_port is not None else 0
            fields |= FIELD_PROTO if f.protocol else 0
            fields |= FIELD_VERSION if version else 0
            flow = _FLOW.pack(
                src=source,
                dst=target,
                sport=(f.src_port or 0).to_bytes(2, "big"),
                dport=(f.dst_port or 0).to_bytes(2, "big"),
                proto=f.protocol.numbers(version)[0] if f.protocol else 0,
                version=version or 0,
            )
            packed.append(_RULE.pack(flow=flow, fields=fields, either=f.either))
    if len(packed) > RULES:
        raise UsageError(
            f"the filters need {len(packed)} rules",
            f"the kernel program holds {RULES}",
            "give fewer",
        )
    return STRUCTURES["rules"].pack(count=len(packed), rule=b"".join(packed))


#: The counters that are one number each.
_COUNTERS = tuple(name for name in _STATS.offsets if name not in ("started", "bins", "hits"))
_pick_counts = _STATS.picker("started", "bins", "hits")
_pick_counters = _STATS.picker(*_COUNTERS)


@dataclass
class Statistics:
    """Counters of all processors added up."""

    started: list[int] = field(default_factory=lambda: [0, 0])
    bins: list[list[int]] = field(default_factory=lambda: [[0] * len(KERNEL_BINS) for _ in (0, 1)])
    hits: list[int] = field(default_factory=lambda: [0] * HOOK_ROOM)
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTERS, 0))


def statistics(parts: list[bytes]) -> Statistics:
    """Add up ``struct stats`` of every processor."""
    columns = [sum(column) for column in zip(*(_STATS.struct.unpack(part) for part in parts))]
    started, bins, hits = _pick_counts(columns)
    half = len(KERNEL_BINS)
    counters = dict(zip(_COUNTERS, _pick_counters(columns)))
    return Statistics(started, [bins[:half], bins[half:]], hits, counters)


_read_leg = STRUCTURES["leg"].reader("count", "sum_ns", "max_ns", "bucket")


def leg(part: bytes) -> Histogram:
    """``struct leg`` of one processor, cumulative since the program was loaded; count is first.

    Bucket counts are 32 bits wide: see :class:`vmlat_tui.probes.widen.Widener`.
    """
    count, sum_ns, max_ns, buckets = _read_leg(part)
    return Histogram(count, sum_ns, max_ns, {i: n for i, n in enumerate(buckets) if n})


_read_wake = STRUCTURES["wake"].reader(
    "migrations", "idle", "queued", "idle_states", "ahead", "halts"
)
_AHEAD = STRUCTURES["ahead"]
_pick_ahead = _AHEAD.picker("held_ns", "comm")
_read_halts = STRUCTURES["halts"].reader(
    *("polled", "polled_ns", "slept", "slept_ns", "grown", "shrunk", "window_ns", "window_known")
)


def wake(tid: int, role: Role, value: bytes, vm_interface: Optional[str]) -> Wakeups:
    """``struct wake`` of a thread; its histograms are as those of :func:`leg`."""
    migrations, idle, queued, states, ahead, halted = _read_wake(value)
    left = {number: count for number, count in enumerate(states) if count}
    held_ns: dict[str, int] = {}
    for ns, comm in map(_pick_ahead, _AHEAD.struct.iter_unpack(ahead)):
        name = comm.split(b"\0")[0].decode(errors="replace")
        if ns and name:
            held_ns[name] = held_ns.get(name, 0) + ns
    return Wakeups(
        tid,
        role,
        leg(idle),
        leg(queued),
        migrations,
        left,
        held_ns,
        vm_interface,
        halts(halted) if role is Role.VCPU else None,
    )


def halts(value: bytes) -> Halts:
    """``struct halts``."""
    polled, polled_ns, slept, slept_ns, grown, shrunk, window_ns, known = _read_halts(value)
    return Halts(polled, polled_ns, slept, slept_ns, grown, shrunk, window_ns if known else None)


_WORKER_SLOT = STRUCTURES["worker"].offsets["slot"]
_WORK_OWNER = STRUCTURES["work"].offsets["worker"]


def worker_slot(value: bytes) -> int:
    """The vNIC whose packets a ``struct worker`` took last."""
    return int(struct.unpack_from("<I", value, _WORKER_SLOT)[0])


def work_owner(value: bytes) -> int:
    """The worker of a ``struct work``."""
    return int(struct.unpack_from("<I", value, _WORK_OWNER)[0])


#: A thread that has not been seen to do anything yet.
NEW_VCPU, NEW_WAKE = bytes(SIZES["vcpus"]), bytes(SIZES["wakes"])

_read_flow_key = STRUCTURES["flow_key"].reader("flow", "slot", "direction")
_read_flow_value = STRUCTURES["flow_value"].reader("packets", "bytes", "first_ns", "last_ns")


def flow_entry(key: bytes, value: bytes) -> tuple[Flow, int, int, tuple[int, int, int, int]]:
    """(flow, direction, slot, (packets, bytes, first_ns, last_ns))."""
    flow, slot, direction = _read_flow_key(key)
    packets, size, first_ns, last_ns = _read_flow_value(value)
    return flow_of(flow), direction, slot, (packets, size, first_ns, last_ns)


def flow_packets(value: bytes) -> int:
    """How many packets a ``struct flow_value`` has counted."""
    return int(_read_flow_value(value)[0])


def flow_last_ns(value: bytes) -> int:
    """When a ``struct flow_value`` was last touched."""
    return int(_read_flow_value(value)[3])


_read_drop_key = STRUCTURES["drop_key"].reader(
    "location", "reason", "direction", "slot", "last", "hook"
)


def drop_entry(key: bytes, value: bytes) -> tuple[int, int, int, int, int, int, int]:
    """(location, reason, direction, slot, last step, hook, count)."""
    location, reason, direction, slot, last, hook = _read_drop_key(key)
    return location, reason, direction, slot, last, hook, int.from_bytes(value, "little")
