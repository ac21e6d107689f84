"""Runs the checks and tests of the project, step by step, and sums them up.

``make check`` runs the steps that need neither root nor a lab, ``make test`` runs all.  Every
step has a time limit and a progress line; a failing step does not keep the others from running.
At the end stands a table of the steps, and as the very last line ``N passed, N failed`` over all
tests of all steps.  The exit status is 0 only if nothing failed.

How many tests passed, failed and were skipped is read from the JUnit XML that pytest writes beside
the step's log, in a lab as well: the checkout is at the same place inside, and can be written to.

A step that fails without a failed test (lint, a crash, a time limit, a budget used up) counts
as one failure, and so does a pytest run in which nothing passed (no tests, or all skipped) or that
left no report: the last line never says more than was proven.
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
import os
import re
import selectors
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / ".vmlat" / "test-logs"
KERNELS = ("5.10", "6.1", "6.12")
#: What is found does not depend on the kernel; 6.12 with three processors breaks QEMU down often.
BLAME_KERNELS = ("6.1",)
#: Two hypervisors and their guests take some minutes: what is joined are readings, of any kernel.
PAIR_KERNELS = ("6.1",)

#: Minutes long, and 5.10 needs most privileges: by hand, before docs/privileges.md is changed.
LEFT_OUT = dict.fromkeys(("6.1", "6.12"), ("tests/lab/test_privileges.py",))
#: New inputs for every parser; `make fuzz` takes longer.
FUZZ_MINUTES = 2
#: The whole of `make test` ends within this, whatever its steps do.
BUDGET_MINUTES = 80.0
#: After this long without any output, a line says that the step is alive.
QUIET_S = 30.0
#: How long a stopped step may clean up (a lab has a machine to power off), then to be killed.
GRACE_S = 45.0


@dataclasses.dataclass(frozen=True)
class Step:
    """One command of the run; ``tests`` names the directory if it is a pytest run.

    The command of a pytest run ends with arguments of pytest: others are appended.
    Only an ``optional`` step may have no tests there.  If the output matches ``crash``, it did not
    fail by its tests: the emulated machine they ran in broke down.  It is run again, without the
    tests that ``-v`` says have passed.
    """

    name: str
    command: tuple[str, ...]
    limit_s: float
    tests: str | None = None
    optional: bool = False
    crash: str | None = None


@dataclasses.dataclass(frozen=True)
class Counts:
    """How many tests ended how."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0


#: How often a step is run whose machine breaks down, and the least time for one more try.
TRIES = 5
_TRY_S = 60.0
#: What is said when the lab's machine has ended by itself.
_CRASH = "the lab did not come up|the lab has ended"
_PASSED = re.compile(r"^(\S+::\S.*?) PASSED\b", re.MULTILINE)


class Outcome(enum.Enum):
    """How a step ended."""

    PASSED = "passed"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED OUT"
    NOT_RUN = "NOT RUN"
    ABSENT = "absent"
    MISSING = "MISSING"


@dataclasses.dataclass(frozen=True)
class Result:
    """One line of the table."""

    step: Step
    outcome: Outcome
    counts: Counts
    seconds: float


def report_of(step: Step) -> Path:
    """Return the file into which pytest is told to write what became of this step's tests."""
    return LOGS / f"{step.name}.xml"


def reported(report: Path) -> Counts | None:
    """Count the tests of a JUnit XML file; None if there is none, or only the beginning of one."""
    try:
        cases = xml.etree.ElementTree.parse(report).iter("testcase")
    except (OSError, xml.etree.ElementTree.ParseError):
        return None
    passed = failed = skipped = 0
    for case in cases:
        # An error is a failure outside of the test: while it is collected, set up or torn down.
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return Counts(passed, failed, skipped)


def judge(step: Step, exit_status: int, counts: Counts | None, timed_out: bool = False) -> Result:
    """Turn what a finished command left behind into a result (without its time).

    ``counts`` are those of its report, if it left one.
    """
    good = exit_status == 0 and not timed_out
    if step.tests and (counts is None or counts.failed or not counts.passed):
        good = False
    counts = counts or Counts()
    if not good and not counts.failed:
        counts = dataclasses.replace(counts, failed=1)
    outcome = Outcome.TIMED_OUT if timed_out else Outcome.PASSED if good else Outcome.FAILED
    return Result(step, outcome, counts, 0.0)


def total(results: Iterable[Result]) -> Counts:
    """Sum the counts of all steps."""
    passed = failed = skipped = 0
    for result in results:
        passed += result.counts.passed
        failed += result.counts.failed
        skipped += result.counts.skipped
    return Counts(passed, failed, skipped)


def table(results: Sequence[Result]) -> str:
    """Lay out one line per step."""
    width = max([4, *(len(result.step.name) for result in results)])
    titles = f"{'result':<9}  {'passed':>6}  {'failed':>6}  {'skipped':>7}  time"
    lines = [f"{'step':<{width}}  {titles}"]
    for result in results:
        counts = result.counts
        numbers = [str(counts.passed), str(counts.failed), str(counts.skipped)]
        if not result.step.tests:
            numbers = ["", str(counts.failed) if counts.failed else "", ""]
        lines.append(
            f"{result.step.name:<{width}}  {result.outcome.value:<9}  {numbers[0]:>6}"
            f"  {numbers[1]:>6}  {numbers[2]:>7}  {result.seconds:.1f} s"
        )
    return "\n".join(lines)


