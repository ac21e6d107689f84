"""What tracing adds to each packet, against other ways to do the same in the same run.

The modes take turns, round after round, so that whatever else the machine does meets all of
them.  The cost is processor time of the sending process: on the way from tap to veth the kernel
does everything within its ``write``.
"""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import statistics
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Optional

from tests.bench.modes import Bpftrace, Mode
from tests.bench.table import Row, spread
from tests.native.meter import SILENT, Meter
from tests.native.net import Bed, Task, write_all
from tests.native.wire import V4
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.points import Direction
from vmlat_tui.probes import syscalls
from vmlat_tui.probes.btf import Btf
from vmlat_tui.probes.engine import Limits, PathEngine
from vmlat_tui.probes.ladder import Kernel

#: The same points, legs, histograms and ends of packets as vmlat has on this path, written as
#: one would write them.
BPFTRACE = """
tracepoint:net:netif_receive_skb /str(args->name) == "%(tap)s"/ {
  @last[args->skbaddr] = nsecs; @first[args->skbaddr] = nsecs;
}
tracepoint:net:net_dev_queue /@last[args->skbaddr]/ {
  @vnet_rx_to_phy_queue = hist(nsecs - @last[args->skbaddr]); @last[args->skbaddr] = nsecs;
}
tracepoint:net:net_dev_start_xmit /@last[args->skbaddr]/ {
  @phy_queue_to_phy_xmit = hist(nsecs - @last[args->skbaddr]);
  @total = hist(nsecs - @first[args->skbaddr]);
  @completed = count();
  delete(@last[args->skbaddr]); delete(@first[args->skbaddr]);
}
tracepoint:skb:kfree_skb /@last[args->skbaddr]/ {
  @dropped = count(); delete(@last[args->skbaddr]); delete(@first[args->skbaddr]);
}
tracepoint:skb:consume_skb /@last[args->skbaddr]/ {
  @filtered = count(); delete(@last[args->skbaddr]); delete(@first[args->skbaddr]);
}
"""


def _links(programs: Sequence[int]) -> list[int]:
    return [syscalls.open_raw_tracepoint(None, program) for program in programs]


class Floor(Mode):
    """The hooks of vmlat doing nothing but reading the clock."""

    name = "floor"
    _CODE = b"".join(
        struct.pack("<BBhi", code, 0, 0, immediate)
        for code, immediate in ((0x85, 5), (0xB7, 0), (0x95, 0))  # bpf_ktime_get_ns(); return 0
    )

    def __init__(self, btf: Btf, symbols: Sequence[str]) -> None:
        code = ctypes.create_string_buffer(self._CODE, len(self._CODE))
        self._programs = [
            syscalls.load_program(
                syscalls.PROG_TYPE_TRACING,
                f"floor_{symbol}",
                ctypes.addressof(code),
                len(self._CODE),
                btf.tracepoint(symbol)[0],
            )
            for symbol in symbols
        ]

    @contextmanager
    def attached(self) -> Iterator[None]:
        links = _links(self._programs)
        try:
            yield
        finally:
            for link in links:
                os.close(link)

    def close(self) -> None:
        """Unload."""
        for program in self._programs:
            os.close(program)


class Vmlat(Mode):
    """The engine: histograms only, no single packets.  Outside its contexts it is detached."""

    name = "vmlat"

    def __init__(self, kernel: Kernel, bed: Bed) -> None:
        self.engine = PathEngine(kernel, Limits(), functions=False)
        self.meter = Meter(self.engine, bed)
        self._detach()

    @property
    def symbols(self) -> list[str]:
        """The tracepoints that it uses."""
        return [name[len("tp_") :] for name in self.engine.attached.programs]

    def _detach(self) -> None:
        for link in self.engine.attached.links.values():
            os.close(link)
        self.engine.attached.links.clear()

    @contextmanager
    def attached(self) -> Iterator[None]:
        programs = self.engine.attached.programs
        self.engine.attached.links.update(zip(programs, _links(list(programs.values()))))
        self.meter.begin(SILENT)
        try:
            yield
        finally:
            self._detach()

    def close(self) -> None:
        """Unload."""
        self.engine.close()


@dataclass
class Sample:
    """One round of one mode."""

    cpu_ns: float
    per_second: float


