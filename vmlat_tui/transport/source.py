"""What a frame source is: an agent on this host, one far away, a recorded file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Protocol, Union

from vmlat_tui.errors import VmlatError
from vmlat_tui.protocol.commands import Command
from vmlat_tui.protocol.frames import Frame


class StreamEnded(VmlatError):
    """There will be no more frames, and that is how it should be: a recording is over."""


@dataclass(frozen=True)
class Pace:
    """A recording goes on so much faster than it was (None: without waiting), or rests."""

    speed: Optional[float]
    paused: bool


@dataclass(frozen=True)
class Seek:
    """A recording goes on at once to the first frame at ``t_ns`` (host's clock) or later."""

    t_ns: int


@dataclass(frozen=True)
class Step:
    """A recording goes on at once by so many readings."""

    readings: int


#: A recording obeys what concerns its time, an agent everything else; what is not for it, each
#: ignores.
Order = Union[Command, Pace, Seek, Step]


class Source(Protocol):
    """Gives frames and takes commands.  For one thread."""

    def send(self, order: Order) -> None:
        """Give one command; raises :class:`VmlatError` if nobody is there."""

    def next(self, timeout_s: float) -> Optional[Frame]:
        """The next frame, or None if none came in time; raises :class:`VmlatError` at the end."""

    def close(self) -> None:
        """End it; returns when nothing of it is left.  May be called twice."""


class Nothing:
    """A source that is over before it begins: what is shown was read from elsewhere."""

    def send(self, order: Order) -> None:
        """Nobody obeys."""

    def next(self, timeout_s: float) -> Optional[Frame]:
        """Always at the end."""
        raise StreamEnded("nothing is measured here")

    def close(self) -> None:
        """Nothing is open."""
