"""How fast logs are read, and in how much memory, against only iterating over their lines.

Each runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from tests.bench.table import Row
from tests.support.pings import Ping, logs

#: Prints the seconds and the peak of resident kilobytes of a step.
_RUN = """
import json, resource, sys, time
from pathlib import Path

def lines(directory):
    found = 0
    for path in sorted(directory.iterdir()):
        with open(path, encoding="utf-8") as file:
            for line in file:
                found += 1
    return found

def analyze(directory):
    from vmlat_tui.analysis.collection import Collection
    from vmlat_tui.analysis.decomposition import Decomposition
    from vmlat_tui.importers import directory as importing
    collection = Collection()
    sources = importing.read([directory], collection, importing.Ends()).sources
    assert not any(source.troubles for source in sources)
    assert Decomposition("bench", collection).figure("rest").count
    return sum(source.text.lines for source in sources)

begin = time.perf_counter()
found = {"lines": lines, "analyze": analyze}[sys.argv[1]](Path(sys.argv[2]))
seconds = time.perf_counter() - begin
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([found, seconds, peak]))
"""


def rows(megabytes: float) -> list[Row]:
    """The claims about logs of this size altogether, and of a fourth of it."""
    with tempfile.TemporaryDirectory() as directory:
        quarter, whole = Path(directory, "quarter"), Path(directory, "whole")
        _write(quarter, megabytes / 4)
        size = _write(whole, megabytes)
        lines, plain_s, plain_kb = _measure("lines", whole)
        again, seconds, peak_kb = _measure("analyze", whole)
        _, _, quarter_kb = _measure("analyze", quarter)
    assert lines == again, "not every line was read"
    speed = f"{size / 1e6 / seconds:.0f} MB/s, {lines / seconds / 1e3:.0f} thousand lines a second"
    return [
        Row(f"{size / 1e6:.0f} MB of logs analysed", f"{seconds:.1f} s: {speed}"),
        Row("time against iterating over the lines", f"{seconds / plain_s:.1f} times"),
        Row("peak of memory", f"{peak_kb / 1024:.0f} MB; iterating {plain_kb / 1024:.0f} MB"),
        Row.aimed("peak against that of a fourth of the logs", [peak_kb / quarter_kb], 4),
        Row.aimed("peak", [peak_kb / 1024], 250, "MB"),
    ]


def _measure(step: str, directory: Path) -> tuple[int, float, int]:
    done = subprocess.run(
        [sys.executable, "-c", _RUN, step, str(directory)],
        check=True, capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    found, seconds, peak = json.loads(done.stdout)
    return found, seconds, peak


def _write(directory: Path, megabytes: float) -> int:
    """Logs of all tools, joined by packet; returns their size."""
    directory.mkdir()
    size = 0
    for found in _batches():
        for name, lines in logs(found).items():
            with open(directory / name, "a", encoding="utf-8") as file:
                size += file.write("\n".join(lines) + "\n")
        if size >= megabytes * 1e6:
            return size
    raise AssertionError


def _batches() -> Iterator[list[Ping]]:
    for batch in count():
        yield [Ping((500 * batch + n) & 0xFFFF) for n in range(1, 501)]
