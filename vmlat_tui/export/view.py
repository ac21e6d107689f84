"""The one interface of what a command makes of the packets that it measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, Union

from vmlat_tui.export.exporter import Part, Record
from vmlat_tui.model.packets import SeenPacket
from vmlat_tui.model.topology import Topology
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.protocol.session import HelloFrame
from vmlat_tui.protocol.stats import StatsFrame


@dataclass(frozen=True)
class Entry(Record):
    """A packet or ping that is printed; ``counts``: it is one of those that ``--count`` means."""

    counts: bool = True


class View:
    """What a command shows of a measurement; made for each run."""

    #: Turns times of the frames' clock into wall time.
    wall_offset_ns = 0

    def begin(self, hello: HelloFrame) -> Optional[Part]:
        """The measurement begins; what is printed before the entries, if anything is."""
        self.wall_offset_ns = hello.wall_offset_ns
        return None

    def learn(self, topology: Topology) -> None:
        """What discovery found."""

    def entries(self, frame: Union[SeenPacket, StatsFrame]) -> Sequence[Entry]:
        """What is to be printed now that a ``packet``, ``drop`` or ``stats`` frame has come."""
        raise NotImplementedError

    def summary(self, stats: StatsFrame, duration_ns: int, interrupted: str) -> Part:
        """The statistics; ``interrupted`` says why they are not the final ones."""
        raise NotImplementedError


def final(summary: Raw, interrupted: str) -> Raw:
    """The object of the statistics, with the reason if they are not the final ones."""
    return {**summary, "interrupted": interrupted} if interrupted else summary
