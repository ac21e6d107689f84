"""The command lines of all processes: of those that say they are a QEMU, what VM they name.

A process may make its command line as long as it likes, and one that hangs whoever reads it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Optional

from vmlat_tui.discover.threads import Stat, read_owner
from vmlat_tui.discover.vms.guarded import Guarded
from vmlat_tui.discover.vms.qemu_args import Guest, is_program, is_qemu, parse, unread

#: Enough for the path of a program.
_FIRST_BYTES = 4096
#: libvirt's longest command lines, of VMs with hundreds of disks, have half of that.
_MOST_BYTES = 128 << 10


class CommandLine(NamedTuple):
    """What a command line says; ``guest`` is None if it is not a VM's.  ``sure`` unless there was
    none yet: a process that is being made."""

    guest: Optional[Guest]
    sure: bool = True


class _Key(NamedTuple):
    """A process with one program: another has its arguments elsewhere, or another name."""

    pid: int
    started: int
    name: str
    arguments: int


def trusted(owner: Optional[int]) -> bool:
    """Whether a user is root or one of the system's, as those that QEMU is run as.

    Those are below 1000, and 60000 to 64999 are Debian's own (its policy, 9.2.2).
    """
    return owner is not None and (owner < 1000 or 60000 <= owner < 65000)


class CommandLines:
    """Reads each only once, and what hangs never again.  For one thread."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc
        self._known: dict[_Key, CommandLine] = {}
        self._guarded: Guarded[_Key, CommandLine] = Guarded(
            self._read, self._owner, "command-lines"
        )
        #: Processes whose command line hangs, and how many are not read for fear of that.
        self.hung: frozenset[int] = frozenset()
        self.feared = 0

    def read(self, running: Sequence[Stat], limit_s: float) -> dict[int, Guest]:
        """The VMs that the ``running`` processes say they are, by process id.

        A process that hangs who reads it is among them, as a VM of which nothing is known.
        """
        keys = {s.tid: _key(s) for s in running if not s.kernel and s.state != "Z"}
        wanted = set(keys.values())
        self._known = {key: line for key, line in self._known.items() if key in wanted}
        new = self._guarded.ask([k for k in keys.values() if k not in self._known], limit_s)
        self._known.update((key, line) for key, line in new.items() if line.sure)
        hung = self._guarded.hung & wanted
        self.hung = frozenset(key.pid for key in hung)
        self.feared = len(wanted - hung - set(self._known) - set(new))
        found = dict.fromkeys(self.hung, unread("its command line cannot be read, it hangs"))
        for pid, key in keys.items():
            line = self._known.get(key)
            if line and line.guest:
                found[pid] = line.guest
        return found

    def _owner(self, key: _Key) -> tuple[Optional[int], bool]:
        owner = read_owner(key.pid, self._proc)
        return owner, trusted(owner)

    def _read(self, key: _Key) -> CommandLine:
        data = read_qemu(self._proc / str(key.pid) / "cmdline")
        if not data:
            return CommandLine(None, sure=data is not None)
        try:
            return CommandLine(_guest(data))
        except Exception as error:  # one VM's oddity is no other's
            return CommandLine(
                unread(f"its command line cannot be understood ({type(error).__name__})")
            )


def _key(stat: Stat) -> _Key:
    return _Key(stat.tid, stat.started, stat.name, stat.arguments)


def read_qemu(path: Path) -> Optional[bytes]:
    """A command line that begins with the name of a QEMU, up to one byte too many.

    Empty if it begins with another; that much is read first, and no more then.  None if there is
    none to read.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read(_FIRST_BYTES)
            if not data:
                return None
            if not is_program(os.fsdecode(data.partition(b"\0")[0])):
                return b""
            chunk = data
            while chunk and len(data) <= _MOST_BYTES:
                chunk = file.read(_MOST_BYTES + 1 - len(data))
                data += chunk
            return data
    except OSError:
        return None


def _guest(data: bytes) -> Optional[Guest]:
    cut = len(data) > _MOST_BYTES
    # What is left of the last argument is none.
    arguments = os.fsdecode(data).split("\0")[: -1 if cut else None]
    if not is_qemu(arguments):
        return None
    guest = parse(arguments)
    if not cut:
        return guest
    words = f"its command line has more than {_MOST_BYTES >> 10} KiB, the rest is not read"
    return replace(guest, oddities=(*guest.oddities, words))