def clock(seconds: float) -> str:
    """Format an elapsed time as ``mm:ss``."""
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def has_tests(directory: Path) -> bool:
    """Say whether pytest would find a test file there."""
    return any(directory.rglob("test_*.py"))


def steps() -> tuple[list[Step], list[Step]]:
    """List the steps of ``check``, and those that ``test`` adds."""
    python = str(ROOT / ".venv" / "bin" / "python")
    vmlat = str(ROOT / ".venv" / "bin" / "vmlat")
    pytest = (python, "-m", "pytest", "--color=no")
    quick = [
        Step("lint", (python, "-m", "ruff", "check", "--output-format=concise", "."), 60),
        Step("format", (python, "-m", "ruff", "format", "--check", "."), 60),
        Step("types", (python, "-m", "mypy"), 180),
        Step("imports", (str(ROOT / ".venv" / "bin" / "lint-imports"), "--no-logo"), 60),
        # They mostly wait: for other processes, and for the clock.
        Step("unit", (*pytest, "-n", "3", "--timeout=60", "tests/unit"), 300, "tests/unit"),
        Step("tui", (*pytest, "-n", "4", "--timeout=120", "tests/tui"), 400, "tests/tui"),
        # A few inputs of each parser, always the same ones; what comes new is fuzzed below.
        Step("inputs", (*pytest, "-n", "2", "--timeout=120", "tests/fuzz"), 180, "tests/fuzz"),
    ]
    full = [
        Step(
            "processes",
            (*pytest, "-n", "3", "--timeout=120", "tests/processes"),
            400,
            "tests/processes",
        ),
        Step("fuzz", (python, "-m", "tests.fuzz", "--minutes", str(FUZZ_MINUTES)), 360),
        Step("native", (*pytest, "--timeout=300", "tests/native"), 900, "tests/native"),
        Step(
            "lab_host",
            (*pytest, "--timeout=900", "-v", "tests/lab_host"),
            1200,
            "tests/lab_host",
            optional=True,
            crash=_CRASH,
        ),
    ]

    def lab(
        kind: str, kernel: str, scenario: str, limit_s: float, tests: str, cpus: int = 2
    ) -> None:
        options = ("--color=no", "-v", "--durations=10", "-p", "no:cacheprovider")
        left_out = [f"--ignore={path}" for path in LEFT_OUT.get(kernel, ())]
        inside = ("python3", "-m", "pytest", *options, *left_out, tests)
        machine = ("--kernel", kernel, "--scenario", scenario, "--cpus", str(cpus))
        line = (vmlat, "lab", "run", *machine, "--", *inside)
        full.append(Step(f"{kind}-{kernel}", line, limit_s, tests, crash=_CRASH))

    for kernel in KERNELS:
        lab("lab", kernel, "ovs", 2400, "tests/lab")
    for kernel in BLAME_KERNELS:
        lab("blame", kernel, "two-vms", 1200, "tests/lab_blame", cpus=3)
    for kernel in PAIR_KERNELS:
        lab("pair", kernel, "pair", 1200, "tests/lab_pair")
    return quick, full


