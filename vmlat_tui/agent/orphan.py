"""Ends the agent's process when nobody wants it any more, also while its one thread is busy.

Compiling, loading and attaching take seconds, and meanwhile nobody reads commands.  There is
nothing to finish then: the process ends at once, and the kernel takes the probes, and the
compilers with it (:mod:`vmlat_tui.probes.compiler`).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Iterator

#: After the end of its input nobody reads what it says: so long it may take to end in order.
_GRACE_S = 1.0
#: It was asked to end before it had anything to report.
_STATUS = 1


class OrphanGuard:
    """A thread that looks at the agent's standard input, without reading it, and at signals."""

    def __init__(self, commands: int) -> None:
        """``commands`` is the descriptor of the input.  For the main thread, once a process."""
        self._lock = threading.Lock()
        self._busy = self._unwanted = False
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        # Written to when a signal comes, though the main thread may be in the kernel for long.
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(commands, woken), daemon=True).start()

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Work that nobody else would miss: meanwhile the end of input or a signal ends it."""
        with self._lock:
            self._busy = True
            self._leave()
        try:
            yield
        finally:
            with self._lock:
                self._busy = False

    def _leave(self) -> None:
        if self._busy and self._unwanted:
            os._exit(_STATUS)

    def _watch(self, commands: int, woken: int) -> None:
        poll = select.poll()
        poll.register(commands, select.POLLRDHUP)
        poll.register(woken, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            with self._lock:
                self._unwanted = True
                self._leave()
            if commands in ready:
                time.sleep(_GRACE_S)
                os._exit(_STATUS)
            os.read(woken, 64)
