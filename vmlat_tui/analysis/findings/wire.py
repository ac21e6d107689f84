"""Between the switch and the wire: GRO, queueing disciplines, bonds, offloads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Optional

from vmlat_tui.analysis.findings.evidence import Evidence
from vmlat_tui.analysis.findings.finding import (
    Explained,
    Finding,
    Kind,
    Severity,
    Sureness,
    found,
)
from vmlat_tui.analysis.findings.spent import explained, waiting
from vmlat_tui.analysis.findings.words import quantiles
from vmlat_tui.model.points import Direction
from vmlat_tui.model.topology import Interface

_COALESCING = ("rx-usecs", "rx-frames", "adaptive-rx")
_GRO = "rx:phy_gro>phy_rx"
_QUEUES = {"tx:phy_queue>phy_xmit": Direction.TX, "rx:vnet_queue>tun_out": Direction.RX}

GRO = Kind(
    "gro-wait", "packets wait in GRO", Severity.SUSPECT,
    "Between the NIC's driver and the stack a packet waits until GRO has seen the whole batch. "
    "Interrupt coalescing makes batches larger; how long the NIC itself waits before it raises the "
    "interrupt comes on top, and is not in these figures.",
    "ethtool -c {interface} shows coalescing: a lower rx-usecs and rx-frames, or adaptive-rx off, "
    "make batches smaller and cost CPU time. Look at /sys/class/net/{interface}/gro_flush_timeout "
    "and napi_defer_hard_irqs, too, and at ethtool -k {interface} for gro and lro.",
)  # fmt: skip
QDISC = Kind(
    "qdisc-backlog", "packets wait in a qdisc", Severity.SUSPECT,
    "The queueing discipline holds packets back: the interface is slower than what is sent, a rate "
    "is limited, or a large flow stands before small ones.",
    "tc -s qdisc show dev {interface} shows backlog, drops and rate limits; fq_codel or fq keep "
    "small flows from waiting for large ones. A limit may come from libvirt's <bandwidth> or from "
    "Open vSwitch's QoS.",
)  # fmt: skip
BOND = Kind(
    "bond-mode", "bond on the way", Severity.NOTE,
    "Packets pass a bond, which takes time of its own; modes that balance may also put packets of "
    "one flow out of order.",
    "{look} shows its mode; active-backup does least for each packet.",
)  # fmt: skip
OFFLOADS = Kind(
    "offloads-off", "offloads off", Severity.SUSPECT,
    "What the interface does not do, the kernel does for each packet between queueing and sending: "
    "checksums, cutting large packets, gathering their parts.",
    "ethtool -k {interface} shows them; ethtool -K {interface} tx on sg on tso on gso on switches "
    "them on where nothing else forbids it.",
)  # fmt: skip


def _sureness(time: Explained) -> Sureness:
    """What only few packets waited for may have been an interruption of the code instead."""
    return Sureness.MEASURED if time.p50_ns else Sureness.LIKELY


def gro(evidence: Evidence) -> Iterator[Finding]:
    """Packets that waited much longer for the stack than code takes."""
    leg = evidence.leg(_GRO)
    time = explained(evidence, Direction.RX, (waiting(evidence, Direction.RX, leg),))
    if time is None:
        return
    numbers: dict[str, int | float | str] = {}
    settings = ""
    for uplink in evidence.uplinks[:1]:
        numbers["interface"] = uplink.name
        shown = {name: uplink.coalescing[name] for name in _COALESCING if name in uplink.coalescing}
        numbers.update({name.replace("-", "_"): value for name, value in shown.items()})
        if shown:
            words = ", ".join(f"{name} {value}" for name, value in shown.items())
            settings = f"; coalescing of {uplink.name}: {words}"
    sentence = f"from driver to stack: {quantiles(leg)} of {leg.count} packets{settings}"
    yield found(GRO, sentence, _sureness(time), numbers, time, (_GRO,))


def qdisc(evidence: Evidence) -> Iterator[Finding]:
    """Packets that waited much longer for the driver than code takes."""
    for leg_id, direction in _QUEUES.items():
        leg = evidence.leg(leg_id)
        time = explained(evidence, direction, (waiting(evidence, direction, leg),))
        devices = _devices(evidence, direction)
        queues = [queue for device in devices for queue in device.qdiscs if queue.kind != "noqueue"]
        # Nothing waits on a tap that has none, whatever else interrupts the code there.
        if time is None or (direction is Direction.RX and not queues):
            continue
        name = devices[0].name if len(devices) == 1 else "the uplink"
        numbers: dict[str, int | float | str] = {"interface": name}
        state = ""
        if queues:
            kinds = ", ".join(dict.fromkeys(queue.kind for queue in queues))
            backlog = sum(queue.backlog_packets for queue in queues)
            drops = sum(queue.drops for queue in queues)
            numbers.update(qdisc=kinds, backlog_packets=backlog, drops=drops)
            state = (
                f" ({kinds}, backlog {backlog} packets when last looked at, {drops} dropped since"
                " it was made)"
            )
        sentence = (
            f"from queueing on {name} to its driver: {quantiles(leg)} of {leg.count} packets{state}"
        )
        yield found(QDISC, sentence, _sureness(time), numbers, time, (leg_id,))


def _devices(evidence: Evidence, direction: Direction) -> tuple[Interface, ...]:
    """Where packets of a direction are queued."""
    if direction is Direction.TX:
        return evidence.uplinks
    tap = evidence.topology.interface(evidence.tap)
    return (tap,) if tap else ()


def bond(evidence: Evidence) -> Iterator[Finding]:
    """The legs that a bond is passed in, if one is on the way."""
    on_way = _kernel_bond(evidence)
    legs: dict[Direction, tuple[str, ...]]
    if on_way is not None:
        name, mode = on_way.name, str(on_way.details.get("mode", "unknown"))
        look = f"cat /proc/net/bonding/{name}"
        legs = {
            Direction.TX: evidence.ids(Direction.TX, ends=("phy_queue",)),
            Direction.RX: evidence.ids(Direction.RX, ("phy_rx",), ("switch_in",)),
        }
    else:
        switch = _switch_bond(evidence)
        # Only this mode sends each packet through the datapath twice.
        if switch is None or switch[1] != "balance-tcp":
            return
        (name, mode), look = switch, "ovs-appctl bond/show"
        legs = {Direction.TX: evidence.ids(Direction.TX, ("ovs_dp",), ("switch_out",))}
    for direction, ids in legs.items():
        time = explained(evidence, direction, (evidence.leg(*ids),))
        if time is not None:
            yield found(
                BOND,
                f"the way goes through the bond {name}, mode {mode}",
                Sureness.POSSIBLE,
                {"interface": name, "mode": mode, "look": look},
                time,
                ids,
            )


def _kernel_bond(evidence: Evidence) -> Optional[Interface]:
    way = evidence.way
    names = [*(hop.device for hop in way.hops), *way.uplinks] if way else []
    devices = map(evidence.topology.interface, names)
    return next((device for device in devices if device and device.kind == "bond"), None)


def _switch_bond(evidence: Evidence) -> Optional[tuple[str, str]]:
    names = {uplink.name for uplink in evidence.uplinks}
    for bridge in evidence.topology.ovs.bridges:
        for port in bridge.ports:
            members = {interface.name for interface in port.interfaces}
            if len(members) > 1 and members & names:
                return port.name, port.bond_mode or "unknown"
    return None


_CHECKSUMS = ("tx-checksum-ip-generic", "tx-checksum-ipv4")
_OTHERS = ("tx-scatter-gather", "tx-tcp-segmentation", "tx-generic-segmentation")


def _off(offloads: Mapping[str, bool]) -> list[str]:
    """Those that could be on.  One that is not named is none that the device has."""
    sums = [name for name in _CHECKSUMS if name in offloads]
    off = [] if any(offloads[name] for name in sums) else sums[:1]
    return off + [name for name in _OTHERS if offloads.get(name) is False]


def offloads(evidence: Evidence) -> Iterator[Finding]:
    """The leg in which the kernel does what the interface could."""
    devices = [
        (leg_id, direction, device)
        for leg_id, direction in _QUEUES.items()
        for device in _devices(evidence, direction)
    ]
    for leg_id, direction, device in devices:
        off = _off(device.offloads)
        time = explained(evidence, direction, (evidence.leg(leg_id),)) if off else None
        if time is not None:
            yield found(
                OFFLOADS,
                f"{device.name} has {', '.join(off)} switched off",
                Sureness.POSSIBLE,
                {"interface": device.name, "off": ", ".join(off)},
                time,
                (leg_id,),
            )
