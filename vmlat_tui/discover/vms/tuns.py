"""Whose tap it is: the kernel is asked about the very descriptor that another process holds.

A tap's name does not identify it: each network namespace has its own, and any user may make one.
``fdinfo`` prints the name alone, and the namespace of the process says nothing of a descriptor that
it was given.  Any thread may ask; nothing here can hang, and a descriptor is kept for microseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.discover.files import read, rows

_libc = ctypes.CDLL(None, use_errno=True)
#: Since 5.3 and 5.6, with one number on every architecture that matters.
_PIDFD_OPEN, _PIDFD_GETFD = 434, 438
#: linux/if_tun.h, since 5.2; for who may administrate that namespace.
_TUNGETDEVNETNS = 0x54E3


@dataclass(frozen=True)
class Tun:
    """A tun or tap that a descriptor is a queue of; ``here``: it is of this network namespace."""

    name: str
    here: bool


def attached(fdinfo: str) -> str:
    """The interface in a descriptor's ``fdinfo``; empty unless it is an attached queue.

    Only the kernel's tun prints that line, so it also tells what the descriptor is.
    """
    return next((value for name, value in rows(fdinfo) if name == "iff"), "")


def ask(pid: int, descriptors: Iterable[int]) -> dict[int, Tun]:
    """Those of a process's descriptors that are attached queues.

    One that the kernel does not tell of is left out: it is too old, or its policy refuses (it wants
    the right to trace the process, and to administrate the tap's namespace).
    """
    found: dict[int, Tun] = {}
    process = _libc.syscall(_PIDFD_OPEN, pid, 0)
    if process < 0:
        return found
    with _closing(process):
        ours = os.stat("/proc/thread-self/ns/net")
        for number in descriptors:
            descriptor = _libc.syscall(_PIDFD_GETFD, process, number, 0)
            if descriptor < 0:
                continue
            # What it was called a moment ago may be another file by now, one whose ioctl hangs.
            with _closing(descriptor):
                name = attached(read(f"/proc/self/fdinfo/{descriptor}"))
                space = _space(descriptor) if name else None
                if space:
                    found[number] = Tun(name, os.path.samestat(space, ours))
    return found


def _space(descriptor: int) -> Optional[os.stat_result]:
    """What the namespace of a tun's descriptor is; None if the kernel does not tell."""
    try:
        space = fcntl.ioctl(descriptor, _TUNGETDEVNETNS, 0)
    except OSError:
        return None
    with _closing(space):
        return os.fstat(space)


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)
