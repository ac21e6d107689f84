"""Which threads run the vCPUs behind a tap: what the probes need to know of a VM."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmlat_tui.discover import kvm
from vmlat_tui.discover.files import read
from vmlat_tui.discover.qemu import vcpu_number
from vmlat_tui.discover.qemu_args import is_qemu
from vmlat_tui.discover.threads import PROC, processes, read_stat, tids


@dataclass(frozen=True)
class VcpuThreads:
    """vCPU number -> thread.  ``exact``: the numbers are the kernel's (APIC ids), not QEMU's."""

    exact: bool
    tids: Mapping[int, int]


def read_vcpus(
    taps: Sequence[str], proc: Path = PROC, kvm_directory: Path = kvm.DEBUGFS
) -> dict[str, VcpuThreads]:
    """The vCPUs of the VM behind each of these taps; one that is not found is left out."""
    found: dict[str, VcpuThreads] = {}
    for stat in processes(proc):
        if not is_qemu(read(proc / str(stat.tid) / "cmdline").split("\0")):
            continue
        held = [name for name in _taps(stat.tid, proc) if name in taps]
        if held:
            threads = _threads(stat.tid, proc, kvm_directory)
            found.update(dict.fromkeys(held, threads))
    return found


def _taps(pid: int, proc: Path) -> set[str]:
    """Names of the taps that a process holds open."""
    try:
        descriptors = os.listdir(proc / str(pid) / "fdinfo")
    except OSError:
        return set()
    lines = (line for d in descriptors for line in read(proc / str(pid) / "fdinfo" / d).split("\n"))
    return {line.partition(":")[2].strip() for line in lines if line.startswith("iff:")}


def _threads(pid: int, proc: Path, kvm_directory: Path) -> VcpuThreads:
    exact = kvm.vcpu_tids(pid, kvm_directory)
    if exact:
        return VcpuThreads(True, exact)
    named = {}
    for tid in tids(pid, proc):
        stat = read_stat(proc / str(pid) / "task" / str(tid))
        number = vcpu_number(stat.name) if stat else None
        if number is not None:
            named[number] = tid
    return VcpuThreads(False, named)
