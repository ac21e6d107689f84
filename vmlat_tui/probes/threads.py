"""The threads that the path program follows: vhost workers, found by it, and vCPUs, named to it.

For the agent's one thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vmlat_tui.discover.vms.vcpus import VcpuThreads
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.wakeups import Role, Wakeups
from vmlat_tui.probes import layout
from vmlat_tui.probes.program import Program
from vmlat_tui.probes.syscalls import Map
from vmlat_tui.probes.widen import Widener

_PROC = Path("/proc")
#: The histograms of a thread.
_KINDS = ("idle", "queued")


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


class Threads:
    """The tables of threads of one loaded program."""

    def __init__(self, program: Program, vnics: int, room: int) -> None:
        """``vnics`` is how many vNICs the tables have room for, ``room`` how many vCPUs."""
        self._workers = program.map("workers")
        self._works = program.map("works")
        self._vcpus = program.map("vcpus")
        self._wakes = program.map("wakes")
        self._tun_entries = program.map("tun_entries")
        self._watched = program.map("watched")
        self._handed = program.map("handed")
        self._vcpu_threads = program.map("vcpu_threads")
        self._known: set[int] = set()
        self._numbered: dict[tuple[int, int], int] = {}
        self._vnics = vnics
        self._room = room
        #: vCPUs that are not followed, as the table is full.
        self.vcpus_left_out = 0
        #: Wake-ups of each thread, for the processor idle or busy.
        self._widener = Widener()
        self._sums: dict[tuple[int, str], Histogram] = {}

    def set_vcpus(self, vcpus: Mapping[int, VcpuThreads]) -> None:
        """Name the vCPUs' threads by the slots of their VM's vNICs; call again on changes.

        Where the numbers are not exact, the program waits until it sees whom an interrupt for a
        vCPU wakes; only the one vCPU of a VM needs no proof.
        """
        named = {tid for threads in vcpus.values() for tid in threads.tids.values()}
        for tid in self._known - named:
            self._forget(tid, self._vcpus)
        stay = self._known & named
        fresh = sorted(named - stay)[: self._room - len(stay)]
        places = {tid % layout.WATCH_ROOM for tid in stay}
        for tid in fresh:
            self._vcpus.put(_u32(tid), layout.NEW_VCPU)
            self._wakes.put(_u32(tid), layout.NEW_WAKE)
            if tid % layout.WATCH_ROOM not in places:  # another's signals may be on their way
                self._handed.put(_u32(tid % layout.WATCH_ROOM), _u32(0))
            self._watch(tid)
        self._known = stay.union(fresh)
        self.vcpus_left_out = len(named) - len(self._known)
        numbered = {
            (slot, number): tid
            for slot, threads in vcpus.items()
            if threads.exact or len(threads.tids) == 1
            for number, tid in threads.tids.items()
            if slot < self._vnics and number < layout.VCPU_ROOM and tid in self._known
        }
        for slot, number in {**self._numbered, **numbered}:
            tid = numbered.get((slot, number), 0)
            if self._numbered.get((slot, number)) != tid:
                self._vcpu_threads.put(_u32(slot * layout.VCPU_ROOM + number), _u32(tid))
        self._numbered = numbered

    def _watch(self, tid: int) -> None:
        place = _u32(tid % layout.WATCH_ROOM)
        kinds = self._watched.get(place)
        before = int.from_bytes(kinds[:4], "little") if kinds is not None else 0
        self._watched.put(place, _u32(before | layout.WATCH_VCPU))

    def _forget(self, tid: int, table: Map) -> None:
        table.delete(_u32(tid))
        self._wakes.delete(_u32(tid))
        for kind in _KINDS:
            self._widener.forget((tid, kind))
            self._sums.pop((tid, kind), None)

    def wakeups(self) -> list[tuple[int, Wakeups]]:
        """(slot of a worker's vNIC or NO_SLOT, wake-ups since it is followed) of each thread."""
        slots = {key: layout.worker_slot(value) for key, value in self._workers.items()}
        found = []
        for key, value in self._wakes.items():
            role = Role.WORKER if key in slots else Role.VCPU
            tid = int.from_bytes(key, "little")
            read = layout.wake(tid, role, value, None)
            idle, queued = (
                self._widened(tid, k, h) for k, h in zip(_KINDS, (read.idle, read.queued))
            )
            found.append((slots.get(key, layout.NO_SLOT), replace(read, idle=idle, queued=queued)))
        return found

    @property
    def unplaced(self) -> int:
        """Wake-ups in no bucket; see :class:`Widener`."""
        return self._widener.unplaced

    def _widened(self, tid: int, kind: str, now: Histogram) -> Histogram:
        grown = self._widener.grown((tid, kind), now)
        whole = self._sums.setdefault((tid, kind), Histogram())
        whole.merge(grown)
        return whole

    def forget(self, slot: int) -> None:
        """The workers of the vNIC are not those of the slot's next; who works on is found anew."""
        for key, value in self._workers.items():
            if layout.worker_slot(value) == slot:
                self._forget(int.from_bytes(key, "little"), self._workers)

    def sweep(self) -> None:
        """Forget the threads that are gone: workers with their works, and who wrote to a tap."""
        gone = _gone(self._workers)
        for tid in gone:
            self._forget(tid, self._workers)
        if gone:
            for key, value in self._works.items():
                if layout.work_owner(value) in gone:
                    self._works.delete(key)
        for tid in _gone(self._tun_entries):
            self._tun_entries.delete(_u32(tid))


def _gone(table: Map) -> set[int]:
    """The threads of a table that have ended."""
    tids = (int.from_bytes(key, "little") for key, _ in table.items())
    return {tid for tid in tids if not (_PROC / str(tid)).exists()}
