"""Small helpers of the hypervisor's own programs: commands, waits with a limit, progress."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Callable, Optional, TypeVar

from vmlat_tui.errors import VmlatError

T = TypeVar("T")

_report_to_console = False


def report_to_console() -> None:
    """Write progress as marked lines for the machine that booted this one."""
    global _report_to_console
    _report_to_console = True


def say(line: str) -> None:
    """Report what is being waited for."""
    if _report_to_console:
        print(f"@lab step {line}", flush=True)
    else:
        print(f"lab: waiting for {line}", file=sys.stderr, flush=True)


def run(
    command: Sequence[str], text: Optional[str] = None, check: bool = True, seconds: float = 60.0
) -> str:
    """Run a program to its end; return what it printed."""
    try:
        result = subprocess.run(
            list(command),
            input=(text or "").encode(),
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise VmlatError(
            f"{command[0]} did not end within {seconds:.0f} s", " ".join(command)
        ) from None
    if check and result.returncode != 0:
        said = (result.stderr or result.stdout).decode(errors="replace").strip()
        raise VmlatError(
            f"{' '.join(command[:4])} failed", f"{said}; input: {text}" if text else said
        )
    return result.stdout.decode(errors="replace")


def ip(lines: Iterable[str], namespace: Optional[str] = None, force: bool = False) -> None:
    """Run lines of the ``ip`` program in one batch; with ``force``, go on after errors."""
    where: list[str] = ["-n", namespace] if namespace else []
    how: list[str] = ["-force"] if force else []
    run(["ip", *where, *how, "-batch", "-"], "\n".join(lines) + "\n", check=not force)


def wait_for(
    what: str, attempt: Callable[[], Optional[T]], seconds: float, pause: float = 0.1
) -> T:
    """Repeat an attempt until it returns something true; raise with what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        result = attempt()
        if result:
            return result
        if time.monotonic() > deadline:
            raise VmlatError("the lab did not become ready", f"waited {seconds:.0f} s for {what}")
        time.sleep(pause)
