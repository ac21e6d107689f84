"""How many single packets a second reach user space, and how fast an agent starts."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from tests.bench.table import Row
from tests.native.meter import Meter
from tests.native.net import Bed, Task, write_all
from tests.native.wire import V4
from vmlat_tui.probes.engine import Limits, PathEngine, Settings
from vmlat_tui.probes.ladder import Kernel

ROOT = Path(__file__).resolve().parents[2]
_POLL_S = 0.005


def _sender(bed: Bed, rate: int, seconds: float) -> Task:
    """Sends ``rate`` packets a second (0: as fast as it goes), a few at a time."""
    descriptor, frames = bed.tap.descriptor, [V4.frame(n) for n in range(64)]

    def work() -> int:
        begin, sent = time.monotonic(), 0
        while time.monotonic() - begin < seconds:
            due = int((time.monotonic() - begin) * rate) - sent if rate else 1000
            if due > 0:
                sent += write_all(descriptor, frames, due)
            else:
                time.sleep(0.0005)
        return sent

    return Task(work)


def _emit(meter: Meter, rate: int, seconds: float) -> tuple[int, int, float]:
    """(records read, records lost in the kernel, seconds) with every packet emitted."""
    meter.begin(Settings())
    task, begin, got = _sender(meter.bed, rate, seconds), time.monotonic(), 0
    while time.monotonic() - begin < seconds + 0.1:
        records = meter.engine.packets()
        got += len(records)
        if not records:
            time.sleep(_POLL_S)
    task.wait()
    got += len(meter.packets())
    return got, meter.result().counters["lost"], seconds


def rows(kernel: Kernel, rates: tuple[int, ...], seconds: float) -> list[Row]:
    """Events a second that are read without loss, and with the sender unbounded."""
    engine = PathEngine(kernel, Limits(), functions=False)
    best, found = 0, []
    try:
        with Bed() as bed:
            meter = Meter(engine, bed)
            for rate in rates:
                # Once more if it fails: the machine may have been busy just then.
                tries = (_emit(meter, rate, seconds) for _ in range(3))
                good = next((got for got, lost, _ in tries if not lost), None)
                if good is None:
                    break
                best = int(good / seconds)
            got, lost, elapsed = _emit(meter, 0, seconds)
    finally:
        engine.close()
    found.append(Row("single packets a second, none lost", f"{best:,}"))
    share = lost / (got + lost) if got + lost else 0.0
    note = f"of {(got + lost) / elapsed:,.0f}; {share:.0%} lost, all counted"
    found.append(Row("the same, sender unbounded", f"{got / elapsed:,.0f}", note=note))
    return found


def _first_line(child: subprocess.Popen[bytes], seconds: float) -> Optional[bytes]:
    assert child.stdout
    if not select.select([child.stdout], [], [], seconds)[0]:
        return None
    return child.stdout.readline()


def _peak_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


@dataclass
class _Starts:
    """Starts of agents: seconds to the first frame, megabytes at most, and what went wrong."""

    seconds: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    problem: str = ""


def _start(bed: Bed, cache: str, starts: _Starts) -> None:
    command = {"command": "configure", "vm_interfaces": [bed.tap.name], "uplinks": [bed.uplink]}
    begin = time.monotonic()
    child = subprocess.Popen(
        (sys.executable, "-m", "vmlat_tui", "agent"),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONWARNINGS": "ignore", "VMLAT_CACHE": cache},
    )
    try:
        assert child.stdin
        child.stdin.write(json.dumps(command).encode() + b"\n")
        child.stdin.flush()
        line = _first_line(child, 30)
        seconds = time.monotonic() - begin
        if not line or json.loads(line).get("type") != "hello":
            starts.problem = (line or b"no frame").decode(errors="replace").strip()[:80]
            return
        time.sleep(1.5)  # readings included
        starts.seconds.append(seconds)
        starts.memory.append(_peak_mb(child.pid))
    finally:
        child.kill()
        child.communicate()


def agent_rows(times: int) -> list[Row]:
    """Start to first frame and memory of an agent, each time a new process.

    Cold: nothing kept from an earlier start, so that the program is compiled.
    """
    cold, warm = _Starts(), _Starts()
    with Bed() as bed, tempfile.TemporaryDirectory() as kept:
        for number in range(times):
            fresh = Path(kept, f"cold{number}")
            fresh.mkdir(mode=0o700)
            for starts in (cold, warm):  # the second start finds what the first one kept
                _start(bed, str(fresh), starts)
    found = []
    for name, starts in (("cold", cold), ("again", warm)):
        if starts.problem:
            found.append(Row(f"start to first frame, {name}", f"not measured: {starts.problem}"))
        else:
            found.append(Row.aimed(f"start to first frame, {name}", starts.seconds, 1.0, "s"))
            found.append(Row.aimed(f"memory at most, {name}", starts.memory, 150, "MB"))
    return found
