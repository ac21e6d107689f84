"""Work that takes seconds, in a thread of its own beside the agent's loop."""

from __future__ import annotations

import threading
from typing import Callable, Generic, TypeVar

Result = TypeVar("Result")


class BackgroundJob(Generic[Result]):
    """Begins at once.  The loop asks whether it is over, and then has the result used."""

    def __init__(self, work: Callable[[], Result], then: Callable[[Result], None]) -> None:
        """``work`` runs in the thread, ``then`` in that of :meth:`finish`."""
        self._work = work
        self._then = then
        self._results: list[Result] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._results.append(self._work())

    @property
    def over(self) -> bool:
        """Whether the thread has ended."""
        return not self._thread.is_alive()

    def finish(self) -> None:
        """Use the result; there is none if the work failed, which the thread has said."""
        for result in self._results:
            self._then(result)
