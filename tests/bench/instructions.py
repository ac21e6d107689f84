"""Instructions that tracing adds to a packet, counted by the emulator.

Of all processors together, the host's and the guest's, in a lab that was booted to count them: it
does not matter how fast the machine is that emulates it, and hardly how busy.  What remains is how
packets meet the host's own ticks and work, so rounds differ a little.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.bench.lab_bed import LabBed
from tests.bench.modes import Mode
from tests.bench.table import Row, spread
from vmlat_tui.lab.executed import Executed

AIM = 0.3


@dataclass
class Counts:
    """Instructions per packet by mode, round by round."""

    rounds: dict[str, list[float]] = field(default_factory=dict)
    #: Packets that were sent while a mode was in force, and those that it followed to the end.
    sent: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    points: int = 0

    def added(self, mode: str) -> list[float]:
        """What a mode adds to a packet."""
        return [a - b for a, b in zip(self.rounds[mode], self.rounds["nothing"])]

    def ratio(self) -> list[float]:
        """Of what vmlat and bpftrace add."""
        return [a / b for a, b in zip(self.added("vmlat"), self.added("bpftrace")) if b > 0]


def _per_packet(executed: Executed, bed: LabBed, pings: int) -> tuple[float, int]:
    begin = executed.read()
    answered = bed.ping(pings).answered
    count = executed.read() - begin
    return count / (2 * answered), 2 * answered


def measure(rounds: int, pings: int) -> Counts:
    """Run all modes in turns; each ping is two packets."""
    counts, executed, bed = Counts(), Executed(), LabBed()
    vmlat, bpftrace = bed.modes()
    counts.points = len(vmlat.programs)
    modes: list[Mode | None] = [None, vmlat, bpftrace]
    for _ in range(rounds):
        for mode in modes:
            name = mode.name if mode else "nothing"
            with ExitStack() as stack:
                if mode:
                    stack.enter_context(mode.attached())
                bed.ping(20)
                each, packets = _per_packet(executed, bed, pings)
            counts.rounds.setdefault(name, []).append(each)
            counts.sent[name] = counts.sent.get(name, 0) + packets + 40
            seen = 0
            if mode is vmlat:
                seen = vmlat.completed
            elif mode is bpftrace:
                seen = bpftrace.counted("tx") + bpftrace.counted("rx")
            counts.seen[name] = counts.seen.get(name, 0) + seen
            print(f"{name}: {each:,.0f} instructions per packet", flush=True)
    return counts


def rows(counts: Counts) -> list[Row]:
    """The claims."""
    base = counts.rounds["nothing"]
    found = [Row("a packet without tracing", spread(base, "instructions"))]
    for mode in ("vmlat", "bpftrace"):
        note = f"{counts.seen[mode]} of {counts.sent[mode]} packets followed to the end"
        result = spread(counts.added(mode), "instructions")
        found.append(Row(f"added by {mode}, {counts.points} programs", result, note=note))
    found.append(Row.aimed("vmlat / bpftrace", counts.ratio(), AIM))
    share = 100 * statistics.median(counts.added("vmlat")) / statistics.median(base)
    found.append(Row("vmlat adds to a packet's instructions", f"{share:.1f} %"))
    return found
