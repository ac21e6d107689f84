"""The structures of bpf/include/vmlat/record.h, and the macros that make both sides agree."""

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
from vmlat_tui.model.points import STEP_ROOM, STEPS, Direction, Step
from vmlat_tui.model.wakeups import Halts, Role, Wakeups

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
WATCH_VCPU = 2
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

_FLOW = "16s16s2s2sBBH"
_PACKET = struct.Struct(
    f"<Q{_FLOW}{STEP_ROOM}Q{STEP_ROOM}H{STEP_ROOM}B8I16sIH6BI3I2B2x2Q{DROP_FRAMES}Q"
)
_ROLE = struct.Struct("<IHBBI")
_RULE = struct.Struct(f"<{_FLOW}II")
_CONTROL = struct.Struct("<8IQQ")
_COUNTERS = (
    "fragments",
    "unparsed",
    "emitted",
    "suppressed",
    "lost",
    "reused",
    "adopted",
    "disorder",
    "unlisted",
    "flows_full",
    "drops_full",
    "threads_full",
)
_STATS = struct.Struct(f"<{2 + 2 * len(KERNEL_BINS) + HOOK_ROOM + len(_COUNTERS)}Q")
_LEG = struct.Struct(f"<4Q{BUCKETS}I")
_WORK = struct.Struct("<3Q4I")
_SIGNAL = struct.Struct("<8Q6I4H")
_WORKER = struct.Struct(f"<9QI3Bx6I{_SIGNAL.size}s")
_LANE = struct.Struct(f"<4I{LANE_ROOM * _SIGNAL.size}s")
_VCPU = struct.Struct(f"<3Q2I{LANES * _LANE.size}s")
_AHEAD = struct.Struct("<QI4x16s")
_HALTS = struct.Struct("<6Q2I")
_WAKE = struct.Struct(
    f"<2Q2I{_LEG.size}s{_LEG.size}s{IDLE_STATES}Q{AHEAD * _AHEAD.size}s{_HALTS.size}s"
)
_FLOW_KEY = struct.Struct(f"<{_FLOW}HB5x")
_FLOW_VALUE = struct.Struct("<4Q")
_DROP_KEY = struct.Struct("<QIHBBB7x")

#: Sizes that the compiled program must agree with.
SIZES: dict[str, int] = {
    "packets": _PACKET.size,
    "roles": _ROLE.size,
    "roles_beside": _ROLE.size,
    "rulesets": 8 + RULES * _RULE.size,
    "controls": _CONTROL.size,
    "statistics": _STATS.size,
    "legs": _LEG.size,
    "leg_tables": 20 + 4 * STEP_ROOM * STEP_ROOM,
    "taken": _PACKET.size,
    "works": _WORK.size,
    "workers": _WORKER.size,
    "vcpus": _VCPU.size,
    "wakes": _WAKE.size,
    "flows": _FLOW_VALUE.size,
    "drops": 8,
}


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
    values.update({step.macro: step.number for step in STEPS})
    values.update({f"BIN_{b.name}": int(b) for b in KERNEL_BINS})
    values.update({absence.macro: absence.number for absence in ABSENCES})
    values.update({f"HOOK_{id_.upper()}": number for id_, number in NUMBER.items()})
    return values


#: Steps that run in the task of the packet's first recorded step, in any case.
_IN_FIRST_TASK = {step.number for step in STEPS if step.point.id in ("tun_in", "vnet_rx", "phy_rx")}
_OF_WORKER = {
    *("vhost_on_cpu", "vhost_tx", "vhost_take", "vhost_signal"),
    *("eventfd", "irqfd", "irq_accept", "vcpu_woken"),
}
_OF_VCPU = {"vcpu_on_cpu", "guest_entry"}


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
        if step.point.id in ("guest_exit", "guest_kick"):
            return self.kicker or None
        if step.point.id in _OF_VCPU:
            return self.vcpu or None
        if step.point.id == "vhost_woken":
            return (self.kicker or None) if self.direction == Direction.TX else None
        if step.point.id in _OF_WORKER:
            return self.worker or None
        return self.tid if step.number in _IN_FIRST_TASK else None


def _flow(raw: tuple[bytes, bytes, bytes, bytes, int, int]) -> Flow:
    src, dst, sport, dport, proto, version = raw

    def address(data: bytes) -> str:
        return str(ipaddress.ip_address(data[:4] if version == 4 else data))

    return Flow(
        address(src),
        address(dst),
        int.from_bytes(sport, "big"),
        int.from_bytes(dport, "big"),
        protocol_of(proto).value,
    )


FLOW_SIZE = struct.calcsize(f"<{_FLOW}")


def flow_of(data: bytes) -> Flow:
    """Decode ``struct flow``."""
    src, dst, sport, dport, proto, version, _ = struct.unpack(f"<{_FLOW}", data)
    return _flow((src, dst, sport, dport, proto, version))


#: Types of ICMP and ICMPv6.
_ECHO_REQUESTS = (8, 128)


def echo_of(flow: Flow, id1: int, id2: int) -> Optional[Echo]:
    """From the content identity (``identify()``): number and sequence as sent, and the type."""
    if flow.protocol != Protocol.ICMP.value:
        return None
    number, sequence = struct.unpack("!HH", id1.to_bytes(4, "little"))
    return Echo(number, sequence, id2 & 0xFF in _ECHO_REQUESTS)


