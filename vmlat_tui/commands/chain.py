"""What ``irq`` and ``kick`` print of a measurement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional, Union

from vmlat_tui.commands.measuring import Command
from vmlat_tui.commands.options.packets import PrintRequest
from vmlat_tui.export import chain_summary
from vmlat_tui.export.chain import Chain, Passed
from vmlat_tui.export.chain_stats import Singles
from vmlat_tui.export.chain_text import packet_json, packet_text
from vmlat_tui.export.exporter import Part, Record
from vmlat_tui.export.view import Entry, View, final
from vmlat_tui.model.packets import PacketFrame, SeenPacket
from vmlat_tui.model.topology import Topology
from vmlat_tui.protocol.stats import StatsFrame

_THRESHOLD = (
    "print only packets whose last printed total is at least this long, not those whose "
    "whole way is; statistics of all packets count all"
)


class ChainView(View):
    """A view of one chain."""

    def __init__(self, chain: Chain, threshold_ns: int) -> None:
        """``threshold_ns`` is the least total of a packet that is printed."""
        self._chain = chain
        self._topology: Optional[Topology] = None
        self._singles = Singles(threshold_ns)

    def learn(self, topology: Topology) -> None:
        """Which queue a worker serves, and whose thread it is."""
        self._topology = topology

    def entries(self, frame: Union[SeenPacket, StatsFrame]) -> Sequence[Entry]:
        """A packet that passed a leg of the chain that is long enough, or ended in the chain."""
        if isinstance(frame, StatsFrame):
            return ()
        passed = Passed.of(self._chain, frame)
        if not passed.worth or passed.total_ns < self._singles.least_ns:
            return ()
        completed = isinstance(frame, PacketFrame)
        if completed:
            self._singles.add(passed)
        offset_ns, topology = self.wall_offset_ns, self._topology
        entry = Entry(
            lambda: packet_json(passed, offset_ns, topology),
            lambda: packet_text(passed, offset_ns, topology),
            completed,
        )
        return (entry,)

    def summary(self, stats: StatsFrame, duration_ns: int, interrupted: str) -> Part:
        """Stages and legs, absent points, wake-ups."""
        arguments = self._chain, stats, self._singles, self._topology, duration_ns
        return Record(
            lambda: final(chain_summary.summary_json(*arguments), interrupted),
            lambda: chain_summary.summary_text(*arguments, interrupted),
        )


def command(chain: Chain, description: str) -> Command:
    """The command that shows a chain."""

    def view(request: PrintRequest) -> ChainView:
        return ChainView(chain, request.threshold_ns)

    return Command(
        description, _THRESHOLD, view, chain.direction.id, points=chain.points, discover=True
    )