def send(bed: Bed, packets: int, processor: int, chunk: int = 2500) -> Sample:
    """Send from a process of its own; the median over chunks keeps other work out."""
    descriptor, frames = bed.tap.descriptor, [V4.frame(n) for n in range(64)]

    def work() -> tuple[float, float]:
        os.sched_setaffinity(0, {processor})
        gc.disable()
        write_all(descriptor, frames, 2000)
        costs, begin = [], time.monotonic_ns()
        for _ in range(max(1, packets // chunk)):
            before = time.process_time_ns()
            write_all(descriptor, frames, chunk)
            costs.append((time.process_time_ns() - before) / chunk)
        elapsed = time.monotonic_ns() - begin
        return statistics.median(costs), len(costs) * chunk * 1e9 / elapsed

    result = Task(work).wait()
    assert isinstance(result, list)
    return Sample(float(result[0]), float(result[1]))


@dataclass
class Costs:
    """All samples by mode, round by round."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    #: The rounds without tracing just before and after each of a mode.
    around: dict[str, list[tuple[Sample, Sample]]] = field(default_factory=dict)
    #: Packets of the rounds with vmlat that it did not complete.
    missing: int = 0
    bpftrace_count: Optional[int] = None

    def added(self, mode: str) -> list[float]:
        """Nanoseconds of processor time that a mode adds to a packet, round by round."""
        found = []
        for number, sample in enumerate(self.samples[mode]):
            before, after = self.around[mode][number]
            found.append(sample.cpu_ns - (before.cpu_ns + after.cpu_ns) / 2)
        return found

    def ratio(self, mode: str, to: str) -> list[float]:
        """Of what two modes add, round by round."""
        return [a / b for a, b in zip(self.added(mode), self.added(to)) if b > 0]


def measure(kernel: Kernel, rounds: int, packets: int) -> Costs:
    """Run all modes in turns."""
    assert kernel.btf
    processors = sorted(os.sched_getaffinity(0))
    costs = Costs()
    with ExitStack() as stack:
        bed = stack.enter_context(Bed())
        vmlat = Vmlat(kernel, bed)
        stack.callback(vmlat.close)
        floor = Floor(kernel.btf, vmlat.symbols)
        stack.callback(floor.close)
        modes: list[Mode] = [floor, vmlat]
        if shutil.which("bpftrace"):
            modes.append(Bpftrace(BPFTRACE % {"tap": bed.tap.name}))
        processor = processors[-1]
        nothing = send(bed, packets, processor)
        for _ in range(rounds):
            for mode in modes:
                with mode.attached():
                    sample = send(bed, packets, processor)
                    if mode is vmlat:
                        result = vmlat.meter.result()
                        costs.missing += result.started(Direction.TX) - result.bin(Bin.COMPLETED)
                before, nothing = nothing, send(bed, packets, processor)
                costs.samples.setdefault("nothing", []).append(nothing)
                costs.samples.setdefault(mode.name, []).append(sample)
                costs.around.setdefault(mode.name, []).append((before, nothing))
        last = modes[-1]
        if isinstance(last, Bpftrace):
            costs.bpftrace_count = last.counted("completed")
    return costs


def rows(costs: Costs) -> list[Row]:
    """The claims about cost and rate."""
    found = []
    base = statistics.median(s.cpu_ns for s in costs.samples["nothing"])
    found.append(Row("a packet without tracing", f"{base:.0f} ns"))
    for mode in ("floor", "vmlat", "bpftrace"):
        if mode in costs.samples:
            title = {"floor": "the same hooks reading the clock"}.get(mode, mode)
            found.append(Row(f"added by {title}", spread(costs.added(mode), "ns")))
    if "bpftrace" in costs.samples:
        ratio = costs.ratio("vmlat", "bpftrace")
        found.append(Row.aimed("vmlat / bpftrace", ratio, 0.25))
    else:
        found.append(Row("vmlat / bpftrace", "bpftrace is not installed", "at most 0.25"))
    found.append(Row.aimed("vmlat / floor", costs.ratio("vmlat", "floor"), 2.5))
    for mode, samples in costs.samples.items():
        rate = statistics.median(s.per_second for s in samples)
        note = f"{costs.missing} lost" if mode == "vmlat" else ""
        found.append(Row(f"packets a second with {mode}", f"{rate:,.0f}", note=note))
    return found
