"""The way from a tap to the wire, over whatever stands between: found on the model alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.model.topology import Domain, Hop, Interface, Ovs, OvsBridge, OvsPort, Way

_OVS_MASTER = "ovs-system"
_BONDS = ("bond", "team")
#: Devices that only put something around a packet on its way to the one below.
_STACKED = ("vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "vxlan", "geneve", "gre", "gretap",
            "ip6gretap")  # fmt: skip
_OVS_TUNNELS = ("vxlan", "geneve", "gre", "gretap", "ip6gre", "stt", "lisp", "erspan", "ip6erspan")


@dataclass(frozen=True)
class _End:
    """How a way goes on from somewhere: to these hops, ending at these uplinks."""

    hops: tuple[Hop, ...] = ()
    uplinks: tuple[str, ...] = ()
    choice: Optional[str] = None
    #: False where it only leaves this namespace: a way to hardware goes before it.
    wire: bool = True


def find_ways(
    interfaces: Sequence[Interface],
    ovs: Ovs,
    domains: Sequence[Domain],
    egress: Optional[Mapping[str, str]] = None,
) -> tuple[Way, ...]:
    """Of every vNIC's tap, and of every other tap here.

    ``egress`` is, by tunnel of Open vSwitch, the device its packets leave by.
    """
    graph = _Graph(interfaces, ovs, egress or {})
    owners = {v.tap: d.name for d in domains for v in d.vnics if v.tap}
    others = [i.name for i in interfaces if _is_tap(i) and i.name not in owners]
    return tuple(
        graph.way(tap, owners.get(tap)) for tap in [*sorted(owners), *others] if tap
    )  # fmt: skip


def _is_tap(interface: Interface) -> bool:
    return interface.kind in ("macvtap", "ipvtap") or (
        interface.kind == "tun" and interface.details.get("type") == "tap"
    )


def _carries(port: OvsPort, tag: Optional[int]) -> bool:
    """Whether a port lets a VLAN out; None stands for packets as the guest tags them."""
    if tag is None or port.vlan_mode == "dot1q-tunnel":
        return tag is None or port.tag == tag
    if port.tag is not None:
        return port.tag == tag or port.vlan_mode in ("native-tagged", "native-untagged")
    return not port.trunks or tag in port.trunks


def _port_words(port: OvsPort, tag: Optional[int]) -> str:
    if tag is None:
        return ""
    return f", carries VLAN {tag} " + ("untagged" if port.tag == tag else "tagged")


class _Graph:
    """Interfaces and switches, by name."""

    def __init__(
        self, interfaces: Sequence[Interface], ovs: Ovs, egress: Mapping[str, str]
    ) -> None:
        self._interfaces = {i.name: i for i in interfaces}
        self._egress = egress
        self._taps = {i.name for i in interfaces if _is_tap(i)}
        self._ports: dict[str, list[str]] = {}
        for i in interfaces:
            if i.master:
                self._ports.setdefault(i.master, []).append(i.name)
        self._place = {
            i.name: (bridge, port)
            for bridge in ovs.bridges
            for port in bridge.ports
            for i in port.interfaces
        }

    def way(self, tap: str, owner: Optional[str]) -> Way:
        first = Hop(tap, f"tap of {owner}" if owner else "tap of a process")
        interface = self._interfaces.get(tap)
        if interface is None and tap not in self._place:
            return Way(tap, (first,), (), "it is not in this network namespace")
        try:
            if interface and interface.kind in _STACKED:
                end = self._below(interface, {tap})
            else:
                end = self._up(tap, {tap})
        except RecursionError:
            end = _End(choice="more devices lie behind each other than can be followed")
        return Way(tap, (first, *end.hops), end.uplinks, end.choice)

    # ---- into the switch that a device is a port of ---------------------------------------------

    def _up(self, name: str, seen: set[str]) -> _End:
        """From a port into its switch."""
        if name in self._place:
            bridge, port = self._place[name]
            return self._through_ovs(bridge, port, port.tag, name, seen)
        interface = self._interfaces.get(name)
        master = interface.master if interface else None
        if master is None:
            return _End(choice=f"{name} is a port of no switch: the host routes its packets")
        if master == _OVS_MASTER:
            return _End(choice=f"{name} is a port of Open vSwitch, whose bridges are not visible")
        if master in seen:
            return _End()
        if self._kind(master) in _BONDS:
            return self._up(master, seen | {master})
        reason = f"Linux bridge of port {name}"
        return _prepend(Hop(master, reason), self._through_bridge(master, seen | {master}))

    def _through_bridge(self, bridge: str, seen: set[str]) -> _End:
        ways = [
            (port, self._down(port, seen | {port}, f"port of {bridge}"))
            for port in self._ports.get(bridge, ())
            if port not in seen and port not in self._taps
        ]
        return _chosen(bridge, ways)

    def _through_ovs(
        self, bridge: OvsBridge, origin: OvsPort, tag: Optional[int], via: str, seen: set[str]
    ) -> _End:
        words = f"Open vSwitch bridge of port {via}" + (f", VLAN {tag}" if tag is not None else "")
        if bridge.name in seen and bridge.name != via:
            return _End()
        ways = []
        inner = seen | {bridge.name}
        for port in bridge.ports:
            if port is not origin and port.name not in seen and _carries(port, tag):
                ways.append((port.name, self._out_of(bridge, port, tag, inner | {port.name})))
        return _prepend(Hop(bridge.name, words), _chosen(bridge.name, ways))

    def _out_of(self, bridge: OvsBridge, port: OvsPort, tag: Optional[int], seen: set[str]) -> _End:
        words = f"port of {bridge.name}{_port_words(port, tag)}"
        if len(port.interfaces) > 1:
            return self._ovs_bond(port, words, seen)
        for interface in port.interfaces:
            if interface.kind == "patch":
                there = self._place.get(interface.peer or "")
                if there is None or interface.peer in seen:
                    return _End()
                onward = self._through_ovs(
                    there[0], there[1], tag, str(interface.peer), seen | {str(interface.peer)}
                )
                return _prepend(Hop(interface.name, f"{words}, patch to {interface.peer}"), onward)
            if interface.kind in _OVS_TUNNELS:
                return self._tunnel(interface.name, interface.options, words, seen)
            if interface.kind == "internal" or interface.name in self._taps:
                return self._internal(interface.name, words, seen)
            return self._down(interface.name, seen | {interface.name}, words)
        return _End()

    def _internal(self, name: str, words: str, seen: set[str]) -> _End:
        """An internal port is the host's own, unless it is a port of another switch."""
        interface = self._interfaces.get(name)
        if interface is None or interface.master in (None, _OVS_MASTER) or name in self._taps:
            return _End()
        master = str(interface.master)
        if master in seen:
            return _End()
        bridge = Hop(master, f"Linux bridge of port {name}")
        onward = _prepend(bridge, self._through_bridge(master, seen | {master}))
        return _prepend(Hop(name, words), onward)

    def _tunnel(self, name: str, options: Mapping[str, str], words: str, seen: set[str]) -> _End:
        remote = options.get("remote_ip", "?")
        hop = Hop(name, f"{words}, tunnel to {remote}")
        device = self._egress.get(name)
        if device is None or device in seen:
            return _End((hop,), (), f"the route to {remote} decides which device it leaves by")
        return _prepend(hop, self._down(device, seen | {device}, f"route to {remote}"))

    def _ovs_bond(self, port: OvsPort, words: str, seen: set[str]) -> _End:
        names = [i.name for i in port.interfaces]
        mode = port.bond_mode or "active-backup"
        hop = Hop(port.name, f"{words}, bond of {len(names)} ({mode})")
        return _prepend(hop, self._members(port.name, names, mode, port.active_member, seen))

    # ---- from a device towards the wire ---------------------------------------------------------

    def _kind(self, name: str) -> str:
        interface = self._interfaces.get(name)
        return interface.kind if interface else ""

    def _down(self, name: str, seen: set[str], reason: str) -> _End:
        """From a device that a switch sends to, down to hardware."""
        interface = self._interfaces.get(name)
        if interface is None:
            return _End()
        hop = Hop(name, reason)
        if interface.kind in _BONDS:
            members = self._ports.get(name, [])
            mode = str(interface.details.get("mode", "team"))
            active = interface.details.get("active_member")
            end = self._members(name, members, mode, str(active) if active else None, seen)
            return _prepend(hop, end)
        if interface.kind == "veth":
            return _prepend(hop, self._through_veth(interface, seen))
        if interface.kind == "device":
            return _End((hop,), (name,))
        if interface.kind in _STACKED:
            return _prepend(hop, self._below(interface, seen))
        if interface.kind == "bridge":
            return _prepend(hop, self._through_bridge(name, seen))
        if interface.kind == "openvswitch" and name in self._place:
            bridge, port = self._place[name]
            return _prepend(hop, self._through_ovs(bridge, port, port.tag, name, seen))
        return _End((hop,), (), None, wire=False)

    def _members(
        self, bond: str, members: Sequence[str], mode: str, active: Optional[str], seen: set[str]
    ) -> _End:
        if mode == "active-backup" and active in members:
            return self._down(str(active), seen | {str(active)}, f"active member of {bond}")
        ways = [(m, self._down(m, seen | {m}, f"member of {bond}")) for m in members]
        if len(members) < 2:
            return _chosen(bond, ways)
        why = "has no active member now" if mode == "active-backup" else f"balances ({mode})"
        return _End((), _uplinks(end for _, end in ways), f"{bond} {why}: {', '.join(members)}")

    def _through_veth(self, veth: Interface, seen: set[str]) -> _End:
        peer = veth.details.get("peer")
        if isinstance(peer, str) and peer not in seen:
            hop = Hop(peer, f"other end of {veth.name}")
            return _prepend(hop, self._up(peer, seen | {peer}))
        if veth.peer_namespace:
            where = f"{veth.name} leads into namespace {veth.peer_namespace}"
            return _End((), (veth.name,), where, wire=False)
        return _End(wire=False)

    def _below(self, interface: Interface, seen: set[str]) -> _End:
        """From a device that lies on another one."""
        lower = interface.details.get("link") or interface.details.get("egress")
        name = str(lower) if lower else next(iter(interface.lowers), None)
        if name is None:
            remote = interface.details.get("remote")
            return _End(choice=f"the route to {remote} decides which device it leaves by"
                        if remote else f"nothing is known below {interface.name}")  # fmt: skip
        if name in seen:
            return _End()
        return self._down(name, seen | {name}, _stacked_words(interface))


