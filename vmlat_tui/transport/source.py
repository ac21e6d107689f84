"""What a frame source is: an agent on this host, one far away, a recorded file."""

from __future__ import annotations

from typing import Any, Optional, Protocol

from vmlat_tui.errors import VmlatError
from vmlat_tui.protocol.frames import Frame


class StreamEnded(VmlatError):
    """There will be no more frames, and that is how it should be: a recording is over."""


class Source(Protocol):
    """Gives frames and takes commands.  For one thread."""

    def send(self, command: str, **fields: Any) -> None:
        """Give one command; raises :class:`VmlatError` if nobody is there."""

    def next(self, timeout_s: float) -> Optional[Frame]:
        """The next frame, or None if none came in time; raises :class:`VmlatError` at the end."""

    def close(self) -> None:
        """End it; returns when nothing of it is left.  May be called twice."""


class Nothing:
    """A source that is over before it begins: what is shown was read from elsewhere."""

    def send(self, command: str, **fields: Any) -> None:
        """Nobody obeys."""

    def next(self, timeout_s: float) -> Optional[Frame]:
        """Always at the end."""
        raise StreamEnded("nothing is measured here")

    def close(self) -> None:
        """Nothing is open."""
