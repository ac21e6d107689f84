"""What ``irq`` and ``kick`` print of a measurement."""

from __future__ import annotations

from typing import Optional

from vmlat_tui.commands.measuring import Command
from vmlat_tui.commands.options.packets import PrintRequest
from vmlat_tui.export import chain_summary
from vmlat_tui.export.chain import Chain, Passed
from vmlat_tui.export.chain_stats import Singles
from vmlat_tui.export.chain_text import packet_json, packet_text
from vmlat_tui.export.view import View
from vmlat_tui.model.packets import PacketFrame, SeenPacket
from vmlat_tui.model.topology import Topology
from vmlat_tui.protocol.migrations import Raw
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

    def wants(self, frame: SeenPacket) -> bool:
        """It passed a leg of the chain that is long enough, or ended in the chain."""
        passed = Passed.of(self._chain, frame)
        if not passed.worth or passed.total_ns < self._singles.least_ns:
            return False
        if isinstance(frame, PacketFrame):
            self._singles.add(passed)
        return True

    def text(self, entry: SeenPacket, wall_offset_ns: int) -> str:
        """One block."""
        return packet_text(Passed.of(self._chain, entry), wall_offset_ns, self._topology)

    def json(self, entry: SeenPacket, wall_offset_ns: int) -> Raw:
        """Stages, legs with their parts, what is absent, totals."""
        return packet_json(Passed.of(self._chain, entry), wall_offset_ns, self._topology)

    def summary_text(self, stats: StatsFrame, duration_ns: int, interrupted: str) -> str:
        """Stages and legs, absent points, wake-ups."""
        return chain_summary.summary_text(
            self._chain, stats, self._singles, self._topology, duration_ns, interrupted
        )

    def summary_json(self, stats: StatsFrame, duration_ns: int) -> Raw:
        """The same as an object."""
        return chain_summary.summary_json(
            self._chain, stats, self._singles, self._topology, duration_ns
        )


def command(chain: Chain, description: str) -> Command:
    """The command that shows a chain."""

    def view(request: PrintRequest) -> ChainView:
        return ChainView(chain, request.threshold_ns)

    return Command(
        description, _THRESHOLD, view, chain.direction.id, points=chain.points, discover=True
    )
