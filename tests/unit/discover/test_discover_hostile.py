"""Processes of a user who wishes no good: none of them is another VM's trouble."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import pytest

from tests.support.hostile import CASES, ODD
from tests.support.trees import Proc
from tests.unit.discover.test_discover_topology import AROUND, described, machine, vnic
from vmlat_tui.discover import threads
from vmlat_tui.discover.vms import cmdlines, qemu_args
from vmlat_tui.discover.vms.descriptors import Tap
from vmlat_tui.discover.vms.emulators import Emulators
from vmlat_tui.discover.vms.merge import merge
from vmlat_tui.discover.vms.qemu import QemuProcess, QemuProcesses
from vmlat_tui.discover.vms.vcpus import Behind, VcpuThreads, read_vcpus
from vmlat_tui.model.topology import DomainState

EVIL = 65533
TAPS = [Tap("vnet0", 10, "fe:54:00:77:00:0b", 1), Tap("vnet1", 11, "fe:54:00:77:00:0c", 1)]
HONEST = (
    "/usr/bin/qemu-system-x86_64", "-name", "guest=web,debug-threads=on", "-m", "1024", "-smp", "2",
    "-netdev", "tap,id=n,ifname=vnet0,vhost=on", "-device",
    "virtio-net-pci,netdev=n,mac=52:54:00:77:00:0b",
)  # fmt: skip


class Host:
    """A tree of processes with one honest VM of root's, and a user's that are added."""

    def __init__(self, top: Path) -> None:
        self.proc = Proc(top / "proc")
        self.kvm = top / "kvm"
        self._next = 1000
        self.vm(50, HONEST, owner=0, tap="vnet0", here=True)
        self.machines = QemuProcesses(self.proc.top, self.kvm, self.proc.ask)

    def vm(
        self,
        pid: int,
        command: tuple[str, ...],
        owner: int = EVIL,
        tap: Optional[str] = None,
        here: Optional[bool] = None,
        kvm: bool = True,
    ) -> None:
        """A process with two vCPUs."""
        self.proc.process(pid, "qemu-system-x86", *command, owner=owner)
        for n in range(2):
            self.proc.thread(pid, pid + 1 + n, f"CPU {n}/KVM", owner=owner)
        if kvm:
            self.proc.descriptor(pid, 12, "anon_inode:kvm-vm")
        if tap:
            self.proc.tap(pid, 30, tap, here)

    def evil(self, *arguments: str, **options: object) -> int:
        """A process of the user's that calls itself a QEMU."""
        self._next += 10
        self.vm(self._next, ("qemu-kvm", *arguments), **options)  # type: ignore[arg-type]
        return self._next

    def read(self) -> dict[int, QemuProcess]:
        running = threads.processes(self.proc.top)
        found = self.machines.read(running, TAPS, frozenset(range(4)), (0,))
        return {one.pid: one for one in found}

    def notes(self, found: dict[int, QemuProcess]) -> str:
        return "\n".join([*self.machines.notes, *(n for m in found.values() for n in m.notes)])

    def behind(self, *taps: str) -> Behind:
        return read_vcpus(taps, Emulators(self.proc.top, self.proc.ask), self.kvm)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


# ---- odd command lines --------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_an_odd_vm_is_one_row_and_the_others_are_as_they_were(host: Host, case: str) -> None:
    before = host.read()
    pid = host.evil(*CASES[case])
    found = host.read()
    assert found[50] == before[50] and len(found) == 2, "the honest one"
    odd = f"(process {pid} of user {EVIL}) is odd: " in host.notes(found)
    assert odd is (case in ODD)
    (domain,) = merge([], [found[pid]], AROUND)
    text = json.dumps(domain.name) + json.dumps(found[pid].notes)
    assert len(text) < 3000 and len(domain.vnics) <= 256 and len(domain.vcpus) <= 32
    assert 0 < (domain.memory_kb or 0) < 1 << 54
    assert host.behind("vnet0") == Behind({"vnet0": VcpuThreads(False, {0: 51, 1: 52})}, ())


def test_what_is_odd_is_named(host: Host) -> None:
    host.evil("-name", "shop", "-smp", "²", "-m", "9" * 400)
    assert "shop (process 1010 of user 65533) is odd: -m '99999999999999" in host.notes(host.read())
    assert "-smp '²'" in host.notes(host.read())


def test_a_vm_has_no_more_vcpus_than_threads(host: Host) -> None:
    pid = host.evil("-smp", "4096")
    found = host.read()
    assert [v.number for v in found[pid].vcpus] == [0, 1]
    assert "it names 4096 vCPUs" in host.notes(found)


