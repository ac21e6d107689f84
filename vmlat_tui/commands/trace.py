"""``vmlat trace``: packets and statistics without the TUI, under the requirement's option names."""

from __future__ import annotations

from vmlat_tui.commands.measuring import Command
from vmlat_tui.commands.options.packets import PrintRequest
from vmlat_tui.export.packet_text import packet_text
from vmlat_tui.export.summary import summary_json, summary_text
from vmlat_tui.export.view import View
from vmlat_tui.model.packets import SeenPacket
from vmlat_tui.protocol.frames import to_json
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.protocol.stats import StatsFrame


class _Whole(View):
    """The whole path of every packet: the agent has left out those that were not asked for."""

    def __init__(self, request: PrintRequest) -> None:
        """There is nothing to remember."""

    def text(self, entry: SeenPacket, wall_offset_ns: int) -> str:
        """To the letter of the requirement."""
        return packet_text(entry, wall_offset_ns)

    def json(self, entry: SeenPacket, wall_offset_ns: int) -> Raw:
        """The frame itself."""
        return {**to_json(entry), "wall_ns": entry.stages[0].t_ns + wall_offset_ns}

    def summary_text(self, stats: StatsFrame, duration_ns: int, interrupted: str) -> str:
        """Every leg."""
        return summary_text(stats, duration_ns, interrupted)

    def summary_json(self, stats: StatsFrame, duration_ns: int) -> Raw:
        """Every leg."""
        return summary_json(stats, duration_ns)


_COMMAND = Command(
    "Print every stage of a VM's packets between guest and wire, then statistics. "
    "A latency is in microseconds, a rate in packets a second.",
    "print only packets that took at least this long; statistics count all",
    _Whole,
)
configure = _COMMAND.configure
run = _COMMAND.run
