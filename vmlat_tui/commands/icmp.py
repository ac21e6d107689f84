"""``vmlat icmp``: a ping as one host sees it, and where it was lost if it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Union

from vmlat_tui.commands.measuring import Command
from vmlat_tui.commands.options.packets import PrintRequest
from vmlat_tui.export import icmp_summary
from vmlat_tui.export.exporter import Part, Record, Values
from vmlat_tui.export.icmp_summary import Tally
from vmlat_tui.export.icmp_text import ping_text
from vmlat_tui.export.view import Entry, View, final
from vmlat_tui.model import captures
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.crossings import Crossing
from vmlat_tui.model.packets import SeenPacket
from vmlat_tui.model.pings import Outcome, Ping, PingJoiner
from vmlat_tui.ping.capture import ping_json
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

    def begin(self, hello: HelloFrame) -> Part:
        """What follows is a capture."""
        super().begin(hello)
        return Values({**captures.head(), "host": hello.host})

    def entries(self, frame: Union[SeenPacket, StatsFrame]) -> Sequence[Entry]:
        """The pings whose outcome is known now."""
        if isinstance(frame, StatsFrame):
            over = self._joiner.settle(
                frame.t_ns, frame.final, frame.ended(Bin.IN_FLIGHT), frame.unseen
            )
        else:
            crossing = Crossing.of(frame)
            wanted = crossing is not None and self._wanted.admits(crossing.ends)
            ping = self._joiner.add(crossing) if crossing and wanted else None
            over = [ping] if ping else []
        for ping in over:
            self._tally.add(ping)
        return [self._entry(ping) for ping in over if self._prints(ping)]

    def _entry(self, ping: Ping) -> Entry:
        offset_ns = self.wall_offset_ns
        return Entry(lambda: ping_json(ping, offset_ns), lambda: ping_text(ping, offset_ns))

    def summary(self, stats: StatsFrame, duration_ns: int, interrupted: str) -> Part:
        """Outcomes, then the parts."""
        joiner, tally = self._joiner, self._tally
        tally.outcomes[Outcome.UNSEEN] += joiner.given_up
        joiner.given_up = 0
        arguments = tally, joiner.waiting, joiner.unmatched, stats, duration_ns
        return Record(
            lambda: final(icmp_summary.summary_json(*arguments), interrupted),
            lambda: icmp_summary.summary_text(*arguments, interrupted),
        )

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
