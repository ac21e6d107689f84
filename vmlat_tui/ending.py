"""How a command ends when it is asked to, whatever the agents do that it waits for.

The first SIGINT, SIGTERM or SIGHUP ends a command at once, as an exception that lets go of all
that is open.  Where there is something to finish (:meth:`Ending.orderly`) it is a request: whoever
waits for an agent is woken, the agents are listened to for another :data:`ANSWER_S`, and after
:data:`GONE_S` the last of them is killed (:data:`FINISH_S` later, both).  A second signal ends
that too.

Who leaves the screens begins the same without a signal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, Optional

#: After the beginning of the end agents are listened to for so long, and are gone after so long:
#: one that is well leaves a second after its input (:mod:`vmlat_tui.agent.orphan`).
ANSWER_S, GONE_S = 1.0, 1.6
#: So much longer where they have something to finish: final statistics of a host that is slow.
FINISH_S = 1.5
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class EndedBySignal(KeyboardInterrupt):
    """A signal ended the command."""


class Ending:
    """Whether and since when everything is to end.  Signals come on the main thread."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self._since_s: Optional[float] = None
        self._number = 0
        self._hurried = self._due = self._finishes = False
        self._orderly = self._held = 0
        self._wake_reader, self._wake_writer = os.pipe()
        for descriptor in (self._wake_reader, self._wake_writer):
            os.set_blocking(descriptor, False)

    # ---- who asks -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Take the signals while inside.  For the main thread; elsewhere it does nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
        if before[signal.SIGHUP] is signal.SIG_IGN:  # nohup stays nohup
            del before[signal.SIGHUP]
        for number in before:
            signal.signal(number, self._signalled)
        try:
            yield
        finally:
            for number, previous in before.items():
                signal.signal(number, previous)

    def _signalled(self, number: int, frame: Optional[FrameType]) -> None:
        first = self._since_s is None
        self._finishes = first and self._orderly > 0
        self.begin(number)
        if first and self._orderly:
            return
        self._hurried = not first
        if self._held:
            self._due = True
        else:
            raise EndedBySignal

    def begin(self, number: int = 0) -> None:
        """It ends from now on; ``number`` is the signal that says so, if one does."""
        if self._since_s is None:
            self._since_s = time.monotonic()
        self._number = self._number or number
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_writer, b"\0")

    def forget(self) -> None:
        """Nobody has asked: another command runs in this process."""
        self.woken()
        self._since_s, self._number = None, 0
        self._hurried = self._due = self._finishes = False

    # ---- who is asked -------------------------------------------------------------------------

    @contextlib.contextmanager
    def orderly(self) -> Iterator[None]:
        """Inside, the first signal is a request: :attr:`asked` becomes true."""
        self._orderly += 1
        try:
            yield
        finally:
            self._orderly -= 1

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Inside, nothing is torn apart: what a signal raises is raised at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            if self._due and not self._held:
                self._due = False
                raise EndedBySignal

    @property
    def asked(self) -> bool:
        """It is to end as soon as it can."""
        return self._since_s is not None

    @property
    def status(self) -> int:
        """Exit status of a command that a signal kept from finishing; 0 if none did."""
        return 128 + self._number if self._number else 0

    @property
    def over(self) -> bool:
        """Nobody is listened to any more."""
        return self.left_s(float("inf"), ANSWER_S) <= 0

    def left_s(self, wanted_s: float, limit_s: float = GONE_S) -> float:
        """So much of a wait is left: no more than until ``limit_s`` after the beginning."""
        if self._since_s is None:
            return wanted_s
        if self._hurried:
            return 0.0
        limit_s += FINISH_S if self._finishes else 0.0
        return max(0.0, min(wanted_s, self._since_s + limit_s - time.monotonic()))

    # ---- who waits ----------------------------------------------------------------------------

    def fileno(self) -> int:
        """Becomes readable when it begins, or is asked for again; then :meth:`woken`."""
        return self._wake_reader

    def woken(self) -> None:
        """Not again for the same reason."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_reader, 64)


#: Of this process.
ENDING = Ending()
