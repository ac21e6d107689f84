"""Start child processes that never outlive this one, and end them."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Optional

from vmlat_tui.errors import UsageError
from vmlat_tui.programs import end_with, inherited
from vmlat_tui.programs import path as safe_path

_log = logging.getLogger(__name__)

#: program -> Debian package, for the one-line remedy.
PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "mkfs.erofs": "erofs-utils",
    "unshare": "util-linux",
    "chroot": "coreutils",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "cc": "gcc libc6-dev",
}


class Interrupted(BaseException):
    """A signal asks this process to end; raised in the main thread so that it cleans up."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


def require(*programs: str) -> None:
    """Raise if a program is missing, naming the package that has it."""
    missing = [name for name in programs if shutil.which(name, path=safe_path()) is None]
    if missing:
        packages = " ".join(sorted({PACKAGES.get(program, program) for program in missing}))
        raise UsageError(
            "the lab needs programs that are not installed",
            ", ".join(missing),
            f"apt-get install {packages}",
        )


def start(command: Sequence[str], lasting: bool = False, **options: Any) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own; unless ``lasting``, it ends with this process."""
    if not lasting:
        options["preexec_fn"] = functools.partial(end_with, os.getpid())
    started = subprocess.Popen(list(command), start_new_session=True, env=inherited(), **options)
    _log.debug("process %d: %s", started.pid, command)
    return started


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process made by :func:`start`, and everything in its session's group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGTERM, SIGHUP and SIGINT into :class:`Interrupted` while inside."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def raise_it(number: int, frame: Any) -> None:
        for other in numbers:  # cleaning up is not interrupted
            signal.signal(other, signal.SIG_IGN)
        raise Interrupted(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before: list[Any] = []
    for number in numbers:
        previous = signal.getsignal(number)
        before.append(previous)
        if previous is not signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, raise_it)
    try:
        yield
    finally:
        for number, previous in zip(numbers, before):
            signal.signal(number, previous)


def start_time(pid: int) -> Optional[int]:
    """Return when a process started, in clock ticks since boot: with the pid, its identity.

    ``None`` if it has ended, also while nobody has asked for its status yet.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return None if fields[0] == "Z" else int(fields[19])
    except (OSError, IndexError, ValueError):
        return None
