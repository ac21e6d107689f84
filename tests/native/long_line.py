"""A small process with a command line of any length.

    python tests/native/long_line.py MEGABYTES USER

becomes the user, says that its arguments lie in memory which it never touched but for the first
word, prints its id and waits to be ended.  No privilege is needed for that.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import struct
import sys

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_MM, _PR_SET_MM_MAP = 35, 14
_MAP_NORESERVE = 0x4000


def set_arguments(begin: int, size: int) -> None:
    """Say that this process's arguments lie there."""
    with open("/proc/self/stat") as file:
        after = file.read().rpartition(")")[2].split()
    f = [0, 0, 0, 0, *map(int, after[1:])]
    _libc.sbrk.restype = ctypes.c_void_p
    # By the numbers of the fields in proc(5): code, data, heap, stack, arguments, environment.
    words = (f[26], f[27], f[45], f[46], f[47], int(_libc.sbrk(0)), f[28], begin, begin + size,
             f[50], f[51], 0)  # fmt: skip
    described = struct.pack("=12QIi", *words, 0, -1)
    if _libc.prctl(_PR_SET_MM, _PR_SET_MM_MAP, described, len(described), 0):
        raise OSError(ctypes.get_errno(), "PR_SET_MM_MAP")


def main(megabytes: int, user: int) -> None:
    """See the top."""
    size = megabytes << 20
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
    memory[:9] = b"qemu-kvm\0"
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    set_arguments(ctypes.addressof(ctypes.c_char.from_buffer(memory)), size)
    print(os.getpid(), flush=True)
    signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
