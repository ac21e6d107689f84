"""Why a woken worker or vCPU did not run at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.cases import (
    CPU,
    HALT,
    LEGS,
    OTHER_VCPU,
    RX_WAKE,
    TX_WAKE,
    VCPU,
    VCPU_WAKE,
    WORKER,
    busy,
    evidence,
    ids,
    many,
    mixed,
    near,
    neighbour,
    one,
    rates,
    topology,
    woken,
)
from tests.tui import host
from vmlat_tui.analysis.findings import judge
from vmlat_tui.analysis.findings.evidence import Evidence
from vmlat_tui.analysis.findings.finding import Severity, Sureness
from vmlat_tui.model.points import Direction
from vmlat_tui.model.topology import HaltPolling, Topology

BUSY = 812_000


def queued(ahead: dict[str, int], on: Topology | None = None) -> Evidence:
    """The worker waits for its CPU whenever it is woken for a received packet."""
    leg = many(BUSY)
    scale = leg.sum_ns // sum(ahead.values())
    held_ns = {name: part * scale for name, part in ahead.items()}
    return evidence({RX_WAKE: leg}, (woken(queued=leg, ahead_ns=held_ns),), on)


# ---- run-queue wait -----------------------------------------------------------------------------


def test_a_busy_loop_on_the_workers_cpu_is_named_and_nothing_else_is() -> None:
    given = queued({"busyloop": 990, "kworker": 10})
    given = replace(given, rates=rates(neighbours={CPU: neighbour("busyloop", 0.97)}))
    assert ids(given) == ["worker-shares-cpu"]
    finding = judge(given)[0]
    assert finding.explained is not None and finding.sureness is Sureness.MEASURED
    assert finding.explained.p50_ns == finding.explained.p99_ns == near(BUSY)
    assert finding.explained.direction is Direction.RX and finding.severity is Severity.WRONG
    assert "vhost worker 2030 waited for CPU 6 behind other tasks in 100 % of" in finding.sentence
    assert "99 % of that time behind busyloop (tid 77, 97 % of that CPU)" in finding.sentence
    assert "taskset -pc 2030" in finding.remedy and finding.legs == (RX_WAKE,)


def test_a_vcpu_ahead_is_called_by_its_vm() -> None:
    other = host.domain(1, "db-1")
    vcpu = replace(other.vcpus[0], thread=host.thread(2110, "CPU 0/KVM", CPU, [CPU]))
    here = topology()
    here = replace(here, domains=(*here.domains, replace(other, vcpus=(vcpu,))))
    finding = one(queued({"CPU 0/KVM": 500}, here), "worker-shares-cpu")
    assert "behind vCPU 0 of db-1 (CPU 0/KVM)" in finding.sentence


def test_the_vcpu_of_another_vm_is_not_taken_for_the_one_that_waits() -> None:
    leg, here = many(BUSY), topology()
    row = woken(VCPU, queued=leg, ahead_ns={"CPU 0/KVM": leg.sum_ns})

    def said(*names: str) -> str:
        others = []
        for name in names:
            other = host.domain(1, name)
            vcpu = replace(other.vcpus[0], thread=host.thread(3000, "CPU 0/KVM", 2, [2]))
            others.append(replace(other, vcpus=(vcpu,)))
        on = replace(here, domains=(*here.domains, *others))
        return one(evidence({VCPU_WAKE: leg}, (row,), on), "vcpu-shares-cpu").sentence

    assert here.domains[0].vcpus[0].thread is not None
    assert here.domains[0].vcpus[0].thread.name == "CPU 0/KVM", "it has the same name"
    assert said("db-1").endswith("behind vCPU 0 of db-1 (CPU 0/KVM)")
    assert said("a", "b").endswith("behind vCPU 0 of a or vCPU 0 of b (CPU 0/KVM)")
    assert said().endswith("behind CPU 0/KVM")


def test_the_vcpus_of_another_vm_are_one_cause_however_its_load_moves_between_them() -> None:
    other, here = host.domain(1, "db-1"), topology()
    vcpus = tuple(
        replace(other.vcpus[0], number=n, thread=host.thread(2110 + n, f"CPU {n}/KVM", CPU, [CPU]))
        for n in (0, 1)
    )
    here = replace(here, domains=(*here.domains, replace(other, vcpus=vcpus)))
    held = {"a": 40, "CPU 0/KVM": 30, "CPU 1/KVM": 25, "b": 5}
    finding = one(queued(held, here), "worker-shares-cpu")
    assert finding.sentence.endswith(
        "55 % of that time behind vCPU 0 of db-1 (CPU 0/KVM) and vCPU 1 of db-1 (CPU 1/KVM)"
    )
    assert finding.numbers["ahead"] == "CPU 0/KVM, CPU 1/KVM"


def test_many_tasks_ahead_of_a_bound_worker_are_a_matter_of_isolation() -> None:
    crowd = {"a": 30, "b": 30, "c": 30, "d": 10}
    assert ids(queued(crowd)) == ["worker-cpu-not-isolated"]
    cpus = tuple(replace(cpu, isolated=cpu.number == CPU) for cpu in host.cpus())
    finding = one(queued(crowd, topology(cpus=cpus)), "worker-run-queue")
    assert finding.sentence.endswith("most of that time behind a, b, c")


def test_many_tasks_ahead_of_a_worker_that_may_run_anywhere_are_run_queue_wait() -> None:
    domain = topology().domains[0]
    worker = replace(domain.workers[0], thread=host.thread(WORKER, "vhost", CPU))
    on = topology(replace(domain, workers=(worker,)))
    assert ids(queued({"a": 1, "b": 1, "c": 1}, on)) == ["worker-run-queue"]


def test_a_vcpu_that_waits_is_named_too() -> None:
    leg = many(BUSY)
    given = evidence({VCPU_WAKE: leg}, (woken(VCPU, queued=leg, ahead_ns={"burn": leg.sum_ns}),))
    finding = one(given, "vcpu-shares-cpu")
    assert finding.sentence.startswith("vCPU 0 waited for CPU 2")
    assert ids(given) == ["vcpu-shares-cpu"]


def test_a_wait_that_is_not_material_is_no_finding() -> None:
    leg = many(240)
    row = woken(queued=leg, ahead_ns={"busyloop": leg.sum_ns})
    assert ids(evidence({RX_WAKE: leg}, (row,))) == []
    rare = mixed((900, 995), (BUSY, 5))
    given = evidence({RX_WAKE: rare}, (woken(idle=many(900, 995), queued=many(BUSY, 5)),))
    assert ids(given) == [], "one packet in 200"


def test_a_worker_bound_to_a_vcpus_cpu_is_not_blamed_if_nobody_waits() -> None:
    domain = host.topology(host.NAMES[:2]).domains[1]
    assert domain.workers[0].thread.cpu == domain.vcpus[0].thread.cpu  # type: ignore[union-attr]
    domain = replace(domain, vnics=topology().domains[0].vnics)
    assert ids(evidence(on=topology(domain))) == []


def test_a_division_that_is_not_sure_is_only_likely() -> None:
    leg = many(BUSY)
    waits = many(BUSY, 600)
    row = woken(idle=many(BUSY, 400), queued=waits, ahead_ns={"busyloop": waits.sum_ns})
    finding = one(evidence({RX_WAKE: leg}, (row,)), "worker-shares-cpu")
    assert finding.sureness is Sureness.LIKELY
    assert finding.explained is not None and finding.explained.mean_ns == pytest.approx(
        0.6 * BUSY, rel=0.01
    )


def test_wakeups_of_other_vms_count_for_nothing() -> None:
    leg = many(BUSY)
    other = replace(woken(queued=leg, ahead_ns={"x": leg.sum_ns}), tid=9999, vm_interface="vnet7")
    assert ids(evidence({RX_WAKE: leg}, (other,))) == []


# ---- idle states --------------------------------------------------------------------------------


def asleep(
    states: dict[int, int], value_ns: int = 86_500, residency: float | None = None
) -> Evidence:
    """The worker is woken on an idle CPU for every packet that is sent."""
    leg = many(value_ns)
    idle = {} if residency is None else {str(CPU): {"C1": 1 - residency, "C6": residency}}
    row = woken(idle=leg, idle_states=states)
    return evidence({TX_WAKE: leg}, (row,), rates=rates(idle=idle))


def test_the_customers_deep_idle_state_is_found_with_its_time() -> None:
    finding = one(asleep({1: 1000}, residency=0.62), "worker-deep-idle")
    assert finding.explained is not None
    assert finding.explained.p50_ns == finding.explained.p99_ns == near(86_500)
    assert finding.sureness is Sureness.MEASURED and finding.severity is Severity.WRONG
    assert "idle exit of CPU 6, which was in C6 62 % of the time" in finding.sentence
    assert "100 % of them left C6 or deeper (exit latency 133 µs)" in finding.sentence
    assert "/cpu6/cpuidle/state*/{name,latency,disable}" in finding.remedy


def test_shallow_states_are_not_blamed() -> None:
    assert ids(asleep({0: 1000})) == [] and ids(asleep({-1: 1000})) == []


def test_a_fast_exit_is_not_blamed_whatever_the_state_was() -> None:
    assert ids(asleep({1: 1000}, value_ns=240)) == []


def test_only_as_many_of_the_slowest_as_left_a_deep_state_are_explained() -> None:
    leg = mixed((900, 900), (150_000, 100))
    row = woken(idle=leg, idle_states={0: 900, 1: 100})
    finding = one(evidence({TX_WAKE: leg}, (row,)), "worker-deep-idle")
    assert finding.explained is not None and finding.sureness is Sureness.POSSIBLE
    assert finding.explained.p50_ns == 0
    assert finding.explained.p99_ns == near(150_000)
    assert finding.explained.mean_ns == near(15_000)


def test_what_takes_far_longer_than_an_exit_is_not_explained_by_it() -> None:
    finding = one(asleep({1: 1000}, value_ns=5_000_000), "worker-deep-idle")
    assert finding.explained is not None and finding.explained.p50_ns == near(2 * 133_000)


def test_where_states_are_not_counted_residency_makes_it_possible() -> None:
    finding = one(asleep({-1: 1000}, residency=0.9), "worker-deep-idle")
    assert finding.sureness is Sureness.POSSIBLE and "90 % of its idle time" in finding.sentence


def test_a_vcpu_on_a_cpu_that_sleeps_deeply_is_found() -> None:
    leg = many(120_000)
    given = evidence({VCPU_WAKE: leg}, (woken(VCPU, idle=leg, idle_states={1: 1000}),))
    assert one(given, "vcpu-deep-idle").sentence.startswith("vCPU 0 waited for an idle exit")


# ---- vhost's polling ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("poll_us", "found"),
    [(0, ["vhost-polling-off"]), (50, ["vhost-polling-short"]), (None, [])],
)
def test_a_worker_that_sleeps_might_poll(poll_us: int | None, found: list[str]) -> None:
    polls = {} if poll_us is None else {"vnet0": poll_us}
    given = replace(asleep({0: 1000}), topology=topology(busy_poll_us=polls))
    assert ids(given) == found, "what is not visible is not blamed"
    for finding in judge(given):
        assert finding.sureness is Sureness.POSSIBLE and "woken on an idle CPU" in finding.sentence
    fast = many(3_000)
    legs = {leg_id: many(800) for leg_id in LEGS if leg_id.startswith("tx:")}
    assert ids(evidence({**legs, TX_WAKE: fast}, (woken(idle=fast),), given.topology)) == [], (
        "this machine runs code as slowly"
    )


# ---- halt polling -------------------------------------------------------------------------------


def halted(window_ns: int | None, **halt: float) -> Evidence:
    """The vCPU is woken on an idle CPU for every interrupt."""
    leg = many(40_000)
    on = topology(halt_polling=HaltPolling(window_ns, 2, 10_000, 0))
    found = rates(halt={"web-1": replace(HALT, **halt)})
    return evidence({VCPU_WAKE: leg}, (woken(VCPU, idle=leg),), on, rates=found)


def test_halt_polling_that_is_off_is_likely_behind_short_sleeps_and_possible_behind_long() -> None:
    finding = one(halted(0, mean_wait_ns=80_000.0), "halt-polling-off")
    assert finding.sureness is Sureness.LIKELY and "sleeps 80.0 µs on average" in finding.sentence
    assert finding.explained is not None and finding.explained.p50_ns == near(40_000)
    assert one(halted(0), "halt-polling-off").sureness is Sureness.POSSIBLE


def test_halt_polling_that_wins_is_not_blamed_nor_one_that_is_not_visible() -> None:
    assert ids(halted(200_000)) == [] and ids(halted(None)) == []


def test_polls_that_mostly_fail_are_too_short_or_lost() -> None:
    losing = {"successful": 100.0, "failed": 900.0}
    short = one(halted(200_000, mean_wait_ns=300_000.0, **losing), "halt-polling-short")
    assert "90 % of 1000 polls a second fail" in short.sentence
    lost = one(halted(200_000, mean_wait_ns=20e6, **losing), "halt-polling-losing")
    assert "polling takes 2.0 % of a CPU" in lost.sentence


def test_a_window_that_mostly_is_closed_is_short_even_if_the_few_polls_are_lost() -> None:
    """Seen in the lab: 3 of 50 halts a second polled for, all lost, 0.003 % of a CPU spent."""
    few = {"attempted": 3.0, "successful": 0.0, "failed": 3.0, "wakeups": 50.0}
    found = one(halted(200_000, mean_wait_ns=20e6, **few), "halt-polling-short")
    assert "3.0 of 50 halts a second" in found.sentence and found.sureness is Sureness.POSSIBLE


def test_a_window_that_stays_closed_for_short_halts_is_the_guests_doing() -> None:
    never = {"attempted": 0.0, "successful": 0.0, "failed": 0.0}
    finding = one(halted(200_000, mean_wait_ns=90_000.0, **never), "halt-polling-overridden")
    assert finding.sureness is Sureness.LIKELY and "0.0 of 100 halts a second" in finding.sentence
    closed = one(halted(200_000, mean_wait_ns=26e6, **never), "halt-polling-short")
    assert closed.sureness is Sureness.POSSIBLE and "KVM closed the window" in closed.sentence
    unknown = one(halted(200_000, mean_wait_ns=0.0, **never), "halt-polling-overridden")
    assert unknown.sureness is Sureness.POSSIBLE, "older kernels do not count the waits"


def test_invalid_polls_are_the_guests_doing_too() -> None:
    assert "60 % of the polls were invalid" in one(
        halted(200_000, invalid=600.0), "halt-polling-overridden"
    ).sentence  # fmt: skip


def test_a_vcpu_that_waits_for_another_task_is_not_halt_pollings_fault() -> None:
    given = halted(0)
    row = woken(VCPU, queued=many(40_000), ahead_ns={"burn": many(40_000).sum_ns})
    assert ids(replace(given, wakeups={VCPU: row})) == ["vcpu-shares-cpu"]


def test_packets_that_found_the_vcpu_polling_are_among_the_numbers() -> None:
    given = replace(halted(0), absences={Direction.RX: {"vcpu_polling": 12}})
    assert one(given, "halt-polling-off").numbers["packets_polled"] == 12


# ---- migration ----------------------------------------------------------------------------------


def test_vcpus_that_may_run_anywhere_and_migrate_are_possible_behind_the_slowest() -> None:
    domain = topology().domains[0]
    free = [replace(v, thread=host.thread(v.thread.tid, "CPU", 2), pinned=False)
            for v in domain.vcpus if v.thread]  # fmt: skip
    on = topology(replace(domain, vcpus=tuple(free)))
    leg = mixed((900, 700), (60_000, 300))
    moving = woken(VCPU, idle=leg, migrations=300)
    finding = one(evidence({VCPU_WAKE: leg}, (moving,), on), "vcpu-migrates")
    assert "vCPU 0 may run on 16 CPUs" in finding.sentence and "30 % of 1000" in finding.sentence
    assert finding.explained is not None and finding.explained.p50_ns == 0
    assert finding.explained.p99_ns == near(60_000) and finding.sureness is Sureness.POSSIBLE
    assert ids(evidence({VCPU_WAKE: leg}, (replace(moving, migrations=9),), on)) == []
    assert ids(evidence({VCPU_WAKE: leg}, (moving,))) == [], "bound vCPUs do not migrate"


# ---- all together -------------------------------------------------------------------------------


def test_what_explains_most_comes_first_and_what_is_only_possible_last() -> None:
    leg, short = many(90_000), many(20_000)
    rows = (
        woken(idle=leg, idle_states={1: 1000}),
        woken(VCPU, queued=short, ahead_ns={"burn": short.sum_ns}),
        woken(OTHER_VCPU, idle=many(900)),
    )
    on = topology(busy_poll_us={"vnet0": 0})
    given = evidence(
        {RX_WAKE: leg, VCPU_WAKE: short}, rows, on, rates=rates(threads=busy(WORKER, 0.1))
    )
    assert ids(given) == ["worker-deep-idle", "vcpu-shares-cpu", "vhost-polling-off"]