def test_a_bug_of_ours_is_one_vms_as_well(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is not thought of: it stays at the boundary of the one VM."""
    pid = host.evil("-name", "odd")

    def parse(arguments: list[str]) -> qemu_args.Guest:
        if "odd" in arguments:
            raise RecursionError
        return qemu_args.parse(arguments)

    monkeypatch.setattr(cmdlines, "parse", parse)
    found = host.read()
    assert set(found) == {50, pid} and found[50].guest.name == "web"
    assert "cannot be understood (RecursionError)" in host.notes(found)
    assert host.behind("vnet0").threads == {"vnet0": VcpuThreads(False, {0: 51, 1: 52})}


# ---- who is believed ----------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_a_users_process_that_holds_nothing_is_no_vm(host: Host, case: str) -> None:
    before = host.read()
    host.evil(*CASES[case], kvm=False)
    assert host.read() == before and host.notes(host.read()) == ""


def test_who_has_kvm_or_a_tap_is_a_vm_whoever_it_is(host: Host) -> None:
    kvm = host.evil()
    tap = host.evil(kvm=False, tap="vnet1", here=True)
    far = host.evil(kvm=False, tap="vnet1", here=False)
    host.evil(kvm=False)
    assert set(host.read()) == {50, kvm, tap, far}


def test_a_path_that_looks_like_a_device_is_none(host: Host) -> None:
    pid = host.evil(kvm=False)
    memfd = "/memfd:anon_inode:kvm-vm (deleted)"
    lies = ("/dev/kvm", "/dev/vhost-net", "/tmp/anon_inode:kvm-vm", memfd, "/dev/net/tun")
    for fd, target in enumerate(lies):
        host.proc.descriptor(pid, 40 + fd, target)
    assert set(host.read()) == {50}


def test_another_ones_macvtap_as_a_mere_path_is_not_held(host: Host) -> None:
    """Whoever may see /dev can open any file in it with O_PATH."""
    pid = host.evil()
    host.proc.descriptor(pid, 40, "/dev/tap11", flags=0o12000000)
    assert host.read()[pid].vnics == ()
    host.proc.descriptor(pid, 41, "/dev/tap11")
    assert [v.tap for v in host.read()[pid].vnics] == ["vnet1"]


def test_without_kvm_roots_own_and_an_installed_qemu_are_believed(
    host: Host, tmp_path: Path
) -> None:
    root = host.evil(owner=0, kvm=False)
    installed, writable, other, gone = (host.evil(kvm=False) for _ in range(4))
    for pid, name, mode in ((installed, "qemu-system-arm", 0o755), (other, "sleep", 0o755),
                            (writable, "qemu-system-x86_64", 0o777)):  # fmt: skip
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
        (host.proc.top / f"{pid}/exe").symlink_to(tmp_path / name)
    (host.proc.top / f"{gone}/exe").symlink_to(tmp_path / "qemu-system-arm (deleted)")
    assert set(host.read()) == {50, root, installed}


def test_whose_process_it_is_is_not_what_its_directory_says(host: Host) -> None:
    """That is root's as soon as a process is not dumpable, and the effective user is root's while
    it runs one of root's programs."""
    pid = host.evil(kvm=False)
    assert os.stat(host.proc.top / str(pid)).st_uid == os.getuid()
    assert threads.read_owner(pid, host.proc.top) == EVIL
    assert set(host.read()) == {50}


def test_where_descriptors_cannot_be_seen_command_lines_are_believed(host: Host) -> None:
    pid = host.evil("-netdev", "tap,id=n,ifname=vnet1", "-device", "virtio-net,netdev=n")
    for one in (50, pid):
        os.rename(host.proc.top / f"{one}/fd", host.proc.top / f"{one}/hidden")
    found = host.read()
    assert [(m.seen, [v.tap for v in m.vnics]) for m in found.values()] == [
        (False, ["vnet0"]),
        (False, ["vnet1"]),
    ]


def test_a_tap_that_several_command_lines_name_is_then_nobodys(host: Host) -> None:
    pid = host.evil("-netdev", "tap,id=n,ifname=vnet0", "-device", "virtio-net,netdev=n")
    for one in (50, pid):
        os.rename(host.proc.top / f"{one}/fd", host.proc.top / f"{one}/hidden")
    found = host.read()
    assert [v.tap for m in found.values() for v in m.vnics] == [None, None]
    assert "process 50: others name its taps too (vnet0)" in host.notes(found)


# ---- the wrong VM -------------------------------------------------------------------------------


def test_a_tap_of_this_name_in_another_namespace_is_another(host: Host) -> None:
    for _ in range(3):
        host.evil(tap="vnet0", here=False)
    found = host.read()
    assert [[v.tap for v in m.vnics] for m in found.values()] == [["vnet0"], [], [], []]
    assert "the taps of process 1010 are in another network namespace" in host.notes(found)
    assert host.behind("vnet0").threads["vnet0"].tids == {0: 51, 1: 52}


def test_whom_the_kernel_names_has_it_though_others_have_the_name(host: Host) -> None:
    host.evil(tap="vnet0")
    found = host.read()
    assert [[v.tap for v in m.vnics] for m in found.values()] == [["vnet0"], []]
    assert host.behind("vnet0").threads["vnet0"].tids == {0: 51, 1: 52}


def test_a_tap_given_to_a_process_of_another_namespace_is_still_here(host: Host) -> None:
    """As libvirt, KubeVirt and Kata pass them on."""
    pid = host.evil(tap="vnet1", here=True)
    host.proc.elsewhere(pid)
    assert [v.tap for v in host.read()[pid].vnics] == ["vnet1"]
    assert host.behind("vnet1").threads["vnet1"].tids == {0: pid + 1, 1: pid + 2}


def test_where_only_names_are_known_one_that_two_have_is_nobodys(host: Host) -> None:
    host.proc.tap(50, 31, "vnet1")
    pid = host.evil(tap="vnet1")
    found = host.read()
    assert "vnet1" not in [v.tap for m in found.values() for v in m.vnics]
    words = f"vnet1: several processes have a tap of this name (50, {pid})"
    assert words in host.notes(found)
    behind = host.behind("vnet0", "vnet1")
    assert set(behind.threads) == {"vnet0"} and words in behind.notes[0]


def test_two_that_hold_queues_of_one_tap_are_named(host: Host) -> None:
    pid = host.evil(tap="vnet0", here=True)
    words = f"vnet0: several processes hold queues of it (50, {pid})"
    assert words in host.notes(host.read())
    behind = host.behind("vnet0")
    assert behind.threads == {} and words in behind.notes[0]
    assert host.behind("vnet1") == Behind({}, ()), "who does not watch it is not told"


def test_no_process_takes_a_libvirt_vm_by_its_uuid() -> None:
    honest, evil = machine(50, owner=0, seen=True), machine(40, vnics=(), owner=EVIL, seen=True)
    (one,) = [d for d in merge([described()], [honest, evil], AROUND) if d.uuid == "u1" and d.vnics]
    assert (one.name, one.pid) == ("vm-a", 50)
    alone = merge([described()], [evil], AROUND)
    assert [(d.name, d.pid) for d in alone] == [("vm-a", None), ("vm-a (process 40)", 40)]
    off = merge([described(state=DomainState.OFF, vnics=(vnic(None),))], [evil], AROUND)
    assert [(d.name, d.pid) for d in off] == [("vm-a", None), ("vm-a (process 40)", 40)]


def test_no_process_takes_a_vms_name() -> None:
    """KVM's counters, and much else, are by name."""
    first, second = machine(50, None, owner=0), machine(40, None, owner=EVIL)
    found = merge([], [first, second], AROUND)
    assert [(d.name, d.pid) for d in found] == [("vm-a", 50), ("vm-a (process 40)", 40)]


def test_whose_owner_is_trusted_comes_first_then_who_is_older(host: Host) -> None:
    for pid, owner, started in ((900, EVIL, 1), (901, 64055, 300), (902, EVIL, 0), (903, 107, 200)):
        host.proc.process(pid, "qemu", "qemu-kvm", "-S", owner=owner, started=started)
        host.proc.descriptor(pid, 5, "anon_inode:kvm-vm")
    assert list(host.read()) == [50, 903, 901, 902, 900]


# ---- sizes --------------------------------------------------------------------------------------


def test_a_command_line_is_read_once(host: Host) -> None:
    pid = host.evil("-name", "a")
    assert host.read()[pid].guest.name == "a"
    for one in (50, pid):
        (host.proc.top / f"{one}/cmdline").unlink()
    assert host.read()[pid].guest.name == "a" and len(host.read()) == 2
    host.proc.thread(pid, pid, "other", owner=EVIL)
    assert set(host.read()) == {50}, "another program, whose arguments are not known yet"


def test_of_another_program_only_the_beginning_is_read(tmp_path: Path) -> None:
    line = tmp_path / "cmdline"
    line.write_bytes(b"sleep\0" + b"x" * 5000)
    assert cmdlines.read_qemu(line) == b""
    line.write_bytes(b"qemu-kvm\0" + b"x" * 5000)
    assert cmdlines.read_qemu(line) == line.read_bytes()
    with open(line, "ab") as file:
        file.truncate(1 << 40)
    assert len(cmdlines.read_qemu(line) or b"") == (128 << 10) + 1
    assert cmdlines.read_qemu(tmp_path / "none") is None


def test_a_long_command_line_is_named(host: Host) -> None:
    pid = host.evil("-name", "long", *["x" * 1000] * 200)
    assert host.read()[pid].guest.name == "long"
    assert "more than 128 KiB" in host.notes(host.read())


@pytest.fixture
def hung(host: Host) -> Iterator[list[int]]:
    """Processes whose command lines hang whoever reads them: here, opens them."""
    pids = [host.evil() for _ in range(5)]
    for pid in pids:
        (host.proc.top / f"{pid}/cmdline").unlink()
        os.mkfifo(host.proc.top / f"{pid}/cmdline")
    yield pids
    for pid in pids:
        os.close(os.open(host.proc.top / f"{pid}/cmdline", os.O_RDWR | os.O_NONBLOCK))


def test_one_that_hangs_its_readers_is_a_row_without_words(host: Host, hung: list[int]) -> None:
    begin = time.monotonic()
    found = host.read()
    assert time.monotonic() - begin < 3
    assert set(found) == {50, *hung[:2]} and found[50].guest.name == "web"
    assert "cannot be read, it hangs" in host.notes(found)
    assert "processes are not looked at: the command lines of others" in host.notes(found)
    begin = time.monotonic()
    assert host.read() == found
    assert time.monotonic() - begin < 0.4, "nobody waits for it again"
    assert set(host.behind("vnet0").threads) == {"vnet0"}


def test_one_that_hangs_and_holds_nothing_is_no_vm(host: Host, hung: list[int]) -> None:
    for pid in hung:
        (host.proc.top / f"{pid}/fd/12").unlink()
        host.proc.thread(pid, pid, "sleep", owner=0)
    assert set(host.read()) == {50}


def test_descriptors_and_threads_of_a_user_are_counted(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmlat_tui.discover.vms.emulators._MOST_OF_ONE", 4)
    monkeypatch.setattr("vmlat_tui.discover.vms.qemu._MOST_THREADS_OF_ONE", 5)
    first, second, _ = (host.evil(tap=f"t{n}", here=False) for n in range(3))
    found = host.read()
    assert set(found) == {50, first, second}, "of the third no descriptor is looked at"
    assert [len(m.vcpus) + len(m.emulator) for m in found.values()] == [3, 3, 2]
    assert "only 2 of its threads are looked at" in host.notes(found)
    assert "1 processes that call themselves QEMU are not looked at" in host.notes(found)


def test_what_would_be_no_frame_is_left_out(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmlat_tui.discover.vms.qemu._MOST_BYTES", 10_000)
    for n in range(9):
        host.evil("-name", f"vm{n}")
    found = host.read()
    assert 50 in found and len(found) < 9
    assert f"{10 - len(found)} more VMs are not shown" in host.notes(found)


_CHILD = """
import resource, sys
from pathlib import Path
from vmlat_tui.discover import threads
from vmlat_tui.discover.vms.qemu import QemuProcesses
proc = Path(sys.argv[1])
machines = QemuProcesses(proc, proc / "kvm", lambda pid, fds: {})
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
found = machines.read(threads.processes(proc), (), frozenset((0,)), (0, 1))
print(len(found), max(len(m.vcpus) for m in found))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize(
    "command",
    [("-smp", "400000"), ("-smp", "4096"), ("-object",
     "memory-backend-ram,policy=bind,host-nodes=0-20000000"), None, ("-smp", "9" * 100000)],
)  # fmt: skip
def test_a_small_process_takes_little_memory(
    host: Host, command: Optional[tuple[str, ...]]
) -> None:
    """None: a command line of half a gigabyte, which costs its process nothing."""

    def peak_kb() -> int:
        child = (sys.executable, "-c", _CHILD, str(host.proc.top))
        done = subprocess.run(child, capture_output=True, text=True, check=True, timeout=60)
        return int(done.stdout.split()[-1])

    honest = peak_kb()
    for _ in range(20):
        pid = host.evil(*(command or ()))
        if command is None:
            with open(host.proc.top / f"{pid}/cmdline", "ab") as file:
                file.truncate(482 << 20)
        (host.proc.top / f"{pid}/numa_maps").write_bytes(b"7f00 default N0=1\n")
        with open(host.proc.top / f"{pid}/numa_maps", "ab") as file:
            file.truncate(482 << 20)
    assert peak_kb() - honest < 30 << 10
