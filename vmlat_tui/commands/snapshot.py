"""What the screens would show first, where there is no terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Optional, Union

from vmlat_tui.errors import VmlatError
from vmlat_tui.export.glance import text
from vmlat_tui.model.requested import Requested
from vmlat_tui.protocol.commands import Measure
from vmlat_tui.recording.replay import Recording
from vmlat_tui.session import limits
from vmlat_tui.session.headless import Remembering
from vmlat_tui.session.snapshot import Phase, Place
from vmlat_tui.tables import domains
from vmlat_tui.transport.source import Source, StreamEnded

#: How long is measured.
_MEASURE_S = 4.0


def snapshot(shown: Union[Recording, Callable[[], Source]]) -> str:
    """What there is, as text.

    Of a recording that is the last moment, or the one at which it is to begin; any other source is
    an agent that looks already, and is told to measure for a moment.
    """
    if not isinstance(shown, Recording):
        look = _Snapshot(shown)
        return look.run(look.measured)
    look = _Snapshot(replace(shown, speed=None).source)
    return look.run(lambda: look.replayed(shown.at_ns))


class _Snapshot(Remembering):
    """What is wrong is a part of it."""

    def __init__(self, connect: Callable[[], Source]) -> None:
        super().__init__()
        self._connect = connect

    def connect(self) -> Source:
        return self._connect()

    def notice(self, text: str) -> None:
        """It is remembered."""

    def refused(self, error: VmlatError) -> None:
        """It is remembered."""

    def run(self, look: Callable[[], None]) -> str:
        try:
            with self:
                self.within(limits.LOOK_S, lambda: self.topology is not None)
                self.within(limits.RATES_S, lambda: self.now.rates is not None)
                look()
        except StreamEnded:
            self.history.note(Phase.ENDED)
        except VmlatError as error:
            self.history.note(Phase.FAILED, error)
        return text(self._here)

    @property
    def _here(self) -> Place:
        return Place(self.moments, len(self.moments) - 1)

    def measured(self) -> None:
        taps = tuple(row.tap for row in domains.rows(self._here) if row.tap)
        if not taps:
            return
        self.send(Measure(Requested(taps, emit=False)))
        self.within(
            limits.START_S, lambda: self.measuring is not None or self.now.refusal is not None
        )
        if self.measuring is not None:
            self.within(_MEASURE_S, lambda: False)

    def replayed(self, until_ns: Optional[int]) -> None:
        self.step()  # a reading is not complete with its first frame
        self.within(float("inf"), lambda: until_ns is not None and self.now.t_ns >= until_ns)
