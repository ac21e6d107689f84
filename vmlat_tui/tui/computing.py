"""The thread that computes what screens show, so that the loop is free for keys and painting."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

from vmlat_tui.errors import VmlatError
from vmlat_tui.words import clean

#: How long leaving waits for a computation under way; what it finds nobody sees.
_JOIN_S = 0.5
#: Of why something could not be computed.
_WORDS = 300


@dataclass(frozen=True)
class Failure:
    """Instead of a content: why there is none, in one line.

    ``trace`` is the traceback of a defect, empty for what can happen to anyone.
    """

    words: str
    trace: str = ""


@dataclass(frozen=True)
class _Computation:
    compute: Callable[[], Any]
    take: Callable[[Any], None]


class Computing:
    """One thread for all screens.  Its methods are called on the loop.

    Each asker has at most one computation under way and one that waits, whose place a newer one
    takes.  The order is that in which askers began to wait.
    """

    def __init__(self, deliver: Callable[[Callable[[], None]], object]) -> None:
        """``deliver`` may be called on any thread and has a function called on the loop."""
        self._deliver = deliver
        self._waiting: dict[Hashable, _Computation] = {}
        #: Begun and not taken yet.
        self._begun = 0
        self._ended = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="vmlat-computing", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Begin nothing more."""
        with self._change:
            self._ended = True
            self._waiting.clear()
            self._change.notify()

    def close(self) -> None:
        """End; returns when the thread is gone, or would have to be waited for too long."""
        self.end()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    def ask(self, asker: Hashable, compute: Callable[[], Any], take: Callable[[Any], None]) -> None:
        """Have ``compute`` called on the thread, and ``take`` with what it returns on the loop.

        ``compute`` may use immutable values only.  If it raises, ``take`` gets a :class:`Failure`.
        """
        with self._change:
            self._waiting[asker] = _Computation(compute, take)
            self._change.notify()

    def forget(self, asker: Hashable) -> None:
        """Do not begin what this one waits for."""
        with self._change:
            self._waiting.pop(asker, None)

    @property
    def idle(self) -> bool:
        """Whether all that was asked for has been taken."""
        with self._change:
            return not self._waiting and not self._begun

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._ended)
                if self._ended:
                    return
                computation = self._waiting.pop(next(iter(self._waiting)))
                self._begun += 1
            outcome = _outcome(computation.compute)
            self._deliver(partial(self._give, computation, outcome))

    def _give(self, computation: _Computation, outcome: Any) -> None:
        with self._change:
            self._begun -= 1
        computation.take(outcome)


def _outcome(compute: Callable[[], Any]) -> Any:
    try:
        return compute()
    except VmlatError as error:
        return Failure(clean(str(error))[:_WORDS])
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1].name
        words = f"{type(error).__name__} in {where}: {error}"
        return Failure(clean(words)[:_WORDS], traceback.format_exc())
