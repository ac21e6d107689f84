"""Asking what may hang, without hanging."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Callable, Generic, Optional, TypeVar

_log = logging.getLogger(__name__)

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Answer(Generic[_Value]):
    """The latest value, if there ever was one; ``late``: it is older than the question."""

    value: Optional[_Value]
    late: bool
    problem: str = ""


class BoundedCall(Generic[_Value]):
    """Runs a reading in a thread of its own and keeps what it said last.

    A reading that hangs costs one thread and the time that the asker is willing to wait; whoever
    asks while it hangs does not wait again.  The thread never keeps the program from ending.
    """

    def __init__(
        self,
        reading: Callable[[], _Value],
        name: str,
        news: Callable[[], None] = lambda: None,
    ) -> None:
        """``news`` is called, from the thread, when an answer nobody waits for any more is another
        one than the last."""
        self._reading = reading
        self._name = name
        self._news = news
        self._changed = threading.Condition()
        self._asked = self._done = 0
        self._answer: Answer[_Value] = Answer(None, True)
        self._overdue = False
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def ask(self) -> None:
        """Start a reading; returns at once."""
        with self._changed:
            if self._done == self._asked:
                self._overdue = False  # it came late, and hangs no more
            self._asked += 1
            self._changed.notify_all()

    def answer(self, limit_s: float) -> Answer[_Value]:
        """What the reading said that was asked for last, if that came within the limit."""
        deadline = time.monotonic() + (0 if self._overdue else limit_s)
        with self._changed:
            while self._done < self._asked and time.monotonic() < deadline:
                self._changed.wait(deadline - time.monotonic())
            late = self._done < self._asked
            if late and not self._overdue:
                _log.warning("%s does not answer within %.1f s", self._name, limit_s)
            self._overdue = late
            return Answer(self._answer.value, late, self._answer.problem)

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._done >= self._asked:
                    self._changed.wait()
                asked = self._asked
            try:
                answer: Answer[_Value] = Answer(self._reading(), False)
            except Exception as error:  # of a library, or of what it talked to
                _log.debug("%s: %r", self._name, error)
                answer = Answer(None, False, f"{error}" or type(error).__name__)
            with self._changed:
                unheard = self._overdue and answer != self._answer
                self._answer, self._done = answer, asked
                self._changed.notify_all()
            if unheard:
                self._news()
