"""What the benchmarks of the lab compute and compare with; that they run is seen in the lab."""

from __future__ import annotations

import random

import pytest

from tests.bench import roundtrip
from tests.bench.every_point import Names, program
from tests.bench.instructions import Counts
from tests.bench.roundtrip import RoundTrips
from vmlat_tui.model.hooks import ENDINGS, EXTRAS, HOOKS, JOINS
from vmlat_tui.model.points import FUNCTION

NAMES = Names("vnet7", "eth9", 1234, 5678)


def test_bpftrace_is_given_every_hook_that_vmlat_may_attach() -> None:
    hooks = {hook.program: hook for hook in (*HOOKS, *JOINS, *ENDINGS, *EXTRAS)}
    text = program(hooks, NAMES)
    lines = text.splitlines()
    probes = [line.split()[0] for line in lines]
    wanted = {
        f"{'kprobe' if hook.kind == FUNCTION else 'tracepoint'} {hook.symbol}"
        for hook in hooks.values()
    }
    assert {f"{p.split(':')[0]} {p.split(':')[-1]}" for p in probes} == wanted
    assert len(probes) == len(wanted)
    for line in lines:
        assert line.count("{") == line.count("}") and line.count("(") == line.count(")")
    assert all(name in text for name in ('"vnet7"', '"eth9"', "1234", "5678"))


def test_a_hook_that_bpftrace_has_no_match_for_is_an_error() -> None:
    with pytest.raises(KeyError):
        program(["tp_something_new"], NAMES)


def test_what_a_mode_adds_is_taken_round_by_round() -> None:
    counts = Counts({"nothing": [100, 200], "vmlat": [130, 230], "bpftrace": [200, 350]})
    assert counts.added("bpftrace") == [100, 150]
    assert counts.ratio() == [0.3, 0.2]


def test_a_block_of_pings_is_compared_with_those_around_it() -> None:
    assert RoundTrips(on=[5.0, 7.0], off=[1.0, 3.0, 4.0]).added() == [3.0, 3.5]


def test_the_interval_holds_the_middle_and_narrows_with_more_values() -> None:
    draw = random.Random(7)
    values = [draw.gauss(10, 2) for _ in range(400)]
    widths = []
    for count in (20, 400):
        low, high = roundtrip.interval(values[:count])
        assert low < 10 < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2
    assert roundtrip.interval([4.0] * 20) == (4.0, 4.0)
