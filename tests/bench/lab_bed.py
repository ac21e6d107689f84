"""The ways to trace the guest of the lab's scenario, and the packets that are traced there."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.bench.every_point import Names, program
from tests.bench.modes import Bpftrace, Mode
from vmlat_tui.agent.measurement import Measurement
from vmlat_tui.lab import inside
from vmlat_tui.lab.inside import Lab, Vm
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.points import BOTH
from vmlat_tui.model.requested import Requested
from vmlat_tui.model.wakeups import Role


class Pings(NamedTuple):
    """What came of some pings; each answered one is a packet into the guest and one out of it."""

    answered: int
    median_ms: float


class Vmlat(Mode):
    """The agent's measurement of a vNIC with all its points; nobody reads it while packets run."""

    name = "vmlat"

    def __init__(self, vm: Vm) -> None:
        self._vm = vm
        #: Packets that the last context completed, and those that it did not.
        self.completed = self.missing = 0
        self.programs: list[str] = []
        self.threads: dict[Role, int] = {}

    @contextmanager
    def attached(self) -> Iterator[None]:
        requested = Requested((str(self._vm.vnet),), emit=False, detail=False)
        measurement = Measurement(requested, lambda frame: None)
        try:
            measurement.start()
            engine = measurement.engine
            self.programs = list(engine.attached.programs)
            yield
            engine.stop()
            accounts = engine.read().accounts
            self.completed = sum(accounts[d].bins[Bin.COMPLETED] for d in BOTH)
            self.missing = sum(accounts[d].started for d in BOTH) - self.completed
            self.threads = {wakeups.role: wakeups.tid for _, wakeups in engine.wakeups()}
        finally:
            measurement.close()


class LabBed:
    """One guest, pinged from the remote side."""

    def __init__(self) -> None:
        self.lab: Lab = inside.lab()
        self.vm: Vm = next(iter(self.lab.vms.values()))

    def ping(self, count: int, interval_s: float = 0) -> Pings:
        """Ping it, with 0 the next when the one before is answered (at most 10 ms later)."""
        pace = ["-f"] if interval_s == 0 else ["-i", str(interval_s)]
        command = ["ping", "-n", "-c", str(count), *pace, "-W", "5", self.vm.ip4]
        text = inside.remote(command, 300).stdout.decode()
        found = re.search(r"(\d+) received", text)
        if not found:
            raise RuntimeError(f"ping says: {text}")
        times = [float(time) for time in re.findall(r"time=([\d.]+) ms", text)]
        return Pings(int(found.group(1)), statistics.median(times) if times else 0.0)

    def modes(self) -> tuple[Vmlat, Bpftrace]:
        """vmlat, and bpftrace with the points that vmlat has here; it is measured once for that."""
        vmlat = Vmlat(self.vm)
        with vmlat.attached():
            self.ping(20)
        names = Names(
            str(self.vm.vnet),
            self.lab.uplink,
            vmlat.threads[Role.WORKER],
            vmlat.threads[Role.VCPU],
        )
        return vmlat, Bpftrace(program(vmlat.programs, names), 240)
