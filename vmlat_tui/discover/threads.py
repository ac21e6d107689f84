"""Threads from /proc: where they may run, where they ran last, what they used."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from vmlat_tui.discover.files import decimal, entries, parse_list, read, rows
from vmlat_tui.model.topology import Neighbour, Thread, ThreadUse

PROC = Path("/proc")

#: Parent of every kernel thread.
KTHREADD = 2

_POLICIES = {0: "other", 1: "fifo", 2: "rr", 3: "batch", 5: "idle", 6: "deadline", 7: "ext"}
_REAL_TIME = (1, 2)
#: States of a thread that a signal, or a debugger, has stopped.
_STOPPED = ("T", "t")
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
#: PF_KTHREAD of a task's flags.
_KERNEL = 0x00200000
#: Who ran most is told, of a host where any number of tasks may run.
_MOST_NEIGHBOURS = 512


@dataclass(frozen=True)
class Stat:
    """What a ``stat`` file tells that is used here."""

    tid: int
    name: str
    state: str
    parent: int
    #: A thread of the kernel, which has neither program nor descriptors.
    kernel: bool
    ticks: int
    nice: int
    started: int
    cpu: int
    rt_priority: int
    policy: int
    #: Where its arguments lie, which another program has elsewhere; 0 if that is not ours to see.
    arguments: int


def parse_stat(text: str) -> Optional[Stat]:
    """One ``stat`` file; None for anything else.  The name may hold anything, even ``)``."""
    tid, _, rest = text.partition(" (")
    name, end, rest = rest.rpartition(") ")
    try:
        f = rest.split()
        # Numbers of the fields in proc(5), less the three that are gone.
        return Stat(int(tid), name, f[0], int(f[1]), bool(int(f[6]) & _KERNEL),
                    int(f[11]) + int(f[12]), int(f[16]), int(f[19]), int(f[36]), int(f[37]),
                    int(f[38]), int(f[45])) if end else None  # fmt: skip
    except (ValueError, IndexError):
        return None


def read_stat(directory: Path) -> Optional[Stat]:
    """Of a process or thread directory; None if it is gone."""
    return parse_stat(read(directory / "stat"))


def processes(proc: Path = PROC) -> list[Stat]:
    """Every process and kernel thread."""
    found = (read_stat(proc / e) for e in entries(proc) if decimal(e) is not None)
    return [stat for stat in found if stat]


def tids(pid: int, proc: Path = PROC) -> list[int]:
    """The threads of a process, ascending."""
    found = (decimal(e) for e in entries(proc / str(pid) / "task"))
    return sorted(tid for tid in found if tid is not None)


def read_owner(pid: int, proc: Path = PROC) -> Optional[int]:
    """The real user of a process; None if it is gone.

    Not that of a program which runs with the rights of its file's owner: its arguments are still
    the user's.  Nor the owner of the directory in /proc, who is root for whoever wants that.
    """
    return decimal((_status(proc / str(pid)).get("Uid", "").split() or [""])[0])


def _status(directory: Path) -> dict[str, str]:
    return dict(rows(read(directory / "status")))


def read_thread(tid: int, proc: Path = PROC) -> Optional[Thread]:
    """One thread; None if it is gone."""
    directory = proc / str(tid)
    stat = read_stat(directory)
    if stat is None:
        return None
    return Thread(
        tid=tid,
        name=stat.name,
        cpu=stat.cpu,
        cpus=parse_list(_status(directory).get("Cpus_allowed_list", "")),
        policy=_POLICIES.get(stat.policy),
        priority=stat.rt_priority if stat.policy in _REAL_TIME else stat.nice,
    )


def _schedstat(directory: Path) -> Optional[tuple[int, int]]:
    """Time on a CPU and time waiting for one, ns; None where the kernel does not count them."""
    try:
        run, waited, _ = read(directory / "schedstat").split()
        return int(run), int(waited)
    except ValueError:
        return None


def read_use(tid: int, proc: Path = PROC) -> Optional[ThreadUse]:
    """What a thread used since it began; None if it is gone."""
    directory = proc / str(tid)
    stat = read_stat(directory)
    if stat is None:
        return None
    times, status = _schedstat(directory), _status(directory)
    switches = [
        decimal(status.get(k)) for k in ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
    ]
    run, waited = times if times else (stat.ticks * _TICK_NS, None)
    stopped = stat.state in _STOPPED
    return ThreadUse(tid, stat.cpu, run, waited, switches[0], switches[1], stopped)


class Neighbourhood:
    """Tasks that run on the CPUs where watched threads run.

    Looking at every task of a host takes a tenth of a second on a large one, so :meth:`search` is
    for a slow thread and finds who ran since it last looked; :meth:`read` is cheap.
    """

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._used: Optional[dict[int, int]] = None
        self._active: tuple[int, ...] = ()

    def search(self) -> None:
        """Find the tasks that ran since the last search."""
        used: dict[int, int] = {}
        for pid in entries(self._proc):
            number = decimal(pid)
            if number is not None:
                for tid in tids(number, self._proc):
                    times = _schedstat(self._proc / pid / "task" / str(tid))
                    if times:
                        used[tid] = times[0]
        before, self._used = self._used, used
        if before is not None:
            ran = {tid: run - before.get(tid, 0) for tid, run in used.items()}
            most = sorted((tid for tid in ran if ran[tid]), key=lambda tid: -ran[tid])
            self._active = tuple(sorted(most[:_MOST_NEIGHBOURS]))

    def read(self, cpus: Iterable[int]) -> tuple[Neighbour, ...]:
        """Those of them that ran last on one of these CPUs."""
        wanted = set(cpus)
        found = []
        for tid in self._active:
            stat = read_stat(self._proc / str(tid))
            if stat and stat.cpu in wanted:
                times = _schedstat(self._proc / str(tid))
                run = times[0] if times else stat.ticks * _TICK_NS
                found.append(Neighbour(stat.cpu, tid, stat.name, run))
        return tuple(found)
