"""``kvm_vhost_tun_latency``: from the guest's kick to its packet on vnet, without packet identity.

On the sender's host that is U1, on the receiver's U3, of all packets of a queue.  The summary
tool's histograms are one power of two too high: their bounds and statistics are halved.
"""

from __future__ import annotations

import re
from typing import Optional

from vmlat_tui.importers.parser import Parser
from vmlat_tui.importers.result import ImportResult, Side, Trouble, nanoseconds
from vmlat_tui.model.readings import Average

_PACKET = re.compile(
    r"\[[\d:.]+\] tid=\d+ queue=-?\d+ s0=(\d{1,12})us s1=(\d{1,12})us s2=(\d{1,12})us"
    r" total=(\d{1,12})us$"
)
_AVERAGE = re.compile(r"(S0|S1|S2|S0\+S1\+S2) avg(?: \(per-packet\))?:\s*([\d.]+|n/a)$")
_AVERAGES = re.compile(
    r"Exact averages \(us\): S0=([\d.]+), S1=([\d.]+), S2=([\d.]+), Total=([\d.]+)$"
)
_COUNTED = re.compile(
    r"(S0|S1|S2|Total chain)(?: \([^)]*\))?:\s*cnt=\s*(\d+)\s+avg=\s*([\d.]+us|N/A(?:us)?)$"
)
_HISTOGRAM = re.compile(r"(S0|S1|S2): \w+ -> \w+$")
_STATISTICS = re.compile(
    r"avg=([\d.]+)us\s+p50=[\d.]+us\s+p90=[\d.]+us\s+p99=[\d.]+us\s+\(n=(\d+)\)"
)
_BUCKET = re.compile(r"(\d+) -> (\d+)\s*:\s*(\d+)\s*\|")
_SAMPLES = re.compile(r"Total samples: .*chain\(all\)=\s*(\d+)")
#: Printed stage -> part of U1 or U3; the sum is the segment itself.
_PARTS = {"S0": ".kick", "S1": ".vhost", "S2": ".tun", "Total": ""}
_QUANTILES = (0.5, 0.9, 0.99)


