"""The path of one vNIC as a strip from guest to wire, with this VM's own devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.analysis.placement import node_of
from vmlat_tui.model.points import Site
from vmlat_tui.model.topology import Backend, Domain, Interface, Topology, Way
from vmlat_tui.session.snapshot import Place
from vmlat_tui.session.window import LegRow
from vmlat_tui.tables.legs import long_name
from vmlat_tui.tui.paint import Line, StyledText
from vmlat_tui.words import clean, cut, fit, width


@dataclass(frozen=True)
class Stop:
    """One device on the strip: what it is, and a fact about it.  The wire is not a site."""

    site: Optional[Site]
    name: str
    fact: str


def strip_lines(
    place: Place, domain: Optional[Domain], tap: str, legs: Sequence[LegRow], cells: int
) -> list[Line]:
    """Three lines: devices, facts, and the slowest legs in words."""
    topology = place.now.topology
    if topology is not None and domain is not None:
        stops = list(_stops(topology, domain, tap))
    else:
        stops = [Stop(Site.GUEST, "guest", ""), Stop(Site.TAP, clean(tap), "")]
        stops.append(Stop(Site.UPLINK, "?", ""))
    stops.append(Stop(None, "wire", ""))
    slowest = [row for row in legs if row.slowest]
    hot = {row.leg.end.point.site for row in slowest if row.leg.end}
    return [*_drawn(stops, hot, cells), _verdict(slowest, legs, cells)]


def _stops(topology: Topology, domain: Domain, tap: str) -> Iterator[Stop]:
    found = {node_of(topology, v.thread.cpu) for v in domain.vcpus if v.thread}
    nodes = sorted(node for node in found if node is not None)
    where = f" · node {','.join(map(str, nodes))}" if nodes else ""
    yield Stop(Site.GUEST, clean(domain.name), f"{len(domain.vcpus)} vCPU{where}")
    vnic = next((v for v in domain.vnics if v.tap == tap), None)
    workers = [w for w in domain.workers if any(q.startswith(f"{tap}/") for q in w.queues)]
    workers = workers or list(domain.workers)
    if workers:
        first = workers[0].thread
        more = f" +{len(workers) - 1}" if len(workers) > 1 else ""
        yield Stop(Site.WORKER, f"vhost {first.tid}{more}", f"on CPU {first.cpu}")
    elif vnic is not None and vnic.backend is not Backend.VHOST:
        yield Stop(Site.WORKER, vnic.backend.value, "no vhost worker")
    mtu = f"mtu {vnic.mtu}" if vnic and vnic.mtu else ""
    yield Stop(Site.TAP, clean(tap), mtu)
    way = next((w for w in topology.ways if w.tap == tap), None)
    if way is not None:
        yield from _way(topology, way)


def _way(topology: Topology, way: Way) -> Iterator[Stop]:
    bridges = {bridge.name for bridge in topology.ovs.bridges}
    for hop in way.hops[1:]:
        if hop.device in way.uplinks:
            continue
        device = topology.interface(hop.device)
        kind = "OVS" if hop.device in bridges else device.kind if device else ""
        yield Stop(Site.SWITCH, clean(hop.device), kind)
    names = ",".join(map(clean, way.uplinks))
    if len(way.uplinks) == 1:
        yield Stop(Site.UPLINK, names, _link_fact(topology.interface(way.uplinks[0])))
    elif names:
        yield Stop(Site.UPLINK, names, "either")


def _link_fact(link: Optional[Interface]) -> str:
    if link is None:
        return ""
    parts = [f"{link.speed_mbps / 1000:g} Gbit/s"] if link.speed_mbps else []
    if not link.up or link.carrier is False:
        parts.append("no carrier")
    if link.node is not None:
        parts.append(f"node {link.node}")
    return " · ".join(parts)


def _drawn(stops: Sequence[Stop], hot: set[Site], cells: int) -> list[Line]:
    least = 3
    limit = max(6, (cells - least * (len(stops) - 1)) // len(stops) + 4)
    names = [("▲ " if s.site in hot else "") + cut(s.name, limit) for s in stops]
    facts = [stop.fact for stop in stops]
    if sum(map(_wider, names, facts)) + least * (len(stops) - 1) > cells:
        facts = [_shortened(fact, width(name)) for name, fact in zip(names, facts)]
    widths = list(map(_wider, names, facts))
    gap = max(least, min(12, (cells - sum(widths)) // max(1, len(stops) - 1)))
    top: list[StyledText] = []
    bottom: list[StyledText] = []
    for at, (stop, name, fact, room) in enumerate(zip(stops, names, facts, widths)):
        top.append((name, "bad" if stop.site in hot else "strong"))
        bottom.append((fit(fact, room), "dim"))
        if at < len(stops) - 1:
            dashes = "━" * (room - width(name) + gap - 2)
            top.append((f" {dashes} ", "faint"))
            bottom.append((" " * gap, ""))
    return [tuple(top), tuple(bottom)]


def _shortened(fact: str, cells: int) -> str:
    """As many of the parts of a fact as fit."""
    parts = fact.split(" · ")
    while parts and width(" · ".join(parts)) > cells:
        parts.pop()
    return " · ".join(parts)


def _wider(name: str, fact: str) -> int:
    return max(width(name), width(fact))


def _verdict(slowest: Sequence[LegRow], legs: Sequence[LegRow], cells: int) -> Line:
    if not legs:
        return (("no packet has been measured yet", "dim"),)
    if not slowest:
        return (("no packet in this span", "dim"),)
    whole = _slowest_words(slowest, " of the time")
    if sum(width(text) for text, _ in whole) <= cells:
        return whole
    return _slowest_words(slowest, "")


def _slowest_words(slowest: Sequence[LegRow], unit: str) -> Line:
    parts: list[StyledText] = [("slowest ", "dim")] if unit else []
    for row in slowest:
        share = f" {100 * row.share:.0f} %{unit}" if row.share is not None else ""
        parts += [
            (f"{row.leg.direction.name} ", "strong"),
            (f"▲ {long_name(row.leg)}", "bad"),
            (f"{share}  ", ""),
        ]
    return tuple(parts)
