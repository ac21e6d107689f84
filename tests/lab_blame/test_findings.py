"""A cause that is made on purpose is the one that is found, with who did it, and no other.

Against a calm measurement in the same run, as absolute times mean nothing under emulation.  What is
measured has its CPUs, as on a hypervisor that is set up well: see judging.py.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import pytest

from tests.lab.measure import Guest, Lab
from tests.lab.test_lab import qemu_pid
from tests.lab_blame.faults import (
    BURNER,
    HOLD_S,
    LEAVE_S,
    bound,
    burning,
    halt_polling,
    never_halting,
    patient,
    stopping,
)
from tests.lab_blame.judging import (
    LONG_WINDOW_NS,
    OTHERS_CPU,
    VCPU_CPU,
    WORKER_CPU,
    Judged,
    Watch,
    poll_long,
    vcpus,
    watching,
    workers,
)
from vmlat_tui.analysis.findings.finding import Finding
from vmlat_tui.lab import inside
from vmlat_tui.model.wakeups import Role

pytestmark = pytest.mark.scenario("two-vms")

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
    "vcpu-shares-cpu": "so in calm as well: the lab gives one CPU to the three vCPUs",
}


@pytest.fixture(scope="module")
def watch() -> Iterator[Watch]:
    """Who watches both VMs, for all tests.  vm-b is polled for long on request, vm-a never is."""
    lab = inside.switch("two-vms")
    if window_is_the_vms_own(lab):
        poll_long("vm-b")
        lab = inside.lab()
    with watching(lab) as made:
        yield made


def window_is_the_vms_own(lab: Lab) -> bool:
    """Up to 6.1 a VM keeps the halt_poll_ns with which it began."""
    return lab.kernel in ("5.10", "6.1")


def said(judged: Judged) -> str:
    """All findings, for who reads why a test failed."""
    return "\n".join(f"{f.id} {f.legs[:1]}: {f.sentence}" for f in judged.findings)


def check_others(calm: Judged, now: Judged, *expected: str) -> None:
    """Nothing but the expected, what the calm host has, and what the tables justify."""
    known = {finding.id for finding in calm.findings} | BESIDES.keys() | set(expected)
    for finding in now.findings:
        assert finding.id in known, said(now)
        if finding.id == "vcpu-shares-cpu" and finding.id not in expected:
            # Another vCPU, or a worker of the kernel that belongs to the CPU: true, and not ours.
            assert re.search(r"/KVM|^kworker/\d", str(finding.numbers["ahead"])), said(now)
        assert finding.numbers.get("ahead") != BURNER or finding.id in expected, said(now)


def only(now: Judged, id_: str, leg: str) -> Finding:
    """The one finding of this kind about this leg."""
    print(said(now))
    found = [f for f in now.findings if f.id == id_ and leg in f.legs]
    assert len(found) == 1, (id_, leg, said(now))
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


def test_a_busy_loop_on_the_workers_cpu_is_named(watch: Watch) -> None:
    calm = watch.calm("vm-a")
    tid = only_worker(calm)
    with patient(tid), burning(WORKER_CPU) as loop:
        watch.see(loop)
        now = watch.measure("vm-a")
    check_grown(calm, now, WORKER_WAKE, 0.5, 2)
    check_shared(now, "worker-shares-cpu", WORKER_WAKE, tid, f"{BURNER} (tid {loop},")
    check_others(calm, now, "worker-shares-cpu")


def test_a_busy_loop_on_the_vcpus_cpu_is_named(watch: Watch) -> None:
    calm = watch.calm("vm-a")
    tid = only_vcpu(calm)
    with patient(tid), burning(VCPU_CPU) as loop:
        watch.see(loop)
        now = watch.measure("vm-a")
    check_grown(calm, now, VCPU_WAKE, 0.5, 2)
    check_shared(now, "vcpu-shares-cpu", VCPU_WAKE, tid, f"{BURNER} (tid {loop},")
    check_others(calm, now, "vcpu-shares-cpu")


def test_a_worker_kept_from_running_for_50_ms_at_a_time(watch: Watch) -> None:
    """Whoever runs last before it does, it is the real-time loop that kept it."""
    calm = watch.calm("vm-a")
    tid = only_worker(calm)
    with burning(WORKER_CPU, HOLD_S, LEAVE_S) as loop:
        watch.see(loop)
        now = watch.measure("vm-a")
    check_grown(calm, now, WORKER_WAKE, 0.9, 2)
    assert now.quantile(WORKER_WAKE, 0.9) >= 0.5e9 * HOLD_S
    check_shared(now, "worker-shares-cpu", WORKER_WAKE, tid, f"{BURNER} (tid {loop},")
    check_others(calm, now, "worker-shares-cpu")


def test_qemu_stopped_for_50_ms_is_a_stopped_worker_or_vcpu(lab: Lab, watch: Watch) -> None:
    """From 6.4 on the worker is a thread of QEMU and stops with it; before only vCPUs do."""
    calm = watch.calm("vm-a")
    threads = lab.kernel not in ("5.10", "6.1")
    id_, leg = ("worker-stopped", TAKE) if threads else ("vcpu-stopped", ENTER)
    tid = only_worker(calm) if threads else only_vcpu(calm)
    with stopping(qemu_pid("vm-a")):
        now = watch.measure("vm-a", 10)  # one reading a second
    assert now.share(leg) >= 0.5 > 2 * calm.share(leg), (calm.share(leg), now.share(leg))
    assert only(now, id_, leg).numbers["tid"] == tid, said(now)
    # vCPUs are stopped in either case.
    check_others(calm, now, id_, "vcpu-stopped")


# ---- the vCPU polls, or the guest does ----------------------------------------------------------


def test_a_vcpu_that_never_halts_is_not_woken(watch: Watch, guest: Guest) -> None:
    calm = watch.calm("vm-a")
    with never_halting(guest, "vm-a"):
        now = watch.measure("vm-a")
    assert now.absent("vcpu_running") >= 0.8 > 1.6 * calm.absent("vcpu_running"), (
        calm.evidence.absences,
        now.evidence.absences,
    )
    assert now.passed(ENTER) >= 0.8 > 1.6 * calm.passed(ENTER)
    assert not [f for f in now.findings if VCPU_WAKE in f.legs], now.findings
    check_others(calm, now)


def test_without_halt_polling_every_packet_wakes_the_vcpu(watch: Watch) -> None:
    with halt_polling(0), watch.window(0):
        now = watch.measure("vm-a")
    # A VM that keeps the window it began with polls after short halts, which are rare.
    assert now.absent("vcpu_polling") < 0.05, now.evidence.absences
    assert now.passed(VCPU_WAKE) >= 0.5, now.evidence.absences
    assert only(now, "halt-polling-off", VCPU_WAKE).numbers["halt_poll_ns"] == 0, now.findings
    check_others(watch.calm("vm-a"), now, "halt-polling-off")


def test_with_a_long_window_packets_find_the_vcpu_polling(watch: Watch) -> None:
    """Polling ends as soon as another task is ready on that CPU: the VM has it for itself."""
    with contextlib.ExitStack() as alone:
        for tid in vcpus("vm-a"):
            alone.enter_context(bound(tid, OTHERS_CPU))
        alone.enter_context(halt_polling(LONG_WINDOW_NS))
        alone.enter_context(watch.window(LONG_WINDOW_NS))
        now = watch.measure("vm-b", gap_s=0.01)
    assert now.absent("vcpu_polling") >= 0.5, now.evidence.absences
    assert now.passed(VCPU_WAKE) < 0.5, now.evidence.absences
    assert not {f.id for f in now.findings} & {"halt-polling-off", "halt-polling-short"}
    check_others(watch.calm("vm-b"), now)


# ---- several queues, several VMs ----------------------------------------------------------------


def test_of_two_queues_the_worker_that_waits_is_named(watch: Watch) -> None:
    calm = watch.calm("vm-b")
    slow = calm.evidence.woken(Role.WORKER)[0].tid
    (other,) = set(workers("vm-b")) - {slow}
    with contextlib.ExitStack() as fault:
        fault.enter_context(bound(other, OTHERS_CPU))
        fault.enter_context(patient(slow))
        loop = fault.enter_context(burning(WORKER_CPU))
        watch.see(loop)
        now = watch.measure("vm-b")
    check_grown(calm, now, WORKER_WAKE, 0.5, 2)
    check_shared(now, "worker-shares-cpu", WORKER_WAKE, slow, f"{BURNER} (tid {loop},")
    check_others(calm, now, "worker-shares-cpu")


def test_of_two_vms_on_one_cpu_the_one_that_takes_it_is_named(watch: Watch, guest: Guest) -> None:
    calm = watch.calm("vm-a")
    tid = only_vcpu(calm)
    with patient(tid), never_halting(guest, "vm-b"):
        now = watch.measure("vm-a")
    check_grown(calm, now, VCPU_WAKE, 0.5, 2)
    check_shared(now, "vcpu-shares-cpu", VCPU_WAKE, tid, " of vm-b (CPU ")
    check_others(calm, now, "vcpu-shares-cpu")
