"""What keeps a worker or vCPU from running, done to it on purpose and undone again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Union

from tests.lab.measure import Guest

#: What the busy loop is called: nothing else in the lab has this name.
BURNER = "burner"
#: What is stopped now and then: so long at a time.
STOP_S = 0.05

#: So long a real-time loop keeps a CPU, and so long it leaves it alone.
HOLD_S, LEAVE_S = 0.05, 0.03

HALT_POLL = Path("/sys/module/kvm/parameters/halt_poll_ns")

_BURN = f"""
import os, sys, time
cpu, hold_s, leave_s = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
os.sched_setaffinity(0, {{cpu}})
if leave_s:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
with open("/proc/self/comm", "w") as name:
    name.write("{BURNER}")
print("burning", flush=True)
while True:
    end = time.monotonic() + hold_s
    while time.monotonic() < end:
        pass
    time.sleep(leave_s)
"""


@contextlib.contextmanager
def bound(tid: int, cpu: int) -> Iterator[None]:
    """A thread, kernel threads too, may run on one CPU only."""
    before = os.sched_getaffinity(tid)
    os.sched_setaffinity(tid, {cpu})
    try:
        assert os.sched_getaffinity(tid) == {cpu}
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(tid, before)


def confine(cpu: int, apart: Container[int]) -> None:
    """Everything but the threads ``apart`` runs on one CPU from now on.

    As an administrator would do it: programs, interrupts, and what the kernel lets be moved of
    its own.
    """
    for task in Path("/proc").glob("[0-9]*/task/[0-9]*"):
        if int(task.name) not in apart:
            with contextlib.suppress(OSError):  # it ended meanwhile, or belongs to its CPU
                os.sched_setaffinity(int(task.name), {cpu})
    for interrupt in Path("/proc/irq").glob("[0-9]*/smp_affinity_list"):
        with contextlib.suppress(OSError):
            interrupt.write_text(str(cpu))
    Path("/sys/devices/virtual/workqueue/cpumask").write_text(f"{1 << cpu:x}")


@contextlib.contextmanager
def patient(tid: int) -> Iterator[None]:
    """A thread does not preempt who runs on its CPU, but waits for the tick (SCHED_BATCH).

    Otherwise the scheduler lets whoever slept long preempt an ordinary busy loop at once: up to
    6.5 always, later often, and there is no wait to be found.
    """
    policy, parameter = os.sched_getscheduler(tid), os.sched_getparam(tid)
    os.sched_setscheduler(tid, os.SCHED_BATCH, os.sched_param(0))
    try:
        assert os.sched_getscheduler(tid) == os.SCHED_BATCH
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.sched_setscheduler(tid, policy, parameter)


@contextlib.contextmanager
def burning(cpu: int, hold_s: float = 3600, leave_s: float = 0) -> Iterator[int]:
    """A busy loop on a CPU; gives its pid.

    With ``leave_s`` it is a real-time one, which leaves the CPU alone for so long now and then.
    """
    loop = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _BURN, str(cpu), str(hold_s), str(leave_s)],
        stdout=subprocess.PIPE,
        start_new_session=True,  # else it shares its part of the CPU with who measures
    )
    try:
        assert loop.stdout and loop.stdout.readline() == b"burning\n"
        yield loop.pid
    finally:
        loop.kill()
        loop.communicate()


@contextlib.contextmanager
def stopping(pid: int) -> Iterator[None]:
    """A process is stopped for :data:`STOP_S`, goes on for half as long, and so on.

    So two of three readings find it stopped: that none of ten does is what never happens.
    """
    over = threading.Event()

    def stop() -> None:
        while not over.is_set():
            os.kill(pid, signal.SIGSTOP)
            time.sleep(STOP_S)
            os.kill(pid, signal.SIGCONT)
            over.wait(STOP_S / 2)

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def never_halting(guest: Guest, name: str) -> Iterator[None]:
    """A busy loop inside a guest: a vCPU of it never halts, as if the guest polled."""
    done = guest(name, "(while :; do :; done) </dev/null >/dev/null 2>&1 & echo $!")
    pid = int(done.stdout)
    try:
        yield
    finally:
        assert guest(name, f"kill -KILL {pid}").status == 0


@contextlib.contextmanager
def halt_polling(window_ns: Union[int, str]) -> Iterator[None]:
    """KVM polls for so long at most; before 6.2 it may ask only when a VM begins."""
    before = HALT_POLL.read_text()
    HALT_POLL.write_text(str(window_ns))
    try:
        yield
    finally:
        HALT_POLL.write_text(before)
