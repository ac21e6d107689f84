"""The frames of a recorded session.

A recording is the frame stream itself, one JSON object per line, gzip-compressed if the name ends
in ``.gz``.  It begins with ``hello``, and with whatever frames describe the state at that moment,
so that a recording begun late replays like one begun early.  A tail that was cut off ends the
recording there; a recording of an older schema is migrated while it is read.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from vmlat_tui import safe_files
from vmlat_tui.errors import UsageError, quoted
from vmlat_tui.model.packets import DropFrame, PacketFrame
from vmlat_tui.protocol import frames
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.protocol.migrations import Migration, Raw, migration
from vmlat_tui.protocol.session import HelloFrame, NoticeFrame

_log = logging.getLogger(__name__)

#: These come once a second.
READINGS = frozenset({"vitals", "stats"})
#: So much memory the values of one frame may take, about; all flows of a large host take it.
_HEAVIEST = 64 << 20
CUT_OFF = "the recording is cut off here: what followed is lost"


class NoRecording(frames.FrameError):
    """The given file cannot be replayed."""

    exit_status = 2


def time_of(frame: Frame) -> Optional[int]:
    """When a frame was made, on the clock of its host; None where it does not say."""
    if isinstance(frame, HelloFrame):
        return frame.clock.mono_ns
    if isinstance(frame, (PacketFrame, DropFrame)):
        return frame.stages[-1].t_ns
    return getattr(frame, "t_ns", None)


class _Cut(Exception):
    """The file ends in the middle of a line, or of what was compressed."""


#: About what each of these brings along in memory, in bytes: an object, a list, a value, a field.
_WEIGHTS = ((b"{", 232), (b"[", 64), (b",", 64), (b":", 80))


def _weight(line: bytes) -> int:
    """About what the values of a line will take in memory, which may be 30 times its length."""
    return sum(weight * line.count(sign) for sign, weight in _WEIGHTS)


def _lines(path: Path, below: Optional[Path]) -> Iterator[bytes]:
    """Whole lines; raises :class:`_Cut` after the last one of a file that is cut off."""
    with safe_files.open_regular(path, below) as file:
        try:
            while True:
                line = file.readline(frames.MAX_LINE + 1)
                if not line:
                    return
                if len(line) > frames.MAX_LINE or _weight(line) > _HEAVIEST:
                    raise NoRecording(
                        f"{path.name} is not a recording of vmlat",
                        f"a line is too large: {line[:60]!r}",
                    )
                if not line.endswith(b"\n"):
                    raise _Cut
                yield line
        except (EOFError, zlib.error):
            raise _Cut from None
        except OSError as error:
            raise UsageError(f"{path.name} cannot be read", str(error)) from None


def read(path: Path, below: Optional[Path] = None) -> Iterator[Frame]:
    """The frames of a file, as far as it is whole; where it is cut off, a last notice says so.

    No link is followed on the way from ``below``, a directory above it, if that is given.

    Raises :class:`UsageError` if it cannot be opened and :class:`NoRecording` if it does not
    begin with a ``hello`` of a schema that can be read, or goes on with what is not a frame.
    """
    migrate: Optional[Migration] = None
    first = True
    try:
        for line in _lines(path, below):
            try:
                if first:
                    first, hello = False, frames.parse(line)
                    migrate = _migration(path, hello)
                yield frames.decode(line, migrate)
            except NoRecording:
                raise
            except frames.FrameError as error:
                raise NoRecording(f"{path.name} is not a recording of vmlat", error.cause) from None
        cut = False
    except _Cut:
        cut = True
    if first:
        raise NoRecording(f"{path.name} is not a recording of vmlat", "it is empty")
    if cut:
        _log.warning("%s is cut off", path)
        yield NoticeFrame(CUT_OFF)


def _migration(path: Path, hello: Raw) -> Optional[Migration]:
    if hello.get("type") != "hello":
        what = quoted(hello.get("type"))
        raise NoRecording(f"{path.name} is not a recording of vmlat", f"it begins with {what}")
    try:
        return migration(hello)
    except frames.FrameError as error:
        raise NoRecording(
            f"{path.name} cannot be replayed", f"{error.title}, {error.cause}", error.remedy
        ) from None