def _stacked_words(interface: Interface) -> str:
    details = interface.details
    if interface.kind == "vlan":
        return f"VLAN {details.get('id')} of {interface.name}"
    if interface.kind in ("vxlan", "geneve"):
        to = f" to {details['remote']}" if "remote" in details else ""
        return f"{interface.kind} {details.get('id')}{to}"
    return f"below {interface.kind} {interface.name}"


def _prepend(hop: Hop, end: _End) -> _End:
    return _End((hop, *end.hops), end.uplinks, end.choice, end.wire)


def _uplinks(ends: Iterable[_End]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for end in ends for name in end.uplinks))


def _chosen(switch: str, ways: Sequence[tuple[str, _End]]) -> _End:
    """The one port of a switch that leads on, or what the candidates are."""
    leading = [(n, e) for n, e in ways if e.wire and (e.uplinks or e.choice)]
    sure = [(n, e) for n, e in leading if e.uplinks] or leading
    sure = sure or [(n, e) for n, e in ways if e.uplinks]
    if len(sure) == 1:
        return sure[0][1]
    if not sure:
        return _End(choice=f"{switch} has no port to the wire: the host routes its packets")
    names = ", ".join(name for name, _ in sure)
    return _End((), _uplinks(end for _, end in sure), f"{switch} has several ways out: {names}")
