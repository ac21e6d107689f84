"""The threads behind a tap's vCPUs, for the probes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.trees import Proc, plant
from vmlat_tui.discover.vms.emulators import Emulators
from vmlat_tui.discover.vms.vcpus import VcpuThreads, read_vcpus


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    made = Proc(tmp_path / "proc")
    made.process(300, "qemu", "/usr/bin/qemu-system-x86_64", "-name", "guest=a,debug-threads=on")
    made.thread(300, 301, "CPU 0/KVM")
    made.thread(300, 302, "CPU 1/KVM")
    made.thread(300, 303, "vhost-300")
    made.tap(300, 30, "vnet0")
    made.process(400, "bash", "/bin/bash")
    made.tap(400, 30, "vnet1")
    return made


def behind(proc: Proc, *taps: str) -> Mapping[str, VcpuThreads]:
    return read_vcpus(taps, Emulators(proc.top, proc.ask), proc.top / "kvm").threads


def test_qemus_names_tell_the_vcpus_of_a_tap_but_not_kvms_numbers(proc: Proc) -> None:
    assert behind(proc, "vnet0") == {"vnet0": VcpuThreads(False, {0: 301, 1: 302})}


def test_kvm_itself_tells_them_exactly(proc: Proc, tmp_path: Path) -> None:
    """The third core of a VM with three cores a socket has the APIC id 4."""
    debugfs = plant(tmp_path / "kvm", {"300-11/vcpu0/pid": 301, "300-11/vcpu4/pid": 302})
    assert read_vcpus(["vnet0"], Emulators(proc.top, proc.ask), debugfs).threads == {
        "vnet0": VcpuThreads(True, {0: 301, 4: 302})
    }


def test_a_tap_of_no_vm_or_of_a_vm_that_is_not_watched_is_left_out(proc: Proc) -> None:
    assert behind(proc, "vnet1") == {}
