"""``vmlat lab run`` from outside: streams, exit status, and that it leaves nothing.

These tests boot for real (about half a minute each); the image of the default kernel is built
first if it has to be.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vmlat_tui.lab import machine

LAB = [sys.executable, "-m", "vmlat_tui", "lab"]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory in which a run keeps its files: it must be empty afterwards."""
    monkeypatch.setenv("VMLAT_LAB_STATE", str(tmp_path))
    monkeypatch.chdir(machine.CHECKOUT)
    return tmp_path


def machines(state: Path) -> list[int]:
    """Return the QEMU processes whose files are in this directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
            if b"\0-name\0vmlat-lab\0" in line and bytes(state) in line:
                found.append(int(path.parent.name))
        except OSError:
            pass
    return found


def wait_for_machine(state: Path, child: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + 600  # the image may have to be built
    while not machines(state):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)


def test_streams_and_status_and_nothing_left(state: Path) -> None:
    program = "cat; pwd; uname -r; echo problem >&2; exit 42"
    done = subprocess.run(
        [*LAB, "run", "--", program], input=b"from outside\n", capture_output=True, timeout=900
    )
    text = done.stderr.decode()
    assert done.returncode == 42, text
    first, directory, release = done.stdout.decode().splitlines()
    assert (first, directory) == ("from outside", str(machine.CHECKOUT))
    assert release.startswith("6.1.")
    assert "\nproblem\n" in text and "waiting for vm-a to answer ping" in text
    assert "booted in " in text and "exit status 42" in text
    assert machines(state) == [] and list(state.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("seconds", [0.0, 6.0])
def test_an_interrupted_boot_leaves_nothing(
    state: Path, number: signal.Signals, seconds: float
) -> None:
    with subprocess.Popen([*LAB, "run", "--", "sleep 60"], stderr=subprocess.PIPE) as child:
        wait_for_machine(state, child)
        time.sleep(seconds)
        child.send_signal(number)
        assert child.wait(10) == 128 + number
    assert machines(state) == [] and list(state.iterdir()) == []


def test_the_machine_dies_with_a_killed_run(state: Path) -> None:
    with subprocess.Popen([*LAB, "run", "--", "true"], stderr=subprocess.PIPE) as child:
        wait_for_machine(state, child)
        child.kill()
    deadline = time.monotonic() + 5
    while machines(state) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert machines(state) == []
    # What it could not remove, the next run does.
    with subprocess.Popen([*LAB, "run", "--", "true"], stderr=subprocess.PIPE) as child:
        wait_for_machine(state, child)
        assert len(list(state.glob("run-*"))) == 1
        child.terminate()
    assert list(state.iterdir()) == []


def test_a_machine_that_ends_is_noticed(state: Path) -> None:
    with subprocess.Popen([*LAB, "run", "--", "true"], stderr=subprocess.PIPE) as child:
        wait_for_machine(state, child)
        for pid in machines(state):
            os.kill(pid, signal.SIGKILL)
        _, err = child.communicate(timeout=20)
    assert child.returncode == 1
    assert b"the lab did not come up: QEMU ended with status" in err
    # Only the console stays, and the message says where.
    (console,) = state.iterdir()
    assert os.fsencode(console) in err and console.name == "last-failure.log"
