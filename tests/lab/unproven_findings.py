"""A cause that is made on purpose is the one that is found, with who did it, and no other.

Against a calm measurement in the same run, as absolute times mean nothing under emulation.

Not a part of ``make test`` yet: what the lab itself does beside a fault is found as well (6.12:
four of seven failed by a true finding about another thread; 5.10: two of nine by who was named).
Run it by its name inside the lab: ``python3 -m pytest tests/lab/unproven_findings.py``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.lab.faults import (
    BURNER,
    bound,
    burning,
    halt_polling,
    never_halting,
    patient,
    stopping,
)
from tests.lab.judging import VCPU_CPU, WORKER_CPU, Judged, Watch, watching
from tests.lab.measure import Guest, Lab
from tests.lab.test_lab import qemu_pid
from vmlat_tui.analysis.findings.finding import Finding
from vmlat_tui.model.wakeups import Role

WORKER_WAKE, VCPU_WAKE = "rx:vhost_woken>vhost_on_cpu", "rx:vcpu_woken>vcpu_on_cpu"
TAKE, ENTER = "rx:tun_out>vhost_take", "rx:irq_accept>guest_entry"

#: What may be found as well, and why it is not wrong.
BESIDES = {
    "gro-wait": "ksoftirqd, to which the emulated NIC's packets are often left, waits too",
    "qdisc-backlog": "an interruption between queueing and the emulated NIC takes milliseconds",
    "ovs-upcalls": "one address looked up anew is one packet in a hundred of so few",
    "offloads-off": "so in calm as well; how much it may explain changes with the whole",
    "vhost-polling-off": "so in calm as well",
    "halt-polling-short": "so in calm as well: pings come later than any window",
    "halt-polling-overridden": "the same where the kernel does not count how long vCPUs sleep",
    "worker-cpu-not-isolated": "a busy CPU drives the lab's daemons to the other one",
    "vcpu-cpu-not-isolated": "the same",
}
SHARED = ("worker-shares-cpu", "vcpu-shares-cpu")
#: Who measures and pings has to run somewhere: on the CPU without the fault, and is named there.
MEASURING = ("python3", "pytest", "ping")


@pytest.fixture(scope="module")
def watched() -> Iterator[Callable[[Lab], Watch]]:
    """Who watches a scenario's VMs: one for all tests of a scenario, and only one at a time."""
    current: dict[str, Watch] = {}
    with contextlib.ExitStack() as stack:

        def watch_of(lab: Lab) -> Watch:
            if lab.scenario not in current:
                current.clear()
                stack.close()
                current[lab.scenario] = stack.enter_context(watching(lab, *lab.vms))
            return current[lab.scenario]

        yield watch_of


@pytest.fixture
def watch(lab: Lab, watched: Callable[[Lab], Watch]) -> Watch:
    return watched(lab)


def check_others(calm: Judged, now: Judged, *expected: str) -> None:
    """Nothing but the expected, what the calm host has, and what the tables justify."""
    known = {finding.id for finding in calm.findings} | BESIDES.keys() | set(expected)
    for finding in now.findings:
        ahead = finding.numbers.get("ahead")
        ours = finding.id in SHARED and ahead in MEASURING
        assert finding.id in known or ours, (finding, [f.id for f in now.findings])
        assert ahead != BURNER or finding.id in expected, finding


def only(now: Judged, id_: str, leg: str) -> Finding:
    """The one finding of this kind about this leg."""
    found = [f for f in now.findings if f.id == id_ and leg in f.legs]
    assert len(found) == 1, (id_, leg, [(f.id, f.sentence) for f in now.findings])
    return found[0]


def check_shared(now: Judged, id_: str, leg: str, tid: int, ahead: str) -> None:
    """The wait in this leg is found, for that thread and behind that task."""
    finding = only(now, id_, leg)
    assert finding.numbers["tid"] == tid and ahead in finding.sentence, finding


def check_grown(calm: Judged, now: Judged, leg: str, q: float, factor: float) -> None:
    """A quantile of a leg is so many times what it was."""
    before, after = calm.quantile(leg, q), now.quantile(leg, q)
    assert after >= factor * before > 0, (leg, before, after)


def only_worker(judged: Judged) -> int:
    (worker,) = judged.evidence.domain.workers
    return worker.thread.tid


def only_vcpu(judged: Judged) -> int:
    (vcpu,) = judged.evidence.domain.vcpus
    assert vcpu.thread
    return vcpu.thread.tid


# ---- the worker and the vCPU wait for their CPU -------------------------------------------------


@pytest.mark.scenario("ovs")
def test_a_busy_loop_on_the_workers_cpu_is_named(lab: Lab, watch: Watch) -> None:
    calm = watch.calm["vm-a"]
    tid = only_worker(calm)
    with watch.measuring_on(VCPU_CPU), patient(tid), burning(WORKER_CPU) as loop:
        watch.see(loop)
        now = watch.measure()["vm-a"]
    check_grown(calm, now, WORKER_WAKE, 0.5, 2)
    check_shared(now, "worker-shares-cpu", WORKER_WAKE, tid, f"{BURNER} (tid {loop},")
    check_others(calm, now, "worker-shares-cpu")