class Interrupted(Exception):
    """The user or the system ended the run."""


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End a step: as ctrl-C first, so that it cleans up, then its whole process group."""
    child.send_signal(signal.SIGINT)
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def run(step: Step, limit_s: float, log: BinaryIO, started: float) -> tuple[int, str, bool]:
    """Run one step, its output passed on as it comes; return status, output, timed out."""
    begin = time.monotonic()
    last = begin
    output = bytearray()
    timed_out = False
    environment = dict(os.environ, PYTHONUNBUFFERED="1", PYTHONNOUSERSITE="1")
    with (
        subprocess.Popen(
            step.command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as child,
        selectors.DefaultSelector() as selector,
    ):
        assert child.stdout is not None
        pipe = child.stdout.fileno()
        selector.register(pipe, selectors.EVENT_READ)
        try:
            # A process that outlives the step may keep the pipe open: its end is not a criterion.
            while True:
                ended = child.poll() is not None
                if selector.select(0.0 if ended else 0.5):
                    chunk = os.read(pipe, 65536)
                    if chunk:
                        output += chunk
                        log.write(chunk)
                        sys.stdout.buffer.write(chunk)
                        sys.stdout.buffer.flush()
                        last = time.monotonic()
                    elif ended:
                        break
                    else:
                        time.sleep(0.05)
                elif ended:
                    break
                now = time.monotonic()
                if now - begin > limit_s and not timed_out:
                    timed_out = True
                    say(started, f"{step.name}: over its time limit of {limit_s:.0f} s; stopping")
                    _stop(child)
                elif now - last > QUIET_S:
                    say(started, f"{step.name}: still running after {now - begin:.0f} s")
                    last = now
        except BaseException:
            say(started, f"{step.name}: interrupted; stopping")
            _stop(child)
            raise
    return child.returncode, output.decode("utf-8", "replace"), timed_out


def attempt(step: Step, remaining_s: float, log: BinaryIO, started: float) -> Result:
    """Run a step within its limits, and where its machine breaks down, the rest of it again."""
    end = time.monotonic() + remaining_s
    passed: list[str] = []
    report = report_of(step)
    reporting = (f"--junitxml={report}",) if step.tests else ()
    for number in range(1, TRIES + 1):
        without = tuple(word for test in passed for word in ("--deselect", test))
        limit_s = min(step.limit_s, end - time.monotonic())
        again = dataclasses.replace(step, command=step.command + reporting + without)
        report.unlink(missing_ok=True)
        status, output, timed_out = run(again, limit_s, log, started)
        if output and not output.endswith("\n"):
            print()
        result = judge(step, status, reported(report) if step.tests else None, timed_out)
        broke = status != 0 and step.crash is not None and bool(re.search(step.crash, output))
        if not broke or number == TRIES or end - time.monotonic() < _TRY_S:
            break
        passed += _PASSED.findall(output)
        text = f"{step.name}: the emulated machine itself broke down"
        say(started, f"{text}; once more, without the {len(passed)} tests that have passed")
    counts = result.counts
    counts = dataclasses.replace(counts, passed=counts.passed + len(passed))
    return dataclasses.replace(result, counts=counts)


def say(started: float, text: str) -> None:
    """Print a progress line with the time since the start of the run."""
    print(f"[{clock(time.monotonic() - started)}] {text}", flush=True)


def run_all(chosen: Sequence[Step], budget_s: float) -> list[Result]:
    """Run the steps in order and return what became of each."""
    started = time.monotonic()
    LOGS.mkdir(parents=True, exist_ok=True)
    results = []
    for number, step in enumerate(chosen, 1):
        heading = f"{number}/{len(chosen)} {step.name}"
        if step.tests and not has_tests(ROOT / step.tests):
            say(started, f"{heading}: there are no tests in {step.tests}")
            if step.optional:
                results.append(Result(step, Outcome.ABSENT, Counts(), 0.0))
            else:
                results.append(Result(step, Outcome.MISSING, Counts(failed=1), 0.0))
            continue
        remaining = budget_s - (time.monotonic() - started)
        limit = min(step.limit_s, remaining)
        if limit <= 0:
            say(started, f"{heading}: not run, the time for the whole run is used up")
            results.append(Result(step, Outcome.NOT_RUN, Counts(failed=1), 0.0))
            continue
        say(started, f"{heading}: {' '.join(step.command)} (at most {limit:.0f} s)")
        begin = time.monotonic()
        try:
            with open(LOGS / f"{step.name}.log", "wb") as log:
                result = attempt(step, remaining, log, started)
        except OSError as error:
            result = judge(step, 127, None)
            say(started, f"{heading}: cannot run: {error}")
        result = dataclasses.replace(result, seconds=time.monotonic() - begin)
        say(started, f"{heading}: {result.outcome.value} in {result.seconds:.1f} s")
        results.append(result)
    return results


def _on_signal(number: int, frame: object) -> NoReturn:
    raise Interrupted(signal.Signals(number).name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; return the exit status."""
    quick, full = steps()
    parser = argparse.ArgumentParser(description="Runs the checks and tests of vmlat.")
    parser.add_argument("what", choices=("check", "test"))
    names = [step.name for step in quick + full]
    parser.add_argument(
        "only", nargs="*", metavar="STEP", help=f"run only these steps: {', '.join(names)}"
    )
    parser.add_argument(
        "--budget-minutes", type=float, default=BUDGET_MINUTES, help="for the whole run"
    )
    options = parser.parse_intermixed_args(arguments)
    chosen = quick if options.what == "check" else quick + full
    unknown = sorted(set(options.only) - set(names))
    if unknown:
        parser.error(f"no such step: {' '.join(unknown)}; there are {', '.join(names)}")
    if options.only:
        chosen = [step for step in quick + full if step.name in options.only]
    if any(step in full for step in chosen) and os.geteuid() != 0:
        parser.error("these steps load BPF programs and start machines: run them as root")
    signal.signal(signal.SIGTERM, _on_signal)
    signal.signal(signal.SIGHUP, _on_signal)
    begin = time.monotonic()
    try:
        results = run_all(chosen, options.budget_minutes * 60)
    except (Interrupted, KeyboardInterrupt) as reason:
        print(f"interrupted ({str(reason) or 'ctrl-C'})", flush=True)
        return 130
    sums = total(results)
    print()
    print(table(results))
    print(f"whole run: {clock(time.monotonic() - begin)}; logs: {LOGS.relative_to(ROOT)}")
    last = f"{sums.passed} passed, {sums.failed} failed"
    (LOGS / "sum").write_text(last + "\n", encoding="utf-8")
    print(last, flush=True)
    return 1 if sums.failed else 0


if __name__ == "__main__":
    sys.exit(main())
