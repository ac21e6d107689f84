"""Threads as /proc shows them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.trees import Proc, stat
from vmlat_tui.discover import threads
from vmlat_tui.model.topology import Neighbour, Thread, ThreadUse


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


@pytest.mark.parametrize("name", ["qemu", "CPU 0/KVM", "a) S 1 (b", "", "tmux: server", "x\n)y"])
def test_a_name_may_hold_anything(name: str) -> None:
    found = threads.parse_stat(stat(7, name, parent=2, cpu=3, policy=1, rt=50, started=9))
    assert found is not None
    assert (found.tid, found.name, found.parent) == (7, name, 2)
    assert (found.cpu, found.policy, found.rt_priority, found.started) == (3, 1, 50, 9)


@pytest.mark.parametrize("text", ["", "7 (x", "7 (x) S 1 2", "x (y) " + "0 " * 50])
def test_what_is_no_stat_is_none(text: str) -> None:
    assert threads.parse_stat(text) is None


def test_this_very_process_is_read_right() -> None:
    found = threads.read_thread(os.getpid())
    assert found is not None
    assert set(found.cpus) == os.sched_getaffinity(0)
    assert found.policy == "other" and found.priority == os.nice(0)
    assert found.name == Path("/proc/self/comm").read_text()[:-1]
    use = threads.read_use(os.getpid())
    assert use is not None and use.run_ns > 0 and use.voluntary is not None


def test_priority_is_real_time_priority_or_nice(proc: Proc) -> None:
    proc.thread(5, 5, "rt", cpus="2", cpu=2, policy=1, rt=99, nice=0)
    proc.thread(6, 6, "nice", policy=3, nice=-5)
    assert threads.read_thread(5, proc.top) == Thread(5, "rt", 2, (2,), "fifo", 99)
    batch = threads.read_thread(6, proc.top)
    assert batch is not None and (batch.policy, batch.priority) == ("batch", -5)
    assert threads.read_thread(99, proc.top) is None


def test_use_is_from_schedstat(proc: Proc) -> None:
    proc.thread(5, 5, "a", cpu=1)
    assert threads.read_use(5, proc.top) == ThreadUse(5, 1, 70, 30, 11, 2)


@pytest.mark.parametrize(
    ("state", "stopped"), [("T", True), ("t", True), ("S", False), ("D", False)]
)
def test_a_stopped_thread_is_seen(proc: Proc, state: str, stopped: bool) -> None:
    proc.thread(5, 5, "a", state=state)
    use = threads.read_use(5, proc.top)
    assert use is not None and use.stopped is stopped


def test_use_without_schedstat_counts_ticks(proc: Proc) -> None:
    proc.thread(6, 6, "b", schedstat="")
    use = threads.read_use(6, proc.top)
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    assert use is not None and (use.run_ns, use.waited_ns) == (7 * tick, None)
    assert threads.read_use(99, proc.top) is None


def test_neighbours_are_who_ran_since_the_last_search_on_these_cpus(proc: Proc) -> None:
    for tid, cpu in ((10, 0), (11, 1), (12, 0), (13, 0)):
        proc.thread(tid, tid, f"t{tid}", cpu=cpu)
    around = threads.Neighbourhood(proc.top)
    around.search()
    assert around.read({0, 1}) == (), "nobody is known to run before the second search"
    for tid in (10, 11, 13):
        proc.thread(tid, tid, f"t{tid}", cpu=1 if tid == 11 else 0, schedstat="99 30 6")
    around.search()
    assert around.read({0}) == (Neighbour(0, 10, "t10", 99), Neighbour(0, 13, "t13", 99))
    assert around.read({1}) == (Neighbour(1, 11, "t11", 99),)
    around.search()
    assert around.read({0, 1}) == ()


def test_of_any_number_of_neighbours_those_who_ran_most_are_told(
    proc: Proc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_MOST_NEIGHBOURS", 2)
    for tid in range(10, 15):
        proc.thread(tid, tid, "t")
    around = threads.Neighbourhood(proc.top)
    around.search()
    for tid in range(10, 15):
        proc.thread(tid, tid, "t", schedstat=f"{100 + tid} 0 9")
    around.search()
    assert [n.tid for n in around.read({0})] == [13, 14]
