"""The hash tables that a running agent holds in the kernel, seen from another process."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vmlat_tui.probes import layout, syscalls
from vmlat_tui.probes.engine import Limits
from vmlat_tui.probes.syscalls import Map

#: What the agent has for one vNIC, or two.
LIMITS = Limits(vnics=4)

_MAP_TYPE_HASH = 1
_MAP_GET_FD_BY_ID = 14

_PACKET = layout.SIZES["packets"]
#: Those in which something could stay behind, and the size of their values.
_VALUES = {
    "packets": _PACKET,
    "parked": _PACKET,
    "taken": _PACKET,
    "tun_entries": 16,
    "flows": layout.SIZES["flows"],
}


@contextmanager
def tables(pid: int) -> Iterator[dict[str, Map]]:
    """By name; read them when no packets run: a look-up keeps kprobes from running."""
    entries = LIMITS.map_sizes(0, 0)
    named = {(entries[name], size): name for name, size in _VALUES.items()}
    found: dict[str, Map] = {}
    try:
        for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
            try:
                text = entry.read_text()
            except FileNotFoundError:
                continue  # of a file that the agent had open for a moment
            numbers = {
                name: int(number)
                for name, number in re.findall(r"^(\w+):\s+(\d+)$", text, re.MULTILINE)
            }
            if numbers.get("map_type") != _MAP_TYPE_HASH:
                continue
            name = named.get((numbers["max_entries"], numbers["value_size"]))
            if name:
                attributes = struct.pack("<III", numbers["map_id"], 0, 0)
                descriptor = syscalls._bpf(_MAP_GET_FD_BY_ID, attributes)
                found[name] = Map(descriptor, numbers["key_size"], numbers["value_size"])
        assert set(found) == set(_VALUES), found
        yield found
    finally:
        for table in found.values():
            os.close(table.descriptor)


def on_the_way(pid: int) -> dict[str, int]:
    """Packets that have begun and not ended, by the tables that have any."""
    with tables(pid) as found:
        counts = {
            name: sum(bool(layout.packet_state(state)[0]) for _, state in found[name].items())
            for name in ("packets", "taken")
        }
        counts["parked"] = len(found["parked"].items())
    return {name: count for name, count in counts.items() if count}
