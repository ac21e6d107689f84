"""Which threads run the vCPUs behind a tap: what the probes need to know of a VM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmlat_tui.discover.threads import processes, read_stat, tids
from vmlat_tui.discover.vms import kvm
from vmlat_tui.discover.vms.emulators import Emulators
from vmlat_tui.discover.vms.qemu import vcpu_number

#: For a measurement's own thread, which has packets to fetch.
_LIMIT_S = 0.1


@dataclass(frozen=True)
class VcpuThreads:
    """vCPU number -> thread.  ``exact``: the numbers are the kernel's (APIC ids), not QEMU's."""

    exact: bool
    tids: Mapping[int, int]


@dataclass(frozen=True)
class Behind:
    """The vCPUs behind each tap; ``notes`` say of which it cannot be told."""

    threads: Mapping[str, VcpuThreads]
    notes: tuple[str, ...]


def read_vcpus(
    taps: Sequence[str], emulators: Emulators, kvm_directory: Path = kvm.DEBUGFS
) -> Behind:
    """The vCPUs of the VM behind each of these taps; one that is not found is left out.

    A tap of which several processes hold queues, or may, is nobody's.
    """
    found: dict[str, VcpuThreads] = {}
    seen = emulators.read(processes(emulators.proc), (), _LIMIT_S)
    for emulator in seen.emulators:
        held = set(emulator.descriptors.taps.values()) if emulator.descriptors else set()
        mine = [name for name in taps if name in held and name not in seen.shared]
        if mine:
            found.update(dict.fromkeys(mine, _threads(emulator.pid, emulators.proc, kvm_directory)))
    notes = (note for tap, note in sorted(seen.shared.items()) if tap in taps)
    return Behind(found, tuple(notes))


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
