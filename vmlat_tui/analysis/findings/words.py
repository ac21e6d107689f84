"""Numbers in the sentences of findings."""

from __future__ import annotations

from vmlat_tui.model.histogram import Histogram


def us(value_ns: float) -> str:
    """``86.5 µs``: three digits are more than a histogram knows."""
    if not value_ns:
        return "0 µs"
    value = value_ns / 1000
    digits = 2 if value < 10 else 1 if value < 1000 else 0
    return f"{value:.{digits}f} µs"


def percent(share: float) -> str:
    """``12 %``, or ``0.4 %`` where it is little."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


def quantiles(histogram: Histogram) -> str:
    """``p50 31.0 µs, p99 120 µs``."""
    half, most = histogram.quantiles(0.5, 0.99)
    return f"p50 {us(half)}, p99 {us(most)}"
