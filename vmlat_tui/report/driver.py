"""What ``trace``, ``irq`` and ``kick`` have in common: options, the agent, packets, statistics.

What they make of packets is a :class:`View`.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Optional, Protocol

from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.model.flows import Flow, row_key
from vmlat_tui.model.frames import Frame, FrameError, check_hello
from vmlat_tui.model.topology import Topology
from vmlat_tui.report import selection
from vmlat_tui.report.run import Run
from vmlat_tui.report.selection import Selection
from vmlat_tui.report.words import clean
from vmlat_tui.session import hosts
from vmlat_tui.session.hosts import Host
from vmlat_tui.session.process import AgentDied, AgentProcess

#: The agent compiles, loads and attaches before its first frame.
_START_LIMIT_S = 180.0
#: How long packets wait until it is known which VMs there are.
_LOOK_S = 6.0


class View(Protocol):
    """What a command shows of a measurement; made for each run."""

    def learn(self, topology: Topology) -> None:
        """What discovery found."""

    def wants(self, frame: Frame) -> bool:
        """Look at a ``packet`` or ``drop`` frame: is it to be printed?"""

    def text(self, frame: Frame, wall_offset_ns: int) -> str:
        """One block; ``wall_offset_ns`` turns the frame's clock into wall time."""

    def json(self, frame: Frame, wall_offset_ns: int) -> Frame:
        """One object."""

    def summary_text(self, stats: Frame, duration_ns: int, interrupted: str) -> str:
        """The statistics; ``interrupted`` says why they are not the final ones."""

    def summary_json(self, stats: Frame, duration_ns: int) -> Frame:
        """The same as an object."""


