"""A running agent of the tests in tests/lab, and what they ask of it."""

from __future__ import annotations

import collections
import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any, Callable

from tests.support.commands import command
from tests.support.frames import next_object
from vmlat_tui.lab.hypervisor.agent import Completed as Completed
from vmlat_tui.lab.inside import Lab as Lab
from vmlat_tui.lab.inside import Vm as Vm
from vmlat_tui.model.bins import Bin
from vmlat_tui.protocol.commands import Stop
from vmlat_tui.protocol.migrations import Raw as Raw
from vmlat_tui.transport.process import AgentProcess

#: The fixtures of conftest.py.
Remote = Callable[..., Completed]
Guest = Callable[..., Completed]
Switch = Callable[[str], Lab]

#: Everything here is emulated: waits are limited, but generous.
START_S = 240.0


class Result:
    """What one measurement saw: single packets, drops, the final statistics, link frames."""

    def __init__(self) -> None:
        self.packets: list[Raw] = []
        self.drops: list[Raw] = []
        self.links: list[Raw] = []
        self.notices: list[str] = []
        self.acks: list[Raw] = []
        self.stats: Raw = {}
        self.hello: Raw = {}

    def take(self, frame: Raw) -> None:
        kind = frame["type"]
        if kind == "packet":
            self.packets.append(frame)
        elif kind == "drop":
            self.drops.append(frame)
        elif kind == "links":
            self.links.append(frame)
        elif kind == "stats":
            self.stats = frame
        elif kind == "notice":
            self.notices.append(frame["text"])
        else:
            assert kind == "ack", frame
            self.acks.append(frame)

    def direction(self, name: str) -> list[Raw]:
        return [p for p in self.packets if p["direction"] == name]

    def bins(self, direction: str) -> dict[str, int]:
        bins: dict[str, int] = self.stats["bins"][direction]
        return bins

    def legs(self, direction: str) -> dict[str, tuple[int, int]]:
        """title -> sum over the vNICs of (count, sum_ns)."""
        table: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
        for row in self.stats["legs"]:
            if row["direction"] == direction:
                table[row["title"]][0] += row["count"]
                table[row["title"]][1] += row["sum_ns"]
        return {title: (count, ns) for title, (count, ns) in table.items()}


class Session:
    """One agent; ``with`` it, do something, and read ``result`` after ``finish()``."""

    def __init__(self, **configuration: Any) -> None:
        self.result = Result()
        self.agent = AgentProcess()
        configuration.setdefault("interval_s", 0.5)
        self.agent.send(command("configure", **configuration))

    def __enter__(self) -> Session:
        hello = next_object(self.agent, START_S)
        assert hello and hello["type"] == "hello", hello
        self.result.hello = hello
        self.wait(lambda r: r.links and r.stats, 30, "the first statistics")
        return self

    def __exit__(self, *_: object) -> None:
        self.agent.close()

    def pump(self, seconds: float) -> None:
        """Take frames for a while."""
        end = time.monotonic() + seconds
        while True:
            frame = next_object(self.agent, max(0.0, end - time.monotonic()))
            if frame is not None:
                self.result.take(frame)
            elif time.monotonic() >= end:
                return

    def wait(self, condition: Callable[[Result], object], seconds: float, what: str) -> None:
        """Take frames until the result meets a condition."""
        end = time.monotonic() + seconds
        while not condition(self.result):
            assert time.monotonic() < end, f"waited {seconds} s for {what}: {self.result.stats}"
            self.pump(0.1)

    def finish(self) -> Result:
        """Stop and return the result with the final statistics."""
        self.agent.send(Stop())
        while not self.result.stats.get("final"):
            frame = next_object(self.agent, 60)
            assert frame, "no final statistics"
            self.result.take(frame)
        return self.result


@contextlib.contextmanager
def measured(**configuration: Any) -> Iterator[Session]:
    """Measure the body: yields the result, complete after the body."""
    with Session(**configuration) as session:
        yield session
        session.pump(0.3)
        session.finish()


class Observation:
    """What a bpftrace program printed; complete after :func:`observed`."""

    output = ""


@contextlib.contextmanager
def observed(program: str) -> Iterator[Observation]:
    """Let bpftrace observe the body; the program prints ``observing`` when it does."""
    observation = Observation()
    observer = subprocess.Popen(
        ["bpftrace", "-e", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    try:
        for line in observer.stdout or ():
            if "observing" in line:
                break
        yield observation
    finally:
        observation.output = ended(observer)


def ended(observer: subprocess.Popen[str]) -> str:
    """What it printed, after it was told to end.

    Told just before it waits for the next event, bpftrace waits for that: it is told again.
    """
    for _ in range(18):
        observer.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return observer.communicate(timeout=10)[0]
    observer.kill()
    raise AssertionError(f"bpftrace does not end: {observer.communicate()[0][-1000:]}")


def stages(packet: Raw) -> list[str]:
    return [stage["point"] for stage in packet["stages"]]


def leg_ns(packet: Raw, start: str, end: str) -> int:
    """The time between two points of a packet."""
    times = {stage["point"]: stage["t_ns"] for stage in packet["stages"]}
    return int(times[end] - times[start])


def check_unseen(result: Result, packets: list[Raw], unseen: list[Raw]) -> None:
    """``unseen`` of ``packets`` lack a point that they passed: the kernel did not run its program.

    With fentry it does that only where a program would interrupt itself, and counts it.  It runs no
    kprobe's program (5.10 here) that interrupts another, and here a program takes a hundred times
    as long as on hardware; a burst that came in one such interruption lacks its points together.
    """
    (kind,) = {
        hook["kind"]
        for point in result.hello["points"]
        for hook in point["hooks"]
        if point["point"] == "vhost_take"
    }
    if kind == "fentry":
        missed = result.stats["cost"]["missed_runs"]
        allowed = 1 + len(packets) // 500 + min(missed, len(packets) // 50)
        assert len(unseen) <= allowed, [(stages(p), p["absent"]) for p in unseen[:20]]
        return
    moments = sorted(packet["stages"][0]["t_ns"] for packet in unseen)
    interruptions = sum(b - a > 10_000_000 for a, b in zip([-(10**9), *moments], moments))
    assert interruptions <= 1 + len(packets) // 25 and len(unseen) <= len(packets) // 2, (
        len(packets),
        interruptions,
        [(stages(p), p["absent"]) for p in unseen[:20]],
    )


def check_sums(result: Result) -> None:
    """Legs of each packet add up to its total, and every started packet is in one bin."""
    for packet in result.packets:
        times = [stage["t_ns"] for stage in packet["stages"]]
        steps = [b - a for a, b in zip(times, times[1:])]
        assert all(step >= 0 for step in steps), packet
        assert sum(steps) == packet["total_ns"], packet
    for direction in ("tx", "rx"):
        bins = result.bins(direction)
        assert bins["started"] == bins["sum"] == sum(bins[b.id] for b in Bin), bins
        legs = result.legs(direction)
        count, total = legs.pop("total", (0, 0))
        assert count == bins["completed"]
        assert sum(ns for _, ns in legs.values()) == total, legs
    counters = result.stats["counters"]
    for name in ("disorder", "unlisted", "lost"):
        assert counters[name] == 0, counters
