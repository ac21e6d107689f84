"""Frame streams of a host that does not exist, the same at every run.

``python -m tests.tui.streams FILE [--vms N] [--seconds N]`` writes one as a recording.
"""

from __future__ import annotations

import argparse
import gzip
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from tests.support.frames import encoded, error_object
from tests.tui import host
from vmlat_tui.errors import UsageError
from vmlat_tui.model.absences import ABSENCE
from vmlat_tui.model.bins import Account, Bin
from vmlat_tui.model.flows import Filter, Flow, Protocol
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.legs import Leg
from vmlat_tui.model.points import BOTH, Direction, step
from vmlat_tui.model.requested import Requested
from vmlat_tui.model.topology import Topology
from vmlat_tui.protocol import migrations
from vmlat_tui.protocol.migrations import Raw

#: Point -> function, and the typical time from the point before, in ns.
PATHS: dict[Direction, tuple[tuple[str, str, int], ...]] = {
    Direction.TX: (
        ("tun_in", "tun_sendmsg", 0),
        ("vnet_rx", "netif_receive_skb", 1_900),
        ("switch_in", "netdev_frame_hook", 420),
        ("ovs_dp", "ovs_dp_process_packet", 650),
        ("switch_out", "ovs_vport_send", 2_300),
        ("phy_queue", "net_dev_queue", 900),
        ("phy_xmit", "net_dev_start_xmit", 1_400),
    ),
    Direction.RX: (
        ("phy_gro", "napi_gro_receive_entry", 0),
        ("phy_rx", "netif_receive_skb", 1_100),
        ("switch_in", "netdev_frame_hook", 380),
        ("ovs_dp", "ovs_dp_process_packet", 610),
        ("switch_out", "ovs_vport_send", 2_050),
        ("vnet_queue", "net_dev_queue", 700),
        ("tun_out", "tun_net_xmit", 1_300),
        ("vhost_woken", "sched_waking", 2_400),
        ("vhost_on_cpu", "sched_switch", 31_000),
        ("vhost_take", "tun_recvmsg", 3_900),
        ("vhost_signal", "vhost_add_used_and_signal_n", 2_700),
        ("eventfd", "eventfd_signal", 300),
        ("irqfd", "irqfd_wakeup", 250),
        ("irq_accept", "__apic_accept_irq", 900),
        ("vcpu_woken", "sched_waking", 500),
        ("vcpu_on_cpu", "sched_switch", 9_000),
        ("guest_entry", "kvm_entry", 2_100),
    ),
}
_WALL_NS = 1_790_000_000_000_000_000
_OF_VCPU = ("guest_exit", "guest_kick", "vcpu_on_cpu", "guest_entry")
_OF_WORKER = (
    *("vhost_on_cpu", "vhost_tx", "tun_in", "vnet_rx", "vhost_take", "vhost_signal"),
    *("eventfd", "irqfd", "irq_accept", "vcpu_woken"),
)


def _task(pid: int, point: str) -> dict[str, object]:
    """Who runs at a point, where the agent knows it."""
    if point in _OF_VCPU:
        return {"tid": pid + 10, "comm": "CPU 0/KVM"}
    if point in _OF_WORKER:
        return {"tid": pid + 30, "comm": f"vhost-{pid}"}
    return {"tid": None, "comm": None}


