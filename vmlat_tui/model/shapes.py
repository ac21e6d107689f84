"""What the frames of each type must look like.

Whoever sends them may be another host: a frame is data until it was looked at here.  What reads
frames relies on these shapes.  ``topology`` and ``vitals`` have stricter readers of their own
(:mod:`vmlat_tui.model.topology`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any, Optional

from vmlat_tui.model.bins import Bin
from vmlat_tui.model.guest import TIMES
from vmlat_tui.model.histogram import BUCKETS

#: Raises ``ValueError``, ``TypeError`` or ``KeyError`` for a value of another shape.
Check = Callable[[Any], None]


def _exactly(*kinds: type) -> Check:
    def check(value: Any) -> None:
        if type(value) not in kinds:
            raise ValueError(f"{value!r:.60} is no {' or '.join(k.__name__ for k in kinds)}")

    return check


def _number(low: int, high: int) -> Check:
    def check(value: Any) -> None:
        if type(value) is not int or not low <= value < high:
            raise ValueError(f"{value!r:.60} is no number from {low} up to {high}")

    return check


def _word(pattern: str) -> Check:
    matches = re.compile(pattern, re.ASCII).fullmatch

    def check(value: Any) -> None:
        if type(value) is not str or not matches(value):
            raise ValueError(f"{value!r:.60} is not of the form {pattern}")

    return check


def _or_none(inner: Check) -> Check:
    def check(value: Any) -> None:
        if value is not None:
            inner(value)

    return check


def _each(inner: Check, least: int = 0, most: int = 1 << 17) -> Check:
    def check(value: Any) -> None:
        if type(value) is not list or not least <= len(value) <= most:
            raise ValueError(f"{value!r:.60} is no list of {least} to {most}")
        for item in value:
            inner(item)

    return check


def _named(inner: Check, name: Optional[Check] = None, most: int = 1 << 12) -> Check:
    """An object whose fields, all of one kind, have names of the kernel's and of ours."""

    def check(value: Any) -> None:
        if type(value) is not dict or len(value) > most:
            raise ValueError(f"{value!r:.60} is no object of at most {most}")
        for key, item in value.items():
            (name or _NAME)(key)
            inner(item)

    return check


def _object(**required: Check) -> Check:
    """Other fields may be there: a later version has more."""

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise ValueError(f"{value!r:.60} is no object")
        name = ""
        try:
            for name, inner in required.items():
                inner(value[name])
        except KeyError:
            raise ValueError(f"{name} is missing") from None
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    return check


def _also(whole: Check, **possible: Check) -> Check:
    """An object that may have these fields, too."""

    def check(value: Any) -> None:
        whole(value)
        for name, inner in possible.items():
            if name not in value:
                continue
            try:
                inner(value[name])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None

    return check


def _pair(first: Check, second: Check) -> Check:
    def check(value: Any) -> None:
        if type(value) is not list or len(value) != 2:
            raise ValueError(f"{value!r:.60} is no pair")
        first(value[0])
        second(value[1])

    return check


def _buckets(value: Any) -> None:
    """Pairs of a bucket and its count; thousands a second come by here."""
    if type(value) is not list:
        raise ValueError("these are no buckets")
    flat = list(itertools.chain.from_iterable(value))
    if not flat:
        return
    numbers, counts = flat[::2], flat[1::2]
    if (
        set(map(type, flat)) != {int}
        or set(map(len, value)) != {2}
        or not 0 <= min(numbers) <= max(numbers) < BUCKETS
        or not 0 <= min(counts) <= max(counts) < 1 << 48
    ):
        raise ValueError("these are no buckets")


def _times(value: Any) -> None:
    """Of a round trip: at least one."""
    if type(value) is not dict or not value or not value.keys() <= TIMES:
        raise ValueError("these are no times")
    for time in value.values():
        _TIME(time)


#: The longest text of a frame, in characters.
TEXT_ROOM = 8192
_TEXT = _word(rf"(?s:.{{0,{TEXT_ROOM}}})")
_FLAG = _exactly(bool)
_COUNT = _number(0, 1 << 48)
_TOTAL = _number(0, 1 << 64)
_WHOLE = _number(-(1 << 63), 1 << 63)
#: Two of them together are still a date.
_TIME = _number(0, 1 << 62)
#: Names of the kernel's and of ours; shown as they are.
_NAME = _word(r"[\w.:>+/ -]{1,200}")
_ADDRESS = _word(r"[0-9A-Fa-f.:]{1,45}")
_DIRECTION = _word("tx|rx")

