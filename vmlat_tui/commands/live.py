"""``vmlat doctor --live``: measure for a while, and say what explains the time."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from vmlat_tui.commands.options import selection
from vmlat_tui.commands.options.host import chosen_host
from vmlat_tui.commands.options.output import chosen_output
from vmlat_tui.ending import ENDING
from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.export.exporter import Exporter
from vmlat_tui.export.verdicts import Verdicts
from vmlat_tui.model.requested import Requested
from vmlat_tui.protocol.commands import Configure, Measure, Stop
from vmlat_tui.protocol.stats import StatsFrame
from vmlat_tui.recording.replay import Replay
from vmlat_tui.session import window
from vmlat_tui.session.feed import drain
from vmlat_tui.session.headless import END_LIMIT_S
from vmlat_tui.session.history import History
from vmlat_tui.session.snapshot import Moments, Place, Snapshot
from vmlat_tui.session.window import Span
from vmlat_tui.tables import findings
from vmlat_tui.transport.hosts import Host
from vmlat_tui.transport.process import AgentDied, AgentProcess, AgentSilent
from vmlat_tui.transport.source import Source
from vmlat_tui.words import clean, say

_DURATION_S = 10.0
#: How long an agent may take to look around, and to put the probes in place.
_LOOK_S, _START_S = 120.0, 240.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``vmlat doctor --live``."""
    live = parser.add_argument_group("findings")
    live.add_argument(
        "--live",
        action="store_true",
        help="measure the VMs, and say what explains the time of their packets, with what to check;"
        " the exit status is 0 if that was measured",
    )
    live.add_argument(
        "--duration", metavar="S", help=f"measure for so many seconds (default {_DURATION_S:g})"
    )
    live.add_argument("--vm-interface", metavar="TAP[,TAP]", help="default: every tap of a VM")
    live.add_argument("--connect", metavar="URI", help="libvirt's connection URI")
    live.add_argument(
        "--replay", metavar="FILE", help="judge a recorded session instead of this host"
    )


@dataclass(frozen=True)
class FindingsRequest:
    """A checked command line; what is replayed has no host and no duration."""

    host: Host
    taps: tuple[str, ...]
    duration_s: float
    uri: Optional[str]
    recording: Optional[Path]
    output: Exporter


def refuse(args: argparse.Namespace) -> None:
    """Raise :class:`UsageError` for options that only a measurement has."""
    given = {
        "--duration": args.duration,
        "--vm-interface": args.vm_interface,
        "--connect": args.connect,
        "--replay": args.replay,
    }
    for option, value in given.items():
        if value is not None:
            raise UsageError(f"{option} is for --live", "", "add --live, or leave it out")


def parse(args: argparse.Namespace) -> FindingsRequest:
    """Check the options against each other; raises :class:`UsageError`."""
    duration_s = selection.number("--duration", args.duration, 0.1, 86_400, whole=False)
    taps = selection.names("--vm-interface", args.vm_interface)
    if args.connect is not None and not args.connect:
        raise UsageError("--connect is empty", "", "give an URI such as qemu:///system")
    if args.replay is not None:
        others = {"--host": args.host, "--duration": args.duration, "--connect": args.connect}
        for option, value in others.items():
            if value is not None:
                raise UsageError(
                    f"--replay and {option} show different places", "", "leave one out"
                )
    return FindingsRequest(
        chosen_host(args),
        taps,
        duration_s or _DURATION_S,
        args.connect,
        Path(args.replay) if args.replay is not None else None,
        chosen_output(args),
    )


def run(args: argparse.Namespace) -> int:
    """Print what was found; 0 if packets were measured, else 1."""
    request = parse(args)
    death: Optional[AgentDied] = None
    if request.recording is not None:
        moments = drain(Replay(request.recording, speed=None))
    else:
        live = _Live(request)
        try:
            live.run()
        except AgentDied as error:
            death = error
        moments = live.moments
        if death is not None and not any(moment.stats for moment in moments):
            raise death
    _print(request, _latest(moments))
    if death is not None:
        raise death
    return 0


def _print(request: FindingsRequest, place: Place) -> None:
    vnics = window.vnics(place)
    missing = [tap for tap in request.taps if tap not in vnics]
    if missing:
        there = ", ".join(map(clean, vnics)) or "none"
        raise UsageError(f"{clean(missing[0])} was not measured", f"measured: {there}")
    judged = {tap: findings.verdict(place, tap, Span.START) for tap in request.taps or vnics}
    if not any(any(verdict.packets.values()) for verdict in judged.values()):
        whose = ", ".join(map(clean, judged)) or "any VM"
        raise VmlatError("no packet was measured", f"of {whose}")
    request.output.write(Verdicts(place, judged))


def _latest(moments: Moments) -> Place:
    """The last moment that has figures: a recording may go on after its measurement."""
    measured = [at for at, moment in enumerate(moments) if moment.stats is not None]
    return Place(moments, measured[-1] if measured else len(moments) - 1)


class _Live:
    """One measurement, without single packets."""

    def __init__(self, request: FindingsRequest) -> None:
        self._request = request
        self._history = History()
        self._ended = False

    @property
    def moments(self) -> Moments:
        """What was measured."""
        return self._history.moments()

    def run(self) -> None:
        request = self._request
        with AgentProcess(request.host) as agent:
            agent.send(Configure(discover=True, measure=False, connect=request.uri))
            taps = tuple(request.taps or self._taps(agent))
            agent.send(Measure(Requested(taps, emit=False)))
            self._read(agent, _START_S, _answered, "the probes were not put in place")
            now = self._history.moments()[-1]
            if now.measuring is None:
                raise now.refusal.error if now.refusal else VmlatError("nothing was measured")
            say(f"measuring {', '.join(map(clean, taps))}")
            with ENDING.orderly():
                self._read(agent, request.duration_s, lambda now: ENDING.asked)
                agent.send(Stop())
                self._read(agent, END_LIMIT_S, lambda now: self._ended, "the agent did not end")

    def _taps(self, source: Source) -> list[str]:
        self._read(source, _LOOK_S, lambda now: now.topology is not None,
                   "the agent did not say which VMs there are")  # fmt: skip
        topology = self._history.moments()[-1].topology
        domains = topology.domains if topology else ()
        taps = [vnic.tap for domain in domains for vnic in domain.vnics if vnic.tap]
        if not taps:
            raise VmlatError("no VM on this host has a device to measure")
        return taps

    def _read(
        self, source: Source, limit_s: float, enough: Callable[[Snapshot], bool], failed: str = ""
    ) -> None:
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            frame = source.next(min(0.2, max(0.0, deadline - time.monotonic())))
            if frame is not None:
                self._history.take(frame)
                self._ended = isinstance(frame, StatsFrame) and frame.final
            if enough(self._history.moments()[-1]):
                return
        if failed:
            raise AgentSilent(failed, f"in {limit_s:.0f} s")


def _answered(now: Snapshot) -> bool:
    return now.measuring is not None or now.refusal is not None
