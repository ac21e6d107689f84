"""The one interface of what a command prints of the packets that it measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional, Union

from vmlat_tui.model.packets import PacketFrame, SeenPacket
from vmlat_tui.model.topology import Topology
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.protocol.session import HelloFrame
from vmlat_tui.protocol.stats import StatsFrame


class View:
    """What a command shows of a measurement; made for each run.  An *entry* is what it prints."""

    def learn(self, topology: Topology) -> None:
        """What discovery found."""

    def head_json(self, hello: HelloFrame) -> Optional[Raw]:
        """The first object, if there is one before the entries."""
        return None

    def wants(self, frame: SeenPacket) -> bool:
        """Look at a ``packet`` or ``drop`` frame: is it to be printed?"""
        return True

    def entries(self, frame: Union[SeenPacket, StatsFrame]) -> Sequence[Any]:
        """What is to be printed now that a ``packet``, ``drop`` or ``stats`` frame has come."""
        return [frame] if not isinstance(frame, StatsFrame) and self.wants(frame) else []

    def counts(self, entry: Any) -> bool:
        """Whether it is one of those that ``--count`` is about."""
        return isinstance(entry, PacketFrame)

    def text(self, entry: Any, wall_offset_ns: int) -> str:
        """One block; ``wall_offset_ns`` turns the frame's clock into wall time."""
        raise NotImplementedError

    def json(self, entry: Any, wall_offset_ns: int) -> Raw:
        """One object."""
        raise NotImplementedError

    def summary_text(self, stats: StatsFrame, duration_ns: int, interrupted: str) -> str:
        """The statistics; ``interrupted`` says why they are not the final ones."""
        raise NotImplementedError

    def summary_json(self, stats: StatsFrame, duration_ns: int) -> Raw:
        """The same as an object."""
        raise NotImplementedError
