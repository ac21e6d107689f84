"""A bpftrace program with the points that vmlat has attached, written as one would write it.

It does less than vmlat: one histogram a point for both directions together, no flows, no check
that a socket buffer still carries the same packet, nothing about packets that share an interrupt.
So what it costs is the least that following a packet through all points costs that way.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vmlat_tui.model.hooks import ENDINGS, EXTRAS, HOOKS, JOINS
from vmlat_tui.model.points import FUNCTION


class Names(NamedTuple):
    """What the program is about; threads by their ids."""

    tap: str
    uplink: str
    worker: int
    vcpu: int


def _packet(skb: str, point: str, more: str = "") -> str:
    """A point of a packet that is on its way."""
    return (
        f"$s = (uint64){skb}; $p = @at[$s]; if ($p) {{ $t = nsecs;"
        f" @{point} = hist($t - $p); @at[$s] = $t; {more} }}"
    )


def _after(key: str, point: str, more: str) -> str:
    """A point after the one whose time is at ``key``."""
    return f"$p = {key}; if ($p) {{ $t = nsecs; @{point} = hist($t - $p); {more} }}"


_GONE = "delete(@at[$s]); delete(@first[$s]);"


def _freed(count: str) -> str:
    return f"$s = (uint64)args->skbaddr; if (@at[$s]) {{ @{count} = count(); {_GONE} }}"


def _bodies(names: Names) -> dict[str, str]:
    """What is done at each function or tracepoint."""
    skb, thread = "args->skbaddr", f"tid == {names.vcpu}"
    received = (
        "$s = (uint64)args->skbaddr; $n = str(args->name);"
        f' if ($n == "{names.tap}") {{ $t = nsecs; $p = @tun[tid]; @first[$s] = $t; @at[$s] = $t;'
        " if ($p) { @vnet_rx = hist($t - $p); @first[$s] = $p; delete(@tun[tid]); } }"
        f' if ($n == "{names.uplink}") {{ $t = nsecs; $g = @gro[$s]; @first[$s] = $t; @at[$s] = $t;'
        " if ($g) { @phy_rx = hist($t - $g); @first[$s] = $g; delete(@gro[$s]); } }"
    )
    sent = (
        f'if (str(args->name) == "{names.uplink}") {{'
        f" @tx_total = hist($t - @first[$s]); @tx = count(); {_GONE} }}"
    )
    taken = "@taken[tid] = $t; @since[tid] = @first[$s];"
    signal = "@signal[tid] = $t;"
    waking = (
        f"if (args->pid == {names.worker} || args->pid == {names.vcpu})"
        " { @woken[args->pid] = nsecs; }"
    )
    switch = (
        f"if (args->next_pid == {names.worker} || args->next_pid == {names.vcpu})"
        " { $p = @woken[args->next_pid]; if ($p) {"
        " @on_cpu[args->next_pid] = hist(nsecs - $p); delete(@woken[args->next_pid]); } }"
    )
    switch_in = "*(uint64 *)arg0"
    return {
        "kvm_exit": f"if ({thread}) {{ @exit[tid] = nsecs; }}",
        "ioeventfd_write": f"if ({thread}) {{ @kick[tid] = nsecs; }}",
        # struct vhost_work follows the wait queue's entry, of 40 bytes, in struct vhost_poll.
        "vhost_poll_wakeup": "$p = @kick[tid];"
        " if ($p) { @kicked[(uint64)arg0 + 40] = $p; delete(@kick[tid]); }",
        "handle_tx_kick": _after(
            "@kicked[(uint64)arg0]", "vhost_tx", "@run[tid] = $t; delete(@kicked[(uint64)arg0]);"
        ),
        "handle_tx_net": "@run[tid] = nsecs;",
        "handle_rx_net": "@ran[tid] = nsecs;",
        "tun_sendmsg": "$t = nsecs; $p = @run[tid];"
        " if ($p) { @tun_in = hist($t - $p); delete(@run[tid]); } @tun[tid] = $t;",
        "tun_get_user": "if (!@tun[tid]) { @tun[tid] = nsecs; }",
        "netif_receive_skb": received,
        "napi_gro_receive_entry": f'if (str(args->name) == "{names.uplink}")'
        " { @gro[(uint64)args->skbaddr] = nsecs; }",
        "netdev_frame_hook": _packet(switch_in, "switch_in"),
        "internal_dev_xmit": _packet("arg0", "switch_in"),
        "br_handle_frame": _packet(switch_in, "switch_in"),
        "ovs_dp_process_packet": _packet("arg0", "ovs_dp"),
        "ovs_dp_upcall": _packet("arg1", "ovs_upcall"),
        "ovs_flow_key_extract_userspace": _packet("arg2", "ovs_reinject"),
        "ovs_vport_send": _packet("arg1", "switch_out"),
        "br_dev_queue_push_xmit": _packet("arg2", "switch_out"),
        "br_forward_finish": _packet("arg2", "switch_out"),
        "net_dev_queue": _packet(skb, "queue"),
        "net_dev_start_xmit": _packet(skb, "start_xmit", sent),
        "tun_net_xmit": _packet("arg0", "tun_out"),
        "tun_recvmsg": _packet("((struct msghdr *)arg1)->msg_control", "vhost_take", taken),
        "vhost_add_used_and_signal_n": _after(
            "@taken[tid]",
            "vhost_signal",
            f"{signal} @rx_total = hist($t - @since[tid]); @rx = count(); delete(@taken[tid]);",
        ),
        "eventfd_signal": _after("@signal[tid]", "eventfd", signal),
        "eventfd_signal_mask": _after("@signal[tid]", "eventfd", signal),
        "irqfd_wakeup": _after("@signal[tid]", "irqfd", signal),
        "kvm_apic_accept_irq": _after(
            "@signal[tid]", "irq_accept", "@accepted = $t; delete(@signal[tid]);"
        ),
        "sched_waking": waking,
        "sched_switch": switch,
        "cpu_idle": "@idle[cpu] = args->state;",
        "kvm_halt_poll_ns": f"if ({thread}) {{ @window = args->new; }}",
        "kvm_vcpu_wakeup": f"if ({thread}) {{ @polled = nsecs; }}",
        "kvm_entry": f"if ({thread}) {{"
        + _after("@accepted", "guest_entry", "delete(@accepted);")
        + " }",
        "kfree_skb": _freed("dropped"),
        "consume_skb": _freed("ended"),
    }


def program(attached: Iterable[str], names: Names) -> str:
    """The program for these BPF programs of vmlat; ``KeyError`` for one that it cannot match."""
    hooks = {hook.program: hook for hook in (*HOOKS, *JOINS, *ENDINGS, *EXTRAS)}
    bodies = _bodies(names)
    lines = []
    # bpftrace knows the type of a map only behind a place that writes it.
    first = hooks["tp_napi_gro_receive_entry"]
    for hook in sorted((hooks[name] for name in attached), key=lambda hook: hook is not first):
        probe = "kprobe" if hook.kind == FUNCTION else f"tracepoint:{hook.subsystem}"
        lines.append(f"{probe}:{hook.symbol} {{ {bodies[hook.symbol]} }}\n")
    return "".join(lines)
