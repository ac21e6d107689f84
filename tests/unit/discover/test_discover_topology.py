"""Everything together: merging, notes, fast counters, and what is sent when."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Optional

import pytest

from tests.support.trees import Proc, plant
from vmlat_tui.discover import vitals
from vmlat_tui.discover.threads import Neighbourhood
from vmlat_tui.discover.topology import Discovery
from vmlat_tui.discover.vms import kvm
from vmlat_tui.discover.vms.domains import Described
from vmlat_tui.discover.vms.merge import Surroundings, merge
from vmlat_tui.discover.vms.qemu import QemuProcess
from vmlat_tui.discover.vms.qemu_args import Guest
from vmlat_tui.discover.watch import Watch, steady
from vmlat_tui.model.topology import (
    Address,
    Backend,
    Domain,
    DomainState,
    HaltPolling,
    Hop,
    Interface,
    Known,
    Ovs,
    Thread,
    Topology,
    Vcpu,
    Vitals,
    Vnic,
    Way,
    Worker,
)
from vmlat_tui.protocol.frames import to_json
from vmlat_tui.protocol.migrations import Raw

MAC = "52:54:00:77:00:0a"


def thread(tid: int, name: str = "t") -> Thread:
    return Thread(tid, name, 0, (0, 1), "other", 0)


def vnic(tap: Optional[str], mac: Optional[str] = MAC, **changes: Any) -> Vnic:
    one = Vnic(tap, mac, "virtio", Backend.VHOST, 1, None, "br0", ())
    return replace(one, **changes)


def described(name: str = "vm-a", uuid: str = "u1", **changes: Any) -> Described:
    one = Described(name, uuid, DomainState.RUNNING, 4096, 2, (vnic("vnet0"),), frozenset(), False)
    return replace(one, **changes)


def machine(pid: int = 50, uuid: Optional[str] = "u1", **changes: Any) -> QemuProcess:
    guest = Guest("vm-a", uuid, 9999, 1, (), ())
    one = QemuProcess(pid, guest, (Vcpu(0, thread(55), True),),
                  (Worker(thread(60, "vhost-50"), True, ()),), (thread(50),), (0,),
                  (vnic("vnet0", backend=Backend.QEMU, queues=1, source=None),),
                  {}, ())  # fmt: skip
    return replace(one, **changes)


TAP = Interface("vnet0", 7, "tun", "fe:54:00:77:00:0a", 1400, True, True, None, (), None, None,
                None, None, None, {"type": "tap"}, {}, {}, {}, (), ())  # fmt: skip
AROUND = Surroundings({"vnet0": TAP}, {MAC: ("10.0.0.1", "10.0.0.3")}, {})


def test_libvirt_and_proc_know_one_vm_together() -> None:
    told = described(vnics=(vnic("vnet0", addresses=(Address("10.0.0.1", "lease"),)),))
    (one,) = merge([told], [machine()], AROUND)
    assert (one.name, one.known, one.pid, one.memory_kb) == ("vm-a", Known.LIBVIRT, 50, 4096)
    assert one.vcpus[0].thread == thread(55) and one.emulator == (thread(50),)
    (card,) = one.vnics
    assert card.backend is Backend.QEMU, "the process shows what libvirt only presumes"
    assert card.mtu == 1400 and card.source == "br0"
    assert card.addresses == (Address("10.0.0.3", "arp"), Address("10.0.0.1", "lease"))


def test_what_libvirt_names_itself_is_believed() -> None:
    (one,) = merge([described(named=frozenset({0}))], [machine()], AROUND)
    assert one.vnics[0].backend is Backend.VHOST
    assert one.workers[0].queues == ("vnet0/0",)


def test_the_guests_own_word_goes_before_lease_and_arp() -> None:
    around = replace(AROUND, agents={"vm-a": {MAC: (Address("10.0.0.1", "agent"),)}})
    (one,) = merge([described()], [machine()], around)
    assert one.vnics[0].addresses == (Address("10.0.0.1", "agent"), Address("10.0.0.3", "arp"))


def test_a_vm_that_is_off_has_no_process_but_its_vcpus() -> None:
    off = described(state=DomainState.OFF, vnics=(vnic(None),))
    (one,) = merge([off], [], AROUND)
    assert one.pid is None and one.vcpus == (Vcpu(0, None, False), Vcpu(1, None, False))
    assert one.state is DomainState.OFF and one.workers == ()


def test_a_process_that_libvirt_does_not_know_is_a_vm_too() -> None:
    plain = machine(60, None, guest=Guest(None, None, 2048, 1, (), ()))
    found = merge([described()], [machine(), plain], AROUND)
    assert [(d.name, d.known, d.state) for d in found] == [
        ("qemu-60", Known.PROCESS, DomainState.RUNNING),
        ("vm-a", Known.LIBVIRT, DomainState.RUNNING),
    ]
    assert found[0].memory_kb == 2048


def test_without_a_tap_in_libvirt_the_address_joins() -> None:
    (one,) = merge([described(vnics=(vnic(None),))], [machine()], AROUND)
    assert one.vnics[0].tap == "vnet0"


# ---- fast counters ------------------------------------------------------------------------------

NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo
    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
 vnet0:100 2 0 1 0 0 0 0 300 4 0 0 0 0 0 0
 a:b: 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1
 c\x1cd: 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1
broken: 1 2
   odd: 1 2 3 4 5 6 7 x 9 10 11 12 13 14 15 16
"""


