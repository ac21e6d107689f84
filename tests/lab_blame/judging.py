"""A running agent whose measurement is judged, as ``vmlat doctor --live`` and the screens do it.

Its start takes longer than a measurement: one agent serves many of them, each begun anew by a
change of what is requested, as on the screen.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tests.lab.measure import START_S, Lab
from tests.lab.test_lab import qemu_pid, vhost_threads
from tests.lab_blame.faults import HALT_POLL, bound, confine
from tests.support.commands import command
from vmlat_tui.analysis.findings.evidence import Evidence
from vmlat_tui.analysis.findings.finding import Finding
from vmlat_tui.lab import inside
from vmlat_tui.model.points import Direction
from vmlat_tui.model.requested import Requested
from vmlat_tui.protocol.commands import Measure
from vmlat_tui.session.history import History
from vmlat_tui.session.snapshot import Place, Snapshot
from vmlat_tui.session.window import Span
from vmlat_tui.tables.evidence import evidence
from vmlat_tui.tables.findings import verdict
from vmlat_tui.transport.process import AgentProcess

#: The lab binds vCPUs to the second one; workers are bound to the first one here, and everything
#: else to the third.
WORKER_CPU, VCPU_CPU, OTHERS_CPU = 0, 1, 2
TRAFFIC_S = 6.0
#: No multiple or part of the period of what is stopped now and then: pings meet all of it.
_PING_GAP_S = 0.047
#: Longer than any gap between pings.
LONG_WINDOW_NS = 100_000_000


class Judged(NamedTuple):
    """What was found about one vNIC, and what it was found in."""

    findings: tuple[Finding, ...]
    evidence: Evidence

    def quantile(self, leg: str, q: float) -> int:
        """Of all packets that passed a leg, ns."""
        return self.evidence.leg(leg).quantiles(q)[0]

    def share(self, leg: str) -> float:
        """Of the time that all received packets spent on the whole way."""
        return self.evidence.leg(leg).sum_ns / self.evidence.total(Direction.RX).sum_ns

    def absent(self, reason: str) -> float:
        """Share of the received packets that left out points for a reason."""
        absences = self.evidence.absences[Direction.RX]
        return absences.get(reason, 0) / self.evidence.total(Direction.RX).count

    def passed(self, leg: str) -> float:
        """Share of the received packets that passed a leg."""
        return self.evidence.leg(leg).count / self.evidence.total(Direction.RX).count


class Watch:
    """An agent that measures all VMs."""

    def __init__(self, agent: AgentProcess, lab: Lab) -> None:
        self._agent = agent
        self._lab = lab
        self._history = History()
        agent.send(command("configure", discover=True, measure=False))
        self.wait(lambda now: now.topology is not None, "the topology", START_S)
        self._requested = Requested(tuple(str(vm.vnet) for vm in lab.vms.values()), emit=False)
        agent.send(Measure(self._requested))
        self.wait(lambda now: now.stats and now.rates, "the first figures", START_S)
        #: What is found about a VM to which nothing was done; measured when asked for.
        self.calm: Callable[[str], Judged] = functools.lru_cache(None)(self.measure)

    @property
    def now(self) -> Snapshot:
        """The newest moment."""
        return self._history.moments()[-1]

    def _pump(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while True:
            frame = self._agent.next(max(0.0, end - time.monotonic()))
            if frame is not None:
                self._history.take(frame)
            if time.monotonic() >= end:
                return

    def wait(self, condition: Callable[[Snapshot], object], what: str, seconds: float = 60) -> None:
        """Take frames until something is known."""
        end = time.monotonic() + seconds
        while not condition(self.now):
            now = self.now
            said = (now.phase, now.refusal, now.problem, now.notices[-3:])
            assert time.monotonic() < end, f"waited {seconds} s for {what}: {said}"
            self._pump(0.2)

    def measure(self, name: str, seconds: float = TRAFFIC_S, gap_s: float = _PING_GAP_S) -> Judged:
        """Measure a VM while it is pinged, and judge its vNIC."""
        with self._pinging(name, gap_s):
            before = self.now.measuring
            # No single packet is told of: another threshold is no more than a new beginning.
            after = self._requested.threshold_ns + 1
            self._requested = replace(self._requested, threshold_ns=after)
            self._agent.send(Measure(self._requested))
            self.wait(lambda now: now.measuring is not before and now.stats, "a new beginning")
            self._pump(seconds)
        moments = self._history.moments()
        place = Place(moments, len(moments) - 1)
        tap = str(self._lab.vms[name].vnet)
        judged, given = verdict(place, tap, Span.START), evidence(place, tap, Span.START)
        assert judged.judged and given is not None, (name, judged)
        return Judged(judged.findings, given)

    @contextlib.contextmanager
    def _pinging(self, name: str, gap_s: float) -> Iterator[None]:
        ping = subprocess.Popen(
            ["ip", "netns", "exec", self._lab.remote_ns, "ping", "-n", "-q", "-i", str(gap_s),
             self._lab.vms[name].ip4],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield
        finally:
            ping.kill()
            ping.wait()

    def see(self, pid: int) -> None:
        """Wait until the counters of who else runs there know a process."""
        self.wait(
            lambda now: (
                now.rates
                and any(
                    task.tid == pid for tasks in now.rates.neighbours.values() for task in tasks
                )
            ),
            f"{pid} to be seen",
        )

    @contextlib.contextmanager
    def window(self, halt_poll_ns: int) -> Iterator[None]:
        """The topology knows of another parameter of KVM: an event makes the agent look soon."""
        subprocess.run(["ip", "tuntap", "add", "nudge", "mode", "tap"], check=True, timeout=10)
        try:
            self.wait(
                lambda now: now.topology and now.topology.halt_polling.halt_poll_ns == halt_poll_ns,
                "the new halt_poll_ns",
            )
            yield
        finally:
            subprocess.run(["ip", "tuntap", "del", "nudge", "mode", "tap"], check=True, timeout=10)


def workers(name: str) -> list[int]:
    """The tids of a VM's vhost workers."""
    return [int(path.split("/")[4]) for path in vhost_threads(qemu_pid(name))]


def vcpus(name: str) -> list[int]:
    """The tids of a VM's vCPUs."""
    tasks = Path(f"/proc/{qemu_pid(name)}/task")
    return [int(t.name) for t in tasks.iterdir() if "/KVM" in (t / "comm").read_text()]


def poll_long(name: str) -> None:
    """Start a VM again which KVM polls for long: before 6.2 it asks how long only then."""
    before = HALT_POLL.read_text()
    HALT_POLL.write_text(str(LONG_WINDOW_NS))
    subprocess.run(["virsh", "destroy", name], check=True, timeout=60, stdout=subprocess.DEVNULL)
    inside.start_domain(name)
    HALT_POLL.write_text(before)


@contextlib.contextmanager
def watching(lab: Lab) -> Iterator[Watch]:
    """Workers and vCPUs have their CPUs before the agent looks.

    Once it has begun, which takes all CPUs some time, everything else has the third one.
    """
    assert os.cpu_count() == 3, "boot the lab with --cpus 3"
    with contextlib.ExitStack() as stack:
        for name in lab.vms:
            for tid in workers(name):
                stack.enter_context(bound(tid, WORKER_CPU))
        watch = Watch(stack.enter_context(AgentProcess()), lab)
        confine(OTHERS_CPU, {tid for name in lab.vms for tid in (*workers(name), *vcpus(name))})
        yield watch