@dataclass
class Stream:
    """Makes frames; ``tick`` grows by one with every reading."""

    names: Sequence[str] = host.NAMES[:3]
    seed: int = 1
    interval_s: float = 1.0
    packets: int = 900
    flows: int = 12
    notes: Sequence[str] = ()
    watched: Optional[Sequence[str]] = None
    functions: bool = True
    #: Values drawn for each leg and reading; each stands for many packets.
    drawn: int = 60
    #: So many legs each way at least: others that skip a point are counted too.
    least_legs: int = 0
    tick: int = 0
    #: As :data:`PATHS`.
    paths: Mapping[Direction, tuple[tuple[str, str, int], ...]] = field(
        default_factory=lambda: PATHS
    )
    _totals: dict[tuple[str, Leg], Histogram] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.host: Topology = host.topology(self.names, self.notes)
        self.taps = list(
            self.watched if self.watched is not None else map(host.tap, range(len(self.names)))
        )

    @property
    def t_ns(self) -> int:
        """Now."""
        return self.host.t_ns + int(self.tick * self.interval_s * 1e9)

    def hello(self) -> Raw:
        """The first frame."""
        return {
            "type": "hello",
            "schema": migrations.SCHEMA,
            "version": "0.1.0",
            "kernel": self.host.kernel,
            "host": self.host.host,
            "agent": 4242,
            "clock": {"mono_ns": self.host.t_ns, "wall_ns": _WALL_NS},
            "capabilities": [],
            "rung": None,
            "offsets": None,
            "points": [],
        }

    def topology(self) -> Raw:
        """What discovery found."""
        return {"type": "topology", **self.host.to_json()}

    def vitals(self) -> Raw:
        """Fast counters at this tick."""
        return {"type": "vitals", **host.vitals(self.host, self.tick, self.interval_s).to_json()}

    def measuring(self) -> Raw:
        """The probes are in place; without functions, on the lower rung."""
        points: dict[str, dict[str, Any]] = {}
        for direction, path in self.paths.items():
            for point, function, _ in path:
                row = points.setdefault(
                    point,
                    {
                        "point": point,
                        "directions": [],
                        "hooks": [{"function": function, "kind": "kprobe"}],
                        "reason": "",
                    },
                )
                row["directions"].append(direction.id)
        for row in points.values():
            if not self.functions and row["point"] in ("tun_in", "switch_in", "ovs_dp"):
                row.update(hooks=[], reason="this kernel has no kprobes")
        return {
            "type": "measuring",
            "t_ns": self.t_ns,
            "rung": "full" if self.functions else "tracepoints",
            "offsets": "btf",
            "points": list(points.values()),
        }

    @staticmethod
    def acknowledged(requested: Requested, number: Optional[int] = None) -> Raw:
        """This is measured from now on."""
        return {
            "type": "ack",
            "id": number,
            "command": "measure",
            "took_ns": 1,
            "requested": requested.to_json(),
        }

    def refiltered(self) -> Iterator[Raw]:
        """Every packet is measured, and then only those of UDP."""
        udp = Requested(filters=(Filter(protocol=Protocol.UDP),))
        yield from map(self.acknowledged, (Requested(), udp))

    def released(self) -> Raw:
        """The probes are gone."""
        return {"type": "released", "t_ns": self.t_ns}

    def links(self) -> Raw:
        """What is watched."""
        return {
            "type": "links",
            "t_ns": self.t_ns,
            "vm_interfaces": [{"name": t, "ifindex": 10 + n} for n, t in enumerate(self.taps)],
            "uplinks": ["ens1f0"],
            "leaves": ["ens1f0"],
        }

    def _value(self, base_ns: int, slow: float) -> int:
        spread = math.exp(self.random.gauss(0, 0.35))
        tail = 12 if self.random.random() < 0.012 else 1
        return max(60, int(base_ns * spread * tail * slow))

    def _slow(self, number: int) -> float:
        """Every VM has its own pace, which comes and goes."""
        return (1 + number * 0.35) * (1 + 0.3 * math.sin(self.tick / 4 + number))

    def packet(self, number: int, direction: Direction, drop: bool = False) -> Raw:
        """One packet of the VM; a dropped one ends in the switch."""
        path = self.paths[direction]
        slow = self._slow(number)
        t_ns = self.t_ns
        times: list[int] = []
        stages: list[dict[str, object]] = []
        for point, function, base_ns in path[: 5 if drop else None]:
            t_ns += self._value(base_ns, slow) if base_ns else 0
            place = step(point, direction)
            times.append(t_ns)
            stages.append(
                {
                    "stage": place.seed_stages[direction],
                    "point": point,
                    "function": function,
                    "t_ns": t_ns,
                    "cpu": 4 if point in _OF_VCPU else 1,
                    **_task(2000 + 100 * number, point),
                }
            )
        frame: Raw = {
            "type": "drop" if drop else "packet",
            "direction": direction.id,
            "flow": self.flow(number, self.random.randrange(self.flows), direction).to_json(),
            "vm_interface": self.taps[number],
            "phy_interface": "ens1f0",
            "process": {
                "pid": 2000 + 100 * number,
                "tid": 2030 + 100 * number,
                "comm": f"vhost-{2000 + 100 * number}"
                if direction is Direction.TX
                else "swapper/1",
            },
            "bytes": 1448,
            "stages": stages,
            "absent": [{"reason": "kick_shared", "points": list(ABSENCE["kick_shared"].points)}]
            * (direction is Direction.TX),
            "total_ns": times[-1] - times[0],
        }
        if drop:
            frame["bin"] = "dropped"
            frame["drop"] = {
                "point": "switch_out",
                "reason": "QDISC_DROP",
                "function": "__dev_queue_xmit",
            }
        return frame

    def flow(self, number: int, index: int, direction: Direction) -> Flow:
        """Flow ``index`` of a VM."""
        protocol = ("tcp", "tcp", "udp", "icmp")[index % 4]
        inside = (f"10.0.0.{10 + number}", 40000 + index)
        outside = (
            f"10.0.{1 + index // 250}.{1 + index % 250}",
            (443, 5432, 53, 40000 + index)[index % 4],
        )
        src, dst = (inside, outside) if direction is Direction.TX else (outside, inside)
        return Flow(src[0], dst[0], src[1], dst[1], protocol)

    def _grow(self) -> None:
        for number, tap in enumerate(self.taps):
            slow = self._slow(number)
            for direction, path in self.paths.items():
                total = self._totals.setdefault((tap, Leg(direction, None, None)), Histogram())
                count = self.packets * (1 + number)
                weight = count // self.drawn
                for _ in range(self.drawn):
                    whole = 0
                    for (start, _, _), (end, _, base_ns) in zip(path, path[1:]):
                        leg = Leg(direction, step(start, direction), step(end, direction))
                        value = self._value(base_ns, slow)
                        whole += value
                        self._count((tap, leg), value, weight)
                    self._count((tap, Leg(direction, None, None)), whole, weight)
                    for leg in self._skipping(direction):
                        self._count((tap, leg), self._value(2_000, slow), weight)
                assert total.count

    def _skipping(self, direction: Direction) -> list[Leg]:
        points = [point for point, _, _ in self.paths[direction]]
        pairs = [(a, b) for gap in range(2, len(points)) for a, b in zip(points, points[gap:])]
        return [
            Leg(direction, step(a, direction), step(b, direction))
            for a, b in pairs[: max(0, self.least_legs - len(points) + 1)]
        ]

    def _count(self, key: tuple[str, Leg], value: int, weight: int) -> None:
        one = Histogram()
        one.add(value)
        one = Histogram(weight, value * weight, value, dict.fromkeys(one.buckets, weight))
        self._totals.setdefault(key, Histogram()).merge(one)

    def stats(self, final: bool = False) -> Raw:
        """Everything counted since the start; the counts grow with each call."""
        self.tick += 1
        self._grow()
        legs = [
            {
                "vm_interface": tap,
                "leg": leg.id,
                "direction": leg.direction.id,
                "title": leg.title,
                **histogram.to_json(),
            }
            for (tap, leg), histogram in self._totals.items()
        ]
        flows = [
            {
                "direction": direction.id,
                "vm_interface": tap,
                "flow": self.flow(number, index, direction).to_json(),
                "packets": (packets := self.tick * (40 + 7 * (index % 97) + number)),
                "bytes": packets * (90 + 13 * (index % 31)),
                "first_ns": self.host.t_ns,
                "last_ns": self.t_ns - index * 1_000_000,
            }
            for number, tap in enumerate(self.taps)
            for direction in BOTH
            for index in range(self.flows)
        ]
        started = sum(h.count for (_, leg), h in self._totals.items() if leg.start is None) // 2
        bins = {}
        for direction in BOTH:
            account = Account(started + self.tick * 3)
            account.bins[Bin.COMPLETED] = started
            account.bins[Bin.DROPPED] = self.tick * 2
            account.bins[Bin.IN_FLIGHT] = self.tick
            bins[direction.id] = account.to_json()
        counters = dict.fromkeys(
            ("fragments", "unparsed", "emitted", "suppressed", "lost", "reused", "adopted",
             "disorder", "unlisted", "flows_full"), 0)  # fmt: skip
        counters["suppressed"] = self.tick * 11
        return {
            "type": "stats",
            "final": final,
            "t_ns": self.t_ns,
            "bins": bins,
            "legs": legs,
            "flows": flows,
            "drops": [
                {
                    "direction": "tx",
                    "vm_interface": tap,
                    "point": "switch_out",
                    "reason": "QDISC_DROP",
                    "function": "__dev_queue_xmit",
                    "packets": self.tick * 2,
                }
                for tap in self.taps[:1]
            ],
            "hooks": {"tun_sendmsg": started},
            "counters": counters,
            "cost": {
                "cpu_ns": self.tick * int(self.interval_s * 8_000_000),
                "memory_bytes": 118 << 20,
                "missed_runs": 0,
            },
        }

    def looking(self, ticks: int = 3) -> Iterator[Raw]:
        """Nothing is measured yet."""
        yield self.hello()
        yield self.topology()
        for _ in range(ticks):
            yield self.vitals()
            self.tick += 1

    def whole(self, ticks: int = 12, single: int = 6) -> Iterator[Raw]:
        """Discovery, then a measurement with ``single`` packets emitted at each reading."""
        yield from self.looking(2)
        yield self.measuring()
        yield self.links()
        for _ in range(ticks):
            yield self.vitals()
            for number in range(len(self.taps)):
                for direction in BOTH:
                    for _ in range(single):
                        yield self.packet(number, direction)
            yield self.packet(0, Direction.TX, drop=True)
            yield self.stats()

    def refusing(self) -> Iterator[Raw]:
        """An agent that may look but not measure."""
        yield from self.looking()
        error = UsageError(
            "measuring needs CAP_BPF and CAP_PERFMON", "user 1000 has none", "run as root"
        )
        yield error_object(error, id=1)


def write(path: Path, stream: Iterator[Raw]) -> Path:
    """A recording of a stream."""
    with gzip.open(path, "wb") if path.suffix == ".gz" else open(path, "wb") as file:
        for frame in stream:
            file.write(encoded(frame))
    return path


def main() -> None:
    """Write one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--vms", type=int, default=3)
    parser.add_argument("--ticks", type=int, default=120)
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--flows", type=int, default=12)
    args = parser.parse_args()
    stream = Stream(host.NAMES[: args.vms], interval_s=args.interval, flows=args.flows)
    write(args.file, stream.whole(args.ticks))


if __name__ == "__main__":
    main()
