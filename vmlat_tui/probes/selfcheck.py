"""Finds hooks that are attached and never fire, because the compiler inlined the function.

A hook is judged by a neighbour that the same packets must pass: when the neighbour has fired
often and the hook never has, it is deaf.
"""

from __future__ import annotations

from collections.abc import Mapping

#: hook -> neighbours, any of which proves that packets passed the hook.
NEIGHBOURS: dict[str, tuple[str, ...]] = {
    "tun_sendmsg": ("netif_receive_skb_vnet",),
    "netdev_frame_hook": ("ovs_dp_process_packet",),
    "ovs_dp_process_packet": ("ovs_vport_send",),
    "ovs_vport_send": ("ovs_dp_process_packet",),
    "br_dev_queue_push_xmit": ("br_handle_frame",),
    "tun_net_xmit": ("net_dev_queue_vnet",),
    "eventfd_signal": ("irqfd_wakeup",),
    "irqfd_wakeup": ("kvm_apic_accept_irq",),
}

#: A hook that fires as well in its place: what proves one proves the other.
_SUBSTITUTES: dict[str, tuple[str, ...]] = {
    "tun_sendmsg": ("tun_get_user",),
    "netdev_frame_hook": ("internal_dev_xmit",),
    "br_dev_queue_push_xmit": ("ovs_vport_send",),
}

#: So many passages of a neighbour are no accident.
ENOUGH = 50


def deaf_hooks(attached: set[str], hits: Mapping[str, int]) -> list[tuple[str, str, int]]:
    """(hook, the neighbour that proves it, how often that fired) of every deaf hook."""
    found = []
    for hook, neighbours in NEIGHBOURS.items():
        if hook not in attached or hits.get(hook):
            continue
        if any(hits.get(other) for other in _SUBSTITUTES.get(hook, ())):
            continue
        for neighbour in neighbours:
            if hits.get(neighbour, 0) >= ENOUGH:
                found.append((hook, neighbour, hits[neighbour]))
                break
    return found
