"""Log-linear histogram of nanoseconds, eight buckets an octave.

With ``w = ns + 8`` and ``e = floor(log2 w)``, bucket ``(e - 3) * 8 + top three bits below the
leading one`` holds ``2**(e - 3)`` nanoseconds: exact below 16 ns, and from 100 ns on the middle of
a bucket is within 7 % of every value in it.  The BPF programs count with the same arithmetic
(``bucket_of`` in bpf/lib/account.h).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

#: Up to 2**36 ns = 68.7 s; longer ones count in the last bucket.
BUCKETS = 272


def bucket_of(value_ns: int) -> int:
    """Index of the bucket that holds ``value_ns`` (0 or more)."""
    shifted = value_ns + 8
    exponent = shifted.bit_length() - 4
    return min(exponent * 8 + ((shifted >> exponent) & 7), BUCKETS - 1)


def bounds(bucket: int) -> tuple[int, int]:
    """Half-open range of nanoseconds that falls into ``bucket``."""
    width = 1 << (bucket // 8)
    low = (8 + bucket % 8) * width - 8
    return low, low + width


def middle(bucket: int) -> int:
    """The value that stands for ``bucket``."""
    low, high = bounds(bucket)
    return (low + high - 1) // 2


@dataclass
class Histogram:
    """Counts per bucket with exact count, sum and maximum, in nanoseconds."""

    count: int = 0
    sum_ns: int = 0
    max_ns: int = 0
    buckets: dict[int, int] = field(default_factory=dict)

    def add(self, value_ns: int) -> None:
        """Count one value."""
        self.merge(Histogram(1, value_ns, value_ns, {bucket_of(value_ns): 1}))

    def merge(self, other: Histogram) -> None:
        """Add everything that ``other`` counted."""
        self.max_ns = max(self.max_ns, other.max_ns)
        self.count += other.count
        self.sum_ns += other.sum_ns
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    @property
    def mean_ns(self) -> float:
        """Exact arithmetic mean; 0.0 when empty."""
        return self.sum_ns / self.count if self.count else 0.0

    def quantile(self, q: float) -> Optional[int]:
        """Nearest-rank quantile (0 <= q <= 1) within 7 %, at most the maximum; None if empty."""
        return self.quantiles(q)[0] if self.count else None

    def quantiles(self, *qs: float) -> list[int]:
        """Several of them, in rising order, in one go; 0 if empty."""
        found: list[int] = []
        ranks = [max(1, -(-int(q * self.count * 1_000_000) // 1_000_000)) for q in qs]
        seen = 0
        for bucket, count in sorted(self.buckets.items()):
            seen += count
            while seen >= ranks[len(found)]:
                found.append(min(middle(bucket), self.max_ns))
                if len(found) == len(ranks):
                    return found
        return found + [self.max_ns] * (len(ranks) - len(found))

    def octaves(self) -> list[tuple[int, int, int]]:
        """Rows (from_ns, to_ns, count) of eight buckets each, from the first to the last in use."""
        rows: dict[int, int] = {}
        for bucket, count in self.buckets.items():
            rows[bucket // 8] = rows.get(bucket // 8, 0) + count
        if not rows:
            return []
        return [
            (bounds(8 * octave)[0], bounds(8 * octave + 7)[1], rows.get(octave, 0))
            for octave in range(min(rows), max(rows) + 1)
        ]

    def to_json(self) -> dict[str, object]:
        """JSON-ready form; :meth:`from_json` reads it back unchanged."""
        return {
            "count": self.count,
            "sum_ns": self.sum_ns,
            "max_ns": self.max_ns,
            "buckets": [[b, self.buckets[b]] for b in sorted(self.buckets)],
        }

    @classmethod
    def from_json(cls, value: dict[str, object]) -> Histogram:
        """Inverse of :meth:`to_json`; raises ``KeyError``, ``TypeError`` or ``ValueError``."""
        pairs = value["buckets"]
        if not isinstance(pairs, list):
            raise ValueError("buckets is not a list")
        count, sum_ns, max_ns = (int(str(value[k])) for k in ("count", "sum_ns", "max_ns"))
        return cls(count, sum_ns, max_ns, {int(b): int(c) for b, c in pairs})
