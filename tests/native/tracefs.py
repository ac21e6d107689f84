"""bpftrace reads the tracepoints from tracefs, which a plain machine has not mounted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PLACES = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")


@contextmanager
def tracefs() -> Iterator[None]:
    """Mounted at least while the body runs; as root."""
    mounted = any(Path(place, "events").is_dir() for place in _PLACES)
    if not mounted:
        command = ["mount", "-t", "tracefs", "tracefs", _PLACES[0]]
        subprocess.run(command, check=True, timeout=10)
    try:
        yield
    finally:
        if not mounted:
            subprocess.run(["umount", _PLACES[0]], check=True, timeout=10)
