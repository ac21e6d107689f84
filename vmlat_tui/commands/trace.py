"""``vmlat trace``: packets and statistics without the TUI, under the requirement's option names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Union

from vmlat_tui.commands.measuring import Command
from vmlat_tui.commands.options.packets import PrintRequest
from vmlat_tui.export.exporter import Part, Record
from vmlat_tui.export.packet_text import packet_text
from vmlat_tui.export.summary import summary_json, summary_text
from vmlat_tui.export.view import Entry, View, final
from vmlat_tui.model.packets import PacketFrame, SeenPacket
from vmlat_tui.protocol.frames import to_json
from vmlat_tui.protocol.stats import StatsFrame


class _Whole(View):
    """The whole path of every packet: the agent has left out those that were not asked for."""

    def __init__(self, request: PrintRequest) -> None:
        """There is nothing to remember."""

    def entries(self, frame: Union[SeenPacket, StatsFrame]) -> Sequence[Entry]:
        """To the letter of the requirement, or the frame itself."""
        if isinstance(frame, StatsFrame):
            return ()
        offset_ns = self.wall_offset_ns
        entry = Entry(
            lambda: {**to_json(frame), "wall_ns": frame.stages[0].t_ns + offset_ns},
            lambda: packet_text(frame, offset_ns),
            isinstance(frame, PacketFrame),
        )
        return (entry,)

    def summary(self, stats: StatsFrame, duration_ns: int, interrupted: str) -> Part:
        """Every leg."""
        return Record(
            lambda: final(summary_json(stats, duration_ns), interrupted),
            lambda: summary_text(stats, duration_ns, interrupted),
        )


_COMMAND = Command(
    "Print every stage of a VM's packets between guest and wire, then statistics. "
    "A latency is in microseconds, a rate in packets a second.",
    "print only packets that took at least this long; statistics count all",
    _Whole,
)
configure = _COMMAND.configure
run = _COMMAND.run
