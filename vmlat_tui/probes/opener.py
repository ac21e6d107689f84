"""A process beside the agent that has ``CAP_SYS_ADMIN``, for the two things that need it.

They are the BTF of kernel modules, by which fentry attaches, and, where ``perf_event_paranoid`` is
above 2, kprobes: the kernels of Debian and Ubuntu have that level, and ``CAP_PERFMON`` is not
enough for it.  The process reads nothing but names that the agent asks for, answers with
descriptors, and ends with the agent.  Where none was started, the caller opens them itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import threading
from collections.abc import Callable, Collection
from typing import Optional

from vmlat_tui import programs
from vmlat_tui.probes import syscalls

_BYTES, _DESCRIPTORS = 4096, 64
_BTF, _KPROBE = "btf", "kprobe"


class _Opener:
    """The agent's end.  For any thread."""

    def __init__(self, confine: Callable[[], None]) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        parent = os.getpid()
        if os.fork() == 0:
            try:
                _alone(other.fileno(), parent)
                confine()
                _serve(other)
            finally:
                os._exit(1)
        other.close()

    def ask(self, kind: str, names: Collection[str]) -> tuple[str, list[int]]:
        """Its words, and the descriptors that go with them; ``OSError`` if it is gone."""
        with self._lock:
            self._socket.send(" ".join((kind, *names)).encode())
            data, descriptors, _, _ = socket.recv_fds(
                self._socket, _BYTES, _DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
        return data.decode(), descriptors


_opener: Optional[_Opener] = None


def start(confine: Callable[[], None]) -> None:
    """Start it; ``confine`` is run in it first.  While the process has one thread, once."""
    global _opener
    _opener = _Opener(confine)


def modules_btf(wanted: Collection[str]) -> dict[str, int]:
    """See :func:`.syscalls.open_modules_btf`."""
    if _opener is None:
        return syscalls.open_modules_btf(wanted)
    with contextlib.suppress(OSError):
        names, descriptors = _opener.ask(_BTF, wanted)
        return dict(zip(names.split(), descriptors))
    return {}


def attach_kprobe(function: str, program: int) -> int:
    """Attach to the entry of a kernel function; the probe lives as long as the descriptor."""
    event = _kprobe(function)
    try:
        syscalls.enable_event(event, program)
    except OSError as error:
        os.close(event)
        raise OSError(error.errno, f"{function}: {error.strerror}") from None
    return event


def _kprobe(function: str) -> int:
    if _opener is None:
        return syscalls.open_kprobe(function)
    words, descriptors = _opener.ask(_KPROBE, [function])
    if not descriptors:
        number = int(words or errno.EPERM)
        raise OSError(number, f"{function}: {os.strerror(number)}")
    return descriptors[0]


# ---- in the process itself ----------------------------------------------------------------------


def _alone(kept: int, parent: int) -> None:
    """Nothing of the agent's but the socket; its end, by whatever, is also ours."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    programs.end_with(parent)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    # Not up to the limit: that may be a thousand million.
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > 2 and descriptor != kept:
            with contextlib.suppress(OSError):  # that of the directory
                os.close(descriptor)


def _serve(other: socket.socket) -> None:
    while True:
        request = other.recv(_BYTES)
        if not request:
            return
        kind, *names = request.decode().split()
        opened: dict[str, int] = {}
        words = ""
        if kind == _BTF:
            opened = syscalls.open_modules_btf(names)
            words = " ".join(opened)
        elif kind == _KPROBE:
            try:
                opened = {names[0]: syscalls.open_kprobe(names[0])}
            except OSError as error:
                words = str(error.errno)
        # An empty message would look like the end.
        socket.send_fds(other, [words.encode() or b" "], list(opened.values()))
        for descriptor in opened.values():
            os.close(descriptor)