class Kick(Parser):
    """Single packets if there are any, else the averages, else the histograms."""

    name = "kvm_vhost_tun_latency"
    words = ("[", "S0", "S1", "S2", "S0+S1+S2", "Total", "Exact", "S0:", "S1:", "S2:", "#", "(no")

    def __init__(self, result: ImportResult) -> None:
        """Waits for the first line."""
        super().__init__(result)
        self._packets = 0
        self._chains: Optional[int] = None
        self._averages: dict[str, tuple[float, Optional[int]]] = {}
        self._stage: Optional[str] = None
        # Stage -> [count, sum in ns], and {(low, high) in µs: count}.
        self._sums: dict[str, list[float]] = {}
        self._buckets: dict[str, dict[tuple[float, float], int]] = {}

    def take(self, line: str) -> bool:
        """One line."""
        if line[0] == "[":
            return self._packet(line)
        if line[0].isdigit() or line.startswith("(no samples)"):
            return self._histogram(line)
        title = _HISTOGRAM.match(line)
        if title:
            self._stage = title[1]
            return True
        return self._average(line)

    def body(self, line: str) -> bool:
        """The statistics below a histogram, whose first word has a number in it."""
        bare = line.strip()
        return bare.startswith("avg=") and self._histogram(bare)

    def end(self) -> None:
        """Averages count only where there were no single packets."""
        if not (self._averages or self._sums):
            return
        self.result.tool(self.name)
        if self._packets:
            return
        segment = self._segment("averages")
        if segment is None:
            return
        if not self._averages:
            self._merge(segment)
        for stage, (mean_ns, count) in self._averages.items():
            self.result.state(segment + _PARTS[stage], Average(mean_ns, count))

    def _segment(self, line: str) -> Optional[str]:
        self.source.note("kick to vnet is of all packets of a queue, not only of the ping")
        if self.source.side is None:
            self.source.trouble(Trouble.SIDELESS, line)
            return None
        return "U1" if self.source.side is Side.SENDER else "U3"

    def _packet(self, line: str) -> bool:
        found = _PACKET.match(line)
        if not found:
            return self.damaged(line) if " tid=" in line and " s0=" in line else False
        self.result.tool(self.name)
        self._packets += 1
        s0, s1, s2, total = (int(number) * 1000 for number in found.groups())
        if not total:
            # S0 or S1 is missing; nothing says which.
            self.source.trouble(Trouble.INCOMPLETE, line)
            return True
        segment = self._segment(line)
        if segment:
            values = {".kick": s0, ".vhost": s1, ".tun": s2, "": total}
            self.result.add(None, {segment + part: value for part, value in values.items()})
        return True

    def _average(self, line: str) -> bool:
        samples = _SAMPLES.match(line)
        if samples:
            self._chains = int(samples[1][:18])
            return True
        whole = _AVERAGES.match(line)
        if whole:
            for stage, number in zip(_PARTS, whole.groups()):
                self._note_average(stage, number, self._chains)
            return True
        one = _AVERAGE.match(line)
        if one:
            self._note_average("Total" if "+" in one[1] else one[1], one[2], self._chains)
            return True
        counted = _COUNTED.match(line)
        if counted:
            stage = "Total" if counted[1] == "Total chain" else counted[1]
            self._note_average(stage, counted[3].replace("us", ""), int(counted[2][:18]))
            return True
        return line.startswith("Exact averages")

    def _note_average(self, stage: str, number: str, count: Optional[int]) -> None:
        mean_ns = nanoseconds(number)
        if mean_ns is not None:
            self._averages[stage] = float(mean_ns), count

    def _histogram(self, line: str) -> bool:
        stage = self._stage
        if stage is None:
            return False
        bucket = _BUCKET.match(line)
        if bucket:
            low, high, count = (int(number[:18]) for number in bucket.groups())
            bounds = (0.0, 1.0) if (low, high) == (0, 1) else (low / 2, (high - 1) / 2)
            buckets = self._buckets.setdefault(stage, {})
            buckets[bounds] = buckets.get(bounds, 0) + count
            return True
        if line.startswith("(no samples)"):
            self._stage = None
            return True
        found = _STATISTICS.match(line)
        if not found:
            return self.damaged(line) if line.startswith("avg=") else False
        summed = self._sums.setdefault(stage, [0.0, 0.0])
        mean_ns = nanoseconds(found[1])
        if mean_ns is None:
            return self.damaged(line)
        count = int(found[2][:18])
        summed[0] += count
        summed[1] += count * mean_ns / 2
        self._stage = None
        return True

    def _merge(self, segment: str) -> None:
        self.source.note("histograms of this tool are one power of two too high: halved")
        total_ns = 0.0
        for stage, (count, sum_ns) in self._sums.items():
            if not count:
                continue
            total_ns += sum_ns / count
            average = Average(
                sum_ns / count, int(count), _quantiles_ns(self._buckets.get(stage, {}))
            )
            self.result.state(segment + _PARTS[stage], average)
        if len(self._sums) == 3:
            fewest = int(min(count for count, _ in self._sums.values()))
            self.result.state(segment, Average(total_ns, fewest))


def _quantiles_ns(
    buckets: dict[tuple[float, float], int],
) -> Optional[tuple[float, float, float]]:
    """The middles of the buckets in which they fall."""
    found: list[float] = []
    total, seen = sum(buckets.values()), 0
    for (low, high), count in sorted(buckets.items()):
        seen += count
        while len(found) < 3 and seen >= _QUANTILES[len(found)] * total and seen:
            found.append(1000 * (low + high) / 2)
    return (found[0], found[1], found[2]) if len(found) == 3 else None
