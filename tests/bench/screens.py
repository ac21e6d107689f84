"""The screens in a real 80x24 terminal, against the same table drawn with Textual's own.

Both show two tables of 20 rows and get two updates a second; vmlat reads a recording of 8 VMs
with 20 legs each way meanwhile.  Processor time is of the whole process, threads included.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.table import Row
from tests.tui import host
from tests.tui.streams import Stream, write
from tests.tui.terminal import Terminal, running

#: What one would write first: a DataTable, every cell updated.
NAIVE = """
import random
from textual.app import App
from textual.containers import Horizontal
from textual.widgets import DataTable

class Naive(App):
    CSS = "DataTable { width: 1fr; height: 1fr; }"
    def compose(self):
        with Horizontal():
            yield DataTable(cursor_type="row")
            yield DataTable(cursor_type="row")
    def on_mount(self):
        for table in self.query(DataTable):
            table.add_columns("leg", "pkts", "p50", "p99", "max")
            for n in range(20):
                table.add_row(f"legs-{n}", "0", "0", "0", "0")
        self.set_interval(0.5, self.tick)
    def tick(self):
        for table in self.query(DataTable):
            for row in range(20):
                for column in range(1, 5):
                    table.update_cell_at((row, column), str(random.randrange(10000)))

Naive().run()
"""


#: How often each program is started, the first time for nothing.
_STARTS = 6


@dataclass
class Figures:
    """Of one program."""

    start_s: float
    cpu_share: float
    bytes_per_second: float
    key_ms: list[float]
    memory_mb: float

    @property
    def key_p99_ms(self) -> float:
        """99 of 100 keys were answered within this."""
        return sorted(self.key_ms)[int(0.99 * (len(self.key_ms) - 1))]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    resident = next(line for line in lines if line.startswith("VmRSS"))
    return int(resident.split()[1]) / 1024


def _start_s(arguments: list[str], sign: bytes) -> float:
    """From the start of the process to what it paints first."""
    begin = time.monotonic()
    with running(arguments) as terminal:
        if not terminal.until(sign, 30):
            raise RuntimeError(f"nothing was painted: {terminal.output[-300:]!r}")
        return time.monotonic() - begin


def _observe(
    arguments: list[str], sign: bytes, opening: Sequence[bytes], seconds: float, keys: int
) -> Figures:
    # The first one may compile modules; a user's second start does not.
    start_s = statistics.median([_start_s(arguments, sign) for _ in range(_STARTS)][1:])
    with running(arguments) as terminal:
        terminal.until(sign, 30)
        for key in opening:
            terminal.read(1.0)
            terminal.type(key)
        terminal.read(4.0)
        pid = terminal.child.pid
        cpu_s, size, begin = _cpu_s(pid), len(terminal.output), time.monotonic()
        terminal.read(seconds)
        elapsed = time.monotonic() - begin
        cpu_share = (_cpu_s(pid) - cpu_s) / elapsed
        rate = (len(terminal.output) - size) / elapsed
        answers = [_answer_ms(terminal, (b"\x1b[B", b"\x1b[A")[n % 2]) for n in range(keys)]
        memory = _memory_mb(pid)
        terminal.type(b"q")
        return Figures(start_s, cpu_share, rate, answers, memory)


def _answer_ms(terminal: Terminal, key: bytes) -> float:
    """From a key to the first byte that it has painted; keys fall anywhere between two updates."""
    terminal.read(0.06 + 0.05 * ((len(terminal.output) * 7) % 10) / 10)
    size, begin = len(terminal.output), time.monotonic()
    terminal.type(key)
    while len(terminal.output) == size and time.monotonic() - begin < 2:
        terminal.read_once(0.002)
    return (time.monotonic() - begin) * 1000


def rows(seconds: float, keys: int) -> list[Row]:
    """The claims about the screens."""
    with tempfile.TemporaryDirectory() as directory:
        stream = Stream(host.NAMES, interval_s=0.5, drawn=12, least_legs=20)
        path = write(Path(directory, "bench.vmlat"), stream.whole(int(2 * seconds) + keys + 80, 3))
        ours = ["-m", "vmlat_tui", "--replay", str(path)]
        ours_figures = _observe(ours, b"build-7", (b"\r",), seconds, keys)
    naive = _observe(["-c", NAIVE], b"legs-3", (), seconds, keys)
    return [
        _row("start to first paint, median", "s", ours_figures.start_s, naive.start_s, 0.5),
        _row("processor", "% of a core", 100 * ours_figures.cpu_share, 100 * naive.cpu_share, 5),
        _row("written to the terminal", "KB/s", ours_figures.bytes_per_second / 1000,
             naive.bytes_per_second / 1000, 20),
        _row("key to paint, median", "ms", statistics.median(ours_figures.key_ms),
             statistics.median(naive.key_ms), None),
        _row("key to paint, p99", "ms", ours_figures.key_p99_ms, naive.key_p99_ms, 50),
        _row("resident memory", "MB", ours_figures.memory_mb, naive.memory_mb, 80),
    ]  # fmt: skip


def _row(what: str, unit: str, ours: float, theirs: float, aim: float | None) -> Row:
    result = f"{ours:.3g} {unit}; with DataTable {theirs:.3g}; ratio {ours / theirs:.2f}"
    if aim is None:
        return Row(what, result)
    return Row(what, result, f"at most {aim:g} {unit}", "reached" if ours <= aim else "MISSED")
