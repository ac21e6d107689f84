"""A program in a terminal of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

ROOT = Path(__file__).resolve().parents[2]
ENTERED, LEFT = b"\x1b[?1049h", b"\x1b[?1049l"


class Terminal:
    """A program with a terminal of its own."""

    def __init__(self, arguments: list[str], **more: str) -> None:
        self.master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self._slave)
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **more}
        self.child = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
        self.output = b""

    def read(self, seconds: float) -> bytes:
        """What it writes within a time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.05)[0]:
                self.output += os.read(self.master, 65536)
            elif self.child.poll() is not None:
                break
        return self.output

    def read_once(self, seconds: float) -> None:
        """Whatever it writes next, waiting at most so long."""
        if select.select([self.master], [], [], seconds)[0]:
            self.output += os.read(self.master, 65536)

    def until(self, what: bytes, seconds: float = 15.0) -> bool:
        """Wait until it has written something."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and what not in self.output:
            self.read_once(0.05)
        return what in self.output

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.master, keys)

    def ended(self, seconds: float = 15.0) -> Optional[int]:
        """Its exit status."""
        deadline = time.monotonic() + seconds
        while self.child.poll() is None and time.monotonic() < deadline:
            self.read(0.1)
        self.read(0.2)
        return self.child.poll()

    @property
    def mode(self) -> list[Any]:
        """How lines are edited now."""
        return termios.tcgetattr(self._slave)[:4]

    def cook(self) -> None:
        """Edit lines as before."""
        termios.tcsetattr(self._slave, termios.TCSANOW, self.before)

    @property
    def restored(self) -> bool:
        """The other screen is left, the cursor shows, and lines are edited as before."""
        shown = LEFT in self.output and b"\x1b[?25h" in self.output
        return shown and self.mode == self.before[:4]

    def close(self) -> None:
        """End it."""
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        os.close(self.master)
        os.close(self._slave)


@contextlib.contextmanager
def running(arguments: list[str], **more: str) -> Iterator[Terminal]:
    terminal = Terminal(arguments, **more)
    try:
        yield terminal
    finally:
        terminal.close()