def test_interface_counters_have_the_kernels_names() -> None:
    found = vitals.parse_counters(NET_DEV)
    assert set(found) == {"lo", "vnet0", "a:b", "c\x1cd"}
    assert found["lo"] == {"rx_bytes": 1, "rx_packets": 2, "rx_errors": 3, "rx_dropped": 4,
                           "multicast": 8, "tx_bytes": 9, "tx_packets": 10, "tx_errors": 11,
                           "tx_dropped": 12, "collisions": 14}  # fmt: skip
    assert found["vnet0"]["tx_packets"] == 4


def topology(**changes: Any) -> Topology:
    """A host with one VM."""
    domain = Domain("vm-a", "u1", Known.LIBVIRT, DomainState.RUNNING, 50, 1, (), (
        Vcpu(0, thread(55), False),), (vnic("vnet0"),), (Worker(thread(60), True, ()),),
        (thread(50), thread(57, "worker")))  # fmt: skip
    way = Way("vnet0", (Hop("vnet0", "t"), Hop("br0", "r")), ("eth0",), None)
    one = Topology(1, "h", "6", (), (domain,), (TAP,), Ovs("absent", None, ()), (way,),
                   HaltPolling(None, None, None, None), {}, ())  # fmt: skip
    return replace(one, **changes)


def test_vitals_are_of_the_threads_and_devices_that_matter(tmp_path: Path) -> None:
    proc = Proc(tmp_path)
    for tid in (50, 55, 57, 60, 99):
        proc.thread(tid, tid, f"t{tid}", cpu=1)
    plant(tmp_path, {"net/dev": NET_DEV})
    found = vitals.VitalsReader(topology(), Neighbourhood(tmp_path), tmp_path).read()
    assert [u.tid for u in found.threads] == [55, 60, 50], "not QEMU's passing helpers"
    assert set(found.interfaces) == {"vnet0"}
    assert Vitals.from_json(found.to_json()) == found


def test_halt_counters_of_a_vm_are_added_up(tmp_path: Path) -> None:
    tree = {"50-11/halt_wakeup": 3, "50-14/halt_wakeup": 4, "500-1/halt_wakeup": 100,
            "50-11/halt_poll_fail_ns": 9, "50-11/exits": 1}  # fmt: skip
    plant(tmp_path, tree)
    counters = kvm.HaltCounters(50, tmp_path)
    assert counters.read() == {"halt_wakeup": 7, "halt_poll_fail_ns": 9}
    (tmp_path / "50-11/halt_wakeup").write_text("5")
    assert counters.read()["halt_wakeup"] == 9
    assert kvm.HaltCounters(1, tmp_path).read() == {}


def test_halt_polling_is_what_the_module_says(tmp_path: Path) -> None:
    plant(tmp_path, {"halt_poll_ns": 200000, "halt_poll_ns_grow": 2, "halt_poll_ns_shrink": 0,
                     "halt_poll_ns_grow_start": 10000})  # fmt: skip
    assert kvm.halt_polling(tmp_path) == HaltPolling(200000, 2, 10000, 0)
    assert kvm.halt_polling(tmp_path / "x") == HaltPolling(None, None, None, None)


# ---- watching -----------------------------------------------------------------------------------


def test_what_changes_all_the_time_is_no_change() -> None:
    before = topology()
    domain = before.domains[0]
    moved = replace(domain.vcpus[0], thread=replace(thread(55), cpu=1))
    busy = replace(domain, vcpus=(moved,), emulator=(thread(50), thread(58, "worker")))
    counted = replace(TAP, statistics={"rx_packets": 5})
    later = replace(before, t_ns=9, domains=(busy,), interfaces=(counted,))
    assert steady(later.to_json()) == steady(before.to_json())


