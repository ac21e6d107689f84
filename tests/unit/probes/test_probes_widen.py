"""Buckets of 32 bits read as numbers without end."""

from __future__ import annotations

from vmlat_tui.model.histogram import Histogram
from vmlat_tui.probes.widen import Widener

U32, U64 = 1 << 32, 1 << 64


def kernel(count: int, sum_ns: int, **buckets: int) -> Histogram:
    """As it stands in the kernel after so many: buckets without what is over 32 bits, none if 0."""
    held = {int(name[1:]): n % U32 for name, n in buckets.items()}
    return Histogram(count, sum_ns % U64, 9, {bucket: n for bucket, n in held.items() if n})


def test_a_bucket_that_begins_anew_between_two_readings_loses_nothing() -> None:
    widener = Widener()
    widener.grown("a", kernel(4_000_000_000, 10, b1=4_000_000_000))
    grown = widener.grown("a", kernel(4_500_000_000, 30, b1=4_500_000_000))
    assert grown == Histogram(500_000_000, 20, 9, {1: 500_000_000})
    assert widener.unplaced == 0


def test_a_bucket_that_is_just_at_zero_again_is_not_one_that_was_never_hit() -> None:
    widener, whole = Widener(), Histogram()
    for count in (U32 - 5, U32, U32 + 7):
        whole.merge(widener.grown("a", kernel(count, 0, b1=count)))
    assert whole == Histogram(U32 + 7, 0, 9, {1: U32 + 7})


def test_values_of_a_bucket_that_began_anew_more_than_once_are_counted_and_said() -> None:
    """Ten million a second on one processor, and an agent that was stopped for 20 minutes."""
    widener = Widener()
    widener.grown("a", kernel(10, 0, b1=10))
    seen = 10 + 10_000_000 * 1200
    grown = widener.grown("a", kernel(seen, 0, b1=seen))
    assert grown.count == seen - 10
    assert grown.count - sum(grown.buckets.values()) == widener.unplaced == 2 * U32


def test_a_reading_amid_an_update_is_no_loss() -> None:
    widener = Widener()
    widener.grown("a", kernel(1, 5, b1=0))
    assert widener.grown("a", kernel(5, 25, b1=6)).count == 4
    assert widener.unplaced == 0


def test_a_sum_beyond_64_bits_goes_on() -> None:
    widener = Widener()
    widener.grown("a", kernel(1, U64 - 5))
    assert widener.grown("a", kernel(2, U64 + 5)).sum_ns == 10


def test_histograms_of_different_keys_are_apart_and_one_can_begin_again() -> None:
    widener = Widener()
    widener.grown("a", kernel(3, 3, b1=3))
    assert widener.grown("b", kernel(1, 1, b1=1)).count == 1
    widener.forget("a")
    assert widener.grown("a", kernel(2, 2, b1=2)).count == 2
    assert widener.unplaced == 0
