"""Puts everything that was found into one topology, and says what was not found and why."""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from vmlat_tui.discover.bounded import Answer, BoundedCall
from vmlat_tui.discover.capabilities import held, names
from vmlat_tui.discover.cpus import nodes, read_cpus
from vmlat_tui.discover.files import decimal, entries, read
from vmlat_tui.discover.links.interfaces import SYSFS
from vmlat_tui.discover.links.netlink import Network, read_network
from vmlat_tui.discover.switches.ovs import Switch, read_switch
from vmlat_tui.discover.switches.ways import find_ways
from vmlat_tui.discover.threads import processes
from vmlat_tui.discover.vms import kvm
from vmlat_tui.discover.vms.descriptors import Tap
from vmlat_tui.discover.vms.domains import Described, GuestAgents, Libvirt
from vmlat_tui.discover.vms.merge import Surroundings, merge
from vmlat_tui.discover.vms.qemu import QemuProcess, QemuProcesses
from vmlat_tui.model.capabilities import DAC_READ_SEARCH, NET_ADMIN, SYS_PTRACE
from vmlat_tui.model.topology import Address, Backend, Domain, Ovs, Topology

DEFAULT_URI = "qemu:///system"

#: How long the first look waits for what may hang, and every later one.
_FIRST_LIMIT_S, _LIMIT_S = 5.0, 1.0
_AGENT_AGE_S = 30.0
_MOST_NOTES = 20


@dataclass(frozen=True)
class _Parts:
    """What the notes are about."""

    libvirt: Answer[tuple[Described, ...]]
    switch: Answer[Switch]
    machines: Sequence[QemuProcess]
    processes: Sequence[str]
    domains: Sequence[Domain]
    network: Network
    network_problem: str
    polls: dict[str, int]


class Discovery:
    """Looks at this host.  For one thread; what may hang has threads of its own."""

    def __init__(
        self, uri: Optional[str] = None, changed: Callable[[], None] = lambda: None
    ) -> None:
        """``changed`` is called, from any thread, when another look is worth while."""
        uri = uri or DEFAULT_URI
        self._machines = QemuProcesses()
        self._libvirt = BoundedCall(Libvirt(uri, changed).read, "libvirt", changed)
        self._switch = BoundedCall(read_switch, "openvswitch", changed)
        self._guests: frozenset[str] = frozenset()
        agents = GuestAgents(uri)
        self._agents = BoundedCall(lambda: agents.read(self._guests), "guest-agents", changed)
        self._asked_agents = 0.0
        self._limit_s = _FIRST_LIMIT_S

    def look(self) -> Topology:
        """One look at everything."""
        self._libvirt.ask()
        self._switch.ask()
        cpus = read_cpus()
        network, network_problem = _network()
        switch = self._switch.answer(self._limit_s)
        libvirt = self._libvirt.answer(self._limit_s)
        described = libvirt.value or ()
        taps = _taps(network)
        online = frozenset(cpu.number for cpu in cpus if cpu.online)
        machines = self._machines.read(processes(), taps, online, nodes())
        around = Surroundings(
            {i.name: i for i in network.interfaces},
            network.neighbours,
            self._ask_agents(described),
        )
        self._limit_s = _LIMIT_S
        domains = merge(described, machines, around)
        found = switch.value or Switch(Ovs("absent", None, ()))
        polls = {tap: us for machine in machines for tap, us in machine.busy_poll_us.items()}
        parts = _Parts(
            libvirt,
            switch,
            machines,
            self._machines.notes,
            domains,
            network,
            network_problem,
            polls,
        )
        return Topology(
            t_ns=time.monotonic_ns(),
            host=socket.gethostname(),
            kernel=platform.release(),
            cpus=cpus,
            domains=domains,
            interfaces=network.interfaces,
            ovs=found.ovs,
            ways=find_ways(network.interfaces, found.ovs, domains, found.egress),
            halt_polling=kvm.halt_polling(),
            busy_poll_us=polls,
            notes=tuple(_notes(parts)),
        )

    def _ask_agents(
        self, described: Sequence[Described]
    ) -> Mapping[str, Mapping[str, tuple[Address, ...]]]:
        """Addresses that the guests report; they are asked when one came up, else now and then."""
        guests = frozenset(d.name for d in described if d.agent)
        if not guests:
            return {}
        now = time.monotonic()
        if guests != self._guests or now - self._asked_agents > _AGENT_AGE_S:
            self._guests, self._asked_agents = guests, now
            self._agents.ask()
        return self._agents.answer(self._limit_s).value or {}


def _network() -> tuple[Network, str]:
    try:
        return read_network(), ""
    except Exception as error:  # pyroute2 has its own errors, in another module in each version
        return Network((), {}), f"{error}" or type(error).__name__


