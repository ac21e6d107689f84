"""Starts a program with fewer capabilities, as a container, a service or another user would.

Debian 11's setpriv does not know the names of the newest ones.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from typing import Optional

from vmlat_tui.model.capabilities import Capability

#: A user that owns nothing.
USER = 65533

_SCRIPT = """
import ctypes, json, os, resource, sys
request = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
for number in range(64):
    if number in request["without"] if request["only"] is None else number not in request["only"]:
        libc.prctl(24, number, 0, 0, 0)
try:
    locked = 65536 if request["only"] is None else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_MEMLOCK, [locked] * 2)
except (OSError, ValueError):
    pass
if request["only"] is not None:
    libc.prctl(8, 1, 0, 0, 0)
    os.setgroups([]), os.setresgid(*[request["user"]] * 3), os.setresuid(*[request["user"]] * 3)
    word = sum(1 << number for number in request["only"])
    words = [word & 0xFFFFFFFF] * 3 + [word >> 32] * 3
    if libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(*words)):
        sys.exit("capset: " + os.strerror(ctypes.get_errno()))
    for number in request["only"]:
        if libc.prctl(47, 2, number, 0, 0):
            sys.exit("ambient: " + os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[2], sys.argv[2:])
"""


def without(capabilities: Collection[Capability], command: Sequence[str]) -> tuple[str, ...]:
    """The command, run as root without these capabilities.

    Its limit of locked memory is that of a shell, whatever this process has made of its own.
    """
    return _start({"without": [one.number for one in capabilities], "only": None}, command)


def as_user(
    capabilities: Collection[Capability], command: Sequence[str], user: int = USER
) -> tuple[str, ...]:
    """The command, run as another user with these (ambient) capabilities and no other.

    Its limit of locked memory is lifted, if that is possible, as a service's would be.
    """
    return _start({"only": [one.number for one in capabilities], "user": user}, command)


def _start(request: dict[str, Optional[object]], command: Sequence[str]) -> tuple[str, ...]:
    return (sys.executable, "-I", "-c", _SCRIPT, json.dumps(request), *command)
