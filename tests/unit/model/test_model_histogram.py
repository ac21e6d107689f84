"""The histogram's buckets tile the time axis and stay within their error."""

from __future__ import annotations

import json
import random

import pytest

from vmlat_tui.model.histogram import BUCKETS, Histogram, bounds, bucket_of, middle

LONGEST = 60_000_000_000


def test_buckets_tile_the_range_without_gap_or_overlap() -> None:
    assert bounds(0)[0] == 0
    for bucket in range(BUCKETS - 1):
        assert bounds(bucket)[1] == bounds(bucket + 1)[0]
    assert bounds(BUCKETS - 1)[1] > LONGEST


def test_every_bound_lies_in_its_own_bucket_and_the_one_before_in_the_former() -> None:
    for bucket in range(BUCKETS):
        low, high = bounds(bucket)
        assert bucket_of(low) == bucket_of(high - 1) == bucket
        if low:
            assert bucket_of(low - 1) == bucket - 1


def test_values_beyond_the_range_fall_into_the_last_bucket() -> None:
    for value in (bounds(BUCKETS - 1)[1], 1 << 40, 1 << 63):
        assert bucket_of(value) == BUCKETS - 1


def test_bucket_grows_with_the_value() -> None:
    values = [*sorted(random.Random(1).sample(range(1 << 36), 5000)), 1 << 36]
    buckets = [bucket_of(v) for v in values]
    assert buckets == sorted(buckets)


def test_the_middle_is_within_10_percent_from_100_ns_to_60_s() -> None:
    bucket = bucket_of(100)
    while bounds(bucket)[0] <= LONGEST:
        low, high = bounds(bucket)
        for value in (max(low, 100), high - 1):
            assert abs(middle(bucket) - value) <= 0.10 * value
        bucket += 1


def test_short_times_are_exact() -> None:
    for value in range(8):
        assert bounds(bucket_of(value)) == (value, value + 1)


def _filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("size", [1, 2, 3, 10, 1000])
def test_quantiles_are_within_10_percent_of_the_exact_ones(seed: int, size: int) -> None:
    choice = random.Random(seed)
    values = [int(choice.lognormvariate(10, 2)) + 100 for _ in range(size)]
    if seed % 2:
        values = [choice.randint(100, LONGEST) for _ in range(size)]
    histogram, exact = _filled(values), sorted(values)
    for q in (0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0):
        rank = max(1, -(-int(q * 1000) * size // 1000))
        found = histogram.quantile(q)
        assert found is not None
        assert abs(found - exact[rank - 1]) <= 0.10 * exact[rank - 1]
        assert found <= max(values)


def test_quantiles_are_monotonic() -> None:
    choice = random.Random(3)
    histogram = _filled([choice.randint(0, 10**7) for _ in range(777)])
    found = [histogram.quantile(i / 200) or 0 for i in range(201)]
    assert found == sorted(found)


def test_count_sum_mean_and_maximum_are_exact() -> None:
    values = [random.Random(5).randint(0, 1 << 36) for _ in range(100)]
    histogram = _filled(values)
    assert (histogram.count, histogram.sum_ns) == (100, sum(values))
    assert histogram.max_ns == max(values)
    assert histogram.mean_ns == pytest.approx(sum(values) / 100)
    assert sum(histogram.buckets.values()) == 100


def test_an_empty_histogram_has_no_quantile() -> None:
    empty = Histogram()
    assert empty.quantile(0.5) is None
    assert empty.mean_ns == 0.0
    assert empty.octaves() == []


def test_merging_is_the_same_as_counting_all_in_one() -> None:
    choice = random.Random(7)
    parts = [[choice.randint(0, 10**9) for _ in range(n)] for n in (0, 1, 50, 200)]
    whole = _filled([v for part in parts for v in part])
    total = Histogram()
    for part in parts:
        total.merge(_filled(part))
    assert total == whole


def test_merging_leaves_the_other_one_alone() -> None:
    a, b = _filled([5]), _filled([5, 6])
    a.merge(b)
    a.add(7)
    assert b == _filled([5, 6])


def test_json_gives_the_same_histogram_back() -> None:
    choice = random.Random(9)
    histogram = _filled([choice.randint(0, 1 << 37) for _ in range(300)])
    assert Histogram.from_json(json.loads(json.dumps(histogram.to_json()))) == histogram
    assert Histogram.from_json(Histogram().to_json()) == Histogram()


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"count": 1, "sum_ns": 1, "max_ns": 1},
        {"count": 1, "sum_ns": 1, "max_ns": 1, "buckets": 3},
        {"count": "x", "sum_ns": 1, "max_ns": 1, "buckets": []},
        {"count": 1, "sum_ns": 1, "max_ns": 1, "buckets": [[1]]},
    ],
)
def test_what_is_no_histogram_is_refused(value: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Histogram.from_json(value)


def test_octaves_cover_everything_and_have_no_gap() -> None:
    histogram = _filled([0, 1, 3, 100, 100, 5000, 1 << 30])
    rows = histogram.octaves()
    assert sum(count for _, _, count in rows) == histogram.count
    for (_, high, _), (low, _, _) in zip(rows, rows[1:]):
        assert high == low


def test_octaves_put_each_bucket_where_its_values_are() -> None:
    for bucket in range(BUCKETS):
        low = bounds(bucket)[0]
        [(row_low, row_high, count)] = Histogram(1, low, low, {bucket: 1}).octaves()
        assert row_low <= low < row_high
        assert count == 1
