"""The frame stream: one JSON object per line, from the agent to whoever looks.

The first frame is ``hello`` and carries the schema version.  Everything a user ever sees arrives as
a frame; recording, replay and a remote host are the same stream.  docs/protocol.md tells of it line
by line, the classes of :mod:`.session` and of the model field by field.

Times are integer nanoseconds of the host's CLOCK_MONOTONIC unless the name says ``wall``.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any, Optional, Union

from vmlat_tui.errors import quoted
from vmlat_tui.model.packets import DropFrame, PacketFrame
from vmlat_tui.model.topology import Topology, Vitals
from vmlat_tui.protocol import migrations, wire
from vmlat_tui.protocol.echo import EchoFrame
from vmlat_tui.protocol.migrations import FrameError as FrameError
from vmlat_tui.protocol.migrations import Migration, Raw
from vmlat_tui.protocol.session import (
    AckFrame,
    AttachingFrame,
    ErrorFrame,
    HelloFrame,
    HostFrame,
    LinksFrame,
    LostFrame,
    MeasuringFrame,
    NoticeFrame,
    ReleasedFrame,
)
from vmlat_tui.protocol.stats import StatsFrame

Frame = Union[
    PacketFrame,
    DropFrame,
    EchoFrame,
    StatsFrame,
    HelloFrame,
    AttachingFrame,
    MeasuringFrame,
    ReleasedFrame,
    LinksFrame,
    Topology,
    Vitals,
    NoticeFrame,
    AckFrame,
    ErrorFrame,
    LostFrame,
    HostFrame,
]

#: Type -> what a frame of it is.
CLASSES: Mapping[str, type[Frame]] = {
    "packet": PacketFrame,
    "drop": DropFrame,
    "echo": EchoFrame,
    "stats": StatsFrame,
    "hello": HelloFrame,
    "attaching": AttachingFrame,
    "measuring": MeasuringFrame,
    "released": ReleasedFrame,
    "links": LinksFrame,
    "topology": Topology,
    "vitals": Vitals,
    "notice": NoticeFrame,
    "ack": AckFrame,
    "error": ErrorFrame,
    "lost": LostFrame,
    "host": HostFrame,
}
_NAMES: Mapping[type[Any], str] = {kind: name for name, kind in CLASSES.items()}
TYPES = frozenset(CLASSES)

#: A longer line is not a frame of ours.
MAX_LINE = 16 << 20

_SAME_VERSION = "use the same version of vmlat on both sides"


def type_of(frame: Frame) -> str:
    """What JSON calls it."""
    return _NAMES[type(frame)]


def to_json(frame: Frame) -> Raw:
    """JSON-ready form; :func:`from_json` reads it back unchanged."""
    return {"type": type_of(frame), **frame.to_json()}


def from_json(value: Raw) -> Frame:
    """Inverse of :func:`to_json`; raises :class:`FrameError` with what is wrong."""
    name = value.get("type")
    kind = CLASSES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise FrameError("the agent sent an unknown frame", quoted(name))
    # What is of another schema is not looked at.
    if name == "hello":
        _check_schema(value)
    try:
        return kind.from_json(value)
    except ValueError as error:
        raise FrameError(
            f"the agent sent an invalid {name} frame", str(error), _SAME_VERSION
        ) from None


def encode(frame: Frame) -> bytes:
    """One line."""
    return wire.line(to_json(frame))


def parse(line: bytes) -> Raw:
    """The object of one line, whatever it says; raises :class:`FrameError`."""
    try:
        value = wire.value_of(line)
    except ValueError as error:
        raise FrameError("the agent sent an invalid frame", f"{error} in {line[:60]!r}") from None
    if not isinstance(value, dict):
        raise FrameError("the agent sent an unknown frame", repr(line[:60]))
    return value


def decode(line: bytes, migrate: Optional[Migration] = None) -> Frame:
    """The frame of one line; raises :class:`FrameError` with what is wrong.

    ``migrate`` is what :func:`.migrations.migration` made of the stream's ``hello``.
    """
    # What is parsed has no cycles, and may be a million objects: no need to look at them all.
    collects = gc.isenabled()
    gc.disable()
    try:
        return _decoded(line, migrate)
    finally:
        if collects:
            gc.enable()


def _decoded(line: bytes, migrate: Optional[Migration]) -> Frame:
    value = parse(line)
    if migrate is not None:
        try:
            value = migrate(value)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FrameError(
                "a frame of an older version cannot be read",
                f"{type(error).__name__} {error} in {line[:60]!r}",
            ) from None
    return from_json(value)


def _check_schema(hello: Raw) -> None:
    schema = hello.get("schema")
    if type(schema) is not int or schema != migrations.SCHEMA:
        raise FrameError(
            f"the stream has schema {quoted(schema)}, this program reads {migrations.SCHEMA}",
            "",
            _SAME_VERSION,
        )


def as_hello(frame: Frame) -> HelloFrame:
    """The first frame of a stream; raises :class:`FrameError` unless it is a ``hello``."""
    if not isinstance(frame, HelloFrame):
        raise FrameError("the stream does not begin with hello", f"but with {type_of(frame)}")
    return frame
