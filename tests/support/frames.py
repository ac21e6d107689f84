"""Frames as the objects that they are in JSON: what tests write down, look at and spoil."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Optional, Protocol

from vmlat_tui.errors import VmlatError
from vmlat_tui.model import jsonable
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.packets import DropFrame, PacketFrame, SeenPacket
from vmlat_tui.model.pings import Ping, PingJoiner
from vmlat_tui.model.wakeups import Wakeups
from vmlat_tui.protocol import frames
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.protocol.session import ErrorFrame
from vmlat_tui.protocol.stats import StatsFrame, WakeupsRow
from vmlat_tui.recording.read import read


def typed(value: Raw) -> Frame:
    """As it arrives."""
    return frames.from_json(value)


def error_object(error: VmlatError, **more: Any) -> Raw:
    """An ``error``; with ``id`` it refuses a command."""
    return {**frames.to_json(ErrorFrame.of(error)), **more}


def seen(value: Raw) -> SeenPacket:
    """A ``packet`` or ``drop`` as it arrives."""
    found = typed(value)
    assert isinstance(found, (PacketFrame, DropFrame))
    return found


def counted(value: Raw) -> StatsFrame:
    """A ``stats`` as it arrives."""
    found = typed(value)
    assert isinstance(found, StatsFrame)
    return found


def settled(joiner: PingJoiner, value: Raw) -> list[Ping]:
    """What a joiner makes of a ``stats``."""
    frame = counted(value)
    return joiner.settle(frame.t_ns, frame.final, frame.ended(Bin.IN_FLIGHT), frame.unseen)


def wakeups_object(row: Wakeups) -> Raw:
    """A row of ``wakeups``."""
    found: Raw = jsonable.to_json(WakeupsRow.of(row, row.vm_interface))
    return found


def wakeups_of(value: Raw) -> Wakeups:
    """Inverse of :func:`wakeups_object`."""
    kind: Any = WakeupsRow
    found: Wakeups = jsonable._object(kind).read(value).wakeups
    return found


def encoded(value: Raw) -> bytes:
    """Its line, whatever it says."""
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def decoded(line: bytes) -> Raw:
    """What a line says, once it was looked at."""
    return frames.to_json(frames.decode(line))


def objects(path: Path) -> list[Raw]:
    """The frames of a recording."""
    return [frames.to_json(frame) for frame in read(path)]


class _Gives(Protocol):
    def next(self, timeout_s: float) -> Optional[Frame]: ...


def next_object(source: _Gives, timeout_s: float) -> Optional[Raw]:
    """The next frame of a source."""
    frame = source.next(timeout_s)
    return None if frame is None else frames.to_json(frame)
