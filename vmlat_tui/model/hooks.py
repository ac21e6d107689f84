"""The hooks of every point, best first, and what each needs of the kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from vmlat_tui.model.points import STEPS, Direction, Step, step

TRACEPOINT = "tracepoint"
FUNCTION = "function"


@dataclass(frozen=True)
class Hook:
    """One way to observe a point.

    ``program`` is the BPF function that handles it; ``module`` the kernel module that it is in,
    whose absence explains a missing one.  ``parallel`` hooks of a point are attached together,
    because each sees other packets; otherwise the first that the kernel has is taken.  ``full``:
    only on the full rung, as what it sees is joined to the packet by functions.
    """

    id: str
    kind: str
    symbol: str
    program: str
    points: tuple[str, ...]
    module: Optional[str] = None
    parallel: bool = False
    full: bool = False


def _tracepoint(id_: str, symbol: str, *points: str) -> Hook:
    return Hook(id_, TRACEPOINT, symbol, f"tp_{symbol}", points)


def _joined(id_: str, symbol: str, *points: str, module: Optional[str] = None) -> Hook:
    """A tracepoint of the full rung."""
    return Hook(id_, TRACEPOINT, symbol, f"tp_{symbol}", points, module, full=True)


def _function(
    symbol: str, *points: str, module: Optional[str] = None, parallel: bool = False
) -> Hook:
    return Hook(symbol, FUNCTION, symbol, f"fn_{symbol}", points, module, parallel, full=True)


#: A hook's place in this table is its number in the BPF programs (macro HOOK_<ID>).
HOOKS: tuple[Hook, ...] = (
    _function("tun_sendmsg", "tun_in", module="tun", parallel=True),
    _function("tun_get_user", "tun_in", module="tun", parallel=True),
    _tracepoint("netif_receive_skb_vnet", "netif_receive_skb", "vnet_rx"),
    _tracepoint("netif_receive_skb_phy", "netif_receive_skb", "phy_rx"),
    _tracepoint("napi_gro_receive", "napi_gro_receive_entry", "phy_gro"),
    _function("netdev_frame_hook", "switch_in", module="openvswitch", parallel=True),
    _function("internal_dev_xmit", "switch_in", module="openvswitch", parallel=True),
    _function("br_handle_frame", "switch_in", module="bridge", parallel=True),
    _function("ovs_dp_process_packet", "ovs_dp", module="openvswitch"),
    _function("ovs_dp_upcall", "ovs_upcall", module="openvswitch"),
    _function("ovs_flow_key_extract_userspace", "ovs_reinject", module="openvswitch"),
    _function("ovs_vport_send", "switch_out", module="openvswitch", parallel=True),
    _function("br_dev_queue_push_xmit", "switch_out", module="bridge", parallel=True),
    _function("br_forward_finish", "switch_out", module="bridge"),
    _tracepoint("net_dev_queue_phy", "net_dev_queue", "phy_queue"),
    _tracepoint("net_dev_start_xmit_phy", "net_dev_start_xmit", "phy_xmit"),
    _tracepoint("net_dev_queue_vnet", "net_dev_queue", "vnet_queue"),
    _function("tun_net_xmit", "tun_out", module="tun"),
    _tracepoint("net_dev_start_xmit_vnet", "net_dev_start_xmit", "tun_out"),
    # What KVM does until the kick: with most devices it decodes the guest's instruction.
    _joined("kvm_exit", "kvm_exit", "guest_exit", module="kvm"),
    _function("ioeventfd_write", "guest_kick", module="kvm"),
    # sched_waking is raised by the waker, before the target CPU leaves its idle state;
    # sched_wakeup, on the target CPU, after it.
    _joined("sched_waking_vhost", "sched_waking", "vhost_woken"),
    _joined("sched_switch_vhost", "sched_switch", "vhost_on_cpu"),
    _function("handle_tx_kick", "vhost_tx", module="vhost_net", parallel=True),
    _function("handle_tx_net", "vhost_tx", module="vhost_net", parallel=True),
    _function("tun_recvmsg", "vhost_take", module="tun"),
    _function("vhost_add_used_and_signal_n", "vhost_signal", module="vhost"),
    # Inline from 6.8 on; there the other one remains.
    _function("eventfd_signal", "eventfd"),
    _function("eventfd_signal_mask", "eventfd"),
    _function("irqfd_wakeup", "irqfd", module="kvm"),
    # At the beginning of __apic_accept_irq, on Intel and AMD, and it names the vCPU.
    _joined("kvm_apic_accept_irq", "kvm_apic_accept_irq", "irq_accept", module="kvm"),
    _joined("sched_waking_vcpu", "sched_waking", "vcpu_woken"),
    _joined("sched_switch_vcpu", "sched_switch", "vcpu_on_cpu"),
    _joined("kvm_entry", "kvm_entry", "guest_entry", module="kvm"),
)

#: What the hooks of these points need beside them to know whose packet it is.
JOINS: tuple[Hook, ...] = (
    _function("vhost_poll_wakeup", "guest_exit", "guest_kick", "vhost_woken", module="vhost"),
    _function("handle_rx_net", "vhost_woken", module="vhost_net"),
    _joined("kvm_vcpu_wakeup", "kvm_vcpu_wakeup", "guest_entry", module="kvm"),
    _joined("cpu_idle", "cpu_idle", "vhost_on_cpu", "vcpu_on_cpu"),
)

#: What no point needs: without it a figure beside the path stays unknown.
EXTRAS: tuple[Hook, ...] = (
    # The window in which KVM polls for a halted vCPU.
    _joined("kvm_halt_poll_ns", "kvm_halt_poll_ns", module="kvm"),
)

#: Tracepoints that close packets rather than stamp a point.
ENDINGS: tuple[Hook, ...] = (
    _tracepoint("kfree_skb", "kfree_skb"),
    _tracepoint("consume_skb", "consume_skb"),
)

#: Length of the per-hook counters in the kernel; a power of two.
HOOK_ROOM = 64

BY_ID: dict[str, Hook] = {hook.id: hook for hook in HOOKS + JOINS + ENDINGS}
NUMBER: dict[str, int] = {hook.id: number for number, hook in enumerate(HOOKS)}


def function_symbols() -> list[str]:
    """Every kernel function that a hook uses, once."""
    return sorted({hook.symbol for hook in HOOKS + JOINS if hook.kind == FUNCTION})


def hooks_of(point_id: str) -> tuple[Hook, ...]:
    """The hooks of a point, best first."""
    return tuple(hook for hook in HOOKS if point_id in hook.points)


def joins_of(point_id: str) -> tuple[Hook, ...]:
    """What must be attached with any hook of a point."""
    return tuple(hook for hook in JOINS if point_id in hook.points)


def steps_of(hook: Hook) -> tuple[Step, ...]:
    """The steps that a hook stamps, in both directions."""
    found = []
    for point_id in hook.points:
        for direction in Direction:
            try:
                candidate = step(point_id, direction)
            except KeyError:
                continue
            if candidate not in found:
                found.append(candidate)
    return tuple(sorted(found, key=lambda s: STEPS.index(s)))