def packet(data: bytes) -> PacketRecord:
    """Decode ``struct packet``."""
    v = _PACKET.unpack(data[: _PACKET.size])
    at = 8
    times, processors, hooks = (v[at + i * STEP_ROOM : at + (i + 1) * STEP_ROOM] for i in range(3))
    at += 3 * STEP_ROOM
    seen, id1, id2, length, vm, phy, tgid, tid, comm, reason = v[at : at + 10]
    slot, direction, last, active, bin_, _, _, _ = v[at + 10 : at + 18]
    kicker, worker, vcpu, *absent = v[at + 18 : at + 23]
    location, *stack = v[at + 24 : at + 25 + DROP_FRAMES]
    passed = [s for s in range(STEP_ROOM) if seen >> s & 1]
    flow = _flow((v[1], v[2], v[3], v[4], v[5], v[6]))
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


def packet_state(data: bytes) -> tuple[bool, int, int]:
    """(active, direction, time of the last step) of a state, without decoding all of it."""
    last, active = data[_LAST], data[_ACTIVE]
    return bool(active), data[_DIRECTION], int(struct.unpack_from("<Q", data, _TIMES + 8 * last)[0])


_TIMES = 8 + struct.calcsize(f"<{_FLOW}")
_DIRECTION = _TIMES + STEP_ROOM * 11 + 8 * 4 + 16 + 4 + 2
_LAST, _ACTIVE = _DIRECTION + 1, _DIRECTION + 2


def role(ifindex: int, kind: int, slot: int, join_task: bool, netns: int) -> bytes:
    """``struct role``."""
    return _ROLE.pack(ifindex, slot, kind, join_task, netns)


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
    return _CONTROL.pack(
        active_rules,
        directions,
        detail,
        switched,
        emit,
        sample,
        max_rate,
        tun_tracepoint,
        threshold_ns,
        0,
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
            packed.append(
                _RULE.pack(
                    source,
                    target,
                    (f.src_port or 0).to_bytes(2, "big"),
                    (f.dst_port or 0).to_bytes(2, "big"),
                    f.protocol.numbers(version)[0] if f.protocol else 0,
                    version or 0,
                    0,
                    fields,
                    int(f.either),
                )
            )
    if len(packed) > RULES:
        raise UsageError(
            f"the filters need {len(packed)} rules",
            f"the kernel program holds {RULES}",
            "give fewer",
        )
    return struct.pack("<II", len(packed), 0) + b"".join(packed).ljust(RULES * _RULE.size, b"\0")


@dataclass
class Statistics:
    """Counters of all processors added up."""

    started: list[int] = field(default_factory=lambda: [0, 0])
    bins: list[list[int]] = field(default_factory=lambda: [[0] * len(KERNEL_BINS) for _ in (0, 1)])
    hits: list[int] = field(default_factory=lambda: [0] * HOOK_ROOM)
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTERS, 0))


def statistics(parts: list[bytes]) -> Statistics:
    """Add up ``struct stats`` of every processor."""
    columns = [sum(column) for column in zip(*(_STATS.unpack(part) for part in parts))]
    bins = len(KERNEL_BINS)
    return Statistics(
        columns[:2],
        [columns[2 : 2 + bins], columns[2 + bins : 2 + 2 * bins]],
        columns[2 + 2 * bins : 2 + 2 * bins + HOOK_ROOM],
        dict(zip(_COUNTERS, columns[2 + 2 * bins + HOOK_ROOM :])),
    )


def leg(part: bytes) -> Histogram:
    """``struct leg`` of one processor, cumulative since the program was loaded; count is first.

    Bucket counts are 32 bits wide: see :class:`vmlat_tui.probes.widen.Widener`.
    """
    v = _LEG.unpack(part)
    buckets = {i: n for i, n in enumerate(v[4:]) if n}
    return Histogram(v[0], v[1], v[2], buckets)


def wake(tid: int, role: Role, value: bytes, vm_interface: Optional[str]) -> Wakeups:
    """``struct wake`` of a thread; its histograms are as those of :func:`leg`."""
    _, migrations, _, _, idle, queued, *states, ahead, halted = _WAKE.unpack(value)
    left = {number: count for number, count in enumerate(states) if count}
    held_ns: dict[str, int] = {}
    for ns, _, comm in _AHEAD.iter_unpack(ahead):
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
    v = _HALTS.unpack(value)
    return Halts(v[0], v[1], v[2], v[3], v[4], v[5], v[6] if v[7] else None)


def worker_slot(value: bytes) -> int:
    """The vNIC whose packets a ``struct worker`` took last."""
    return int(_WORKER.unpack(value)[18])


def work_owner(value: bytes) -> int:
    """The worker of a ``struct work``."""
    return int(_WORK.unpack(value)[4])


#: A thread that has not been seen to do anything yet.
NEW_VCPU, NEW_WAKE = bytes(_VCPU.size), bytes(_WAKE.size)


def flow_entry(key: bytes, value: bytes) -> tuple[Flow, int, int, tuple[int, int, int, int]]:
    """(flow, direction, slot, (packets, bytes, first_ns, last_ns))."""
    k = _FLOW_KEY.unpack(key)
    return _flow((k[0], k[1], k[2], k[3], k[4], k[5])), k[8], k[7], _FLOW_VALUE.unpack(value)


def flow_packets(value: bytes) -> int:
    """How many packets a ``struct flow_value`` has counted."""
    return int(_FLOW_VALUE.unpack(value)[0])


def flow_last_ns(value: bytes) -> int:
    """When a ``struct flow_value`` was last touched."""
    return int(_FLOW_VALUE.unpack(value)[3])


def drop_entry(key: bytes, value: bytes) -> tuple[int, int, int, int, int, int, int]:
    """(location, reason, direction, slot, last step, hook, count)."""
    location, reason, slot, direction, last, hook = _DROP_KEY.unpack(key)
    return location, reason, direction, slot, last, hook, int.from_bytes(value, "little")
