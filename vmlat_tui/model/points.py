"""The points of the path, the steps at which one packet passes them, and the hooks that see them.

A *point* is a place with a stable id (docs/path.md), a *hook* one way to observe it.  A *step* is a
point at its place in the order of one direction; it is the index of the timestamp in the packet
state that the BPF programs keep.  Steps of one direction, read in increasing order, are that
direction's path, so the legs of a packet are the differences between consecutive steps that it
passed.

:data:`STEPS` is the one definition.  Tables of hooks, legs and absences, the strip on the screen
and the macros of the BPF sources are made of it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Optional


class Direction(enum.IntEnum):
    """Seen from the VM: TX leaves the guest, RX enters it.  The value is the BPF index."""

    TX = 0
    RX = 1

    @property
    def id(self) -> str:
        """``tx`` or ``rx``, as the command line and JSON spell it."""
        return self.name.lower()


BOTH = (Direction.TX, Direction.RX)
_TX, _RX = (Direction.TX,), (Direction.RX,)


class Site(enum.Enum):
    """Where a packet is, as the strip from the guest to the wire shows it."""

    GUEST = "guest"
    WORKER = "worker"
    TAP = "tap"
    SWITCH = "switch"
    UPLINK = "uplink"


class Task(enum.Enum):
    """The thread that runs when a packet passes a step, among those that its record names."""

    #: Of the packet's first recorded step.
    FIRST = enum.auto()
    KICKER = enum.auto()
    WORKER = enum.auto()
    VCPU = enum.auto()


TRACEPOINT = "tracepoint"
FUNCTION = "function"


@dataclass(frozen=True)
class Hook:
    """One way to observe a point.

    ``subsystem`` names the file in bpf/probes/ that has its program; ``module`` the kernel module
    that it is in, whose absence explains a missing one.  ``parallel`` hooks of a point are attached
    together, because each sees other packets; otherwise the first that the kernel has is taken.
    ``full``: only on the full rung, as what it sees is joined to the packet by functions.

    Packets that pass any of ``neighbours`` (ids) must pass this hook, or one of ``substitutes``: it
    is silent if they never do.
    """

    id: str
    kind: str
    subsystem: str
    symbol: str
    module: Optional[str] = None
    parallel: bool = False
    full: bool = False
    neighbours: tuple[str, ...] = ()
    substitutes: tuple[str, ...] = ()

    @property
    def program(self) -> str:
        """The BPF function that handles it."""
        return f"{'fn' if self.kind == FUNCTION else 'tp'}_{self.symbol}"


#: The module of a subsystem that may be one, unless a hook says another.
_MODULES = {"tun": "tun", "bridge": "bridge", "ovs": "openvswitch", "vhost": "vhost", "kvm": "kvm"}


def function(
    subsystem: str,
    symbol: str,
    *,
    module: Optional[str] = None,
    parallel: bool = False,
    neighbours: tuple[str, ...] = (),
    substitutes: tuple[str, ...] = (),
) -> Hook:
    """A hook on a kernel function, of the full rung."""
    return Hook(
        symbol,
        FUNCTION,
        subsystem,
        symbol,
        module or _MODULES.get(subsystem),
        parallel,
        True,
        neighbours,
        substitutes,
    )


def tracepoint(subsystem: str, symbol: str, id_: str = "", *, joined: bool = False) -> Hook:
    """A hook on a tracepoint; ``id_`` where the symbol is not unique.

    ``joined``: of the full rung.
    """
    module = _MODULES.get(subsystem)
    return Hook(id_ or symbol, TRACEPOINT, subsystem, symbol, module, full=joined)


@dataclass(frozen=True)
class Point:
    """A semantic place on the path.

    ``hooks`` are the ways to observe it, best first; ``beside`` must be attached with any of them,
    to know whose packet it is.
    """

    id: str
    title: str
    site: Site
    hooks: tuple[Hook, ...]
    beside: tuple[Hook, ...] = ()


@dataclass(frozen=True)
class Step:
    """A point at its place in the path.

    ``seed_stages`` are the numbers that the text report prints for TX and RX, None where the
    requirement has none.  A packet may leave out ``optional`` steps, for a reason that is counted
    (:mod:`vmlat_tui.model.absences`) or seen from its path.  Without the ``required`` ones a
    direction cannot be measured.  ``task`` is the thread that runs there, None if that is not
    recorded.  ``number`` is the place in :data:`STEPS`.
    """

    point: Point
    directions: tuple[Direction, ...]
    seed_stages: tuple[Optional[int], Optional[int]] = (None, None)
    optional: bool = False
    required: tuple[Direction, ...] = ()
    task: Optional[Task] = None
    number: int = -1

    @property
    def macro(self) -> str:
        """The name by which the BPF sources know this step."""
        twice = any(s.point is self.point and s.number != self.number for s in STEPS)
        direction = f"{self.directions[0].name}_" if twice else ""
        return f"STEP_{direction}{self.point.id.upper()}"


_POLL_WAKEUP = function("vhost", "vhost_poll_wakeup")
_HANDLE_RX = function("vhost", "handle_rx_net", module="vhost_net")
_CPU_IDLE = tracepoint("power", "cpu_idle", joined=True)

# Passed at another place in each direction.
_WORKER_WOKEN = Point(
    "vhost_woken", "vhost worker woken", Site.WORKER,
    # sched_waking is raised by the waker, before the target CPU leaves its idle state;
    # sched_wakeup, on the target CPU, after it.
    (tracepoint("sched", "sched_waking", "sched_waking_vhost", joined=True),),
    beside=(_POLL_WAKEUP, _HANDLE_RX),
)  # fmt: skip
_WORKER_ON_CPU = Point(
    "vhost_on_cpu", "vhost worker on CPU", Site.WORKER,
    (tracepoint("sched", "sched_switch", "sched_switch_vhost", joined=True),),
    beside=(_CPU_IDLE,),
)  # fmt: skip

# In the order of the path.  A packet from one VM to another on this host goes TX up to vnet_queue
# and tun_out.
_ROWS = (
    Step(Point(
        "guest_exit", "guest leaves to kick", Site.GUEST,
        # What KVM does until the kick: with most devices it decodes the guest's instruction.
        (tracepoint("kvm", "kvm_exit", joined=True),),
        beside=(_POLL_WAKEUP,),
    ), _TX, optional=True, task=Task.KICKER),
    Step(Point(
        "guest_kick", "guest kicks the queue", Site.GUEST,
        (function("kvm", "ioeventfd_write"),),
        beside=(_POLL_WAKEUP,),
    ), _TX, optional=True, task=Task.KICKER),
    Step(_WORKER_WOKEN, _TX, optional=True, task=Task.KICKER),
    Step(_WORKER_ON_CPU, _TX, optional=True, task=Task.WORKER),
    Step(Point(
        "vhost_tx", "vhost takes the TX queue", Site.WORKER,
        (
            function("vhost", "handle_tx_kick", module="vhost_net", parallel=True),
            function("vhost", "handle_tx_net", module="vhost_net", parallel=True),
        ),
    ), _TX, optional=True, task=Task.WORKER),
    Step(Point(
        "tun_in", "tun takes the packet", Site.TAP,
        (
            function("tun", "tun_sendmsg", parallel=True, neighbours=("netif_receive_skb_vnet",),
                     substitutes=("tun_get_user",)),
            function("tun", "tun_get_user", parallel=True),
        ),
    ), _TX, (0, None), task=Task.FIRST),
    Step(Point(
        "vnet_rx", "received on vnet", Site.TAP,
        (tracepoint("net", "netif_receive_skb", "netif_receive_skb_vnet"),),
    ), _TX, required=_TX, task=Task.FIRST),
    Step(Point(
        "phy_gro", "NIC driver hands it to GRO", Site.UPLINK,
        (tracepoint("net", "napi_gro_receive_entry", "napi_gro_receive"),),
    ), _RX, optional=True),
    Step(Point(
        "phy_rx", "received on the uplink", Site.UPLINK,
        (tracepoint("net", "netif_receive_skb", "netif_receive_skb_phy"),),
    ), _RX, (None, 0), required=_RX, task=Task.FIRST),
    Step(Point(
        "switch_in", "enters the switch", Site.SWITCH,
        (
            function("ovs", "netdev_frame_hook", parallel=True,
                     neighbours=("ovs_dp_process_packet",), substitutes=("internal_dev_xmit",)),
            function("ovs", "internal_dev_xmit", parallel=True),
            function("bridge", "br_handle_frame", parallel=True),
        ),
    ), BOTH, (1, 1)),
    Step(Point(
        "ovs_dp", "OVS datapath", Site.SWITCH,
        (function("ovs", "ovs_dp_process_packet", neighbours=("ovs_vport_send",)),),
    ), BOTH, (2, 2), optional=True),
    Step(Point(
        "ovs_upcall", "OVS upcall", Site.SWITCH,
        (function("ovs", "ovs_dp_upcall"),),
    ), BOTH, (3, 3), optional=True),
    Step(Point(
        "ovs_reinject", "OVS re-injects", Site.SWITCH,
        (function("ovs", "ovs_flow_key_extract_userspace"),),
    ), BOTH, (4, 4), optional=True),
    Step(Point(
        "switch_out", "leaves the switch", Site.SWITCH,
        (
            function("ovs", "ovs_vport_send", parallel=True, neighbours=("ovs_dp_process_packet",)),
            function("bridge", "br_dev_queue_push_xmit", parallel=True,
                     neighbours=("br_handle_frame",), substitutes=("ovs_vport_send",)),
            function("bridge", "br_forward_finish"),
        ),
    ), BOTH, (5, 5)),
    Step(Point(
        "phy_queue", "queued on the uplink", Site.UPLINK,
        (tracepoint("net", "net_dev_queue", "net_dev_queue_phy"),),
    ), _TX, (6, None), optional=True, required=_TX),
    Step(Point(
        "phy_xmit", "given to the NIC driver", Site.UPLINK,
        (tracepoint("net", "net_dev_start_xmit", "net_dev_start_xmit_phy"),),
    ), _TX, optional=True, required=_TX),
    Step(Point(
        "vnet_queue", "queued on vnet", Site.TAP,
        (tracepoint("net", "net_dev_queue", "net_dev_queue_vnet"),),
    ), BOTH, required=_RX),
    Step(Point(
        "tun_out", "tun queues it for the guest", Site.TAP,
        (
            function("tun", "tun_net_xmit", neighbours=("net_dev_queue_vnet",)),
            tracepoint("net", "net_dev_start_xmit", "net_dev_start_xmit_vnet"),
        ),
    ), BOTH, (None, 6), required=_RX),
    Step(_WORKER_WOKEN, _RX, optional=True),
    Step(_WORKER_ON_CPU, _RX, optional=True, task=Task.WORKER),
    Step(Point(
        "vhost_take", "vhost takes it from tun", Site.WORKER,
        (function("tun", "tun_recvmsg"),),
    ), _RX, task=Task.WORKER),
    Step(Point(
        "vhost_signal", "vhost signals the guest", Site.WORKER,
        (function("vhost", "vhost_add_used_and_signal_n"),),
    ), _RX, task=Task.WORKER),
    Step(Point(
        "eventfd", "eventfd signalled", Site.WORKER,
        # Inline from 6.8 on; there the other one remains.
        (
            function("eventfd", "eventfd_signal", neighbours=("irqfd_wakeup",)),
            function("eventfd", "eventfd_signal_mask"),
        ),
    ), _RX, optional=True, task=Task.WORKER),
    Step(Point(
        "irqfd", "irqfd woken", Site.WORKER,
        (function("kvm", "irqfd_wakeup", neighbours=("kvm_apic_accept_irq",)),),
    ), _RX, optional=True, task=Task.WORKER),
    Step(Point(
        "irq_accept", "interrupt accepted", Site.WORKER,
        # At the beginning of __apic_accept_irq, on Intel and AMD, and it names the vCPU.
        (tracepoint("kvm", "kvm_apic_accept_irq", joined=True),),
    ), _RX, optional=True, task=Task.WORKER),
    Step(Point(
        "vcpu_woken", "vCPU woken", Site.GUEST,
        (tracepoint("sched", "sched_waking", "sched_waking_vcpu", joined=True),),
    ), _RX, optional=True, task=Task.WORKER),
    Step(Point(
        "vcpu_on_cpu", "vCPU on CPU", Site.GUEST,
        (tracepoint("sched", "sched_switch", "sched_switch_vcpu", joined=True),),
        beside=(_CPU_IDLE,),
    ), _RX, optional=True, task=Task.VCPU),
    Step(Point(
        "guest_entry", "guest entered", Site.GUEST,
        (tracepoint("kvm", "kvm_entry", joined=True),),
        beside=(tracepoint("kvm", "kvm_vcpu_wakeup", joined=True),),
    ), _RX, optional=True, task=Task.VCPU),
)  # fmt: skip

STEPS: tuple[Step, ...] = tuple(replace(row, number=number) for number, row in enumerate(_ROWS))
POINTS: dict[str, Point] = {step.point.id: step.point for step in STEPS}

#: Length of the timestamp array; a power of two with room for what is not known yet.
STEP_ROOM = 32


def step(point_id: str, direction: Direction) -> Step:
    """The step of a point in a direction; ``KeyError`` if the point is not on that path."""
    for candidate in STEPS:
        if candidate.point.id == point_id and direction in candidate.directions:
            return candidate
    raise KeyError(f"{point_id} is not on the {direction.id} path")


def path(direction: Direction) -> tuple[Step, ...]:
    """The steps of one direction in the order a packet passes them."""
    return tuple(s for s in STEPS if direction in s.directions)
