"""Work that takes seconds, in a thread of its own beside the agent's loop."""

from __future__ import annotations

import logging
import threading
import time
from typing import Callable, Generic, TypeVar

_log = logging.getLogger(__name__)

Result = TypeVar("Result")


class BackgroundJob(Generic[Result]):
    """Begins at once.  The loop asks whether it is over, and then has the result used."""

    def __init__(
        self, name: str, work: Callable[[], Result], then: Callable[[Result], None]
    ) -> None:
        """``work`` runs in the thread, ``then`` in that of :meth:`finish`; ``name`` is logged."""
        self._name = name
        self._work = work
        self._then = then
        self._results: list[Result] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        begin = time.monotonic()
        self._results.append(self._work())
        _log.info("%s took %.1f ms in its thread", self._name, (time.monotonic() - begin) * 1e3)

    @property
    def over(self) -> bool:
        """Whether the thread has ended."""
        return not self._thread.is_alive()

    def finish(self) -> None:
        """Use the result; there is none if the work failed, which the thread has said."""
        for result in self._results:
            self._then(result)