@pytest.mark.parametrize(
    "changes",
    [
        {"notes": ("x",)},
        {"domains": ()},
        {"interfaces": (replace(TAP, master="br0"),)},
        {"busy_poll_us": {"vnet0": 5}},
        {"domains": (replace(topology().domains[0], state=DomainState.PAUSED),)},
        {"domains": (replace(topology().domains[0], vcpus=(
            Vcpu(0, replace(thread(55), cpus=(1,)), True),)),)},
    ],
)  # fmt: skip
def test_what_matters_is_a_change(changes: dict[str, Any]) -> None:
    assert steady(topology(**changes).to_json()) != steady(topology().to_json())


class Script:
    """A discovery that finds what it is told to."""

    def __init__(self, *found: Any) -> None:
        self.found = list(found)
        self.looks = 0
        self.changed: Callable[[], None] = lambda: None

    def __call__(self, uri: Optional[str], changed: Callable[[], None]) -> Discovery:
        self.changed = changed
        return self  # type: ignore[return-value]

    def look(self) -> Topology:
        one = self.found[min(self.looks, len(self.found) - 1)]
        self.looks += 1
        if isinstance(one, Exception):
            raise one
        assert isinstance(one, Topology)
        return one


def frames(watch: Watch, until: Callable[[list[Raw]], object]) -> list[Raw]:
    found: list[Raw] = []
    deadline = time.monotonic() + 10
    while not until(found):
        assert time.monotonic() < deadline, found
        found += map(to_json, watch.frames())
        time.sleep(0.01)
    return found


@pytest.fixture
def watch() -> Iterator[Callable[..., Watch]]:
    opened = []

    def start(script: Script, interval_s: float = 0.05) -> Watch:
        opened.append(Watch(None, interval_s, script))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def of(kind: str, found: list[Raw]) -> list[Raw]:
    return [f for f in found if f["type"] == kind]


def test_an_unchanged_topology_is_sent_once_and_vitals_go_on(watch: Callable[..., Watch]) -> None:
    script = Script(topology(), replace(topology(), t_ns=2))
    running = watch(script)
    frames(running, lambda f: of("vitals", f))
    script.changed()
    found = frames(running, lambda f: script.looks > 1 and len(of("vitals", f)) > 3)
    assert of("topology", found) == []


def test_a_change_is_sent_soon_after_its_event(watch: Callable[..., Watch]) -> None:
    script = Script(topology(), topology(notes=("new",)))
    running = watch(script)
    first = frames(running, lambda f: of("topology", f))
    assert Topology.from_json(of("topology", first)[0]) == topology()
    running.poke()
    found = frames(running, lambda f: of("topology", f))
    assert of("topology", found)[0]["notes"] == ["new"]


def test_what_the_first_look_costs_holds_up_no_other(watch: Callable[..., Watch]) -> None:
    """It imports libraries: on a slow host events would not be looked at for half a minute."""

    class Cold(Script):
        def look(self) -> Topology:
            end = time.thread_time() + (1.0 if self.looks == 0 else 0.0)
            while time.thread_time() < end:
                pass
            return super().look()

    script = Cold(topology(), topology(notes=("new",)))
    running = watch(script)
    frames(running, lambda f: of("topology", f))
    begin = time.monotonic()
    running.poke()
    frames(running, lambda f: of("topology", f))
    assert time.monotonic() - begin < 2.0, "five times the cost of the first look"


def test_a_failed_look_is_said_once_and_the_next_one_counts(watch: Callable[..., Watch]) -> None:
    script = Script(OSError("odd"), OSError("odd"), topology())
    running = watch(script)
    found: list[Raw] = []
    deadline = time.monotonic() + 10
    while not of("topology", found):
        assert time.monotonic() < deadline, found
        running.poke()
        time.sleep(0.05)
        found += map(to_json, running.frames())
    assert [f["text"] for f in of("notice", found)] == ["discovery failed: OSError('odd')"]


def test_closing_ends_every_thread(watch: Callable[..., Watch]) -> None:
    before = set(threading.enumerate())
    running = watch(Script(topology()))
    frames(running, lambda f: of("vitals", f))
    mine = [t for t in threading.enumerate() if t not in before]
    assert len(mine) == 3
    running.close()
    for one in mine:
        one.join(10)
        assert not one.is_alive()


def test_this_very_host_can_be_looked_at() -> None:
    """Whatever runs here, with or without root, libvirt, Open vSwitch."""
    found = Discovery("qemu+unix:///system?socket=/nonexistent").look()
    assert any("libvirt: cannot be reached" in note for note in found.notes)
    assert found.interface("lo") and found.cpus
    assert Topology.from_json(found.to_json()) == found
