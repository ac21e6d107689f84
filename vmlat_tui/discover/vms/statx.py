"""What a file is, without asking who serves it: a FUSE file system may never answer a ``stat``."""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

_libc = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD, _AT_STATX_DONT_SYNC = -100, 0x4000
_TYPE_MODE_UID = 0x1 | 0x2 | 0x8
#: Of ``struct statx``: where uid, mode, and the numbers of a device are.
_SIZE, _UID, _MODE, _RDEV = 256, 20, 28, 128


@dataclass(frozen=True)
class FileStatus:
    """A file's mode, the user who owns it, and (major, minor) if it is a device."""

    mode: int
    uid: int
    device: tuple[int, int]


def file_status(path: Union[Path, str]) -> Optional[FileStatus]:
    """What the kernel remembers of a file, links followed; None if it cannot be told."""
    buffer = ctypes.create_string_buffer(_SIZE)
    name = os.fsencode(path)
    try:
        failed = _libc.statx(_AT_FDCWD, name, _AT_STATX_DONT_SYNC, _TYPE_MODE_UID, buffer)
    except AttributeError:  # a C library from before 2018
        return None
    if failed:
        return None
    (uid,) = struct.unpack_from("=I", buffer, _UID)
    (mode,) = struct.unpack_from("=H", buffer, _MODE)
    major, minor = struct.unpack_from("=II", buffer, _RDEV)
    return FileStatus(mode, uid, (major, minor))
