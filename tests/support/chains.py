"""Packets on the guest's side of the tap, made by hand."""

from __future__ import annotations

from typing import Any, Optional

from vmlat_tui.model.absences import ABSENCE
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.points import Direction, step
from vmlat_tui.protocol.migrations import Raw

#: Point, hook, time in ns, CPU, who runs there (None: not known).
Row = tuple[str, str, int, int, Optional[tuple[int, str]]]

SOFTIRQ: Optional[tuple[int, str]] = None
WORKER, VCPU, KICKER = (309, "vhost-301"), (312, "CPU 0/KVM"), (313, "CPU 1/KVM")

RECEIVED: list[Row] = [
    ("phy_rx", "netif_receive_skb", 1_000, 1, (77, "ping")),
    ("switch_out", "ovs_vport_send", 5_000, 1, SOFTIRQ),
    ("tun_out", "tun_net_xmit", 9_000, 1, SOFTIRQ),
    ("vhost_woken", "sched_waking", 9_400, 1, SOFTIRQ),
    ("vhost_on_cpu", "sched_switch", 24_401, 2, WORKER),
    ("vhost_take", "tun_recvmsg", 26_000, 2, WORKER),
    ("vhost_signal", "vhost_add_used_and_signal_n", 28_003, 2, WORKER),
    ("eventfd", "eventfd_signal", 28_500, 2, WORKER),
    ("irqfd", "irqfd_wakeup", 28_900, 2, WORKER),
    ("irq_accept", "kvm_apic_accept_irq", 30_000, 2, WORKER),
    ("vcpu_woken", "sched_waking", 30_600, 2, WORKER),
    ("vcpu_on_cpu", "sched_switch", 41_000, 4, VCPU),
    ("guest_entry", "kvm_entry", 43_210, 4, VCPU),
]
SENT: list[Row] = [
    ("guest_exit", "kvm_exit", 400, 5, KICKER),
    ("guest_kick", "ioeventfd_write", 1_000, 5, KICKER),
    ("vhost_woken", "sched_waking", 1_300, 5, KICKER),
    ("vhost_on_cpu", "sched_switch", 13_300, 2, WORKER),
    ("vhost_tx", "handle_tx_kick", 15_800, 2, WORKER),
    ("tun_in", "tun_sendmsg", 17_001, 2, WORKER),
    ("vnet_rx", "netif_receive_skb", 19_000, 2, WORKER),
    ("switch_in", "netdev_frame_hook", 20_000, 2, SOFTIRQ),
    ("phy_xmit", "net_dev_start_xmit", 26_000, 2, SOFTIRQ),
]


def packet(
    direction: Direction, rows: list[Row], *reasons: str, without: bool = True, **changes: Any
) -> Raw:
    """A packet that left out what these reasons are for."""
    left_out = {point for reason in reasons for point in ABSENCE[reason].points} if without else ()
    kept = [row for row in rows if row[0] not in left_out]
    frame: Raw = {
        "type": "packet",
        "direction": direction.id,
        "flow": {
            "src": "10.0.0.1", "dst": "10.0.0.2", "src_port": 7, "dst_port": 7, "protocol": "icmp",
        },
        "vm_interface": "vnet0",
        "phy_interface": "eth0",
        "process": {"pid": 301, "tid": 309, "comm": "vhost-301"}
        if direction is Direction.TX
        else {"pid": 77, "tid": 77, "comm": "ping"},
        "bytes": 98,
        "stages": [
            {
                "stage": step(point, direction).seed_stages[direction],
                "point": point,
                "function": hook,
                "t_ns": t_ns,
                "cpu": cpu,
                "tid": task[0] if task else None,
                "comm": task[1] if task else None,
            }
            for point, hook, t_ns, cpu, task in kept
        ],
        "absent": [{"reason": r, "points": list(ABSENCE[r].points)} for r in reasons],
        "total_ns": kept[-1][2] - kept[0][2],
    }  # fmt: skip
    frame.update(changes)
    return frame


def received(*reasons: str, **changes: Any) -> Raw:
    """One that entered the guest."""
    return packet(Direction.RX, RECEIVED, *reasons, **changes)


def sent(*reasons: str, **changes: Any) -> Raw:
    """One that left it."""
    return packet(Direction.TX, SENT, *reasons, **changes)


def dropped(frame: Raw, point: str, ended: str, **why: Any) -> Raw:
    """The same, ended at a point."""
    points = [stage["point"] for stage in frame["stages"]]
    frame["stages"] = frame["stages"][: points.index(point) + 1]
    drop = {"point": point, "reason": None, "function": None, **why}
    return {**frame, "type": "drop", "bin": ended, "drop": drop, "absent": []}


def legs(frames: list[Raw]) -> list[Raw]:
    """The rows that the kernel would count of these packets."""
    found: dict[tuple[str, str], Histogram] = {}
    for frame in frames:
        stages = frame["stages"]
        for a, b in zip(stages, stages[1:]):
            leg = f"{frame['direction']}:{a['point']}>{b['point']}"
            found.setdefault((leg, frame["vm_interface"]), Histogram()).add(b["t_ns"] - a["t_ns"])
        whole = (f"{frame['direction']}:total", frame["vm_interface"])
        found.setdefault(whole, Histogram()).add(frame["total_ns"])
    return [
        {
            "vm_interface": vnic,
            "leg": leg,
            "direction": leg[:2],
            "title": leg[3:].replace(">", " -> "),
            **histogram.to_json(),
        }
        for (leg, vnic), histogram in found.items()
    ]
