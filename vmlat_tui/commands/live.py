"""``vmlat doctor --live``: measure for a while, and say what explains the time."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from vmlat_tui.commands.options import selection
from vmlat_tui.commands.options.host import chosen_host
from vmlat_tui.commands.options.output import chosen_output
from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.export.exporter import Exporter
from vmlat_tui.export.verdicts import Verdicts
from vmlat_tui.model.requested import Requested
from vmlat_tui.protocol.commands import Configure
from vmlat_tui.recording.replay import Replay
from vmlat_tui.session import window
from vmlat_tui.session.feed import drain
from vmlat_tui.session.headless import Remembering
from vmlat_tui.session.snapshot import Moments, Place
from vmlat_tui.session.window import Span
from vmlat_tui.tables import findings
from vmlat_tui.transport.hosts import Host
from vmlat_tui.words import clean, say

_DURATION_S = 10.0


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
    if request.recording is not None:
        _print(request, drain(Replay(request.recording, speed=None)))
    else:
        _Live(request).run()
    return 0


def _print(request: FindingsRequest, moments: Moments) -> None:
    place = _latest(moments)
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


class _Live(Remembering):
    """One measurement, without single packets."""

    def __init__(self, request: FindingsRequest) -> None:
        super().__init__(request.host, request.duration_s)
        self._request = request

    def run(self) -> None:
        request = self._request
        with self:
            self.start(Configure(discover=True, measure=False, connect=request.uri))
            taps = request.taps or self._taps()
            self.measure(Requested(taps, emit=False))
            say(f"measuring {', '.join(map(clean, taps))}")
            self.complete()

    def _taps(self) -> tuple[str, ...]:
        domains = self.look().domains
        taps = tuple(vnic.tap for domain in domains for vnic in domain.vnics if vnic.tap)
        if not taps:
            raise VmlatError("no VM on this host has a device to measure")
        return taps

    def end(self, interrupted: str) -> None:
        """Judge what was measured, if anything was before it died."""
        if not interrupted or any(moment.stats for moment in self.moments):
            _print(self._request, self.moments)