_POINTS = _each(
    _object(
        point=_NAME,
        directions=_each(_DIRECTION),
        hooks=_each(_object(function=_NAME, kind=_NAME)),
        reason=_TEXT,
    )
)
_FLOW = _object(src=_ADDRESS, dst=_ADDRESS, src_port=_COUNT, dst_port=_COUNT, protocol=_NAME)
_PACKET = {
    "direction": _DIRECTION,
    "flow": _FLOW,
    "vm_interface": _or_none(_TEXT),
    "phy_interface": _or_none(_TEXT),
    "process": _object(pid=_WHOLE, tid=_WHOLE, comm=_TEXT),
    "bytes": _COUNT,
    "total_ns": _TOTAL,
    "stages": _each(
        _also(
            _object(stage=_or_none(_COUNT), point=_NAME, function=_NAME, t_ns=_TIME, cpu=_WHOLE),
            tid=_or_none(_WHOLE), comm=_or_none(_TEXT),
        ), 1, 64
    ),
}  # fmt: skip
#: Why points are not among the stages; sessions recorded before they were measured have none.
_ABSENT = _each(_object(reason=_NAME, points=_each(_NAME, most=64)), most=16)
#: Sessions recorded before echo packets were told apart have none.
_ICMP = _object(id=_number(0, 1 << 16), seq=_number(0, 1 << 16), kind=_word("request|reply"))
_DROP = _object(point=_NAME, reason=_or_none(_TEXT), function=_or_none(_TEXT))
_LEG = _object(
    vm_interface=_or_none(_TEXT), leg=_NAME, direction=_DIRECTION, title=_NAME, count=_COUNT,
    sum_ns=_TOTAL, max_ns=_TOTAL, buckets=_buckets,
)  # fmt: skip
_FLOW_ROW = _object(
    direction=_DIRECTION, vm_interface=_or_none(_TEXT), flow=_FLOW, packets=_COUNT, bytes=_TOTAL,
    first_ns=_TIME, last_ns=_TIME,
)  # fmt: skip
_DROP_ROW = _object(
    direction=_DIRECTION, vm_interface=_or_none(_TEXT), point=_NAME, reason=_or_none(_TEXT),
    function=_or_none(_TEXT), packets=_COUNT,
)  # fmt: skip

_ABSENCE_ROW = _object(
    vm_interface=_or_none(_TEXT), direction=_DIRECTION, reason=_NAME, packets=_COUNT
)
_HISTOGRAM = _object(count=_COUNT, sum_ns=_TOTAL, max_ns=_TOTAL, buckets=_buckets)
_HALTS = _object(
    polled=_COUNT, polled_ns=_TOTAL, slept=_COUNT, slept_ns=_TOTAL, grown=_COUNT, shrunk=_COUNT,
    window_ns=_or_none(_COUNT),
)  # fmt: skip
_WAKEUPS_ROW = _also(_object(
    tid=_COUNT, role=_word("worker|vcpu"), vm_interface=_or_none(_TEXT), idle=_HISTOGRAM,
    queued=_HISTOGRAM, migrations=_COUNT, idle_states=_each(_pair(_WHOLE, _COUNT), most=64),
    ahead_ns=_each(_pair(_TEXT, _TOTAL), most=4096),
), halts=_or_none(_HALTS))  # fmt: skip

_FRAMES: dict[str, Check] = {
    "hello": _also(
        _object(clock=_object(mono_ns=_TIME, wall_ns=_TIME)),
        kernel=_TEXT, host=_TEXT, boot=_TEXT, agent=_WHOLE, rung=_or_none(_NAME),
        offsets=_or_none(_NAME), points=_POINTS,
    ),
    "attaching": _object(t_ns=_TIME),
    "released": _object(t_ns=_TIME),
    "measuring": _object(t_ns=_TIME, rung=_NAME, offsets=_NAME, points=_POINTS),
    "links": _object(
        t_ns=_TIME,
        vm_interfaces=_each(_object(name=_TEXT, ifindex=_or_none(_WHOLE))),
        uplinks=_each(_TEXT),
        leaves=_each(_TEXT),
    ),
    "packet": _also(_object(**_PACKET), absent=_ABSENT, icmp=_ICMP),
    "drop": _also(_object(**_PACKET, bin=_NAME, drop=_DROP), absent=_ABSENT, icmp=_ICMP),
    "echo": _object(
        side=_word("sender_guest|receiver_guest"),
        icmp=_object(id=_number(0, 1 << 16), seq=_number(0, 1 << 16)),
        src=_ADDRESS, dst=_ADDRESS, interface=_or_none(_TEXT),
        process=_object(pid=_WHOLE, comm=_TEXT), times=_times,
    ),
    "stats": _also(_object(
        final=_FLAG,
        t_ns=_TIME,
        bins=_named(
            _object(started=_TOTAL, sum=_TOTAL, **{b.id: _TOTAL for b in Bin}), _DIRECTION
        ),
        legs=_each(_LEG),
        flows=_each(_FLOW_ROW),
        drops=_each(_DROP_ROW),
        hooks=_named(_TOTAL),
        counters=_named(_TOTAL),
        cost=_named(_TOTAL),
    ), absences=_each(_ABSENCE_ROW), wakeups=_each(_WAKEUPS_ROW)),
    "notice": _object(text=_TEXT),
    "ack": _also(_object(), id=_or_none(_WHOLE), command=_or_none(_TEXT)),
    "error": _also(
        _object(title=_TEXT), id=_or_none(_WHOLE), cause=_TEXT, remedy=_TEXT, exit_status=_WHOLE
    ),
    "lost": _object(
        title=_TEXT, cause=_TEXT, attempt=_COUNT, wait_s=_exactly(int, float)
    ),
    "host": _object(
        kernel=_TEXT, machine=_TEXT, root=_FLAG, rung=_NAME,
        btf=_object(present=_FLAG, problem=_TEXT),
        headers=_FLAG, kprobes=_FLAG, ring_buffer=_FLAG,
        bcc=_object(version=_or_none(_TEXT), problem=_TEXT),
        lockdown=_TEXT, problem=_TEXT, points=_POINTS, missing=_each(_NAME), measurable=_FLAG,
        vm_interfaces=_each(_TEXT), uplinks=_each(_TEXT),
    ),
}  # fmt: skip


def check(frame: dict[str, Any]) -> None:
    """Raise ``ValueError`` with the field that is wrong, if one is."""
    inner = _FRAMES.get(frame["type"])
    if inner is not None:
        try:
            inner(frame)
        except (TypeError, AttributeError) as error:
            raise ValueError(str(error)) from None
