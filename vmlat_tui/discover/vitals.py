"""The fast counters of a host: cheap enough for every second."""

from __future__ import annotations

import time
from pathlib import Path

from vmlat_tui.discover.cpus import IdleClock
from vmlat_tui.discover.files import decimal, lines, read
from vmlat_tui.discover.threads import PROC, Neighbourhood, read_use
from vmlat_tui.discover.vms.kvm import HaltCounters
from vmlat_tui.discover.vms.qemu import POOL
from vmlat_tui.model.topology import Topology, Vitals

#: Columns of /proc/net/dev under the kernel's names of the same counters.
_COLUMNS = {
    0: "rx_bytes", 1: "rx_packets", 2: "rx_errors", 3: "rx_dropped", 7: "multicast",
    8: "tx_bytes", 9: "tx_packets", 10: "tx_errors", 11: "tx_dropped", 13: "collisions",
}  # fmt: skip
_NUMBERS = 16
#: A line for each of the interfaces, of which there may be tens of thousands.
_NET_DEV_BYTES = 16 << 20


def parse_counters(text: str) -> dict[str, dict[str, int]]:
    """/proc/net/dev by interface; a name may hold a colon, the numbers cannot.

    A line that is not the kernel's is left out.
    """
    found = {}
    for line in lines(text)[2:]:
        name, _, numbers = line.rpartition(":")
        values = [value for word in numbers.split() if (value := decimal(word)) is not None]
        if name and len(values) == _NUMBERS:
            found[name.strip()] = {word: values[n] for n, word in _COLUMNS.items()}
    return found


def threads_of(topology: Topology) -> list[int]:
    """The threads that move a VM's packets or run its CPUs, but not QEMU's passing helpers."""
    watched = []
    for domain in topology.domains:
        watched += [v.thread.tid for v in domain.vcpus if v.thread]
        watched += [w.thread.tid for w in domain.workers]
        watched += [t.tid for t in domain.emulator if t.name != POOL]
    return watched


def interfaces_of(topology: Topology) -> set[str]:
    """The devices on the way of any vNIC, and all hardware."""
    watched = {i.name for i in topology.interfaces if i.kind == "device"}
    for way in topology.ways:
        watched.update((*(hop.device for hop in way.hops), *way.uplinks))
    return watched


class VitalsReader:
    """Reads the counters of what one topology names."""

    def __init__(self, topology: Topology, neighbourhood: Neighbourhood, proc: Path = PROC) -> None:
        self._proc = proc
        self._neighbourhood = neighbourhood
        self._threads = threads_of(topology)
        self._interfaces = interfaces_of(topology)
        self._idle = IdleClock(topology.cpus)
        self._halt = {d.name: HaltCounters(d.pid) for d in topology.domains if d.pid}

    def read(self) -> Vitals:
        """All of them now."""
        uses = [u for u in (read_use(tid, self._proc) for tid in self._threads) if u]
        cpus = {u.cpu for u in uses if u.cpu is not None}
        counters = parse_counters(read(self._proc / "net/dev", _NET_DEV_BYTES))
        halt = {name: one.read() for name, one in self._halt.items()}
        return Vitals(
            t_ns=time.monotonic_ns(),
            threads=tuple(uses),
            neighbours=self._neighbourhood.read(cpus),
            halt={name: counts for name, counts in halt.items() if counts},
            interfaces={n: c for n, c in counters.items() if n in self._interfaces},
            idle=self._idle.read(),
        )
