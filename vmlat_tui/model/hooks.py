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

    ``program`` is the BPF function that handles it; ``module`` the kernel module whose absence
    explains a missing function.  ``parallel`` hooks of a point are attached together, because
    each sees other packets; otherwise the first that the kernel has is taken.
    """

    id: str
    kind: str
    symbol: str
    program: str
    points: tuple[str, ...]
    module: Optional[str] = None
    parallel: bool = False


def _tracepoint(id_: str, symbol: str, *points: str) -> Hook:
    return Hook(id_, TRACEPOINT, symbol, f"tp_{symbol}", points)


def _function(symbol: str, point: str, module: str, parallel: bool = False) -> Hook:
    return Hook(symbol, FUNCTION, symbol, f"kp_{symbol}", (point,), module, parallel)


#: A hook's place in this table is its number in the BPF programs (macro HOOK_<ID>).
HOOKS: tuple[Hook, ...] = (
    _function("tun_sendmsg", "tun_in", "tun", parallel=True),
    _function("tun_get_user", "tun_in", "tun", parallel=True),
    _tracepoint("netif_receive_skb_vnet", "netif_receive_skb", "vnet_rx"),
    _tracepoint("netif_receive_skb_phy", "netif_receive_skb", "phy_rx"),
    _tracepoint("napi_gro_receive", "napi_gro_receive_entry", "phy_gro"),
    _function("netdev_frame_hook", "switch_in", "openvswitch", parallel=True),
    _function("internal_dev_xmit", "switch_in", "openvswitch", parallel=True),
    _function("br_handle_frame", "switch_in", "bridge", parallel=True),
    _function("ovs_dp_process_packet", "ovs_dp", "openvswitch"),
    _function("ovs_dp_upcall", "ovs_upcall", "openvswitch"),
    _function("ovs_flow_key_extract_userspace", "ovs_reinject", "openvswitch"),
    _function("ovs_vport_send", "switch_out", "openvswitch", parallel=True),
    _function("br_dev_queue_push_xmit", "switch_out", "bridge", parallel=True),
    _function("br_forward_finish", "switch_out", "bridge"),
    _tracepoint("net_dev_queue_phy", "net_dev_queue", "phy_queue"),
    _tracepoint("net_dev_start_xmit_phy", "net_dev_start_xmit", "phy_xmit"),
    _tracepoint("net_dev_queue_vnet", "net_dev_queue", "vnet_queue"),
    _function("tun_net_xmit", "tun_out", "tun"),
    _tracepoint("net_dev_start_xmit_vnet", "net_dev_start_xmit", "tun_out"),
)

#: Tracepoints that close packets rather than stamp a point.
ENDINGS: tuple[Hook, ...] = (
    _tracepoint("kfree_skb", "kfree_skb"),
    _tracepoint("consume_skb", "consume_skb"),
)

#: Length of the per-hook counters in the kernel; a power of two.
HOOK_ROOM = 64

BY_ID: dict[str, Hook] = {hook.id: hook for hook in HOOKS + ENDINGS}
NUMBER: dict[str, int] = {hook.id: number for number, hook in enumerate(HOOKS)}


def hooks_of(point_id: str) -> tuple[Hook, ...]:
    """The hooks of a point, best first; empty for a point that is not measured yet."""
    return tuple(hook for hook in HOOKS if point_id in hook.points)


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