@pytest.mark.scenario("ovs")
def test_a_busy_loop_on_the_vcpus_cpu_is_named(lab: Lab, watch: Watch) -> None:
    calm = watch.calm["vm-a"]
    tid = only_vcpu(calm)
    # Who pings would be ahead as well.
    with watch.pinging_from(WORKER_CPU), patient(tid), burning(VCPU_CPU) as loop:
        watch.see(loop)
        now = watch.measure()["vm-a"]
    check_grown(calm, now, VCPU_WAKE, 0.5, 2)
    check_shared(now, "vcpu-shares-cpu", VCPU_WAKE, tid, f"{BURNER} (tid {loop},")
    check_others(calm, now, "vcpu-shares-cpu")


@pytest.mark.scenario("ovs")
def test_qemu_stopped_for_50_ms_is_a_stopped_worker_or_vcpu(lab: Lab, watch: Watch) -> None:
    """From 6.4 on the worker is a thread of QEMU and stops with it; before only vCPUs do."""
    calm = watch.calm["vm-a"]
    threads = lab.kernel not in ("5.10", "6.1")
    id_, leg = ("worker-stopped", TAKE) if threads else ("vcpu-stopped", ENTER)
    tid = only_worker(calm) if threads else only_vcpu(calm)
    with stopping(qemu_pid("vm-a")):
        now = watch.measure(10)["vm-a"]  # one reading a second
    assert now.share(leg) >= 0.5 > 2 * calm.share(leg), (calm.share(leg), now.share(leg))
    assert only(now, id_, leg).numbers["tid"] == tid, now.findings
    # vCPUs are stopped in either case.
    check_others(calm, now, id_, "vcpu-stopped")


# ---- the vCPU polls, or the guest does ----------------------------------------------------------


@pytest.mark.scenario("ovs")
def test_a_vcpu_that_never_halts_is_not_woken(lab: Lab, watch: Watch, guest: Guest) -> None:
    calm = watch.calm["vm-a"]
    with never_halting(guest, "vm-a"):
        now = watch.measure()["vm-a"]
    assert now.absent("vcpu_running") >= 0.8 > 1.6 * calm.absent("vcpu_running"), (
        calm.evidence.absences,
        now.evidence.absences,
    )
    assert now.passed(ENTER) >= 0.8 > 1.6 * calm.passed(ENTER)
    assert not [f for f in now.findings if VCPU_WAKE in f.legs], now.findings
    check_others(calm, now)


@pytest.mark.scenario("ovs")
def test_without_halt_polling_every_packet_wakes_the_vcpu(lab: Lab, watch: Watch) -> None:
    # Who pings keeps the vCPU's CPU from being idle, and from polling.
    with watch.pinging_from(WORKER_CPU), halt_polling(0), watch.window(0):
        now = watch.measure()["vm-a"]
    # A VM that keeps the window it began with polls after short halts, which are rare.
    assert now.absent("vcpu_polling") < 0.05, now.evidence.absences
    assert now.passed(VCPU_WAKE) >= 0.5, now.evidence.absences
    assert only(now, "halt-polling-off", VCPU_WAKE).numbers["halt_poll_ns"] == 0, now.findings
    check_others(watch.calm["vm-a"], now, "halt-polling-off")


# ---- several queues, several VMs ----------------------------------------------------------------


@pytest.mark.scenario("two-vms")
def test_of_two_queues_the_worker_that_waits_is_named(lab: Lab, watch: Watch) -> None:
    calm = watch.calm["vm-b"]
    slow = calm.evidence.woken(Role.WORKER)[0].tid
    (other,) = {worker.thread.tid for worker in calm.evidence.domain.workers} - {slow}
    with contextlib.ExitStack() as fault:
        fault.enter_context(watch.measuring_on(VCPU_CPU))
        fault.enter_context(bound(other, VCPU_CPU))
        fault.enter_context(patient(slow))
        loop = fault.enter_context(burning(WORKER_CPU))
        watch.see(loop)
        now = watch.measure()["vm-b"]
    check_grown(calm, now, WORKER_WAKE, 0.5, 2)
    check_shared(now, "worker-shares-cpu", WORKER_WAKE, slow, f"{BURNER} (tid {loop},")
    check_others(calm, now, "worker-shares-cpu")


@pytest.mark.scenario("two-vms")
def test_of_two_vms_on_one_cpu_the_one_that_takes_it_is_named(
    lab: Lab, watch: Watch, guest: Guest
) -> None:
    calm = watch.calm["vm-a"]
    tid = only_vcpu(calm)
    with watch.pinging_from(WORKER_CPU), patient(tid), never_halting(guest, "vm-b"):
        now = watch.measure()["vm-a"]
    check_grown(calm, now, VCPU_WAKE, 0.5, 2)
    check_shared(now, "vcpu-shares-cpu", VCPU_WAKE, tid, " of vm-b (CPU ")
    check_others(calm, now, "vcpu-shares-cpu")
