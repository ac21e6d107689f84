"""Where threads run: NUMA nodes, and CPUs as a list."""

from __future__ import annotations

from typing import Optional

from vmlat_tui.model.topology import Topology


def node_of(topology: Topology, cpu: Optional[int]) -> Optional[int]:
    """The NUMA node of a CPU."""
    found = next((c for c in topology.cpus if c.number == cpu), None)
    return found.node if found else None


def cpu_list(cpus: tuple[int, ...]) -> str:
    """``0-3,8`` as the kernel writes it."""
    parts = []
    ordered = sorted(set(cpus))
    while ordered:
        run = 1
        while run < len(ordered) and ordered[run] == ordered[0] + run:
            run += 1
        first, last = ordered[0], ordered[run - 1]
        parts.append(str(first) if run == 1 else f"{first}-{last}")
        ordered = ordered[run:]
    return ",".join(parts)
