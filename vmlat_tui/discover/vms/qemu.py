"""The VMs that run here, from /proc: works for every QEMU, whoever started it."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from vmlat_tui.discover.files import decimal, lines, read
from vmlat_tui.discover.threads import PROC, Stat, read_owner, read_thread, tids
from vmlat_tui.discover.vms import kvm, tuns, vhost
from vmlat_tui.discover.vms.cmdlines import trusted
from vmlat_tui.discover.vms.descriptors import Ask, Tap
from vmlat_tui.discover.vms.emulators import Emulator, Emulators
from vmlat_tui.discover.vms.guarded import Guarded
from vmlat_tui.discover.vms.pairing import pair
from vmlat_tui.discover.vms.qemu_args import MOST_VCPUS, Guest
from vmlat_tui.model.topology import Thread, Vcpu, Vnic, Worker
from vmlat_tui.protocol.frames import MAX_LINE

_VCPU = re.compile(r"CPU ([0-9]{1,5})/\w+")
#: Threads of QEMU's pool: they come and go with the load.
POOL = "worker"
#: Walking a large VM's page tables takes its memory lock for a while: not often.
_NODES_AGE_S = 300.0
#: A node with less than this part of the memory holds no guest memory worth naming.
_NODE_SHARE = 0.01
#: How long a reading may take that its process can make hang.
_LIMIT_S = 0.5
#: Threads of one process: as many as vCPUs, and what else QEMU has.
_MOST_THREADS = MOST_VCPUS + 1024
#: Threads of all processes of a user whom nobody vouches for.
_MOST_THREADS_OF_ONE = 2048
#: vCPUs that one thread may run, without KVM.
_MOST_IN_ONE_THREAD = 32
#: Part of a frame that VMs may take; what is longer than a frame may be, nobody would read.
_MOST_BYTES = MAX_LINE // 2
_MAPS_BYTES = 4 << 20


@dataclass(frozen=True)
class QemuProcess:
    """One QEMU process."""

    pid: int
    guest: Guest
    vcpus: tuple[Vcpu, ...]
    workers: tuple[Worker, ...]
    emulator: tuple[Thread, ...]
    memory_nodes: tuple[int, ...]
    vnics: tuple[Vnic, ...]
    busy_poll_us: Mapping[str, int]
    notes: tuple[str, ...]
    owner: Optional[int] = None
    #: Its descriptors were ours to see.
    seen: bool = False


class QemuProcesses:
    """Reads all QEMU processes; remembers what is expensive to find out.  For one thread."""

    def __init__(
        self, proc: Path = PROC, kvm_directory: Path = kvm.DEBUGFS, ask: Ask = tuns.ask
    ) -> None:
        self._proc = proc
        self._kvm = kvm_directory
        self._emulators = Emulators(proc, ask)
        self._nodes: dict[tuple[int, int], tuple[float, tuple[int, ...]]] = {}
        self._guarded: Guarded[tuple[int, int], tuple[int, ...]] = Guarded(
            lambda key: numa_nodes(proc / str(key[0])), self._owner, "numa-maps"
        )
        #: What there is to say of processes that are not machines.
        self.notes: tuple[str, ...] = ()

    def read(
        self,
        running: Sequence[Stat],
        taps: Sequence[Tap],
        online: frozenset[int],
        nodes: tuple[int, ...],
    ) -> list[QemuProcess]:
        """Every VM process among the ``running`` ones, first those whose owner is trusted."""
        seen = self._emulators.read(running, taps, _LIMIT_S)
        threads_left: Counter[Optional[int]] = Counter()
        found, size = [], 0
        for emulator in seen.emulators:
            left = _MOST_THREADS
            if not trusted(emulator.owner):
                left = _MOST_THREADS_OF_ONE - threads_left[emulator.owner]
            try:
                machine = self._machine(emulator, running, taps, online, nodes, max(left, 1))
            except Exception as error:  # one VM's oddity is no other's
                machine = _bare(emulator, f"it cannot be looked at ({type(error).__name__})")
            threads_left[emulator.owner] += len(machine.vcpus) + len(machine.emulator)
            more = _size(machine, len(online))
            if size + more <= _MOST_BYTES:
                size += more
                found.append(machine)
        left_out = len(seen.emulators) - len(found)
        words = f"{left_out} more VMs are not shown: those that are shown fill a frame"
        self.notes = (*seen.notes, *((words,) if left_out else ()))
        alive = {(s.tid, s.started) for s in running}
        self._nodes = {key: value for key, value in self._nodes.items() if key in alive}
        return _unclaimed(found)

    def _owner(self, key: tuple[int, int]) -> tuple[Optional[int], bool]:
        owner = read_owner(key[0], self._proc)
        return owner, trusted(owner)

    def _machine(
        self,
        emulator: Emulator,
        running: Sequence[Stat],
        taps: Sequence[Tap],
        online: frozenset[int],
        nodes: tuple[int, ...],
        most: int,
    ) -> QemuProcess:
        pid, guest = emulator.pid, emulator.guest
        numbers = tids(pid, self._proc)
        threads = [t for t in (read_thread(n, self._proc) for n in numbers[:most]) if t]
        vcpus = self._vcpus(pid, guest, threads, online)
        workers = vhost.find_workers(pid, threads, running, self._proc)
        known = {v.thread.tid for v in vcpus if v.thread} | {w.thread.tid for w in workers}
        vnics, polls = pair(guest.nics, emulator.descriptors, taps)
        notes = list(emulator.notes)
        if len(numbers) > most:
            notes.append(f"{emulator.label}: only {most} of its threads are looked at")
        if guest.vcpus > len(vcpus):
            notes.append(f"{emulator.label} is odd: it names {guest.vcpus} vCPUs and has none such")
        return QemuProcess(
            pid=pid,
            guest=guest,
            vcpus=vcpus,
            workers=workers,
            emulator=tuple(t for t in threads if t.tid not in known),
            memory_nodes=self._memory_nodes(emulator.stat, guest, nodes),
            vnics=vnics,
            busy_poll_us=polls,
            notes=tuple(notes),
            owner=emulator.owner,
            seen=emulator.descriptors is not None,
        )

    def _vcpus(
        self, pid: int, guest: Guest, threads: Sequence[Thread], online: frozenset[int]
    ) -> tuple[Vcpu, ...]:
        by_tid = {t.tid: t for t in threads}
        found = {
            n: by_tid[tid] for n, tid in kvm.vcpu_tids(pid, self._kvm).items() if tid in by_tid
        }
        for thread in threads:
            number = vcpu_number(thread.name)
            if number is not None:
                found.setdefault(number, thread)
        # KVM runs each vCPU in a thread; without it one thread may run them all.
        named = guest.vcpus if guest.vcpus <= max(len(threads), _MOST_IN_ONE_THREAD) else 0
        return tuple(
            Vcpu(n, found.get(n), n in found and pinned(found[n], online))
            for n in sorted({*range(named), *found})
        )

    def _memory_nodes(self, stat: Stat, guest: Guest, nodes: tuple[int, ...]) -> tuple[int, ...]:
        if len(nodes) <= 1 or guest.memory_nodes:
            return guest.memory_nodes or nodes
        key = (stat.tid, stat.started)
        now = time.monotonic()
        if key not in self._nodes or now - self._nodes[key][0] > _NODES_AGE_S:
            before = self._nodes[key][1] if key in self._nodes else ()
            self._nodes[key] = (now, self._guarded.ask([key], _LIMIT_S).get(key, before))
        return self._nodes[key][1]


def _bare(emulator: Emulator, why: str) -> QemuProcess:
    note = f"{emulator.label} is odd: {why}"
    guest = replace(emulator.guest, nics=())
    return QemuProcess(emulator.pid, guest, (), (), (), (), (), {}, (*emulator.notes, note),
                   emulator.owner, emulator.descriptors is not None)  # fmt: skip


def _size(machine: QemuProcess, cpus: int) -> int:
    """What a machine takes in a frame, bytes, more or less."""
    threads = len(machine.vcpus) + len(machine.workers) + len(machine.emulator)
    texts = len(machine.guest.name or "") + sum(map(len, machine.notes))
    return 1000 + 6 * texts + threads * (200 + 4 * cpus) + len(machine.vnics) * 600


def _unclaimed(machines: Sequence[QemuProcess]) -> list[QemuProcess]:
    """Where only command lines tell whose a tap is, one that several name is nobody's."""
    named = Counter(v.tap for m in machines for v in m.vnics if v.tap)

    def disputed(vnic: Vnic) -> bool:
        return vnic.tap is not None and named[vnic.tap] > 1

    found = []
    for machine in machines:
        if not machine.seen and any(map(disputed, machine.vnics)):
            taps = sorted({str(v.tap) for v in machine.vnics if disputed(v)})
            note = f"process {machine.pid}: others name its taps too ({', '.join(taps[:4])})"
            machine = replace(
                machine,
                vnics=tuple(replace(v, tap=None) if disputed(v) else v for v in machine.vnics),
                busy_poll_us={t: us for t, us in machine.busy_poll_us.items() if t not in taps},
                notes=(*machine.notes, f"{note}; run as root to see whose they are"),
            )
        found.append(machine)
    return found


def vcpu_number(name: str) -> Optional[int]:
    """The number in the name that QEMU gives a vCPU's thread; None for any other name."""
    match = _VCPU.fullmatch(name)
    return decimal(match[1], MOST_VCPUS) if match else None


def pinned(thread: Thread, online: frozenset[int]) -> bool:
    """Whether a thread may not run everywhere."""
    return bool(thread.cpus) and not online <= set(thread.cpus)


def numa_nodes(process: Path) -> tuple[int, ...]:
    """The nodes that hold a process's memory, from ``numa_maps``; none if it is not readable."""
    kilobytes: dict[int, int] = {}
    for line in lines(read(process / "numa_maps", _MAPS_BYTES)):
        size = re.search(r" kernelpagesize_kB=([0-9]{1,9})\b", line)
        for node, pages in re.findall(r" N([0-9]{1,4})=([0-9]{1,15})\b", line):
            kilobytes[int(node)] = kilobytes.get(int(node), 0) + int(pages) * int(
                size[1] if size else 4
            )
    least = sum(kilobytes.values()) * _NODE_SHARE
    return tuple(sorted(node for node, amount in kilobytes.items() if amount >= least))
