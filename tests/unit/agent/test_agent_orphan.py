"""A process whose only thread is busy, or hangs, and that nobody wants any more."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
#: argv: ``busy`` or not.  In the kernel no handler of Python's runs: reading from a pipe of its own
#: is begun anew after a signal.
PROGRAM = """
import contextlib, os, signal, sys
from vmlat_tui.agent.orphan import OrphanGuard
signal.signal(signal.SIGTERM, lambda *_: print("told", flush=True))
signal.signal(signal.SIGHUP, lambda *_: None)
guard = OrphanGuard(0)
with guard.busy():
    pass
with guard.busy() if sys.argv[1] == "busy" else contextlib.nullcontext():
    print("ready", flush=True)
    os.read(os.pipe()[0], 1)
"""


@pytest.fixture(params=["busy", "hangs"])
def child(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, request.param],
        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as made:  # fmt: skip
        assert made.stdout and made.stdout.readline() == "ready\n"
        yield made
        made.kill()


@pytest.mark.parametrize("child", ["busy"], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_while_it_is_busy(
    child: subprocess.Popen[str], number: signal.Signals
) -> None:
    child.send_signal(number)
    assert child.wait(5) == 1


@pytest.mark.parametrize("child", ["hangs"], indirect=True)
def test_a_signal_while_it_is_not_busy_is_for_it_alone(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGTERM)
    assert child.stdout and child.stdout.readline() == "told\n"
    time.sleep(1.5)
    assert child.poll() is None


def test_at_the_end_of_its_input_it_ends_soon_in_any_case(child: subprocess.Popen[str]) -> None:
    assert child.stdin
    child.stdin.write("a command that nobody reads\n")
    child.stdin.flush()
    time.sleep(0.2)
    assert child.poll() is None
    child.stdin.close()
    assert child.wait(5) == 1
