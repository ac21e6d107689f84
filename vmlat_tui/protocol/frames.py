"""The frame stream: one JSON object per line, from the agent to whoever looks.

The first frame is ``hello`` and carries the schema version.  Everything a user ever sees arrives as
a frame; recording, replay and a remote host are the same stream.

Frames (``type``):

``hello``    schema, version, kernel, host, boot (its id), agent (pid), clock {mono_ns, wall_ns},
             capabilities [{name, state (of :class:`.CapabilityState`), needed, purpose, loss}],
             rung, offsets, points [{point, directions, hooks [{function, kind}], reason}]; the last
             three are null, null and empty while nothing is measured; once more after ``lost``
``attaching``  probes are being put in place, which takes seconds when they must be compiled: t_ns
``measuring``  a measurement began after ``hello``: t_ns, rung, offsets, points
``released`` nothing is measured any more: t_ns; the final ``stats`` came before
``links``    vm_interfaces [{name, ifindex}], uplinks, leaves; ifindex null while it is absent
``packet``   one completed packet (see :func:`vmlat_tui.agent.encode.packet_frame`); of an echo
             packet, ``icmp`` {id, seq, kind: request or reply}, for ICMPv6 too
``drop``     one packet that did not complete: the same, with ``bin`` and ``drop``
``echo``     a ping as a guest sees it, once it is over (:class:`.guest.RoundTrip`): side, icmp
             {id, seq}, src, dst, interface, process {pid, comm}, times by name; only of an agent
             whose ``configure`` has ``guest`` true (and ``timeout_ns``), which sends no ``packet``,
             and in ``stats`` only counters {lost, waiting}
``topology`` the host's VMs, interfaces, switches: :meth:`.topology.Topology.to_json`; on change
``vitals``   its fast counters: :meth:`.topology.Vitals.to_json`; about once a second
``stats``    everything counted since the start; ``flows`` has those with traffic since the last
             ``stats``; ``final`` true in the last one, which has all flows; where the points after
             tun are measured, ``absences`` [{vm_interface, direction, reason, packets}] (ids of
             :mod:`.absences`) and ``wakeups`` (:meth:`.wakeups.Wakeups.to_json`), one for each
             watched thread
``notice``   something the user should know: ``text``
``ack``      a command was carried out: ``id``, ``command``, ``took_ns``; for ``measure`` with
             ``requested``, the whole of what is measured now (:class:`.requested.Requested`)
``host``     what this host can measure (``vmlat doctor``): the answer to ``describe``, and the only
             frame if that is the first command; ``capabilities`` as in ``hello``
``error``    title, cause, remedy, exit_status; fatal unless ``id`` names a command
``lost``     said by the session itself, never by an agent: the connection broke, and ``hello`` will
             follow if it can be made again: title, cause, attempt (its number), wait_s (until it)

Commands, the other way: ``configure`` or ``describe`` (first),
``measure``, ``release``, ``read``, ``describe``, ``stop``.
``configure`` with ``discover`` true brings ``topology`` and ``vitals`` (``connect``: libvirt's
URI), with ``measure`` false no probe is attached before the command of that name.  ``measure`` has
the fields of :class:`.requested.Requested`, all of them each time: it begins a measurement, or
changes the one that runs, whose probes stay where they are; given while probes are being put in
place, it is carried out after that.  Refused, it changes nothing.  ``release`` removes the probes;
``measure`` may follow again.

Times are integer nanoseconds of the host's CLOCK_MONOTONIC unless the name says ``wall``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Any, Optional

from vmlat_tui.errors import VmlatError, quoted
from vmlat_tui.protocol import shapes

#: Raised by one when a reader of the old version would misread the new one.
SCHEMA = 1

Frame = dict[str, Any]
Migration = Callable[[Frame], Frame]

#: Schema -> what makes a frame of the next schema of one of this schema (``hello`` among them).
#: One for each schema that some version wrote; :func:`migration` chains them.
MIGRATIONS: dict[int, Migration] = {}

TYPES = shapes.TYPES
#: What an agent may not send.
OURS = frozenset({"lost"})

#: A longer line is no frame of ours.
MAX_LINE = 16 << 20

#: Old interpreters take hours for such a number; the others refuse it themselves.
_BIG = None if hasattr(sys, "get_int_max_str_digits") else re.compile(rb"\d{4301}")

_SAME_VERSION = "use the same version of vmlat on both sides"


class FrameError(VmlatError):
    """The stream holds something that is no frame."""


def encode(frame: Frame) -> bytes:
    """One line, ASCII only, so that no name from outside can carry a terminal escape."""
    return json.dumps(frame, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes, migrate: Optional[Migration] = None) -> Frame:
    """The frame of one line; raises :class:`FrameError` with what is wrong.

    ``migrate`` is what :func:`migration` made of the stream's ``hello``.
    """
    try:
        if _BIG is not None and _BIG.search(line):
            raise ValueError("a number without end")
        frame: Any = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise FrameError("the agent sent no frame", f"{error} in {line[:60]!r}") from None
    if migrate is not None and isinstance(frame, dict):
        try:
            frame = migrate(frame)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FrameError(
                "a frame of an older version cannot be read",
                f"{type(error).__name__} {error} in {line[:60]!r}",
            ) from None
    kind = frame.get("type") if isinstance(frame, dict) else None
    if not isinstance(kind, str) or kind not in TYPES:
        raise FrameError("the agent sent an unknown frame", repr(line[:60]))
    assert isinstance(frame, dict)
    # What is of another schema is not looked at: its hello will say so.
    if kind != "hello" or frame.get("schema") == SCHEMA:
        try:
            shapes.check(frame)
        except ValueError as error:
            raise FrameError(f"the agent sent no {kind}", str(error), _SAME_VERSION) from None
    return frame


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no number")


def check_hello(frame: Frame) -> None:
    """Raise :class:`FrameError` unless this is a ``hello`` of a schema that can be read."""
    if frame["type"] != "hello":
        raise FrameError("the stream does not begin with hello", f"but with {frame['type']}")
    schema = frame.get("schema")
    if type(schema) is not int or schema != SCHEMA:
        raise FrameError(
            f"the stream has schema {quoted(schema)}, this program reads {SCHEMA}",
            "",
            _SAME_VERSION,
        )


def migration(hello: Frame) -> Optional[Migration]:
    """What makes frames of :data:`SCHEMA` of those that follow this ``hello``; None: they are.

    Raises :class:`FrameError` for a schema that is newer, or that nothing leads on from.
    """
    schema = hello.get("schema")
    if type(schema) is not int:
        raise FrameError(f"schema {schema!r:.20} is no number", f"this program reads {_readable()}")
    if schema > SCHEMA:
        raise FrameError(
            "a newer version of vmlat wrote this",
            f"schema {schema!s:.20}, this program reads up to {SCHEMA}",
            f"use vmlat {str(hello.get('version'))[:20]} or later",
        )
    if schema < _oldest():
        raise FrameError(
            f"schema {schema!s:.20} cannot be read", f"this program reads {_readable()}"
        )
    if schema == SCHEMA:
        return None
    chain = [MIGRATIONS[old] for old in range(schema, SCHEMA)]

    def migrate(frame: Frame) -> Frame:
        for step in chain:
            frame = step(frame)
        if frame.get("type") == "hello":
            frame["schema"] = SCHEMA
        return frame

    return migrate


def _oldest() -> int:
    oldest = SCHEMA
    while oldest - 1 in MIGRATIONS:
        oldest -= 1
    return oldest


def _readable() -> str:
    oldest = _oldest()
    return str(SCHEMA) if oldest == SCHEMA else f"{oldest} to {SCHEMA}"


def error_frame(error: VmlatError) -> Frame:
    """The ``error`` frame of an exception."""
    return {
        "type": "error",
        "title": error.title,
        "cause": error.cause,
        "remedy": error.remedy,
        "exit_status": error.exit_status,
    }


def error_of(frame: Frame) -> VmlatError:
    """The exception of an ``error`` frame."""
    error = VmlatError(
        str(frame["title"]), str(frame.get("cause", "")), str(frame.get("remedy", ""))
    )
    error.exit_status = 2 if frame.get("exit_status") == 2 else 1
    return error
