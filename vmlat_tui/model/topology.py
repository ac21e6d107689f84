"""What a host looks like: its VMs, their threads, the interfaces and switches between tap and wire.

Everything here is a value as found at one moment, of one host; discovery makes it, every screen and
report reads it.  A field that could not be found out is ``None`` (or empty), and ``notes`` of the
topology says why.  Names come from outside and may hold anything.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Optional, Union

from vmlat_tui.model import checks
from vmlat_tui.model.jsonable import Jsonable

#: Nanoseconds of CLOCK_MONOTONIC.
Time = Annotated[int, checks.time]


class Backend(enum.Enum):
    """Who moves a vNIC's packets between the guest's queues and the host."""

    VHOST = "vhost"
    QEMU = "qemu"
    VHOST_USER = "vhost-user"
    OTHER = "other"


class DomainState(enum.Enum):
    """State of a VM; those of a QEMU process that libvirt does not know are RUNNING."""

    RUNNING = "running"
    PAUSED = "paused"
    STARTING = "starting"
    STOPPING = "stopping"
    OFF = "off"
    CRASHED = "crashed"
    SUSPENDED = "suspended"
    UNKNOWN = "unknown"


class Known(enum.Enum):
    """By whom a domain was found."""

    LIBVIRT = "libvirt"
    PROCESS = "process"


@dataclass(frozen=True)
class IdleState:
    """One idle state of a CPU: cost of leaving it, and how much it was used since boot."""

    name: str
    latency_us: int
    target_us: int
    disabled: bool
    usage: int
    time_us: int


@dataclass(frozen=True)
class Cpu:
    """One CPU (hardware thread) of the host."""

    number: int
    online: bool
    package: Optional[int]
    core: Optional[int]
    node: Optional[int]
    siblings: tuple[int, ...]
    isolated: bool
    governor: Optional[str]
    idle_driver: Optional[str]
    idle_states: tuple[IdleState, ...]


@dataclass(frozen=True)
class Thread:
    """Where one thread runs.  ``cpus`` is its affinity, ``cpu`` where it last ran.

    ``priority`` is the real-time priority under ``fifo`` and ``rr``, else the nice value.
    """

    tid: int
    name: str
    cpu: Optional[int]
    cpus: tuple[int, ...]
    policy: Optional[str]
    priority: Optional[int]


@dataclass(frozen=True)
class Vcpu:
    """A virtual CPU; ``pinned``: it may not run on every CPU that is online."""

    number: int
    thread: Optional[Thread]
    pinned: bool


@dataclass(frozen=True)
class Address:
    """An address of the guest and who said so: ``agent``, ``lease`` or ``arp``."""

    ip: str
    source: str


@dataclass(frozen=True)
class Vnic:
    """A virtual NIC; ``tap`` is its device on the host, None while there is none."""

    tap: Optional[str]
    mac: Optional[str]
    model: Optional[str]
    backend: Backend
    queues: int
    mtu: Optional[int]
    source: Optional[str]
    addresses: tuple[Address, ...]


@dataclass(frozen=True)
class Worker:
    """A vhost worker.  ``queues`` are the vNIC queues it serves where that is known."""

    thread: Thread
    kernel_thread: bool
    queues: tuple[str, ...]


@dataclass(frozen=True)
class Domain:
    """A VM."""

    name: str
    uuid: Optional[str]
    known: Known
    state: DomainState
    pid: Optional[int]
    memory_kb: Optional[int]
    memory_nodes: tuple[int, ...]
    vcpus: tuple[Vcpu, ...]
    vnics: tuple[Vnic, ...]
    workers: tuple[Worker, ...]
    #: QEMU's own threads that are neither vCPU nor worker (main loop, I/O threads).
    emulator: tuple[Thread, ...]


@dataclass(frozen=True)
class Qdisc:
    """A queueing discipline of an interface; counters since it was made."""

    kind: str
    handle: str
    parent: str
    drops: int
    requeues: int
    backlog_bytes: int
    backlog_packets: int


@dataclass(frozen=True)
class Irq:
    """An interrupt of a NIC; ``effective`` is where it goes now."""

    number: int
    name: str
    cpus: tuple[int, ...]
    effective: tuple[int, ...]


@dataclass(frozen=True)
class Interface:
    """A network interface of the host's own namespace.

    ``kind`` is the kernel's word (``bridge``, ``bond``, ``vlan``, ``vxlan``, ``veth``, ``tun``,
    ``openvswitch``, ``device`` for hardware, …).  ``details`` has what only that kind has: a
    bond's mode and active member, a VLAN's id and protocol, a VXLAN's id and remote.
    ``statistics``, ``coalescing`` and ``offloads`` use ethtool's and the kernel's names; an offload
    that is not named is off and cannot be switched on.
    """

    name: str
    ifindex: int
    kind: str
    mac: Optional[str]
    mtu: Optional[int]
    up: bool
    carrier: Optional[bool]
    master: Optional[str]
    lowers: tuple[str, ...]
    driver: Optional[str]
    node: Optional[int]
    speed_mbps: Optional[int]
    queue_length: Optional[int]
    #: Namespace that the other end is in (a name if it has one), None if it has none or is here.
    peer_namespace: Optional[str]
    details: Mapping[str, Union[str, int, bool]]
    statistics: Mapping[str, int]
    coalescing: Mapping[str, int]
    offloads: Mapping[str, bool]
    qdiscs: tuple[Qdisc, ...]
    irqs: tuple[Irq, ...]


@dataclass(frozen=True)
class OvsInterface:
    """An interface record of Open vSwitch; ``peer`` is a patch port's other end."""

    name: str
    kind: str
    ofport: Optional[int]
    peer: Optional[str]
    options: Mapping[str, str]
    external_ids: Mapping[str, str]


