"""Frames of pings as a host sees them, made by hand."""

from __future__ import annotations

from typing import Any

from tests.support.chains import Row, packet
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.flows import Echo
from vmlat_tui.model.points import Direction
from vmlat_tui.protocol.migrations import Raw

#: Who pings, and who is pinged.
SOURCE, TARGET = "10.0.0.5", "10.0.0.9"
#: Point, hook and time after the first, in ns.
_WAYS: dict[Direction, tuple[tuple[str, str, int], ...]] = {
    Direction.TX: (("vnet_rx", "netif_receive_skb", 0), ("phy_queue", "net_dev_queue", 13_500),
                   ("phy_xmit", "net_dev_start_xmit", 14_900)),
    Direction.RX: (("phy_rx", "netif_receive_skb", 0), ("vnet_queue", "net_dev_queue", 7_000),
                   ("tun_out", "tun_net_xmit", 8_300)),
}  # fmt: skip


def _echo(frame: Raw, echo: Echo) -> Raw:
    ends = (SOURCE, TARGET) if echo.request else (TARGET, SOURCE)
    frame["flow"].update(zip(("src", "dst"), ends), src_port=echo.id, dst_port=echo.id)
    return {**frame, "icmp": echo.to_json()}


def half(
    direction: Direction, request: bool, t_ns: int, sequence: int = 1, number: int = 7,
    **changes: Any,
) -> Raw:  # fmt: skip
    """A request or a reply on its way through the host, received at ``t_ns``."""
    rows: list[Row] = [(p, hook, t_ns + after, 1, None) for p, hook, after in _WAYS[direction]]
    return _echo(packet(direction, rows, **changes), Echo(number, sequence, request))


def request(direction: Direction, t_ns: int = 1_000_000, **changes: Any) -> Raw:
    return half(direction, True, t_ns, **changes)


def reply(direction: Direction, t_ns: int = 1_200_000, **changes: Any) -> Raw:
    return half(direction, False, t_ns, **changes)


def whole(direction: Direction, request: bool, rows: list[Row], *reasons: str) -> Raw:
    """One with the points of the guest's side."""
    return _echo(packet(direction, rows, *reasons), Echo(7, 1, request))


def between_vms(request: bool, t_ns: int, vnic: str) -> Raw:
    """From one VM of the host to another."""
    rows: list[Row] = [
        ("vnet_rx", "netif_receive_skb", t_ns, 1, None),
        ("tun_out", "tun_net_xmit", t_ns + 5_000, 1, None),
    ]
    made = packet(Direction.TX, rows, vm_interface=vnic, phy_interface=None)
    return _echo(made, Echo(7, 1, request))


def stats(t_ns: int, final: bool = False, **counters: int) -> Raw:
    """Nothing but what a joiner and the summary look at."""
    row = {"started": 2, "sum": 2, **{b.id: 2 * (b is Bin.COMPLETED) for b in Bin}}
    return {
        "type": "stats", "final": final, "t_ns": t_ns, "bins": {"tx": row, "rx": dict(row)},
        "legs": [], "flows": [], "drops": [], "hooks": {}, "cost": {},
        "counters": {"lost": 0, "suppressed": 0, **counters},
    }  # fmt: skip
