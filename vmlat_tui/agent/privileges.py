"""What the agent does first of all: it gives up every privilege that it has no further use for.

The limit on locked memory is lifted before, and what needs ``CAP_SYS_ADMIN`` is left to a process
that does nothing else (:mod:`vmlat_tui.probes.opener`).  Nothing of what others can write is read
until the rest is gone.

It stays the user that it was.  As root it owns root's files: the sockets of Open vSwitch and
libvirt, debugfs, tracefs and the cache of compiled programs could not be used by anybody else.
docs/privileges.md says what somebody who took over such an agent could still do.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Collection
from dataclasses import dataclass

from vmlat_tui.agent import seccomp
from vmlat_tui.discover.capabilities import HEADER, held, useful
from vmlat_tui.model.capabilities import BPF, SETPCAP, Capability, CapabilityState, Use
from vmlat_tui.probes import opener
from vmlat_tui.probes.syscalls import unlock_memory
from vmlat_tui.protocol.session import AgentCapability

_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_SECUREBITS = 4, 24, 28
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 38, 47
_AMBIENT_RAISE, _AMBIENT_CLEAR_ALL = 2, 4
#: NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE, KEEP_CAPS not, all of them for good.
_SECURE = 0xEF
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Privileges:
    """What the agent had a use for when it began, and what it had of that."""

    useful: tuple[Capability, ...]
    begun: frozenset[Capability]

    @property
    def missing(self) -> tuple[Capability, ...]:
        """What it never had."""
        return tuple(one for one in self.useful if one not in self.begun)

    def report(self) -> tuple[AgentCapability, ...]:
        """For the frames ``hello`` and ``host``."""
        mine = held()

        def state(one: Capability) -> CapabilityState:
            if one in mine:
                return CapabilityState.HELD
            if one not in self.begun:
                return CapabilityState.MISSING
            return CapabilityState.APART if one.use is Use.APART else CapabilityState.GIVEN_UP

        return tuple(
            AgentCapability(one.name, state(one), one.needed, one.purpose, one.loss)
            for one in self.useful
        )


def drop() -> Privileges:
    """Keep what the agent needs, for good.  For the process's first and only thread.

    Raises ``OSError`` where that is impossible.
    """
    begun = Privileges(useful(), held())
    unlock_memory()
    parts = {use: {o for o in begun.useful if o.use is use} & begun.begun for use in Use}
    if parts[Use.APART]:
        opener.start(lambda: _reduce(parts[Use.APART], set()))
    # The compilers make maps.
    _reduce(parts[Use.KEPT], parts[Use.KEPT] & {BPF})
    return begun


def _reduce(kept: set[Capability], passed_on: set[Capability]) -> None:
    """Keep these, and leave what is started those of them that are ``passed_on``."""
    locking = {SETPCAP} & held()
    _set(kept | locking, passed_on)
    _prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    for one in passed_on:
        _prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, one.number)
    if locking:
        _bind(kept)
        with contextlib.suppress(OSError):  # others may be locked already
            _prctl(_PR_SET_SECUREBITS, _SECURE)
    _set(kept, passed_on)
    # From here on no program that is started has more than who starts it.
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    # Nobody with fewer privileges looks into its memory, nor finds it on the disk if it crashes.
    _prctl(_PR_SET_DUMPABLE, 0)
    with contextlib.suppress(OSError):  # a kernel may have no filters; the rest holds all the same
        seccomp.apply()


def _prctl(option: int, first: int, second: int = 0) -> None:
    words = map(ctypes.c_ulong, (first, second, 0, 0))
    if _libc.prctl(option, *words):
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")


def _set(permitted: Collection[Capability], inheritable: Collection[Capability]) -> None:
    wide, passed_on = (sum(1 << one.number for one in some) for some in (permitted, inheritable))
    words = (wide, wide, passed_on)
    sets = (ctypes.c_uint32 * 6)(*(w & 0xFFFFFFFF for w in words), *(w >> 32 for w in words))
    if _libc.capset((ctypes.c_uint32 * 2)(*HEADER), sets):
        number = ctypes.get_errno()
        raise OSError(number, f"capset: {os.strerror(number)}")


def _bind(kept: Collection[Capability]) -> None:
    """Take everything else from the bounding set, whatever this kernel knows."""
    numbers = {one.number for one in kept}
    for number in range(64):
        if number not in numbers:
            with contextlib.suppress(OSError):  # there is none of that number
                _prctl(_PR_CAPBSET_DROP, number)
