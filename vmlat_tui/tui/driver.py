"""The terminal: left as it was found whatever ends the program, entered anew after a stop.

Textual 8 restores it at its own end only, and at each SIGCONT enters it once more without having
left it: then two threads share the keys, and what is restored at the end is not what was found.
"""

from __future__ import annotations

import asyncio
import os
import signal

from textual.drivers.linux_driver import LinuxDriver

#: These end the screens in order; the keyboard sends none of them.
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class TerminalDriver(LinuxDriver):
    """Takes the signals that concern the terminal, on the application's loop."""

    _suspended = False

    def start_application_mode(self) -> None:
        """Enter the terminal."""
        loop = asyncio.get_running_loop()
        for number in _ENDS:
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGTSTP, self._stop)
        loop.add_signal_handler(signal.SIGCONT, self._go_on)
        super().start_application_mode()  # type: ignore[no-untyped-call]

    def _end(self, number: int) -> None:
        self._app.exit(return_code=128 + number)

    def _stop(self) -> None:
        if not self._suspended:
            self._suspended = True
            self.suspend_application_mode()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _go_on(self) -> None:
        """Whoever had the terminal meanwhile may have left it in any mode."""
        if not self._in_foreground():
            os.kill(os.getpid(), signal.SIGSTOP)  # as if it had touched the terminal
            return
        if not self._suspended:
            self.suspend_application_mode()
        self._suspended = False
        self.resume_application_mode()
        self._app.refresh(layout=True)

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self.fileno) == os.getpgrp()
        except OSError:
            return True  # it is nobody's terminal, or gone
