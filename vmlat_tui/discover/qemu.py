"""The VMs that run here, from /proc: works for every QEMU, whoever started it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from vmlat_tui.discover import kvm, vhost
from vmlat_tui.discover.files import link_name, read
from vmlat_tui.discover.qemu_args import Guest, Nic, is_qemu, parse
from vmlat_tui.discover.threads import PROC, Stat, read_thread, tids
from vmlat_tui.model.topology import Backend, Thread, Vcpu, Vnic, Worker

_VCPU = re.compile(r"CPU (\d+)/\w+")
_MACVTAP = re.compile(r"tap(\d+)")
#: Threads of QEMU's pool: they come and go with the load.
POOL = "worker"
#: Walking a large VM's page tables takes its memory lock for a while: not often.
_NODES_AGE_S = 300.0
#: A node with less than this part of the memory holds no guest memory worth naming.
_NODE_SHARE = 0.01


@dataclass(frozen=True)
class Tap:
    """A tap of this host, with as many queues as are attached to it."""

    name: str
    ifindex: int
    mac: Optional[str]
    queues: int


@dataclass(frozen=True)
class Machine:
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


class Machines:
    """Reads all QEMU processes; remembers what is expensive to find out."""

    def __init__(self, proc: Path = PROC, kvm_directory: Path = kvm.DEBUGFS) -> None:
        self._proc = proc
        self._kvm = kvm_directory
        self._nodes: dict[tuple[int, int], tuple[float, tuple[int, ...]]] = {}

    def read(
        self,
        running: Sequence[Stat],
        taps: Sequence[Tap],
        online: frozenset[int],
        nodes: tuple[int, ...],
    ) -> list[Machine]:
        """Every VM process among the ``running`` ones."""
        found = []
        for stat in running:
            arguments = self._arguments(stat)
            if is_qemu(arguments):
                guest = parse(arguments)
                found.append(self._machine(stat, guest, running, taps, online, nodes))
        alive = {(s.tid, s.started) for s in running}
        self._nodes = {key: value for key, value in self._nodes.items() if key in alive}
        return found

    def _arguments(self, stat: Stat) -> list[str]:
        return read(self._proc / str(stat.tid) / "cmdline").split("\0")

    def _machine(
        self,
        stat: Stat,
        guest: Guest,
        running: Sequence[Stat],
        taps: Sequence[Tap],
        online: frozenset[int],
        nodes: tuple[int, ...],
    ) -> Machine:
        pid = stat.tid
        threads = [t for t in (read_thread(n, self._proc) for n in tids(pid, self._proc)) if t]
        vcpus = self._vcpus(pid, guest, threads, online)
        workers = vhost.find_workers(pid, threads, running, self._proc)
        known = {v.thread.tid for v in vcpus if v.thread} | {w.thread.tid for w in workers}
        descriptors = self._descriptors(pid, taps)
        notes = []
        if descriptors is not None and self._elsewhere(pid):
            taps, descriptors = [], Descriptors({}, descriptors.vhost)
            notes.append(f"the taps of process {pid} are in another network namespace; run there")
        vnics, polls = pair(guest.nics, descriptors, taps)
        return Machine(
            pid=pid,
            guest=guest,
            vcpus=vcpus,
            workers=workers,
            emulator=tuple(t for t in threads if t.tid not in known),
            memory_nodes=self._memory_nodes(stat, guest, nodes),
            vnics=vnics,
            busy_poll_us=polls,
            notes=tuple(notes),
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
        return tuple(
            Vcpu(n, found.get(n), n in found and pinned(found[n], online))
            for n in sorted({*range(guest.vcpus), *found})
        )

    def _descriptors(self, pid: int, taps: Sequence[Tap]) -> Optional[Descriptors]:
        """None if they are not ours to see."""
        directory = self._proc / str(pid)
        try:
            names = os.listdir(directory / "fd")
        except OSError:
            return None
        by_index = {tap.ifindex: tap.name for tap in taps}
        found: dict[int, str] = {}
        vhosts = 0
        for fd in names:
            try:
                target = os.readlink(directory / "fd" / fd)
            except OSError:
                continue
            macvtap = _MACVTAP.fullmatch(target.rpartition("/")[2])
            if target == "/dev/net/tun":
                lines = read(directory / "fdinfo" / fd).splitlines()
                iff = [line.partition(":")[2].strip() for line in lines if line.startswith("iff:")]
                if iff and iff[0]:
                    found[int(fd)] = iff[0]
            elif target.startswith("/dev/tap") and macvtap and int(macvtap[1]) in by_index:
                found[int(fd)] = by_index[int(macvtap[1])]
            elif target == "/dev/vhost-net":
                vhosts += 1
        return Descriptors(found, vhosts)

    def _elsewhere(self, pid: int) -> bool:
        theirs = link_name(self._proc / str(pid) / "ns/net")
        return theirs is not None and theirs != link_name(self._proc / "self/ns/net")

    def _memory_nodes(self, stat: Stat, guest: Guest, nodes: tuple[int, ...]) -> tuple[int, ...]:
        if len(nodes) <= 1 or guest.memory_nodes:
            return guest.memory_nodes or nodes
        key = (stat.tid, stat.started)
        now = time.monotonic()
        if key not in self._nodes or now - self._nodes[key][0] > _NODES_AGE_S:
            self._nodes[key] = (now, numa_nodes(self._proc / str(stat.tid)))
        return self._nodes[key][1]


@dataclass(frozen=True)
class Descriptors:
    """Open descriptors of a QEMU: which are queues of taps, and how many are vhost's."""

    taps: Mapping[int, str]
    vhost: int