@dataclass(frozen=True)
class Command:
    """One of the commands.

    ``direction`` is None where there is an option for it.  ``points`` are those that it is about,
    none: all.  ``discover``: it needs to know the VMs of the host.
    """

    description: str
    threshold: str
    view: Callable[[Request], View]
    direction: Optional[str] = None
    points: tuple[str, ...] = ()
    discover: bool = False

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the options."""
        parser.description = self.description
        selection.configure(parser, self.direction)
        what = parser.add_argument_group("what to print")
        what.add_argument("--latency-threshold", metavar="US", help=self.threshold)
        what.add_argument("--duration", metavar="S", help="stop after this many seconds")
        what.add_argument("--count", metavar="N", help="stop after this many packets")
        what.add_argument("--format", choices=("text", "json"), default="text")
        what.add_argument(
            "--stats", action="store_true", help="print only the statistics at the end"
        )
        what.add_argument(
            "--max-rate",
            metavar="N",
            default="1000",
            help="print at most so many packets a second, 0: no limit (default 1000); "
            "those left out are counted",
        )
        special = parser.add_argument_group("for tests of vmlat itself")
        special.add_argument("--rung", choices=("full", "tracepoints"), default="full")
        special.add_argument("--offsets", choices=("btf", "headers"), default="btf")

    def run(self, args: argparse.Namespace) -> int:
        """Measure until told to stop; Ctrl-C ends it with the statistics."""
        driver = Driver(self, parse(args))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, driver.interrupt)
        return driver.run()


@dataclass(frozen=True)
class Request:
    """A checked command line."""

    host: Host
    packets: Selection
    threshold_ns: int
    duration_s: Optional[float]
    count: Optional[int]
    max_rate: int
    json: bool
    stats_only: bool
    rung: str
    offsets: str


def parse(args: argparse.Namespace) -> Request:
    """Check the options against each other; raises :class:`UsageError`."""
    wanted = selection.parse(args)
    threshold = selection.number(
        "--latency-threshold", args.latency_threshold, 0, 60_000_000, whole=False
    )
    duration = selection.number("--duration", args.duration, 0.1, 31_536_000, whole=False)
    count = selection.number("--count", args.count, 1, 1e15, whole=True)
    max_rate = selection.number("--max-rate", args.max_rate, 0, 1_000_000, whole=True)
    if args.stats and args.latency_threshold is not None:
        raise UsageError(
            "--stats prints no packets",
            "--latency-threshold chooses which to print",
            "leave one out",
        )
    return Request(
        hosts.chosen(args),
        wanted,
        int((threshold or 0) * 1000),
        duration,
        int(count) if count else None,
        int(max_rate or 0),
        args.format == "json",
        args.stats,
        args.rung,
        args.offsets,
    )


class Driver(Run):
    """One run: frames in, text or JSON out."""

    def __init__(self, command: Command, request: Request) -> None:
        """Nothing is started yet."""
        super().__init__(request.duration_s)
        self._command = command
        self._request = request
        self._view = command.view(request)
        self._printed = 0
        self._points: list[Frame] = []
        self._offset_ns = 0
        self._latest: Optional[Frame] = None
        self._flows: dict[tuple[str, str, Flow], dict[str, Any]] = {}
        self._begin_ns = 0
        self._present: Optional[dict[str, int]] = None
        #: Packets that wait for what discovery finds; None: they do not.
        self._held: Optional[list[Frame]] = [] if command.discover else None

    def run(self) -> int:
        """From the agent's start to its end; returns the exit status."""
        request = self._request
        with AgentProcess(request.host) as agent:
            agent.send(
                "configure",
                **request.packets.fields(),
                threshold_ns=request.threshold_ns,
                max_rate=request.max_rate,
                emit=not request.stats_only,
                detail=not request.stats_only,
                rung=request.rung,
                offsets=request.offsets,
                interval_s=0.25 if request.count and request.stats_only else 1.0,
                discover=self._command.discover,
            )
            hello = agent.next(_START_LIMIT_S)
            if hello is None:
                raise VmlatError("the agent did not start", f"no frame in {_START_LIMIT_S:.0f} s")
            check_hello(hello)
            self._begin(hello)
            try:
                self._look(agent)
                self.watch(agent)
                self.finish(agent)
            except AgentDied as death:
                self._release()
                self._summary(str(death))
                raise
        self._summary("")
        return 0

    def _begin(self, hello: Frame) -> None:
        self._offset_ns = hello["clock"]["wall_ns"] - hello["clock"]["mono_ns"]
        self._begin_ns = hello["clock"]["mono_ns"]
        ours = self._command.points
        self._points = [p for p in hello["points"] if not ours or p["point"] in ours]
        seen = [p for p in self._points if p["hooks"]]
        if ours and self._points and len(seen) < 2:
            missing = next(p for p in self._points if not p["hooks"])
            raise VmlatError(
                f"point {missing['point']} cannot be observed",
                clean(missing["reason"]),
                "run `vmlat doctor`",
            )

    def _look(self, agent: AgentProcess) -> None:
        """Let packets wait until it is known whose they are."""
        deadline = time.monotonic() + _LOOK_S
        while self._held is not None and not self._stop and time.monotonic() < deadline:
            self.step(agent)
        self._release()

    def _release(self) -> None:
        held, self._held = self._held, None
        for frame in held or ():
            self._packet(frame)

    def _interfaces(self, links: Frame) -> None:
        """Say what is watched, and later what came and what went."""
        before, self._present = (
            self._present,
            {v["name"]: v["ifindex"] for v in links["vm_interfaces"] if v["ifindex"] is not None},
        )
        if before is None:
            self._announce(links)
            return
        for name in before.keys() - self._present.keys():
            _say(f"{clean(name)} vanished; waiting for it")
        for name, ifindex in self._present.items():
            if before.get(name) != ifindex:
                _say(f"{clean(name)} is there, watching it")

    def _announce(self, links: Frame) -> None:
        vnets = ", ".join(clean(v["name"]) for v in links["vm_interfaces"])
        missing = [p for p in self._points if not p["hooks"]]
        note = f"watching {vnets} -> {', '.join(map(clean, links['leaves'])) or 'no uplink'}"
        if missing and self._command.points:
            names = ", ".join(p["point"] for p in missing)
            note += f"; not observed: {names} ({clean(missing[0]['reason'])})"
        elif missing:
            reason = clean(missing[0]["reason"])
            note += f"; {len(missing)} points are not observed ({reason})"
        _say(note)

    def enough(self) -> bool:
        """As many packets as were asked for."""
        count = self._request.count
        if count is None:
            return False
        if not self._request.stats_only:
            return self._printed >= count
        done = (self._latest or {"bins": {}})["bins"].values()
        return sum(int(row["completed"]) for row in done) >= count

    def take(self, frame: Frame) -> None:
        """Print it, keep it, or say it."""
        kind = frame["type"]
        if kind in ("packet", "drop"):
            if self._held is not None:
                self._held.append(frame)
            else:
                self._packet(frame)
        elif kind == "stats":
            self._flows.update({row_key(row): row for row in frame["flows"]})
            self._latest = {**frame, "flows": list(self._flows.values())}
        elif kind == "topology":
            self._view.learn(_topology(frame))
            self._release()
        elif kind == "links":
            self._interfaces(frame)
        elif kind == "notice":
            _say(clean(frame["text"]))

    def _packet(self, frame: Frame) -> None:
        if self._request.stats_only or self.enough() or not self._view.wants(frame):
            return
        if frame["type"] == "packet":
            self._printed += 1
        if self._request.json:
            print(json.dumps(self._view.json(frame, self._offset_ns)), flush=True)
        else:
            print(self._view.text(frame, self._offset_ns), flush=True)

    def _summary(self, interrupted: str) -> None:
        stats = self._latest
        if stats is None:
            return
        duration_ns = stats["t_ns"] - self._begin_ns
        if self._request.json:
            summary = self._view.summary_json(stats, duration_ns)
            if interrupted:
                summary["interrupted"] = interrupted
            print(json.dumps(summary), flush=True)
        else:
            text = self._view.summary_text(stats, duration_ns, interrupted)
            print(text, end="", flush=True)


def _topology(frame: Frame) -> Topology:
    try:
        return Topology.from_json(frame)
    except ValueError as error:
        raise FrameError("the agent sent no topology", str(error)) from None


def _say(words: str) -> None:
    print(f"vmlat: {words}", file=sys.stderr, flush=True)
