"""Writes a session down while it passes: a tee of the frame stream into a file.

What such a file holds is said in :mod:`vmlat_tui.recording.read`.
"""

from __future__ import annotations

import logging
from io import BufferedIOBase
from pathlib import Path
from typing import Optional

from vmlat_tui import safe_files
from vmlat_tui.errors import VmlatError
from vmlat_tui.protocol import frames
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.protocol.session import AckFrame
from vmlat_tui.recording.read import READINGS
from vmlat_tui.transport.source import Order, Source

_log = logging.getLogger(__name__)

#: The latest frame of each of these types is written first; an ``ack`` only if it says what is
#: measured.
_STATE = ("hello", "topology", "measuring", "links", "ack", "vitals", "stats")
#: Those that say nothing any more after ``released``.
_MEASURED = ("measuring", "links", "ack", "stats")


class RecordingFailed(VmlatError):
    """Nothing more can be written down; the stream itself goes on."""

    def __init__(self, path: Path, error: OSError) -> None:
        """``error`` is why."""
        super().__init__(
            f"recording to {path} ended", error.strerror or str(error), "what was written is kept"
        )


class Tee:
    """A source that also writes what passes through it, while asked to.  For one thread."""

    def __init__(self, source: Source) -> None:
        """Owns ``source``."""
        self._source = source
        #: As lines: objects take ten times the memory.
        self._state: dict[str, bytes] = {}
        self._file: Optional[BufferedIOBase] = None
        self._failure: Optional[RecordingFailed] = None
        #: Where it writes now.
        self.path: Optional[Path] = None

    def record(self, path: Path, file: Optional[BufferedIOBase] = None) -> None:
        """Begin to write: to a new file there, or to ``file``, which will be there.

        It is the owner's alone, as it holds addresses and names of VMs.  Raises
        :class:`UsageError` if it cannot be made.
        """
        self.stop()
        if file is None:
            safe_files.make_directory(path.parent)
            file = safe_files.create(path)
        self._file = safe_files.packed(file, path, "wb")
        self.path = path
        _log.info("recording to %s", path)
        for kind in _STATE:
            if kind in self._state:
                self._write(kind, self._state[kind])

    def stop(self) -> None:
        """End the recording, if there is one; raises :class:`RecordingFailed`."""
        file, path = self._file, self.path
        self._file = self.path = None
        if file is not None and path is not None:
            _log.info("recording to %s ends", path)
            try:
                file.close()
            except OSError as error:
                _log.error("recording to %s: %s", path, error)
                raise RecordingFailed(path, error) from None

    def _write(self, kind: str, line: bytes) -> None:
        if self._file is None or self.path is None:
            return
        try:
            self._file.write(line)
            if kind in READINGS:  # what a crash may lose is never more than a second
                self._file.flush()
        except OSError as error:
            _log.error("recording to %s: %s", self.path, error)
            self._failure = RecordingFailed(self.path, error)
            try:
                self.stop()
            except RecordingFailed:
                pass

    def send(self, order: Order) -> None:
        """Pass it on."""
        self._source.send(order)

    def next(self, timeout_s: float) -> Optional[Frame]:
        """The next frame, written down if that was asked for.

        Raises :class:`RecordingFailed`, once, when that went wrong: the frames go on.
        """
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        frame = self._source.next(timeout_s)
        if frame is not None:
            kind = frames.type_of(frame)
            state = kind in _STATE and not (isinstance(frame, AckFrame) and frame.requested is None)
            line = frames.encode(frame) if state or self._file is not None else b""
            if kind == "hello":
                self._state.clear()  # another agent, which has not said the rest yet
            if state:
                self._state[kind] = line
            elif kind == "released":
                for measured in _MEASURED:
                    self._state.pop(measured, None)
            self._write(kind, line)
        return frame

    def close(self) -> None:
        """Close the file, then the source; raises :class:`RecordingFailed`."""
        try:
            self.stop()
        finally:
            self._source.close()
