"""The VMs of a host, their threads, and their ways to the wire, as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Optional

from vmlat_tui.analysis.placement import cpu_list
from vmlat_tui.model.topology import (
    Cpu,
    Domain,
    Interface,
    OvsPort,
    Thread,
    Topology,
    Vnic,
    Way,
)
from vmlat_tui.words import clean

_WIDTH = 100


def text(topology: Topology) -> str:
    """The topology for people."""
    running = sum(domain.pid is not None for domain in topology.domains)
    lines = [
        f"{clean(topology.host)}, Linux {clean(topology.kernel)}: "
        f"{len(topology.domains)} VMs known, {running} running",
    ]
    ways = {way.tap: way for way in topology.ways}
    for domain in topology.domains:
        lines += ["", *_domain(topology, domain, ways)]
    owned = {vnic.tap for domain in topology.domains for vnic in domain.vnics}
    for way in topology.ways:
        if way.tap not in owned:
            lines += ["", f"Tap of no known VM: {clean(way.tap)}", *_way(way)]
    lines += ["", "Interfaces on the way:", *_interfaces(topology)]
    lines += ["", *_ovs(topology), "", _halt_polling(topology), *_cpus(topology)]
    if topology.notes:
        lines += ["", "Not visible:"]
        for note in topology.notes:
            lines += _wrapped("  - ", clean(note))
    return "\n".join(lines)


def _wrapped(indent: str, words: str) -> list[str]:
    rest = " " * (len(indent) + 2)
    lines = textwrap.wrap(
        words, _WIDTH, initial_indent=indent, subsequent_indent=rest, break_on_hyphens=False
    )
    return lines or [indent]


def _list(numbers: Iterable[int]) -> str:
    return cpu_list(tuple(numbers)) or "?"


# ---- VMs ----------------------------------------------------------------------------------------


def _domain(topology: Topology, domain: Domain, ways: dict[str, Way]) -> Iterator[str]:
    facts = [domain.state.value]
    if domain.pid is not None:
        facts.append(f"pid {domain.pid}")
    if domain.memory_kb is not None:
        nodes = f" on node {_list(domain.memory_nodes)}" if domain.memory_nodes else ""
        facts.append(f"{domain.memory_kb / 1024:.0f} MiB{nodes}")
    facts.append(f"known by {domain.known.value}")
    yield f"{clean(domain.name)}: {', '.join(facts)}"
    nodes_of = {cpu.number: cpu.node for cpu in topology.cpus}
    rows = [("vCPU " + str(v.number), v.thread, "pinned" if v.pinned else "") for v in domain.vcpus]
    rows += [
        ("vhost", w.thread, ", ".join([*w.queues, *(["kernel thread"] if w.kernel_thread else [])]))
        for w in domain.workers
    ]
    rows += [("QEMU", t, t.name) for t in domain.emulator]
    if domain.pid is not None and rows:
        yield f"  {'thread':<9}{'tid':>8}{'CPU':>5}{'node':>6}  {'may run on':<14}policy"
        for title, thread, remark in rows:
            yield _thread(title, thread, remark, nodes_of)
    for vnic in domain.vnics:
        yield from _wrapped("  ", _vnic(topology, vnic))
        if vnic.tap in ways:
            yield from _way(ways[str(vnic.tap)])


def _thread(
    title: str, thread: Optional[Thread], remark: str, nodes: dict[int, Optional[int]]
) -> str:
    if thread is None:
        return f"  {title:<9}{'?':>8}"
    node = None if thread.cpu is None else nodes.get(thread.cpu)
    policy = f"{thread.policy or '?'} {thread.priority if thread.priority is not None else ''}"
    row = (
        f"  {title:<9}{thread.tid:>8}{_or(thread.cpu):>5}{_or(node):>6}"
        f"  {_list(thread.cpus):<14}{policy:<12}{clean(remark) if remark else ''}"
    )
    return row.rstrip()


def _or(value: object) -> str:
    return "?" if value is None else str(value)


def _vnic(topology: Topology, vnic: Vnic) -> str:
    parts = [clean(vnic.model), f"moved by {vnic.backend.value}"]
    parts.append(f"{vnic.queues} queue{'s' if vnic.queues != 1 else ''}")
    if vnic.mtu is not None:
        parts.append(f"MTU {vnic.mtu}")
    if vnic.source:
        parts.append(f"source {clean(vnic.source)}")
    if vnic.tap in topology.busy_poll_us:
        polling = topology.busy_poll_us[str(vnic.tap)]
        parts.append(f"vhost busy polling {f'{polling} us' if polling else 'off'}")
    parts += [f"{clean(a.ip)} ({clean(a.source)})" for a in vnic.addresses]
    return f"vNIC {clean(vnic.tap)} {clean(vnic.mac)}: {', '.join(parts)}"


def _way(way: Way) -> Iterator[str]:
    yield f"    way: {' > '.join(clean(hop.device) for hop in way.hops)}"
    for hop in way.hops[1:]:
        yield from _wrapped("      ", f"{clean(hop.device)}: {clean(hop.reason)}")
    if way.choice:
        yield from _wrapped("      ", clean(way.choice))
    if not way.uplinks:
        yield "      no uplink is known"
    elif len(way.uplinks) > 1:
        yield from _wrapped("      ", f"candidates: {', '.join(map(clean, way.uplinks))}")


# ---- the host -----------------------------------------------------------------------------------


def _interfaces(topology: Topology) -> Iterator[str]:
    names = dict.fromkeys(
        name for way in topology.ways for name in (*(h.device for h in way.hops), *way.uplinks)
    )
    found = [i for i in map(topology.interface, names) if i]
    if not found:
        yield "  none"
    for interface in found:
        yield from _wrapped("  ", _interface(interface))


def _interface(one: Interface) -> str:
    state = "down" if not one.up else "no carrier" if one.carrier is False else "up"
    parts = [clean(one.kind), state]
    if one.driver:
        parts.append(f"driver {clean(one.driver)}")
    parts += [f"{word} {value}" for word, value in (("MTU", one.mtu), ("node", one.node))
              if value is not None]  # fmt: skip
    if one.speed_mbps:
        parts.append(f"{one.speed_mbps} Mb/s")
    if one.master:
        parts.append(f"port of {clean(one.master)}")
    parts += [f"{clean(key)} {clean(str(value))}" for key, value in one.details.items()]
    roots = [q.kind for q in one.qdiscs if q.parent == "root"]
    if roots:
        parts.append(f"qdisc {'+'.join(map(clean, roots))}")
    on = [k for k in ("rx-gro", "rx-lro", "tx-tcp-segmentation") if one.offloads.get(k)]
    if on:
        parts.append(f"offloads {' '.join(on)}")
    waits = [f"{k} {one.coalescing[k]}" for k in ("rx-usecs", "tx-usecs") if one.coalescing.get(k)]
    parts += waits
    if one.irqs:
        cpus = {cpu for irq in one.irqs for cpu in irq.effective or irq.cpus}
        parts.append(f"{len(one.irqs)} IRQs on CPU {_list(cpus)}")
    return f"{clean(one.name)}: {', '.join(parts)}"


def _ovs(topology: Topology) -> Iterator[str]:
    ovs = topology.ovs
    yield f"Open vSwitch: {ovs.state}{f', version {clean(ovs.version)}' if ovs.version else ''}"
    for bridge in ovs.bridges:
        ports = ", ".join(_port(port) for port in bridge.ports if port.name != bridge.name)
        yield from _wrapped(
            "  ", f"{clean(bridge.name)} ({clean(bridge.datapath)}): {ports or 'no ports'}"
        )


def _port(port: OvsPort) -> str:
    words = [clean(port.name)]
    if port.tag is not None:
        words.append(f"tag {port.tag}")
    if port.vlan_mode:
        words.append(clean(port.vlan_mode))
    if port.trunks:
        words.append(f"trunks {_list(port.trunks)}")
    if len(port.interfaces) > 1:
        members = " ".join(clean(i.name) for i in port.interfaces)
        words.append(f"bond {clean(port.bond_mode or 'active-backup')} of {members}")
        if port.active_member:
            words.append(f"active {clean(port.active_member)}")
    words += [f"patch to {clean(i.peer)}" for i in port.interfaces if i.peer]
    return " ".join(words)


def _halt_polling(topology: Topology) -> str:
    halt = topology.halt_polling
    if halt.halt_poll_ns is None:
        return "KVM: not loaded"
    if halt.halt_poll_ns == 0:
        return "KVM halt polling: off"
    return (
        f"KVM halt polling: up to {halt.halt_poll_ns} ns, grows {_or(halt.grow)} times from "
        f"{_or(halt.grow_start_ns)} ns, shrinks {f'{halt.shrink} times' if halt.shrink else 'to 0'}"
    )


def _cpus(topology: Topology) -> Iterator[str]:
    cpus = topology.cpus
    online = [cpu.number for cpu in cpus if cpu.online]
    parts = [f"CPUs: {len(online)} online ({_list(online)})"]
    by_node = _groups((cpu.node, cpu) for cpu in cpus if cpu.online)
    parts += [f"node {_or(node)}: {_list(group)}" for node, group in by_node.items()]
    isolated = [cpu.number for cpu in cpus if cpu.isolated]
    parts.append(f"isolated {_list(isolated)}" if isolated else "none isolated")
    paired = any(len(cpu.siblings) > 1 for cpu in cpus)
    parts.append("SMT on" if paired else "SMT off")
    governors = _groups((cpu.governor, cpu) for cpu in cpus if cpu.governor)
    parts += [f"governor {clean(str(word))} on {_list(g)}" for word, g in governors.items()]
    yield from _wrapped("", "; ".join(parts))
    states = [s for cpu in cpus[:1] for s in cpu.idle_states]
    words = ", ".join(
        f"{clean(s.name)} {s.latency_us} us{' (disabled)' if s.disabled else ''}" for s in states
    )
    driver = clean(cpus[0].idle_driver) if cpus and cpus[0].idle_driver else "no driver"
    yield from _wrapped("", f"Idle states ({driver}): {words or 'none'}")


def _groups(pairs: Iterable[tuple[object, Cpu]]) -> dict[object, list[int]]:
    groups: dict[object, list[int]] = {}
    for key, cpu in pairs:
        groups.setdefault(key, []).append(cpu.number)
    return groups
