"""``python -m tests.fuzz [--minutes N] [TARGET ...]``: new inputs, for so long.

Each target has a process of its own in each round, round after round until the time is over.
At the end each has a line: inputs, refused ones, the slowest in s, the most memory in MB.  The exit
status is 1 if an input ended in an exception that is not ours, took more than 2 s, or if a process
took more than 200 MB.  An input that fails is made as small as can be and kept in .vmlat/fuzz;
``--again TARGET FILE`` tries it once more, and in tests/fuzz/corpus it is tried at each check.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import secrets
import subprocess
import sys
import time
import traceback
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from tests.fuzz.support import LIMIT_S, Target, peak_mb
from tests.fuzz.targets import TARGETS

_ROOT = Path(__file__).parents[2]
_KEPT = _ROOT / ".vmlat" / "fuzz"
#: How long a process takes to begin.
_START_S = 2.0
#: How long a round of a target is, and how many inputs Hypothesis may keep in mind meanwhile.
_ROUND_S = 20.0
_INPUTS = 2000
_MOST_MB = 200
#: More than this is refused to a process: the machine has others.
_ADDRESSES = 4 << 30


@dataclasses.dataclass
class Row:
    """All rounds of one target."""

    rounds: int = 0
    inputs: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    peak_mb: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)


class _Over(BaseException):
    """The round is over: Hypothesis makes no more inputs, which also takes time and memory."""


def fuzz(target: Target, number: int, seconds: float) -> dict[str, object]:
    """One target in this process; what became of it."""
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
    end = time.monotonic() + max(seconds, 1)
    last = b""

    @seed(number)
    @settings(
        database=DirectoryBasedExampleDatabase(_KEPT / "database" / target.name),
        deadline=None,
        max_examples=_INPUTS,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.reuse, Phase.generate, Phase.shrink),
    )
    @given(target.inputs)
    def every(data: bytes) -> None:
        nonlocal last
        if time.monotonic() > end and not failed:
            raise _Over
        last = data
        try:
            target.attempt(data)
        except BaseException:
            failed.append(1)
            raise

    failed: list[int] = []
    failure = ""
    try:
        every()
    except _Over:
        pass
    except Exception:
        failure = f"{_keep(target, last)}\n{traceback.format_exc(limit=-6)}"
    found = dataclasses.asdict(target.figures)
    return {**found, "peak_mb": peak_mb(), "failure": failure}


def _keep(target: Target, data: bytes) -> Path:
    path = _KEPT / target.name / secrets.token_hex(4)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def run(names: list[str], minutes: float) -> int:
    """Round robin; the exit status."""
    rows = {name: Row() for name in names}
    begin = time.monotonic()
    end = begin + minutes * 60
    while (left := end - time.monotonic()) > 1:
        for place, name in enumerate(names):
            left = end - time.monotonic()
            if left < 1 and rows[name].rounds:
                break
            _run_round(name, rows[name], min(_ROUND_S, left / (len(names) - place)) - _START_S)
        print(f"{(time.monotonic() - begin) / 60:.1f} of {minutes:g} minutes", flush=True)
    print(f"\n{'target':<16}{'inputs':>10}{'refused':>10}{'slowest s':>11}{'peak MB':>9}  failures")
    for name, row in rows.items():
        print(f"{name:<16}{row.inputs:>10}{row.refused:>10}{row.slowest_s:>11.2f}{row.peak_mb:>9}"
              f"  {len(row.failures) or 'none'}")  # fmt: skip
    failures = [failure for row in rows.values() for failure in row.failures]
    idle = [name for name, row in rows.items() if not row.inputs]
    for failure in (*failures, *(f"{name} had no input" for name in idle)):
        print(f"\n{failure}")
    print(f"\n{sum(row.inputs for row in rows.values())} inputs, {len(failures)} failures")
    return 1 if failures or idle else 0


def _run_round(name: str, row: Row, seconds: float) -> None:
    number = secrets.randbits(32)
    line = (sys.executable, "-m", "tests.fuzz", "--round", name, str(number), str(seconds))
    done = subprocess.run(line, cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=False)
    row.rounds += 1
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        row.failures.append(f"{name}: the process ended with {done.returncode}, seed {number}")
        return
    row.inputs += found["inputs"]
    row.refused += found["refused"]
    row.slowest_s = max(row.slowest_s, found["slowest_s"])
    row.peak_mb = max(row.peak_mb, found["peak_mb"])
    if found["failure"]:
        row.failures.append(f"{name}: {found['failure']}")
        print(f"{name}: failed", flush=True)
    if found["peak_mb"] > _MOST_MB:
        row.failures.append(f"{name}: {found['peak_mb']} MB, seed {number}")


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__.partition("\n\n")[2])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--again", nargs=2, metavar=("TARGET", "FILE"))
    parser.add_argument("--round", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    wanted = parser.parse_args()
    unknown = set(wanted.targets) - TARGETS.keys()
    if unknown:
        parser.error(f"there is no target {min(unknown)}")
    if wanted.round:
        # What a target prints is not for the reader of this output.
        output = os.dup(1)
        os.dup2(2, 1)
        name, number, seconds = wanted.round
        found = fuzz(TARGETS[name], int(number), float(seconds))
        os.write(output, json.dumps(found).encode() + b"\n")
        return 0
    if wanted.again:
        target = TARGETS[wanted.again[0]]
        target.attempt(Path(wanted.again[1]).read_bytes())
        print(f"{target.figures.slowest_s:.2f} s of at most {LIMIT_S:g}, {peak_mb()} MB")
        return 0
    return run(wanted.targets or list(TARGETS), wanted.minutes)


if __name__ == "__main__":
    sys.exit(main())
