"""The benchmarks run: with a few packets only, which proves nothing about speed."""

from __future__ import annotations

from tests.bench import cost, events
from tests.bench.table import Row, render, spread
from vmlat_tui.probes.ladder import Kernel


def test_the_cost_of_every_mode_is_measured_and_vmlat_loses_nothing(kernel: Kernel) -> None:
    costs = cost.measure(kernel, rounds=1, packets=5000)
    assert {"nothing", "floor", "vmlat"} <= set(costs.samples)
    assert all(s.cpu_ns > 0 and s.per_second > 0 for x in costs.samples.values() for s in x)
    assert costs.missing == 0
    if "bpftrace" in costs.samples:
        # The comparison is fair only if it saw the same packets: 5000, and 2000 to warm up.
        assert costs.bpftrace_count == 7000
    text = render("costs", cost.rows(costs))
    assert "vmlat / floor" in text and "0 lost" in text


def test_single_packets_and_the_agent_s_start_are_measured(kernel: Kernel) -> None:
    rows = events.rows(kernel, (1000,), 0.2)
    assert int(rows[0].result.replace(",", "")) > 0
    assert all("not measured" not in row.result for row in events.agent_rows(1))


def test_a_table_says_whether_an_aim_was_reached() -> None:
    good, bad = Row.aimed("a", [1.0, 2.0, 3.0], 2.0), Row.aimed("b", [3.0], 2.0, "s")
    assert (good.note, bad.note) == ("reached", "MISSED")
    assert good.result == "2.00  (1.00 to 3.00)"
    assert Row.aimed("c", [], 1).result == "not measurable"
    assert spread([], "ns") == "not measurable"
    lines = render("title", [good, bad]).splitlines()
    assert lines[0] == "title"
    assert lines[2].endswith("MISSED")
