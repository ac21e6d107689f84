"""``vmlat icmp``: a ping as one host sees it, and where it was lost if it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Union

from vmlat_tui.commands.measuring import Command
from vmlat_tui.commands.options.packets import PrintRequest
from vmlat_tui.export import icmp_summary
from vmlat_tui.export.icmp_summary import Tally
from vmlat_tui.export.icmp_text import ping_text
from vmlat_tui.export.view import View
from vmlat_tui.model import captures
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.crossings import Crossing
from vmlat_tui.model.packets import SeenPacket
from vmlat_tui.model.pings import Outcome, Ping, PingJoiner
from vmlat_tui.ping.capture import ping_json
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.protocol.session import HelloFrame
from vmlat_tui.protocol.stats import StatsFrame


class PingView(View):
    """Joins requests and replies."""

    def __init__(self, request: PrintRequest) -> None:
        """None yet."""
        self._least_ns = request.threshold_ns
        self._wanted = request.packets.filters[0]
        self._joiner = PingJoiner(request.timeout_ns)
        self._tally = Tally()

    def head_json(self, hello: HelloFrame) -> Raw:
        """What follows is a capture."""
        return {**captures.head(), "host": hello.host}

    def entries(self, frame: Union[SeenPacket, StatsFrame]) -> Sequence[Ping]:
        """The pings whose outcome is known now."""
        if isinstance(frame, StatsFrame):
            final = self._joiner.settle(
                frame.t_ns, frame.final, frame.ended(Bin.IN_FLIGHT), frame.unseen
            )
        else:
            crossing = Crossing.of(frame)
            wanted = crossing is not None and self._wanted.admits(crossing.ends)
            ping = self._joiner.add(crossing) if crossing and wanted else None
            final = [ping] if ping else []
        for ping in final:
            self._tally.add(ping)
        return [ping for ping in final if self._prints(ping)]

    def counts(self, entry: Any) -> bool:
        """Every ping does, also one that was lost."""
        return True

    def text(self, entry: Ping, wall_offset_ns: int) -> str:
        """One block."""
        return ping_text(entry, wall_offset_ns)

    def json(self, entry: Ping, wall_offset_ns: int) -> Raw:
        """One line of the capture."""
        return ping_json(entry, wall_offset_ns)

    def summary_text(self, stats: StatsFrame, duration_ns: int, interrupted: str) -> str:
        """Outcomes, then the parts."""
        joiner = self._joiner
        self._count_given_up()
        return icmp_summary.summary_text(
            self._tally, joiner.waiting, joiner.unmatched, stats, duration_ns, interrupted
        )

    def summary_json(self, stats: StatsFrame, duration_ns: int) -> Raw:
        """The same as an object."""
        joiner = self._joiner
        self._count_given_up()
        return icmp_summary.summary_json(
            self._tally, joiner.waiting, joiner.unmatched, stats, duration_ns
        )

    def _count_given_up(self) -> None:
        self._tally.outcomes[Outcome.UNSEEN] += self._joiner.given_up
        self._joiner.given_up = 0

    def _prints(self, ping: Ping) -> bool:
        if ping.outcome is not Outcome.COMPLETE:
            return True
        total_ns = ping.parts_ns[-1]
        return not self._least_ns or (total_ns is not None and total_ns >= self._least_ns)


_COMMAND = Command(
    "Print each ping that VMs of this host send or answer: ReqInternal, the request's way through "
    "the host; External, until the reply is there; RepInternal, the reply's way; Total. Which end "
    "this host is the direction of the request says. Of a ping that was lost, where and why. Then "
    "statistics. A latency is in microseconds. The output can be read by `vmlat analyze`.",
    "print only pings whose Total is at least this long, and those that were lost; statistics "
    "count all",
    PingView,
    "both",
    pings=True,
)
configure = _COMMAND.configure
run = _COMMAND.run
