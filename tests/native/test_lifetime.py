"""Nothing stays in the kernel when the engine is closed or its process dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.native.meter import SILENT, TX, Meter
from tests.native.net import Bed, wait_until
from tests.native.wire import V4
from vmlat_tui.errors import UsageError
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.points import BOTH, Direction
from vmlat_tui.probes import ladder
from vmlat_tui.probes.engine import Limits, PathEngine, Settings
from vmlat_tui.probes.ladder import Kernel

ROOT = Path(__file__).resolve().parents[2]
_CHILD = """
import sys, time
from vmlat_tui.probes import ladder
from vmlat_tui.probes.engine import Limits, PathEngine, Settings
engine = PathEngine(ladder.inspect(), Limits(), functions=False)
engine.configure(Settings())
print("ready", flush=True)
time.sleep(60)
"""


def _walks(engine: PathEngine) -> int:
    """How many hash maps are read by iterators (tables.h), with a program and a link each."""
    count = len(engine._program._iterators)
    assert count in (9, 0), "0 on kernels that forbid them"
    return count


def _objects(pid: int) -> set[tuple[str, int]]:
    """("prog" | "link" | "map", id) of every BPF object that a process holds."""
    found = set()
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            text = entry.read_text()
        except OSError:
            continue
        for kind, number in re.findall(r"^(prog|link|map)_id:\s+(\d+)", text, re.MULTILINE):
            found.add((kind, int(number)))
    return found


def _exists(item: tuple[str, int]) -> bool:
    kind, number = item
    command = ("bpftool", kind, "show", "id", str(number))
    return subprocess.run(command, capture_output=True).returncode == 0


def _gone(items: set[tuple[str, int]]) -> bool:
    return wait_until(lambda: not any(_exists(item) for item in items), 10)


def _kinds(items: set[tuple[str, int]]) -> dict[str, int]:
    return {kind: sum(k == kind for k, _ in items) for kind in ("prog", "link", "map")}


def test_nothing_stays_after_close(kernel: Kernel) -> None:
    before = _objects(os.getpid())
    descriptors = len(os.listdir("/proc/self/fd"))
    engine = PathEngine(kernel, Limits(), functions=False)
    mine = _objects(os.getpid()) - before
    kinds = _kinds(mine)
    assert kinds["prog"] == kinds["link"] == len(engine.attached.programs) + _walks(engine) > 4
    assert kinds["map"] > 10
    assert all(_exists(item) for item in mine)
    engine.close()
    assert _gone(mine)
    assert _objects(os.getpid()) == before
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_nothing_stays_when_the_process_is_killed() -> None:
    child = subprocess.Popen(
        (sys.executable, "-W", "ignore", "-c", _CHILD), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        held = _objects(child.pid)
        assert _kinds(held)["link"] > 4
        assert all(_exists(item) for item in held)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        if child.stdout:
            child.stdout.close()
    assert _gone(held)


def test_stop_detaches_at_once_and_what_was_counted_stays_readable(kernel: Kernel) -> None:
    with Bed() as bed:
        engine = PathEngine(kernel, Limits(), functions=False)
        try:
            meter = Meter(engine, bed)
            meter.begin()
            bed.tap.send(V4.frame(1))
            links = {item for item in _objects(os.getpid()) if item[0] in ("link", "prog")}
            engine.stop()
            walks = links & _objects(os.getpid())
            assert len(walks) == 2 * _walks(engine)
            assert _gone(links - walks)
            bed.tap.send(V4.frame(2))
            result = meter.result()
            assert result.started() == result.bin(Bin.COMPLETED) == 1
        finally:
            engine.close()


def test_stop_lets_packets_on_the_way_arrive(kernel: Kernel) -> None:
    with Bed() as bed:
        engine = PathEngine(kernel, Limits(), functions=False)
        try:
            meter = Meter(engine, bed)
            meter.begin(Settings())
            bed.deliver(V4.mirrored().frame(1))
            child = os.fork()
            if child == 0:
                # The VM takes the packet while the engine is stopping.
                time.sleep(0.05)
                bed.tap.drain()
                os._exit(0)
            engine.stop(patience_s=2.0)
            os.waitpid(child, 0)
            assert meter.result().bin(Bin.COMPLETED, Direction.RX) == 1
        finally:
            engine.close()


def test_stop_waits_no_longer_than_its_patience(kernel: Kernel) -> None:
    with Bed() as bed:
        engine = PathEngine(kernel, Limits(), functions=False)
        try:
            meter = Meter(engine, bed)
            bed.hold()
            meter.begin(Settings())
            bed.tap.send(V4.frame(1))
            begin = time.monotonic()
            engine.stop(patience_s=0.1)
            assert time.monotonic() - begin < 0.5
            result = meter.result()
            assert result.bin(Bin.IN_FLIGHT) == 1
            assert result.accounts[TX].balanced
        finally:
            engine.close()


def test_nothing_is_measured_before_it_is_configured(kernel: Kernel) -> None:
    with Bed() as bed:
        engine = PathEngine(kernel, Limits(), functions=False)
        try:
            meter = Meter(engine, bed)
            for number in range(10):
                bed.tap.send(V4.frame(number))
            reading = engine.read()
            assert all(reading.accounts[d].started == 0 for d in BOTH)
            meter.begin(SILENT)
            bed.tap.send(V4.frame(1))
            assert meter.result().started() == 1
        finally:
            engine.close()


def test_opening_and_closing_again_and_again_leaks_no_descriptor(kernel: Kernel) -> None:
    PathEngine(kernel, Limits(), functions=False).close()
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        PathEngine(kernel, Limits(), functions=False).close()
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_kernel_without_btf_and_headers_is_refused_with_a_reason(tmp_path: Path) -> None:
    blind = ladder.inspect(tmp_path / "no-btf")
    assert blind.btf is None and blind.btf_problem
    if blind.headers:
        pytest.skip("this machine has kernel headers")
    with pytest.raises(UsageError) as caught:
        PathEngine(blind, Limits())
    assert "cannot be measured" in str(caught.value)
