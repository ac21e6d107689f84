"""VMs from QEMU's command line and descriptors, whoever started it."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import pytest

from tests.support.trees import Proc, plant
from vmlat_tui.discover import threads
from vmlat_tui.discover.vms import qemu_args, vhost
from vmlat_tui.discover.vms.descriptors import Descriptors, Tap
from vmlat_tui.discover.vms.pairing import pair
from vmlat_tui.discover.vms.qemu import QemuProcess, QemuProcesses
from vmlat_tui.discover.vms.qemu_args import Nic
from vmlat_tui.model.topology import Backend, Thread, Vnic, Worker

UUID = "4c4a4242-0000-4000-8000-000000000102"
#: libvirt 9 with QEMU 7.2 (Debian 12), shortened.
LIBVIRT = (
    "/usr/bin/qemu-system-x86_64", "-name", "guest=vm-b,debug-threads=on", "-S",
    "-object", '{"qom-type":"secret","id":"masterKey0","format":"raw","file":"/run/x.aes"}',
    "-machine", "pc-i440fx-7.2,usb=off,dump-guest-core=off", "-accel", "kvm",
    "-cpu", "host,migratable=on", "-m", "192", "-object",
    '{"qom-type":"memory-backend-ram","id":"pc.ram","size":201326592,'
    '"host-nodes":[1],"policy":"bind"}',
    "-smp", "2,sockets=2,cores=1,threads=1", "-uuid", UUID,
    "-netdev", '{"type":"tap","fds":"30:31","vhost":true,"vhostfds":"32:33","id":"hostnet0"}',
    "-device", '{"driver":"virtio-net-pci","mq":true,"vectors":6,"netdev":"hostnet0",'
    '"id":"net0","mac":"52:54:00:77:00:0B","host_mtu":9000,"bus":"pci.0","addr":"0x2"}',
    "-netdev", "tap,fd=34,id=hostnet1", "-device",
    "e1000,netdev=hostnet1,id=net1,mac=52:54:00:77:00:0c,bus=pci.0,addr=0x3",
)  # fmt: skip
PROXMOX = (
    "/usr/bin/kvm", "-id", "100", "-name", "web,,1,debug-threads=on", "-smp",
    "4,sockets=1,cores=4,maxcpus=4", "-m", "size=2048,slots=255,maxmem=4T",
    "-smbios", "type=1,uuid=8c43c4c0-1111-4222-8333-444444444444",
    "-netdev", "type=tap,id=net0,ifname=tap100i0,script=/x,downscript=/y,vhost=on,queues=4,"
    "poll-us=50",
    "-device", "virtio-net-pci,mac=BC:24:11:00:00:01,netdev=net0,bus=pci.0,addr=0x12",
)  # fmt: skip


def test_libvirts_command_line_is_understood() -> None:
    guest = qemu_args.parse(LIBVIRT)
    assert (guest.name, guest.uuid, guest.memory_kb, guest.vcpus) == ("vm-b", UUID, 192 << 10, 2)
    assert guest.memory_nodes == (1,)
    assert guest.nics == (
        Nic("52:54:00:77:00:0b", "virtio", Backend.VHOST, None, None, (30, 31), 2, 9000, 0),
        Nic("52:54:00:77:00:0c", "e1000", Backend.QEMU, None, None, (34,), 1, None, 0),
    )


def test_proxmoxs_command_line_is_understood() -> None:
    guest = qemu_args.parse(PROXMOX)
    assert (guest.name, guest.uuid, guest.memory_kb, guest.vcpus) == ("web,1", None, 2 << 20, 4)
    assert guest.nics == (
        Nic("bc:24:11:00:00:01", "virtio", Backend.VHOST, "tap100i0", None, (), 4, None, 50),
    )


@pytest.mark.parametrize(
    ("netdev", "backend"),
    [
        ("tap,id=n", Backend.QEMU),
        ("tap,id=n,vhost=off", Backend.QEMU),
        ("tap,id=n,vhost=on", Backend.VHOST),
        ("tap,id=n,vhostfd=9", Backend.VHOST),
        ('{"type":"tap","id":"n","vhost":false}', Backend.QEMU),
        ("bridge,id=n,br=br0", Backend.QEMU),
        ("vhost-user,id=n,chardev=c", Backend.VHOST_USER),
        ("vhost-vdpa,id=n,vhostdev=/dev/vhost-vdpa-0", Backend.OTHER),
        ("user,id=n,hostfwd=tcp::1-:2", Backend.OTHER),
        ("socket,id=n", Backend.OTHER),
    ],
)
def test_the_back_end_is_told_by_the_netdev(netdev: str, backend: Backend) -> None:
    command = ["qemu-system-x86_64", "-netdev", netdev, "-device", "virtio-net-pci,netdev=n"]
    assert [nic.backend for nic in qemu_args.parse(command).nics] == [backend]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["-name", "a"], "a"),
        (["-name", "guest=a,process=b"], "a"),
        (["-name", "a,,b"], "a,b"),
        (["--name", "[red]x[/red]\x1b[2J"], "[red]x[/red]\x1b[2J"),
        (["-name", ""], None),
        ([], None),
    ],
)
def test_the_name_is_what_qemu_would_call_it(words: list[str], name: Optional[str]) -> None:
    assert qemu_args.parse(["qemu-system-x86_64", *words]).name == name


@pytest.mark.parametrize(
    ("size", "kilobytes"),
    [("512", 512 << 10), ("4G", 4 << 20), ("size=196608k", 196608), ("1.5G", 3 << 19),
     ("size=1g,slots=2,maxmem=8G", 1 << 20), ("nonsense", 128 << 10)],
)  # fmt: skip
def test_memory_has_qemus_units(size: str, kilobytes: int) -> None:
    assert qemu_args.parse(["kvm", "-m", size]).memory_kb == kilobytes


@pytest.mark.parametrize(
    ("smp", "count"),
    [("4", 4), ("cpus=3,maxcpus=8", 3), ("sockets=2,cores=4,threads=2", 16), ("x", 1)],
)
def test_vcpus_are_counted_as_qemu_does(smp: str, count: int) -> None:
    assert qemu_args.parse(["kvm", "-smp", smp]).vcpus == count


@pytest.mark.parametrize(
    ("command", "verdict"),
    [
        (LIBVIRT, True),
        (PROXMOX, True),
        (("qemu-kvm", "-m", "1"), True),
        (("/usr/bin/qemu-img", "info", "x"), False),
        (("/usr/bin/qemu-ga", "-d"), False),
        (("qemu-system-x86_64", "-S", "-machine", "none,accel=kvm:tcg"), False),
        (("bash", "-c", "qemu-system-x86_64 -m 1"), False),
        (("",), False),
        ((), False),
    ],
)
def test_only_vms_are_vms(command: tuple[str, ...], verdict: bool) -> None:
    assert qemu_args.is_qemu(command) is verdict


@pytest.mark.parametrize("text", ["{", '{"a":', "[1]", "{}" * 3, ",,,", "=", "no", ""])
def test_no_option_is_too_odd(text: str) -> None:
    command = ["kvm"] + [w for o in ("-netdev", "-device", "-nic", "-m", "-smp", "-object", "-name")
                         for w in (o, text)]  # fmt: skip
    assert qemu_args.parse(command).vcpus >= 0


# ---- processes ----------------------------------------------------------------------------------


TAPS = [
    Tap("vnet0", 10, "fe:54:00:77:00:0b", 2),
    Tap("vnet1", 11, "fe:54:00:77:00:0c", 1),
    Tap("vnet2", 12, "fe:54:00:77:00:0d", 1),
]


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    """One VM with two vNICs and everything that belongs to it, on a kernel with vhost threads."""
    proc = Proc(tmp_path / "proc")
    proc.process(2, "kthreadd", parent=0)
    proc.process(50, "qemu-system-x86", *LIBVIRT, cpu=3)
    proc.thread(50, 55, "CPU 0/KVM", cpus="2", cpu=2)
    proc.thread(50, 56, "CPU 1/KVM", cpus="0-3", cpu=1)
    proc.thread(50, 57, "worker")
    for tid, started in ((60, 300), (59, 301)):
        proc.process(tid, "vhost-50", parent=2, started=started)
    proc.process(61, "vhost-500", parent=2)
    proc.process(62, "vhost-50", parent=1)  # a program that only calls itself so
    for fd, tap in ((30, "vnet0"), (31, "vnet0"), (34, "vnet1")):
        proc.tap(50, fd, tap)
    for fd in (32, 33):
        proc.descriptor(50, fd, "/dev/vhost-net")
    proc.descriptor(50, 3, "/dev/net/tun", "iff:\t\n")
    return proc


def read(proc: Proc, **options: tuple[int, ...]) -> QemuProcess:
    machines = QemuProcesses(proc.top, proc.top.parent / "kvm", proc.ask)
    nodes = options.get("nodes", (0,))
    found = machines.read(threads.processes(proc.top), TAPS, frozenset(range(4)), nodes)
    (one,) = found
    return one


def test_a_vm_is_found_with_its_threads(proc: Proc) -> None:
    machine = read(proc)
    assert machine.pid == 50 and machine.guest.uuid == UUID
    assert [(v.number, v.thread and v.thread.tid, v.pinned) for v in machine.vcpus] == [
        (0, 55, True),
        (1, 56, False),
    ]
    assert [(w.thread.tid, w.kernel_thread) for w in machine.workers] == [(60, True), (59, True)]
    assert [t.tid for t in machine.emulator] == [50, 57]


def test_taps_are_told_by_descriptors(proc: Proc) -> None:
    first, second = read(proc).vnics
    assert (first.tap, first.mac, first.queues, first.backend) == (
        "vnet0", "52:54:00:77:00:0b", 2, Backend.VHOST)  # fmt: skip
    assert (second.tap, second.model, second.backend) == ("vnet1", "e1000", Backend.QEMU)
    assert read(proc).busy_poll_us == {"vnet0": 0}


def test_workers_of_newer_kernels_are_threads_of_qemu(proc: Proc) -> None:
    proc.thread(50, 70, "vhost-50")
    proc.thread(50, 71, "kvm-nx-lpage-re")
    machine = read(proc)
    assert Worker(Thread(70, "vhost-50", 0, (0, 1, 2, 3), "other", 0), False, ()) in machine.workers
    assert 71 in [t.tid for t in machine.emulator] and 70 not in [t.tid for t in machine.emulator]


def test_kvm_names_vcpu_threads_that_have_no_name(proc: Proc) -> None:
    for tid in (55, 56):
        proc.thread(50, tid, "qemu-system-x86")
    plant(proc.top.parent / "kvm", {"50-13/vcpu0/pid": 56, "50-13/vcpu1/pid": 55,
                                    "500-9/vcpu0/pid": 57})  # fmt: skip
    assert [v.thread and v.thread.tid for v in read(proc).vcpus] == [56, 55]


def test_vcpus_without_a_known_thread_are_there_all_the_same(proc: Proc) -> None:
    for tid in (55, 56):
        proc.thread(50, tid, "qemu-system-x86")
    assert [(v.number, v.thread) for v in read(proc).vcpus] == [(0, None), (1, None)]


def test_a_process_in_another_namespace_has_no_taps_here(proc: Proc) -> None:
    proc.elsewhere(50)
    machine = read(proc)
    assert [v.tap for v in machine.vnics] == []
    assert "another network namespace" in machine.notes[0]


def test_memory_nodes_are_bound_or_read_or_the_only_one(proc: Proc) -> None:
    assert read(proc, nodes=(0, 1)).memory_nodes == (1,), "bound by the command line"
    command = [word.replace('"policy":"bind"', '"policy":"default"') for word in LIBVIRT]
    (proc.top / "50/cmdline").write_bytes("\0".join(command).encode())
    assert read(proc, nodes=(0,)).memory_nodes == (0,)
    assert read(proc, nodes=(0, 1)).memory_nodes == ()
    (proc.top / "50/numa_maps").write_text(
        "7f00 default anon=100 dirty=100 N0=90 N1=10 kernelpagesize_kB=4\n"
        "7f10 default anon=9 N2=9 kernelpagesize_kB=2048\n7f20 default file=/x\n"
        "7f30 default anon=1 N3=1 kernelpagesize_kB=4\n"
    )
    assert read(proc, nodes=(0, 1, 2, 3)).memory_nodes == (0, 2)


def test_a_macvtap_is_told_by_its_number(proc: Proc) -> None:
    (proc.top / "50/fd/34").unlink()
    proc.descriptor(50, 34, "/dev/tap12")
    assert [v.tap for v in read(proc).vnics] == ["vnet0", "vnet2"]


# ---- pairing vNICs with taps --------------------------------------------------------------------


def nic(mac: Optional[str] = None, **fields: object) -> Nic:
    values = {"model": "virtio", "backend": Backend.VHOST, "ifname": None, "bridge": None,
              "descriptors": (), "queues": 1, "mtu": None, "busy_poll_us": 0, **fields}  # fmt: skip
    return Nic(mac, **values)  # type: ignore[arg-type]


def taps_of(nics: list[Nic], descriptors: Optional[Descriptors]) -> list[tuple[object, ...]]:
    return [(v.mac, v.tap) for v in pair(nics, descriptors, TAPS)[0]]


def test_without_descriptors_addresses_tell() -> None:
    nics = [nic("52:54:00:77:00:0d"), nic("52:54:00:77:00:ff"), nic(ifname="vnet1")]
    assert taps_of(nics, None) == [
        ("52:54:00:77:00:0d", "vnet2"),
        ("52:54:00:77:00:ff", None),
        (None, "vnet1"),
    ]


def test_an_unplugged_vnic_is_gone_and_one_plugged_in_is_there() -> None:
    nics = [nic("52:54:00:77:00:0b", descriptors=(30,)), nic("52:54:00:77:00:aa", descriptors=(9,))]
    vnics, polls = pair(nics, Descriptors({30: "vnet0", 40: "vnet2"}, 3), TAPS)
    assert [(v.mac, v.tap, v.backend) for v in vnics] == [
        ("52:54:00:77:00:0b", "vnet0", Backend.VHOST),
        (None, "vnet2", Backend.VHOST),
    ]
    assert polls == {"vnet0": 0}, "nothing is known of the one plugged in"


def test_one_plugged_in_without_a_vhost_descriptor_is_moved_by_qemu() -> None:
    nics = [nic("52:54:00:77:00:0b", descriptors=(30,))]
    vnics, _ = pair(nics, Descriptors({30: "vnet0", 40: "vnet2"}, 2), TAPS)
    assert [v.backend for v in vnics] == [Backend.VHOST, Backend.QEMU]


def test_two_vnics_never_share_a_tap() -> None:
    nics = [nic(ifname="vnet0"), nic(ifname="vnet0"), nic("52:54:00:77:00:0b")]
    assert [t for _, t in taps_of(nics, None)] == ["vnet0", None, None]


def test_what_a_helper_opened_is_paired_if_only_one_is_left() -> None:
    nics = [nic("52:54:00:77:00:0b", descriptors=(30,)), nic("52:54:00:00:00:01", bridge="br0")]
    found = taps_of(nics, Descriptors({30: "vnet0", 35: "vnet1"}, 2))
    assert found == [("52:54:00:77:00:0b", "vnet0"), ("52:54:00:00:00:01", "vnet1")]


# ---- workers and their queues -------------------------------------------------------------------


def worker(tid: int) -> Worker:
    return Worker(Thread(tid, "vhost-50", 0, (0,), "other", 0), True, ())


def vnic(tap: Optional[str], queues: int = 1, backend: Backend = Backend.VHOST) -> Vnic:
    return Vnic(tap, None, "virtio", backend, queues, None, None, ())


def test_workers_serve_the_queues_in_the_order_of_the_taps() -> None:
    vnics = [vnic("b", 1), vnic("q", 1, Backend.QEMU), vnic("a", 2)]
    found = vhost.assign([worker(3), worker(4), worker(9)], vnics, {"a": 5, "b": 7})
    assert [w.queues for w in found] == [("a/0",), ("a/1",), ("b/0",)]


@pytest.mark.parametrize("vnics", [[vnic("a", 1)], [vnic("a", 1), vnic(None, 1)], []])
def test_if_the_numbers_do_not_agree_nothing_is_said(vnics: list[Vnic]) -> None:
    found = vhost.assign([worker(3), worker(4)], vnics, {"a": 5})
    assert [w.queues for w in found] == [(), ()]
