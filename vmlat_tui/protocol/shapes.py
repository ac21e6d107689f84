"""What the frames of each type must look like.

Whoever sends them may be another host: a frame is data until it was looked at here.  What reads
frames relies on these shapes and looks no more: whatever it takes out of a frame has the type, the
range and the syntax that is declared for it, in every frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmlat_tui.model.bins import Bin
from vmlat_tui.model.capabilities import CapabilityState
from vmlat_tui.model.checks import (
    Check,
    address,
    amount,
    buckets,
    count,
    direction,
    each,
    ends,
    fields,
    flag,
    name,
    named,
    or_none,
    pair,
    port,
    text,
    time,
    total,
    whole,
    word,
)
from vmlat_tui.model.guest import TIMES
from vmlat_tui.model.jsonable import Jsonable
from vmlat_tui.model.points import BOTH, path
from vmlat_tui.model.requested import Requested
from vmlat_tui.model.topology import Topology, Vitals


def _flow(value: Any) -> None:
    _FLOW(value)
    ends(value["src"], value["dst"])


def _times(value: Any) -> None:
    """Of a round trip: at least one."""
    if type(value) is not dict or not value or not value.keys() <= TIMES:
        raise ValueError("these are no times")
    for instant in value.values():
        time(instant)


_maybe_text = or_none(text)
#: What vmlat measures; other protocols by number, as a later version may.
_PROTOCOL = word(r"tcp|udp|icmp|[0-9]{1,3}")
_FLOW = fields(
    {"src": address, "dst": address, "src_port": port, "dst_port": port, "protocol": _PROTOCOL}
)
_POINTS = each(
    fields(
        {
            "point": name,
            "directions": each(direction),
            "hooks": each(fields({"function": name, "kind": name})),
            "reason": text,
        }
    )
)
#: What the agent has; sessions recorded before it gave any up do not say.
_CAPABILITIES = each(
    fields(
        {
            "name": name,
            "state": word("|".join(state.value for state in CapabilityState)),
            "needed": flag,
            "purpose": text,
            "loss": text,
        }
    ),
    most=64,
)
_STAGES = each(
    fields(
        {"stage": or_none(count), "point": name, "function": name, "t_ns": time, "cpu": whole},
        {"tid": or_none(whole), "comm": _maybe_text},
    ),
    1,
    64,
)
_NUMBERS = {"id": port, "seq": port}
_ECHO = fields({**_NUMBERS, "kind": word("request|reply")})
_DROP = fields({"point": name, "reason": _maybe_text, "function": _maybe_text})

#: These mean the same in a frame of any type: some readers do not ask which it is.
_ANYWHERE: Mapping[str, Check] = {
    "t_ns": time,
    "id": or_none(whole),
    "bin": name,
    "points": _POINTS,
    "stages": _STAGES,
    "drop": _DROP,
}


def _frame(required: Mapping[str, Check], **possible: Check) -> Check:
    others = {**_ANYWHERE, **possible}
    return fields(required, {name: others[name] for name in others.keys() - required.keys()})


def _value(kind: type[Jsonable]) -> Check:
    """A frame that is a value of the model; its own reader checks it."""
    others = _frame({})

    def check(value: Any) -> None:
        others(value)
        kind.from_json(value)

    return check


#: Direction -> point -> where it is on the path.
_ORDER = {d.id: {step.point.id: n for n, step in enumerate(path(d))} for d in BOTH}


def _packet(check: Check) -> Check:
    """A packet passes the points of its path in their order, each once at most.

    Points that a later version has are between any two.
    """

    def checked(frame: Any) -> None:
        check(frame)
        order = _ORDER[frame["direction"]]
        passed = [order[s["point"]] for s in frame["stages"] if s["point"] in order]
        if any(before >= after for before, after in zip(passed, passed[1:])):
            raise ValueError("the stages are not in the order of the path")

    return checked


_PACKET: Mapping[str, Check] = {
    "direction": direction,
    "flow": _flow,
    "vm_interface": _maybe_text,
    "phy_interface": _maybe_text,
    "process": fields({"pid": whole, "tid": whole, "comm": text}),
    "bytes": count,
    "total_ns": total,
    "stages": _STAGES,
}
_OF_PACKET: Mapping[str, Check] = {
    # Why points are not among the stages; sessions recorded before they were measured have none.
    "absent": each(fields({"reason": name, "points": each(name, most=64)}), most=16),
    # Sessions recorded before echo packets were told apart have none.
    "icmp": _ECHO,
}

_HISTOGRAM = {"count": count, "sum_ns": total, "max_ns": total, "buckets": buckets}
_VNIC = {"vm_interface": _maybe_text, "direction": direction}
_LEG = fields({**_VNIC, "leg": name, "title": name, **_HISTOGRAM})
_FLOW_ROW = fields(
    {**_VNIC, "flow": _flow, "packets": count, "bytes": total, "first_ns": time, "last_ns": time}
)
_DROP_ROW = fields(
    {**_VNIC, "point": name, "reason": _maybe_text, "function": _maybe_text, "packets": count}
)
_ABSENCE_ROW = fields({**_VNIC, "reason": name, "packets": count})
_HALTS = fields(
    {
        **dict.fromkeys(("polled", "slept", "grown", "shrunk"), count),
        **dict.fromkeys(("polled_ns", "slept_ns"), total),
        "window_ns": or_none(count),
    }
)
_WAKEUPS_ROW = fields(
    {
        "tid": count,
        "role": word("worker|vcpu"),
        "vm_interface": _maybe_text,
        "idle": fields(_HISTOGRAM),
        "queued": fields(_HISTOGRAM),
        "migrations": count,
        "idle_states": each(pair(whole, count), most=64),
        "ahead_ns": each(pair(text, total), most=4096),
    },
    {"halts": or_none(_HALTS)},
)
_MEASURING = {"rung": name, "offsets": name, "points": _POINTS}

_FRAMES: Mapping[str, Check] = {
    "hello": _frame(
        {"kernel": text, "host": text, "clock": fields({"mono_ns": time, "wall_ns": time})},
        version=text,
        boot=text,
        agent=whole,
        rung=or_none(name),
        offsets=or_none(name),
        capabilities=_CAPABILITIES,
    ),
    "attaching": _frame({"t_ns": time}),
    "released": _frame({"t_ns": time}),
    "measuring": _frame({"t_ns": time, **_MEASURING}),
    "links": _frame(
        {
            "t_ns": time,
            "vm_interfaces": each(fields({"name": text, "ifindex": or_none(whole)})),
            "uplinks": each(text),
            "leaves": each(text),
        }
    ),
    "packet": _packet(_frame(_PACKET, **_OF_PACKET)),
    "drop": _packet(_frame({**_PACKET, "bin": name, "drop": _DROP}, **_OF_PACKET)),
    "echo": _frame(
        {
            "side": word("sender_guest|receiver_guest"),
            "icmp": fields(_NUMBERS),
            "src": address,
            "dst": address,
            "interface": _maybe_text,
            "process": fields({"pid": whole, "comm": text}),
            "times": _times,
        }
    ),
    "topology": _value(Topology),
    "vitals": _value(Vitals),
    "stats": _frame(
        {
            "final": flag,
            "t_ns": time,
            "bins": named(
                fields(dict.fromkeys(("started", "sum", *(b.id for b in Bin)), total)), direction
            ),
            "legs": each(_LEG),
            "flows": each(_FLOW_ROW),
            "drops": each(_DROP_ROW),
            "hooks": named(total, name),
            "counters": named(total, name),
            "cost": named(total, name),
        },
        absences=each(_ABSENCE_ROW),
        wakeups=each(_WAKEUPS_ROW),
    ),
    "notice": _frame({"text": text}),
    "ack": _frame({}, command=_maybe_text, requested=Requested.from_json),
    "error": _frame({"title": text}, cause=text, remedy=text, exit_status=whole),
    "lost": _frame({"title": text, "cause": text, "attempt": count, "wait_s": amount(0, 1e9)}),
    "host": _frame(
        {
            "kernel": text,
            "machine": text,
            "btf": fields({"present": flag, "problem": text}),
            "headers": flag,
            "kprobes": flag,
            "ring_buffer": flag,
            "bcc": fields({"version": _maybe_text, "problem": text}),
            "lockdown": text,
            "problem": text,
            "rung": name,
            "points": _POINTS,
            "missing": each(name),
            "measurable": flag,
            "vm_interfaces": each(text),
            "uplinks": each(text),
        },
        user=count,
        capabilities=_CAPABILITIES,
    ),
}

TYPES = frozenset(_FRAMES)


def check(frame: dict[str, Any]) -> None:
    """Raise ``ValueError`` with the field that is wrong, if one is; ``type`` is one of ours."""
    try:
        _FRAMES[frame["type"]](frame)
    except (TypeError, AttributeError) as error:
        raise ValueError(str(error)) from None
