"""The capabilities of this process, and those that this host has a use for.

Capabilities belong to threads; one made later has those of its maker.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Collection

from vmlat_tui.discover.switches.ovs import RUN
from vmlat_tui.model.capabilities import (
    CAPABILITIES,
    DAC_OVERRIDE,
    SETPCAP,
    SYS_RESOURCE,
    Capability,
)

#: Of capget(2) and capset(2): version 3, this thread.
HEADER = (0x20080522, 0)
_PR_CAPBSET_READ = 23
_libc = ctypes.CDLL(None, use_errno=True)


def known(capability: Capability) -> bool:
    """Whether this kernel knows the capability: ``CAP_BPF`` and ``CAP_PERFMON`` came with 5.8."""
    return int(_libc.prctl(_PR_CAPBSET_READ, capability.number, 0, 0, 0)) >= 0


def held() -> frozenset[Capability]:
    """Those in the effective set of this thread."""
    header, sets = (ctypes.c_uint32 * 2)(*HEADER), (ctypes.c_uint32 * 6)()
    if _libc.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget")
    effective = sets[0] | sets[3] << 32
    return frozenset(one for one in CAPABILITIES if effective >> one.number & 1)


def lacking() -> tuple[Capability, ...]:
    """Those without which this process can measure nothing, and which it does not have."""
    mine = held()
    return tuple(one for one in needed() if one not in mine)


def needed() -> tuple[Capability, ...]:
    """Those without which nothing can be measured here.

    A kernel that does not know them cannot be measured at all, which is another matter.
    """
    return tuple(one for one in useful() if one.needed)


def useful() -> tuple[Capability, ...]:
    """Those that this kernel, this user and what runs on this host give something to do."""
    idle = {one for one in CAPABILITIES if not known(one)}
    if _own_switch():
        idle.add(DAC_OVERRIDE)
    if os.geteuid() != 0:
        idle.add(SETPCAP)
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        idle.add(SYS_RESOURCE)
    release = os.uname().release
    return tuple(one for one in CAPABILITIES if one.useful(release) and one not in idle)


def _own_switch() -> bool:
    """Whether the socket of Open vSwitch's database, if there is one, is this user's."""
    try:
        return (RUN / "db.sock").stat().st_uid == os.geteuid()
    except OSError:
        return True


def names(capabilities: Collection[Capability]) -> str:
    """For a sentence: ``CAP_BPF and CAP_PERFMON``."""
    words = [one.name for one in capabilities]
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else ""
