"""A running agent whose measurement is judged, as ``vmlat doctor --live`` and the screens do it.

Its start takes longer than a measurement: one agent serves many of them, each begun anew by the
filter, as on the screen.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.lab.faults import bound
from tests.lab.measure import START_S, Lab
from tests.lab.test_lab import qemu_pid, vhost_threads
from vmlat_tui.analysis.findings.evidence import Evidence
from vmlat_tui.analysis.findings.finding import Finding
from vmlat_tui.model.points import Direction
from vmlat_tui.report.evidence import evidence
from vmlat_tui.report.findings import verdict
from vmlat_tui.session.history import History
from vmlat_tui.session.process import AgentProcess
from vmlat_tui.session.snapshot import Place, Snapshot
from vmlat_tui.session.window import Span

#: The lab binds vCPUs to the second one; workers are bound to the first one here.
WORKER_CPU, VCPU_CPU = 0, 1
TRAFFIC_S = 6.0
#: No multiple or part of the period of what is stopped now and then: pings meet all of it.
_PING_GAP_S = "0.047"


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
    """An agent that measures some VMs which are pinged all the time."""

    def __init__(self, agent: AgentProcess, lab: Lab, pings: dict[str, int]) -> None:
        """``pings``: the name of each VM and who pings it."""
        self._agent = agent
        self._pings = pings
        self._history = History()
        self._taps = {name: str(lab.vms[name].vnet) for name in pings}
        agent.send("configure", discover=True, measure=False)
        self.wait(lambda now: now.topology is not None, "the topology", START_S)
        agent.send(
            "measure", vm_interfaces=list(self._taps.values()), uplinks=[], filters=[],
            directions=["tx", "rx"], emit=False,
        )  # fmt: skip
        self.wait(lambda now: now.stats and now.rates, "the first figures", START_S)
        #: The first measurement, before anything was done.
        self.calm = self.measure()

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

    def measure(self, seconds: float = TRAFFIC_S) -> dict[str, Judged]:
        """Measure from now on; judge each VM's vNIC."""
        before = self.now.measuring
        self._agent.send("filter", filters=[])
        self.wait(lambda now: now.measuring is not before and now.stats, "a new beginning")
        self._pump(seconds)
        moments = self._history.moments()
        place = Place(moments, len(moments) - 1)
        found = {}
        for name, tap in self._taps.items():
            judged, given = verdict(place, tap, Span.START), evidence(place, tap, Span.START)
            assert judged.judged and given is not None, (name, judged)
            found[name] = Judged(judged.findings, given)
        return found

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

    @contextlib.contextmanager
    def measuring_on(self, cpu: int) -> Iterator[None]:
        """Who measures runs there, away from what is measured."""
        with contextlib.ExitStack() as stack:
            tasks = Path(f"/proc/{self._agent.pid}/task")
            for tid in (os.getpid(), *(int(task.name) for task in tasks.iterdir())):
                with contextlib.suppress(ProcessLookupError):  # a passing thread
                    stack.enter_context(bound(tid, cpu))
            yield

    @contextlib.contextmanager
    def pinging_from(self, cpu: int) -> Iterator[None]:
        """Who pings runs there."""
        with contextlib.ExitStack() as stack:
            for pid in self._pings.values():
                stack.enter_context(bound(pid, cpu))
            yield


def workers(name: str) -> list[int]:
    """The tids of a VM's vhost workers."""
    return [int(path.split("/")[4]) for path in vhost_threads(qemu_pid(name))]


@contextlib.contextmanager
def watching(lab: Lab, *names: str) -> Iterator[Watch]:
    """Workers are bound before the agent looks; who measures runs beside them, not the vCPUs.

    Who pings runs beside the vCPUs: beside the workers it would not send while they wait.
    """
    with contextlib.ExitStack() as stack:
        for tid in (tid for name in names for tid in workers(name)):
            stack.enter_context(bound(tid, WORKER_CPU))
        pings = {}
        for name in names:
            address = lab.vms[name].ip4
            ping = subprocess.Popen(
                ["ip", "netns", "exec", lab.remote_ns, "ping", "-n", "-q", "-i", _PING_GAP_S,
                 address],
                stdout=subprocess.DEVNULL,
            )  # fmt: skip
            stack.callback(ping.wait)
            stack.callback(ping.kill)
            os.sched_setaffinity(ping.pid, {VCPU_CPU})
            pings[name] = ping.pid
        stack.enter_context(bound(os.getpid(), WORKER_CPU))
        yield Watch(stack.enter_context(AgentProcess()), lab, pings)