def vcpu_number(name: str) -> Optional[int]:
    """The number in the name that QEMU gives a vCPU's thread; None for any other name."""
    match = _VCPU.fullmatch(name)
    return int(match.group(1)) if match else None


def pinned(thread: Thread, online: frozenset[int]) -> bool:
    """Whether a thread may not run everywhere."""
    return bool(thread.cpus) and not online <= set(thread.cpus)


def numa_nodes(process: Path) -> tuple[int, ...]:
    """The nodes that hold a process's memory, from ``numa_maps``; none if it is not readable."""
    kilobytes: dict[int, int] = {}
    for line in read(process / "numa_maps").splitlines():
        size = re.search(r" kernelpagesize_kB=(\d+)", line)
        for node, pages in re.findall(r" N(\d+)=(\d+)", line):
            kilobytes[int(node)] = kilobytes.get(int(node), 0) + int(pages) * int(
                size[1] if size else 4
            )
    least = sum(kilobytes.values()) * _NODE_SHARE
    return tuple(sorted(node for node, amount in kilobytes.items() if amount >= least))


def pair(
    nics: Sequence[Nic], descriptors: Optional[Descriptors], taps: Sequence[Tap]
) -> tuple[tuple[Vnic, ...], dict[str, int]]:
    """The vNICs of a process with their taps, and the busy polling of those that tell.

    A tap is known by its name, by a descriptor that the command line names, or by its address: it
    differs from the guest's in the first byte only.  When the descriptors can be seen, a NIC
    without a tap was unplugged, and a tap without a NIC was plugged in later.
    """
    open_taps = None if descriptors is None else sorted(set(descriptors.taps.values()))
    free = [tap for tap in taps if open_taps is None or tap.name in open_taps]
    attached = {tap.name: tap.queues for tap in taps}
    chosen: dict[int, str] = {}

    def choose(i: int, name: Optional[str]) -> None:
        if i not in chosen and name is not None and name not in chosen.values():
            chosen[i] = name

    for i, nic in enumerate(nics):
        if nic.ifname and (open_taps is None or nic.ifname in open_taps):
            choose(i, nic.ifname)
        for fd in nic.descriptors:
            choose(i, descriptors.taps.get(fd) if descriptors else None)
    for i, nic in enumerate(nics):
        if nic.mac and nic.backend in (Backend.VHOST, Backend.QEMU):
            tail = nic.mac[2:]
            same = [t.name for t in free if t.mac and t.mac.lower()[2:] == tail]
            choose(i, same[0] if len(same) == 1 else None)
    left = [name for name in open_taps or () if name not in chosen.values()]
    without = [i for i, n in enumerate(nics) if i not in chosen and _has_tap(n)]
    if len(left) == len(without) == 1 and not nics[without[0]].descriptors:
        choose(without[0], left.pop())
    vnics, polls = [], {}
    for i, nic in enumerate(nics):
        tap = chosen.get(i)
        if tap is None and _has_tap(nic) and open_taps is not None:
            continue
        queues = attached.get(tap or "") or nic.queues
        vnics.append(Vnic(tap, nic.mac, nic.model, nic.backend, queues, nic.mtu, nic.bridge, ()))
        if tap is not None and nic.backend is Backend.VHOST:
            polls[tap] = nic.busy_poll_us
    spare = (descriptors.vhost if descriptors else 0) - sum(
        v.queues for v in vnics if v.backend is Backend.VHOST
    )
    for name in left:
        queues = attached.get(name) or 1
        backend = Backend.VHOST if spare >= queues else Backend.QEMU
        spare -= queues
        vnics.append(Vnic(name, None, None, backend, queues, None, None, ()))
    return tuple(vnics), polls


def _has_tap(nic: Nic) -> bool:
    return nic.backend in (Backend.VHOST, Backend.QEMU)