def _taps(network: Network, sysfs: Path = SYSFS) -> list[Tap]:
    return [
        Tap(i.name, i.ifindex, i.mac, sum(e.startswith("rx-") for e in queues) or 1,
            _device(sysfs / i.name, i.ifindex))
        for i in network.interfaces
        if i.kind == "macvtap" or i.details.get("type") == "tap"
        for queues in [entries(sysfs / i.name / "queues")]
    ]  # fmt: skip


def _device(interface: Path, ifindex: int) -> Optional[tuple[int, int]]:
    """The (major, minor) of a macvtap's device; in a directory of its class or not."""
    for place in (f"tap{ifindex}/dev", f"macvtap/tap{ifindex}/dev"):
        major, _, minor = read(interface / place).partition(":")
        numbers = decimal(major), decimal(minor)
        if numbers[0] is not None and numbers[1] is not None:
            return numbers[0], numbers[1]
    return None


# ---- what could not be found out, and what would make it visible --------------------------------


def _notes(parts: _Parts) -> list[str]:
    notes = []
    if parts.network_problem:
        notes.append(f"interfaces: netlink cannot be read ({parts.network_problem})")
    notes += _few(parts.network.notes)
    notes += _libvirt_notes(parts.libvirt)
    if parts.switch.late:
        notes.append("Open vSwitch: its database does not answer; its bridges may be out of date")
    elif parts.switch.problem:
        notes.append(f"Open vSwitch: {parts.switch.problem}")
    else:
        notes += _few(parts.switch.value.notes) if parts.switch.value else ()
    notes += _few([*parts.processes, *(note for m in parts.machines for note in m.notes)])
    return notes + _process_notes(parts) + _vhost_notes(parts)


def _few(notes: Sequence[str]) -> list[str]:
    """Any number of processes may be odd."""
    more = len(notes) - _MOST_NOTES
    return [*notes[:_MOST_NOTES], *([f"{more} more notes of this kind"] if more > 0 else [])]


def _libvirt_notes(answer: Answer[tuple[Described, ...]]) -> list[str]:
    if answer.late:
        return ["libvirt does not answer: VMs are as their processes show them, or out of date"]
    if not answer.problem:
        return _few(
            [
                f"{one.name}: libvirt's description of it cannot be read ({one.problem})"
                for one in answer.value or ()
                if one.problem
            ]
        )
    if "No module named" in answer.problem:
        why = "its Python library is not installed (python3-libvirt)"
    else:
        why = f"cannot be reached ({answer.problem})"
    return [f"libvirt: {why}; VMs are as their processes show them"]


def _process_notes(parts: _Parts) -> list[str]:
    if not parts.machines:
        return []
    notes = []
    mine = held()
    missing = [one for one in (SYS_PTRACE, DAC_READ_SEARCH) if one not in mine]
    if missing or not all(machine.seen for machine in parts.machines):
        lack = f"without {names(missing)}" if missing else "where processes cannot be looked into"
        notes.append(
            f"{lack} VMs are recognised by their command lines only and their taps by addresses, "
            "and the NUMA nodes of guest memory are not visible; run as root"
        )
    elif NET_ADMIN not in mine:
        notes.append(f"without {NET_ADMIN.name} {NET_ADMIN.loss}; run as root")
    if not any(kvm.directories(m.pid) for m in parts.machines):
        notes.append(f"KVM's counters are not visible: {_why_no_counters(kvm.DEBUGFS.parent)}")
    for domain in parts.domains:
        if domain.pid and any(vcpu.thread is None for vcpu in domain.vcpus):
            notes.append(
                f"{domain.name}: which threads are its vCPUs is not visible; "
                "start QEMU with -name …,debug-threads=on"
            )
    return notes


def _why_no_counters(debugfs: Path) -> str:
    if debugfs.exists() and not os.access(debugfs, os.R_OK | os.X_OK, effective_ids=True):
        return f"debugfs is root's; run as root, or with {DAC_READ_SEARCH.name}"
    if not entries(debugfs):
        return "mount debugfs"
    return "no VM here uses KVM, or the kernel hides them"


def _vhost_notes(parts: _Parts) -> list[str]:
    notes = []
    for domain in parts.domains:
        taps = [v.tap for v in domain.vnics if v.tap and v.backend is Backend.VHOST]
        if domain.pid and taps and not domain.workers:
            notes.append(f"{domain.name}: it uses vhost, but no worker thread is visible")
        for tap in taps:
            if domain.pid and tap not in parts.polls:
                notes.append(
                    f"{tap}: vhost's busyloop_timeout is not visible, the vNIC was plugged in later"
                )
    return notes
