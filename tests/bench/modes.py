"""Ways to trace, each of which can be put in force for a while."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: bpftrace runs ``BEGIN`` before it attaches the other probes; each is a perf event.
_BEGIN = 'BEGIN { printf("ready\\n"); }\n'
_SETTLED_S = 1.0


class Mode(ABC):
    """One way to trace; ``attached`` is a context in which it does."""

    name: str

    @contextmanager
    @abstractmethod
    def attached(self) -> Iterator[None]:
        """Trace within this context only."""
        yield


class Bpftrace(Mode):
    """A bpftrace program, started anew for each context."""

    name = "bpftrace"

    def __init__(self, program: str, patience_s: float = 30) -> None:
        """``patience_s`` is how long it may take to compile, and how long to attach."""
        self._program = program
        self._patience_s = patience_s
        self._output = ""

    @contextmanager
    def attached(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory() as directory:
            output = Path(directory, "out")
            with output.open("w") as file:
                child = subprocess.Popen(
                    ("bpftrace", "-B", "line", "-e", self._program + _BEGIN),
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            try:
                self._wait(child, output)
                yield
            finally:
                child.terminate()
                child.wait(self._patience_s)
            self._output = output.read_text()

    def _wait(self, child: subprocess.Popen[bytes], output: Path) -> None:
        deadline, events, since = time.monotonic() + 2 * self._patience_s, 0, time.monotonic()
        while events == 0 or time.monotonic() - since < _SETTLED_S:
            if child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"bpftrace does not start: {output.read_text()}")
            time.sleep(0.05)
            now = _perf_events(child.pid) if "ready" in output.read_text() else 0
            if now != events:
                events, since = now, time.monotonic()

    def counted(self, name: str) -> int:
        """The value of a counter ``@name`` at the end of the last context; 0 if it has none."""
        found = re.search(rf"^@{name}: (\d+)$", self._output, re.MULTILINE)
        return int(found.group(1)) if found else 0


def _perf_events(pid: int) -> int:
    count = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            count += "perf_event" in os.readlink(entry)
    return count
