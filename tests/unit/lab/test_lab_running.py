"""What one of many measurements of a running agent counted: tests/lab/running.py."""

from __future__ import annotations

from typing import Any

from tests.lab.running import Anew
from tests.support.frames import wakeups_object
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.wakeups import Role, Wakeups
from vmlat_tui.protocol.migrations import Raw


def wakeups(tid: int, count: int) -> Raw:
    idle = Histogram(count, 10 * count, 10, {1: count})
    return wakeups_object(Wakeups(tid, Role.VCPU, idle, Histogram(), 0, {0: count}))


def leg(vnic: str, count: int) -> Raw:
    return {"vm_interface": vnic, "leg": "rx:total", "direction": "rx", "title": "total",
            **Histogram(count, 7 * count, 9, {1: count}).to_json()}  # fmt: skip


def flow(port: int, packets: int) -> Raw:
    counts = {"packets": packets, "bytes": 60 * packets, "first_ns": 1, "last_ns": packets}
    return {"direction": "rx", "vm_interface": "vnet0", "flow": {"src_port": port}, **counts}


def stats(completed: int, **tables: list[Raw]) -> Raw:
    bins = {"started": completed, "completed": completed, "sum": completed}
    rest: dict[str, Any] = {"legs": [], "flows": [], "drops": [], "absences": [], "wakeups": []}
    return {"type": "stats", "bins": {"tx": bins, "rx": bins}, "hooks": {"a": completed},
            "counters": {"lost": 0}, "cost": {"missed_runs": 3}, **rest, **tables}  # fmt: skip


def test_what_was_before_is_taken_off() -> None:
    first = Anew()
    first.take({"type": "links", "vm_interfaces": []})
    first.take(stats(5, legs=[leg("vnet0", 5)], flows=[flow(1, 3), flow(2, 2)],
                     wakeups=[wakeups(10, 4), wakeups(11, 1)]))  # fmt: skip
    assert first.bins("rx")["completed"] == 5 and first.legs("rx") == {"total": (5, 35)}
    second = Anew(first)
    assert second.bins("tx")["started"] == 0 and second.legs("rx") == {}
    assert second.stats["flows"] == second.stats["wakeups"] == []
    second.take(stats(9, legs=[leg("vnet0", 6), leg("vnet1", 3)], flows=[flow(2, 4)],
                      wakeups=[wakeups(10, 6), wakeups(11, 1)]))  # fmt: skip
    second.take(stats(9, legs=[leg("vnet0", 6), leg("vnet1", 3)],
                      wakeups=[wakeups(10, 6), wakeups(11, 1)]))  # fmt: skip
    assert second.bins("rx")["completed"] == second.stats["hooks"]["a"] == 4
    assert second.legs("rx") == {"total": (4, 28)}
    # A frame has no flow that was idle; one that had traffic before that stays.
    (row,) = second.stats["flows"]
    assert (row["flow"], row["packets"], row["bytes"]) == ({"src_port": 2}, 2, 120)
    (woken,) = second.stats["wakeups"]
    assert (woken["tid"], woken["idle"]["count"], woken["idle_states"]) == (10, 2, [[0, 2]])
    assert second.stats["cost"]["missed_runs"] == 0
    assert second.links == first.links and first.bins("rx")["completed"] == 5
