"""The reader thread: drains a source, keeps the history, hands over what is known.

The thread owns the source; everything else reaches it through a queue.  It posts at most
every :data:`TICK_S`, what is urgent after :data:`_URGENT_S`, however many frames come, and ends
when asked to or when the source does.  Of a processor, which it shares with whoever draws, it takes
no more than :data:`_SHARE`: a host that sends more waits.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from vmlat_tui.errors import VmlatError
from vmlat_tui.protocol.frames import Frame, type_of
from vmlat_tui.protocol.session import NoticeFrame
from vmlat_tui.recording.write import RecordingFailed, Tee
from vmlat_tui.session.history import History
from vmlat_tui.session.snapshot import Moments, Phase
from vmlat_tui.transport.source import Order, Source, StreamEnded

_log = logging.getLogger(__name__)

#: Two paints a second.
TICK_S = 0.5
_POLL_S, _URGENT_S = 0.05, 0.2
#: Of the time, and so long a rest is at least.
_SHARE, _REST_S = 0.5, 0.05
#: These change what the user can do: they are shown at once.
_URGENT = frozenset({"hello", "topology", "measuring", "released", "error", "lost"})
#: How long leaving may take: an agent that hangs is waited for, at its end and at ours.
_JOIN_S = 4.0

_Order = Callable[[Tee], None]


class Feed:
    """Owns the reader thread.  Its methods may be called from any thread."""

    def __init__(
        self,
        connect: Callable[[], Source],
        post: Callable[[Moments], None],
        *,
        at_once: bool = False,
    ) -> None:
        """``connect`` makes the source and ``post`` takes what is known, both on the thread.

        ``at_once``: the source is a file of ours, read as fast as can be.
        """
        self._all = at_once
        self._connect = connect
        self._post = post
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vmlat-feed", daemon=True)
        self._history = History()

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def end(self) -> None:
        """Begin to end the source and the thread."""
        self._end.set()

    def close(self) -> None:
        """End both; returns when they are gone."""
        self.end()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    def send(self, order: Order) -> None:
        """Give a command; its refusal will be in a snapshot."""
        self._orders.put(lambda tee: tee.send(order))

    def record(self, path: Optional[Path]) -> None:
        """Begin to record, or end it with None."""

        def order(tee: Tee) -> None:
            try:
                if path is None:
                    tee.stop()
                else:
                    tee.record(path)
            finally:
                self._history.recording(str(tee.path) if tee.path else None)

        self._orders.put(order)

    # ---- on the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        history = self._history
        try:
            tee = Tee(self._connect())
        except VmlatError as error:
            _log.error("no source of frames: %s", error)
            history.note(Phase.FAILED, error)
            self._post(history.moments())
            return
        try:
            self._read(tee)
        except StreamEnded:
            _log.info("the stream of frames is over")
            history.note(Phase.ENDED)
        except VmlatError as error:
            _log.error("the stream of frames ended: %s", error)
            history.note(Phase.FAILED, error)
        finally:
            self._close(tee)
        if not self._end.is_set():
            self._post(history.moments())

    def _close(self, tee: Tee) -> None:
        try:
            tee.close()
        except RecordingFailed as error:
            self._recording_failed(error)

    def _recording_failed(self, error: RecordingFailed) -> None:
        self._history.recording(None)
        self._history.take(NoticeFrame(str(error)))

    def _read(self, tee: Tee) -> None:
        next_post, dirty = time.monotonic(), True
        soonest = next_post
        pace = _Pace(self._end)
        while not self._end.is_set():
            if not self._all:
                pace.rest()
            try:
                frame = tee.next(_POLL_S)
            except RecordingFailed as error:
                self._recording_failed(error)
                next_post, dirty, frame = soonest, True, None
            if frame is not None:
                self._history.take(frame)
                dirty = True
                if type_of(frame) in _URGENT:
                    next_post = soonest
            if self._obey(tee):
                dirty, next_post = True, soonest
            now = time.monotonic()
            if dirty and now >= next_post:
                self._post(self._history.moments())
                next_post, soonest, dirty = now + TICK_S, now + _URGENT_S, False

    def _obey(self, tee: Tee) -> bool:
        done = False
        while True:
            try:
                order = self._orders.get_nowait()
            except queue.Empty:
                return done
            done = True
            try:
                order(tee)
            except VmlatError as error:
                _log.warning("an order could not be given: %s", error)
                self._history.complain(error)


class _Pace:
    """How much of a processor the thread that makes it takes."""

    def __init__(self, end: threading.Event) -> None:
        """``end`` ends a rest."""
        self._end = end
        self._since_s, self._ran_s = time.monotonic(), time.thread_time()

    def rest(self) -> None:
        """Wait if it has run for too long."""
        ran_s = time.thread_time() - self._ran_s
        rest_s = self._since_s + ran_s / _SHARE - time.monotonic()
        if rest_s > _REST_S:
            self._end.wait(rest_s)
        elif rest_s > 0:
            return
        self._since_s, self._ran_s = time.monotonic(), time.thread_time()


def drain(source: Source) -> Moments:
    """Everything a source has, at once: for reports and tests."""
    history = History()
    try:
        while True:
            frame: Optional[Frame] = source.next(1.0)
            if frame is not None:
                history.take(frame)
    except StreamEnded:
        history.note(Phase.ENDED)
    finally:
        source.close()
    return history.moments()
