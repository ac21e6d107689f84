"""What to look at, by the segments that grew: section 4 of the ping analysis and later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.analysis.comparison import Comparison, Line
from vmlat_tui.analysis.plan import REST

#: A layer that has grown by less than this share of the whole growth is not a cause.
_MATTERS = 0.1
#: And one by less than this can be ruled out.
_RULED_OUT = 0.02


@dataclass(frozen=True)
class Check:
    """What to look at, and the command that shows it, if there is one."""

    what: str
    command: str = ""


@dataclass(frozen=True)
class Advice:
    """A layer that grew, its segments that grew, and what may be behind it.

    ``weight`` is its share of the growth of the round trip.
    """

    layer: str
    title: str
    segments: tuple[str, ...]
    difference_ns: float
    weight: Optional[float]
    checks: tuple[Check, ...] = ()
    remedies: tuple[str, ...] = ()


_IDLE = Check(
    "deep idle states of the CPU on which the vhost worker wakes up (found as the cause on the two"
    " published platforms: C6 with 290 µs of exit latency)",
    "grep . /sys/devices/system/cpu/cpu*/cpuidle/state*/{name,latency,disable}",
)
_NUMA = Check(
    "vhost worker, vCPUs and memory of the guest on one NUMA node",
    "numactl --hardware; numastat -p QEMU_PID",
)

_CHECKS: dict[str, tuple[tuple[Check, ...], tuple[str, ...]]] = {
    "physical": (
        (
            Check("switch hops, cables and distance between the two hosts"),
            Check("mode and LACP settings of a bond", "grep . /proc/net/bonding/*"),
            Check("driver version and offloads of the NIC", "ethtool -i NIC; ethtool -k NIC"),
            Check("interrupt coalescing of the NIC", "ethtool -c NIC"),
            Check("the switches: buffers, QoS, VLAN tagging, spanning tree"),
        ),
        (
            "choose the bond mode for latency (mode 4, LACP, may cost)",
            "lower the interrupt coalescing, which costs processor time",
            "measure both environments in one physical network",
        ),
    ),
    "virt_receive": (
        (
            _IDLE,
            Check("CPUs on which the vhost worker may run", "taskset -p VHOST_TID"),
            _NUMA,
            Check("polling of vhost-net", "grep . /sys/module/vhost_net/parameters/*"),
            Check("other load on the worker's CPU, isolation, cgroup shares"),
            Check("vhost-net of this kernel version against the other's"),
        ),
        (
            "limit the idle states on the workers' CPUs",
            "bind the vhost worker to a CPU of its own, near the guest's vCPUs",
            "let vhost poll, to avoid the wake-up",
        ),
    ),
    "virt_transmit": (
        (
            _IDLE,
            Check("CPUs on which the vhost worker may run", "taskset -p VHOST_TID"),
            _NUMA,
            Check("polling of vhost-net", "grep . /sys/module/vhost_net/parameters/*"),
        ),
        (
            "limit the idle states on the workers' CPUs",
            "bind the vhost worker to a CPU of its own, near the guest's vCPUs",
        ),
    ),
    REST: (
        (
            Check(
                "vCPU placement, and their scheduling policy",
                "virsh vcpuinfo DOMAIN; chrt -p VCPU_TID",
            ),
            Check("halt polling", "cat /sys/module/kvm/parameters/halt_poll_ns"),
            Check("deep idle states of the vCPUs' and the vhost worker's CPUs", _IDLE.command),
            Check("posted interrupts", "grep . /sys/module/kvm_*/parameters/*"),
            Check("virtio-net in the guest: number of queues, interrupt coalescing",
                  "ethtool -l NIC; ethtool -c NIC"),
            Check("QEMU's command line: CPU model, iothreads"),
            Check("guest kernel: virtio_net version, NAPI budget"),
        ),
        (
            "let vCPUs answer interrupts at once: pin them, isolate their CPUs",
            "raise halt_poll_ns, to avoid the wake-up",
            "keep I/O threads of QEMU off the vCPUs' CPUs",
        ),
    ),
    "host_internal": (
        (
            Check("the slow leg within the host", "vmlat trace --protocol icmp"),
            Check("Open vSwitch upcalls: flows that expire between two pings",
                  "ovs-appctl dpctl/show; ovs-appctl upcall/show"),
            Check("queueing discipline of the uplink", "tc -s qdisc show dev NIC"),
        ),
        (),
    ),
    "vm_internal": (
        (
            Check("kernel versions, firewall rules and load in the guests"),
            Check("steal time in the guests", "grep '^cpu' /proc/stat"),
        ),
        (),
    ),
}  # fmt: skip


def advise(comparison: Comparison) -> tuple[Advice, ...]:
    """Layers that grew enough to matter, the most first; without a growth, none."""
    whole = comparison.difference_ns
    if whole is None or whole <= 0:
        return ()
    found = []
    for layer, (checks, remedies) in _CHECKS.items():
        line = comparison.line(layer)
        if line is None or line.share is None or line.share < _MATTERS:
            continue
        assert line.difference_ns is not None
        grown = tuple(_grown(comparison, line))
        found.append(
            Advice(layer, line.item.title, grown, line.difference_ns, line.share, checks, remedies)
        )
    found.sort(key=lambda advice: -(advice.weight or 0))
    return tuple(found)


def ruled_out(comparison: Comparison) -> tuple[Line, ...]:
    """Layers that did not grow."""
    found = []
    for layer in _CHECKS:
        line = comparison.line(layer)
        if line is not None and line.share is not None and abs(line.share) < _RULED_OUT:
            found.append(line)
    return tuple(found)


def _grown(comparison: Comparison, layer: Line) -> Iterator[str]:
    """The segments (or remainders) of a layer that account for most of its growth."""
    if layer.item.id == REST:
        ids = [rest.id for part in comparison.a.plan.parts for rest in part.rest]
    elif layer.item.id == "physical":
        ids = ["physical"]
    else:
        ids = layer.item.of.split("+")
    lines = [line for line in map(comparison.line, ids) if line is not None]
    growth = [(line.item, line.difference_ns or 0.0) for line in lines]
    total = sum(value for _, value in growth if value > 0)
    for item, value in sorted(growth, key=lambda pair: -pair[1]):
        if value > 0.2 * total:
            yield item.of if item.id in ("physical", *_rests(comparison)) else item.id
            stage = comparison.line(f"{item.id}.s1_s2")
            if stage is not None and (stage.difference_ns or 0) > 0.5 * value:
                yield stage.item.id


def _rests(comparison: Comparison) -> tuple[str, ...]:
    return tuple(rest.id for part in comparison.a.plan.parts for rest in part.rest)
