"""Notices when the kernel kept hits from the BPF programs.

Some kernels run no BPF program in an interrupt that meets a task they protect (seen on a
hosted virtual machine with 6.18: neither raw tracepoints nor perf-attached programs ran while
the provider's own process was current, and no counter of misses moved).  Packets that such an
interrupt carries are invisible to every BPF tool.  Perf counts these hits all the same, so a
test that fails can tell whether this is why.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
from pathlib import Path

from vmlat_tui.probes.engine import PathEngine

_SYS_BPF, _SYS_PERF_EVENT_OPEN = 321, 298
_BPF_ENABLE_STATS = 32
_TYPE_TRACEPOINT = 2
#: Hits of the test's own packets; the other tracepoints are busy with the whole system.
_WATCHED = {
    "tp_netif_receive_skb": "net/netif_receive_skb",
    "tp_net_dev_queue": "net/net_dev_queue",
    "tp_net_dev_start_xmit": "net/net_dev_start_xmit",
}
_libc = ctypes.CDLL(None, use_errno=True)


def _tracepoint_id(name: str) -> int:
    for root in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"):
        path = Path(root, "events", name, "id")
        if path.exists():
            return int(path.read_text())
    raise OSError(2, f"no tracepoint {name}")


def _counter(tracepoint: int, processor: int) -> int:
    attributes = ctypes.create_string_buffer(128)
    struct.pack_into("<IIQ", attributes, 0, _TYPE_TRACEPOINT, 128, tracepoint)
    descriptor = int(_libc.syscall(_SYS_PERF_EVENT_OPEN, attributes, -1, processor, -1, 8))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "perf_event_open")
    return descriptor


class Witness:
    """Counts from its making on; ``hidden`` says how many hits the programs did not get."""

    def __init__(self, engine: PathEngine) -> None:
        self._counters: dict[str, list[int]] = {}
        self._programs = {
            name: fd for name, fd in engine.attached.programs.items() if name in _WATCHED
        }
        self._stats = -1
        try:
            attributes = ctypes.create_string_buffer(16)
            self._stats = int(_libc.syscall(_SYS_BPF, _BPF_ENABLE_STATS, attributes, 4))
            for name in self._programs:
                number = _tracepoint_id(_WATCHED[name])
                self._counters[name] = []
                for processor in sorted(os.sched_getaffinity(0)):
                    self._counters[name].append(_counter(number, processor))
        except OSError:
            self.close()
        # The programs' counts enclose perf's: what comes in between is never taken for hidden.
        self._runs = self._read_runs()
        self._hits = self._read_hits()

    def _read_runs(self) -> dict[str, int]:
        runs = {}
        for name, descriptor in self._programs.items():
            text = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
            found = re.search(r"^run_cnt:\s+(\d+)", text, re.MULTILINE)
            runs[name] = int(found.group(1)) if found else 0
        return runs

    def _read_hits(self) -> dict[str, int]:
        return {
            name: sum(struct.unpack("<Q", os.read(fd, 8))[0] for fd in descriptors)
            for name, descriptors in self._counters.items()
        }

    def hidden(self) -> int:
        """Hits since the beginning that no program saw; 0 where it cannot be told."""
        if self._stats < 0 or not self._counters:
            return 0
        hits = self._read_hits()
        runs = self._read_runs()
        return sum(
            max(0, (hits[n] - self._hits[n]) - (runs[n] - self._runs[n])) for n in self._counters
        )

    def close(self) -> None:
        """Stop counting."""
        for descriptors in self._counters.values():
            for descriptor in descriptors:
                os.close(descriptor)
        self._counters.clear()
        if self._stats >= 0:
            os.close(self._stats)
            self._stats = -1
