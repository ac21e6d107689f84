"""Which processes are believed to run VMs, and what they hold.

A command line is only words.  A process that calls itself a QEMU is believed

- if it has descriptors of a VM of KVM, or queues of a tap, whoever's it is: its command line may
  still be odd, and is then one VM's oddity;
- if it has none of them (QEMU without KVM, with a network of its own) when it is root's, or when
  its program is a QEMU's that root installed;
- if its descriptors are not ours to see, as of others' processes when we are not root.

Of one whose command line hangs only what it holds and its program count.

Whoever the kernel says holds the queue of a tap has it, whatever others call theirs.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from vmlat_tui.discover.files import link_name
from vmlat_tui.discover.threads import PROC, Stat, read_owner
from vmlat_tui.discover.vms import tuns
from vmlat_tui.discover.vms.cmdlines import CommandLines, trusted
from vmlat_tui.discover.vms.descriptors import Ask, Descriptors, Tap, read_descriptors
from vmlat_tui.discover.vms.qemu_args import Guest, is_program, unread
from vmlat_tui.discover.vms.statx import file_status

#: The largest VM has a descriptor for each vCPU, and some for each queue.
_MOST_DESCRIPTORS = 16384
#: Of all processes of a user whom nobody vouches for, at one look.
_MOST_OF_ONE = 16384
#: Of processes that are named in one note.
_NAMED = 4
_DELETED = " (deleted)"


@dataclass(frozen=True)
class Emulator:
    """A process that runs a VM; ``descriptors`` is None where they are not ours to see."""

    stat: Stat
    owner: Optional[int]
    guest: Guest
    descriptors: Optional[Descriptors]
    notes: tuple[str, ...] = ()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.stat.tid

    @property
    def label(self) -> str:
        """What to call it where it is odd."""
        who = "" if self.owner is None else f" of user {self.owner}"
        return f"{self.guest.name or 'a VM'} (process {self.pid}{who})"


@dataclass(frozen=True)
class Found:
    """The VMs' processes, those first whose owner is trusted and who are older.

    ``shared`` says of taps why none of them is *the* VM behind it.
    """

    emulators: tuple[Emulator, ...]
    shared: Mapping[str, str]
    notes: tuple[str, ...]


class Emulators:
    """Looks at the processes again and again, and remembers what they said.  For one thread."""

    def __init__(self, proc: Path = PROC, ask: Ask = tuns.ask) -> None:
        self.proc = proc
        self._ask = ask
        self._lines = CommandLines(proc)

    def read(self, running: Sequence[Stat], taps: Sequence[Tap], limit_s: float) -> Found:
        """The VMs among the ``running`` processes.

        A process that hangs its readers may take twice the limit, once.
        """
        guests = self._lines.read(running, limit_s)
        candidates = [(s, read_owner(s.tid, self.proc)) for s in running if s.tid in guests]
        candidates.sort(key=lambda c: (not trusted(c[1]), c[0].started, c[0].tid))
        looked: Counter[Optional[int]] = Counter()
        found, left_out = [], 0
        for process, owner in candidates:
            left = _MOST_DESCRIPTORS if trusted(owner) else _MOST_OF_ONE - looked[owner]
            emulator = Emulator(process, owner, guests[process.tid], None)
            try:
                held = read_descriptors(process.tid, taps, self.proc, self._ask, max(left, 0))
                looked[owner] += held.seen if held else 0
                emulator = replace(emulator, descriptors=held)
                believed = self._believed(emulator)
            except Exception as error:  # one VM's oddity is no other's
                why = f"it cannot be looked at ({type(error).__name__})"
                emulator, believed = replace(emulator, guest=unread(why)), True
            if believed:
                found.append(replace(emulator, notes=tuple(_oddities(emulator))))
            elif emulator.descriptors and emulator.descriptors.cut:
                left_out += 1
        settled = _settle(found)
        return replace(settled, notes=(*settled.notes, *self._unseen(left_out)))

    def _unseen(self, left_out: int) -> Iterator[str]:
        if left_out:
            yield (
                f"{left_out} processes that call themselves QEMU are not looked at: together with "
                f"others of their user they have more than {_MOST_OF_ONE} descriptors"
            )
        if self._lines.feared:
            yield (
                f"{self._lines.feared} processes are not looked at: the command lines of others of "
                "their user hang who reads them"
            )

    def _believed(self, emulator: Emulator) -> bool:
        held = emulator.descriptors
        hangs = emulator.pid in self._lines.hung
        if held is None:
            return not hangs
        if held.of_a_vm() or (emulator.owner == 0 and not hangs):
            return True
        program = self.proc / str(emulator.pid) / "exe"
        name = link_name(program) or ""
        name = name[: -len(_DELETED)] if name.endswith(_DELETED) else name
        status = file_status(program) if is_program(name) else None
        return bool(
            status
            and status.uid in (0, os.geteuid())
            and not status.mode & (stat.S_IWGRP | stat.S_IWOTH)
        )


def _oddities(emulator: Emulator) -> list[str]:
    words = list(emulator.guest.oddities)
    held = emulator.descriptors
    if held and held.cut:
        words.append(f"only {held.seen} of its descriptors are looked at")
    notes = [f"{emulator.label} is odd: {'; '.join(words)}"] if words else []
    if held and held.elsewhere:
        notes.append(
            f"the taps of process {emulator.pid} are in another network namespace; run there"
        )
    return notes


def _settle(emulators: Sequence[Emulator]) -> Found:
    """Who has a tap that several claim: whom the kernel says it of, or nobody."""
    claims: dict[str, list[tuple[int, bool]]] = {}
    for i, emulator in enumerate(emulators):
        held = emulator.descriptors
        for tap in set(held.taps.values()) if held else ():
            claims.setdefault(tap, []).append((i, bool(held and tap in held.exact)))
    lost: dict[int, set[str]] = {}
    shared = {}
    for tap, claimed in sorted(claims.items()):
        sure = [i for i, exact in claimed if exact]
        if len(claimed) > 1 and len(sure) != 1:
            pids = ", ".join(str(emulators[i].pid) for i, _ in claimed[:_NAMED])
            shared[tap] = (
                f"{tap}: several processes hold queues of it ({pids}); its VM is not known"
                if sure
                else f"{tap}: several processes have a tap of this name ({pids}), and the kernel "
                "does not say whose this one is; its VM is not known"
            )
        if len(claimed) > 1:
            for i, exact in claimed:
                if not exact:
                    lost.setdefault(i, set()).add(tap)
    return Found(
        tuple(_without(e, lost.get(i, set())) for i, e in enumerate(emulators)),
        shared,
        tuple(shared.values()),
    )


def _without(emulator: Emulator, taps: set[str]) -> Emulator:
    held = emulator.descriptors
    if not held or not taps:
        return emulator
    kept = {fd: tap for fd, tap in held.taps.items() if tap not in taps}
    return replace(emulator, descriptors=replace(held, taps=kept))
