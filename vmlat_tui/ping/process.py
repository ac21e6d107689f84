"""The ping that is made: a process of ours, or the ssh that leads to it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Optional

from vmlat_tui import programs
from vmlat_tui.ending import ENDING
from vmlat_tui.errors import UsageError

_log = logging.getLogger(__name__)

#: Of what it says, so much of the end is kept.
_WORDS = 4096
_PATIENCE_S = 2.0
#: When everything is to end, until so long after its beginning.
_HASTE_S = 0.3


class Pinging:
    """From its start to :meth:`close`; what it prints is data.  For one thread."""

    def __init__(self, argv: Sequence[str]) -> None:
        """Start it; raises :class:`UsageError` if there is no such program.

        ``argv`` is of :func:`.hosts.command_at`: it ends with its standard input.
        """
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=programs.inherited(),
                bufsize=0,
                # The terminal's Ctrl-C is for us.
                start_new_session=True,
            )
        except OSError as error:
            raise UsageError(f"{argv[0]} cannot be run", error.strerror or str(error)) from None
        _log.info("process %d: %s", self._process.pid, argv)
        assert self._process.stdout
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)
        self._words = bytearray()
        self._closed = False

    @property
    def status(self) -> Optional[int]:
        """Its exit status; None while it pings."""
        self._listen()
        return self._process.poll()

    def _listen(self) -> None:
        """Keep the end of what it says, and its pipe from being full."""
        if self._closed:
            return
        with contextlib.suppress(BlockingIOError):
            self._words += os.read(self._output, 1 << 16)
            del self._words[:-_WORDS]

    @property
    def last_words(self) -> list[str]:
        """The last lines that it has said, at most three."""
        self._listen()
        lines = self._words.decode(errors="replace").splitlines()
        return [line for line in lines if line.strip()][-3:]

    def close(self) -> None:
        """End it; returns when it is gone.  What it said is kept."""
        assert self._process.stdin
        with ENDING.held():
            self._process.stdin.close()
            try:
                self._process.wait(ENDING.left_s(_PATIENCE_S, _HASTE_S))
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        _log.info("process %d: exit status %s", self._process.pid, self._process.poll())
        self._listen()
        self._closed = True
        assert self._process.stdout
        self._process.stdout.close()
