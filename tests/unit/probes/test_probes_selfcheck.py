"""A hook that is attached and never fires is found, and only such a one."""

from __future__ import annotations

from vmlat_tui.model.hooks import BY_ID, HOOKS
from vmlat_tui.probes.selfcheck import ENOUGH, silent_hooks

ALL = set(BY_ID)


def test_every_hook_named_here_exists() -> None:
    assert sum(bool(hook.neighbours) for hook in HOOKS) == 8
    for hook in HOOKS:
        assert set(hook.neighbours) | set(hook.substitutes) <= ALL
        assert hook.neighbours or not hook.substitutes


def test_a_hook_that_never_fires_beside_a_busy_neighbour_is_silent() -> None:
    hits = {"ovs_dp_process_packet": ENOUGH, "ovs_vport_send": ENOUGH}
    assert silent_hooks(ALL, hits) == [("netdev_frame_hook", "ovs_dp_process_packet", ENOUGH)]


def test_few_packets_prove_nothing() -> None:
    assert silent_hooks(ALL, {"ovs_dp_process_packet": ENOUGH - 1, "ovs_vport_send": 9}) == []


def test_a_hook_that_another_stands_for_is_not_silent() -> None:
    # QEMU's own back end enters tun by tun_get_user; an internal port by internal_dev_xmit.
    hits = {"netif_receive_skb_vnet": 500, "tun_get_user": 500, "internal_dev_xmit": 3}
    assert silent_hooks(ALL, hits) == []


def test_a_hook_that_is_not_attached_is_not_judged() -> None:
    assert silent_hooks({"tun_net_xmit"}, {"netif_receive_skb_vnet": 500}) == []
