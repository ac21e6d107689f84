"""``vmlat trace``: packets and statistics without the TUI, under the requirement's option names."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any, Optional

from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.model.flows import Flow, row_key
from vmlat_tui.model.frames import Frame, check_hello
from vmlat_tui.report import selection
from vmlat_tui.report.selection import Selection
from vmlat_tui.report.summary import summary_json, summary_text
from vmlat_tui.report.text import packet_text
from vmlat_tui.report.words import clean
from vmlat_tui.session import hosts
from vmlat_tui.session.hosts import Host
from vmlat_tui.session.process import AgentDied, AgentProcess

#: The agent compiles, loads and attaches before its first frame.
_START_LIMIT_S = 180.0
_END_LIMIT_S = 30.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``vmlat trace``."""
    parser.description = (
        "Print every stage of a VM's packets between tap and wire, then statistics. "
        "A latency is in microseconds, a rate in packets a second."
    )
    selection.configure(parser)
    what = parser.add_argument_group("what to print")
    what.add_argument(
        "--latency-threshold",
        metavar="US",
        help="print only packets that took at least this long; statistics count all",
    )
    what.add_argument("--duration", metavar="S", help="stop after this many seconds")
    what.add_argument("--count", metavar="N", help="stop after this many packets")
    what.add_argument("--format", choices=("text", "json"), default="text")
    what.add_argument("--stats", action="store_true", help="print only the statistics at the end")
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


class _Trace:
    """One run: frames in, text or JSON out."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._stop = False
        self._printed = 0
        self._hello: Frame = {}
        self._latest: Optional[Frame] = None
        self._flows: dict[tuple[str, str, Flow], dict[str, Any]] = {}
        self._begin_ns = 0
        self._present: Optional[dict[str, int]] = None

    def interrupt(self, *_: object) -> None:
        self._stop = True

    def run(self) -> int:
        request = self._request
        with AgentProcess(self._request.host) as agent:
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
            )
            hello = agent.next(_START_LIMIT_S)
            if hello is None:
                raise VmlatError("the agent did not start", f"no frame in {_START_LIMIT_S:.0f} s")
            check_hello(hello)
            self._hello = hello
            self._offset_ns = hello["clock"]["wall_ns"] - hello["clock"]["mono_ns"]
            self._begin_ns = hello["clock"]["mono_ns"]
            try:
                self._watch(agent)
                self._end(agent)
            except AgentDied as death:
                self._summary(str(death))
                raise
        self._summary("")
        return 0

    def _watch(self, agent: AgentProcess) -> None:
        duration = self._request.duration_s
        deadline = None if duration is None else time.monotonic() + duration
        while not self._stop and not self._enough():
            wait = 0.2 if deadline is None else min(0.2, deadline - time.monotonic())
            if wait <= 0:
                return
            frame = agent.next(wait)
            if frame is not None:
                self._take(frame)

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
            print(f"vmlat: {clean(name)} vanished; waiting for it", file=sys.stderr, flush=True)
        for name, ifindex in self._present.items():
            if before.get(name) != ifindex:
                print(f"vmlat: {clean(name)} is there, watching it", file=sys.stderr, flush=True)

    def _announce(self, links: Frame) -> None:
        vnets = ", ".join(clean(v["name"]) for v in links["vm_interfaces"])
        missing = [clean(p["reason"]) for p in self._hello["points"] if not p["hooks"]]
        note = f"vmlat: watching {vnets} -> {', '.join(map(clean, links['leaves'])) or 'no uplink'}"
        if missing:
            note += f"; {len(missing)} points are not observed ({missing[0]})"
        print(note, file=sys.stderr, flush=True)

    def _enough(self) -> bool:
        count = self._request.count
        if count is None:
            return False
        if not self._request.stats_only:
            return self._printed >= count
        done = (self._latest or {"bins": {}})["bins"].values()
        return sum(int(row["completed"]) for row in done) >= count

    def _take(self, frame: Frame) -> None:
        kind = frame["type"]
        if kind in ("packet", "drop"):
            if not self._request.stats_only and not self._enough():
                self._print(frame)
        elif kind == "stats":
            self._flows.update({row_key(row): row for row in frame["flows"]})
            self._latest = {**frame, "flows": list(self._flows.values())}
        elif kind == "links":
            self._interfaces(frame)
        elif kind == "notice":
            print(f"vmlat: {clean(frame['text'])}", file=sys.stderr)

    def _print(self, frame: Frame) -> None:
        if frame["type"] == "packet":
            self._printed += 1
        if self._request.json:
            frame["wall_ns"] = frame["stages"][0]["t_ns"] + self._offset_ns
            print(json.dumps(frame), flush=True)
        else:
            print(packet_text(frame, self._offset_ns), flush=True)

    def _end(self, agent: AgentProcess) -> None:
        agent.send("stop")
        deadline = time.monotonic() + _END_LIMIT_S
        while time.monotonic() < deadline:
            frame = agent.next(deadline - time.monotonic())
            if frame is None:
                break
            self._take(frame)
            if frame["type"] == "stats" and frame["final"]:
                return
        raise VmlatError("the agent did not end", f"no final statistics in {_END_LIMIT_S:.0f} s")

    def _summary(self, interrupted: str) -> None:
        stats = self._latest
        if stats is None:
            return
        duration_ns = stats["t_ns"] - self._begin_ns
        if self._request.json:
            summary = summary_json(stats, duration_ns)
            if interrupted:
                summary["interrupted"] = interrupted
            print(json.dumps(summary), flush=True)
        else:
            print(summary_text(stats, duration_ns, interrupted), end="", flush=True)


def run(args: argparse.Namespace) -> int:
    """Measure until told to stop; Ctrl-C ends it with the statistics."""
    trace = _Trace(parse(args))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, trace.interrupt)
    return trace.run()