@dataclass(frozen=True)
class OvsPort:
    """A port of an Open vSwitch bridge; several interfaces make a bond."""

    name: str
    tag: Optional[int]
    trunks: tuple[int, ...]
    vlan_mode: Optional[str]
    bond_mode: Optional[str]
    active_member: Optional[str]
    interfaces: tuple[OvsInterface, ...]


@dataclass(frozen=True)
class OvsBridge:
    """An Open vSwitch bridge; ``datapath`` is ``system`` or ``netdev``."""

    name: str
    datapath: str
    ports: tuple[OvsPort, ...]


@dataclass(frozen=True)
class Ovs:
    """Open vSwitch on this host; ``state`` is ``running``, ``stopped`` or ``absent``."""

    state: str
    version: Optional[str]
    bridges: tuple[OvsBridge, ...]


@dataclass(frozen=True)
class Hop:
    """One device on the way, and why the way goes on to it."""

    device: str
    reason: str


@dataclass(frozen=True)
class Way:
    """From a vNIC's tap to the wire.

    ``hops`` begins with the tap and goes as far as the way is certain.  ``uplinks`` are the
    interfaces at its end; more than one means that the host alone cannot say which is used, and
    ``choice`` says why (several uplinks in one switch, a bond that balances).
    """

    tap: str
    hops: tuple[Hop, ...]
    uplinks: tuple[str, ...]
    choice: Optional[str]


@dataclass(frozen=True)
class HaltPolling:
    """KVM's parameters (/sys/module/kvm/parameters): ns, factors."""

    halt_poll_ns: Optional[int]
    grow: Optional[int]
    grow_start_ns: Optional[int]
    shrink: Optional[int]


@dataclass(frozen=True)
class Topology(Jsonable):
    """One host at one moment; ``t_ns`` is its CLOCK_MONOTONIC.

    ``busy_poll_us`` is the ``busyloop_timeout`` of vhost where it is visible, by tap.
    """

    t_ns: Time
    host: str
    kernel: str
    cpus: tuple[Cpu, ...]
    domains: tuple[Domain, ...]
    interfaces: tuple[Interface, ...]
    ovs: Ovs
    ways: tuple[Way, ...]
    halt_polling: HaltPolling
    busy_poll_us: Mapping[str, int]
    #: What could not be found out, and what would make it visible.
    notes: tuple[str, ...]

    def interface(self, name: str) -> Optional[Interface]:
        """The interface of this name."""
        return next((i for i in self.interfaces if i.name == name), None)

    def domain_of(self, tap: str) -> Optional[Domain]:
        """The VM that owns a tap."""
        return next((d for d in self.domains if any(v.tap == tap for v in d.vnics)), None)


@dataclass(frozen=True)
class ThreadUse:
    """What a thread used since it began: CPU time, time waiting for a CPU, switches.

    ``waited_ns`` is of /proc/TID/schedstat, None where the kernel has none.  ``stopped``: at this
    moment a signal or a debugger kept it from running.
    """

    tid: int
    cpu: Optional[int]
    run_ns: int
    waited_ns: Optional[int]
    voluntary: Optional[int]
    involuntary: Optional[int]
    stopped: bool = False


@dataclass(frozen=True)
class Neighbour:
    """A task seen on a CPU where a watched thread runs, with its CPU time since it began.

    Watched threads are among them: they are each other's neighbours.
    """

    cpu: int
    tid: int
    name: str
    run_ns: int


@dataclass(frozen=True)
class Vitals(Jsonable):
    """Counters that change all the time, read about once a second; all since their beginning.

    ``halt`` is per domain name KVM's counters (debugfs: ``halt_attempted_poll``,
    ``halt_successful_poll``, ``halt_poll_invalid``, ``halt_wakeup``, ``halt_poll_success_ns``,
    ``halt_poll_fail_ns``, ``halt_wait_ns``) over all its vCPUs.  ``interfaces`` is
    per name the kernel's link statistics (``rx_packets``, ``tx_bytes``, …); on a tap, rx is what
    the guest sends.  ``idle`` is per CPU and idle state the time in it in µs.
    """

    t_ns: Time
    threads: tuple[ThreadUse, ...]
    neighbours: tuple[Neighbour, ...]
    halt: Mapping[str, Mapping[str, int]]
    interfaces: Mapping[str, Mapping[str, int]]
    idle: Mapping[str, Mapping[str, int]]
