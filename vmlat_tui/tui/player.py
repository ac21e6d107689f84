"""The time of a recording that is replayed: where it is, how fast it runs, whether it stands."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Optional, Protocol

from vmlat_tui.errors import VmlatError
from vmlat_tui.recording.outline import Outline, outline
from vmlat_tui.recording.replay import Recording, Replay
from vmlat_tui.session.snapshot import Moments, Phase, Place, Snapshot
from vmlat_tui.transport.source import Order, Pace, Seek, Source, Step

_SLOWEST, _FASTEST = 1 / 8, 64.0
_OVER = (Phase.ENDED, Phase.FAILED)


class Viewer(Protocol):
    """Where a recording is played: what it moves, and what it may have shown."""

    moments: Moments

    @property
    def place(self) -> Place:
        """The moment that is shown."""

    @property
    def frozen(self) -> bool:
        """Whether that is not the newest one."""

    def show(self, place: Optional[Place]) -> None:
        """Freeze what is shown at a place; None shows the newest moment again."""

    def refill(self) -> None:
        """Show the moment again."""

    def tell(self, text: str, severity: str = "information") -> None:
        """Show a short message."""

    def send(self, order: Order) -> None:
        """Give the source an order."""

    async def reopen(self, connect: Callable[[], Source]) -> None:
        """Read from another source what is shown."""


class Player:
    """Takes the keys of a replay; what lies behind is read again from the beginning."""

    def __init__(self, viewer: Viewer, recording: Recording) -> None:
        """``recording`` is played to ``viewer``."""
        self._viewer, self._recording = viewer, recording
        self._speed = recording.speed
        self._at_ns = recording.at_ns
        self._paused = False
        #: Known when the whole file was gone through, beside the replay.
        self._outline: Optional[Outline] = None
        self._end = threading.Event()
        #: While it is on its way there, nothing older is shown.
        self._target_ns = recording.at_ns

    def source(self) -> Replay:
        """The recording, from where it was last sent to."""
        return Replay(self._recording.path, self._speed, self._at_ns, self._paused)

    async def begin(self) -> None:
        """Say what is shown, and find out how long it is."""
        if self._recording.about:
            self._viewer.tell(self._recording.about)
        try:
            self._outline = await asyncio.to_thread(outline, self._recording.path, self._end)
        except VmlatError:
            return  # the feed meets the same fault and shows it
        self._viewer.refill()

    def close(self) -> None:
        """Nobody waits for how long it is."""
        self._end.set()

    @property
    def under_way(self) -> bool:
        """Whether it reads on to the time that was asked for."""
        return self._target_ns is not None

    def reaches(self, now: Snapshot) -> bool:
        """Whether this moment is the one that was asked for; then it is no longer under way."""
        if self._target_ns is not None and now.t_ns < self._target_ns and now.phase not in _OVER:
            return False
        self._target_ns = None
        return True

    def words(self, now: Snapshot) -> str:
        """For the top line."""
        where = f" {self._outline.position(now.t_ns)}" if self._outline else ""
        if now.phase is Phase.ENDED:
            return f"■{where} ended"
        if self._paused or self._viewer.frozen:
            return f"⏸{where}"
        speed = "" if self._speed == 1 or self._speed is None else f" ×{self._speed:g}"
        return f"►{where}{speed}"

    # ---- what the keys do -----------------------------------------------------------------------

    async def toggle(self) -> None:
        """Stand still, or go on from what is shown."""
        viewer = self._viewer
        behind, shown_ns = viewer.frozen, viewer.place.now.t_ns
        if self._over and not behind:
            viewer.tell("the recording ends here")
            return
        self._pace(self._speed, not (self._paused or behind))
        if behind:
            await self.seek(shown_ns)
        viewer.refill()

    def pace(self, by: int) -> None:
        """Twice as fast, or half as fast, so many times."""
        speed = (self._speed or _FASTEST) * 2.0**by
        self._pace(min(_FASTEST, max(_SLOWEST, speed)), self._paused)
        self._viewer.tell(f"speed ×{self._speed:g}")
        self._viewer.refill()

    async def step(self, by: int) -> None:
        """So many readings back or forth; stands still then."""
        viewer, moments = self._viewer, self._viewer.moments
        newest = len(moments) - 1
        if not self._paused and not self._over:
            self._pace(self._speed, True)
        at = viewer.place.now.number - moments[0].number + by
        if at < 0:
            spacing_ns = (moments[-1].t_ns - moments[0].t_ns) // max(1, newest)
            await self.seek(moments[0].t_ns + at * spacing_ns)
        elif at <= newest:
            viewer.show(Place(moments, at))
        elif self._over:
            viewer.show(Place(moments, newest))
            viewer.tell("the recording ends here")
        else:
            viewer.show(None)
            viewer.send(Step(at - newest))

    async def seek_by(self, seconds: int) -> None:
        """So many seconds back or forth."""
        here_ns = self._viewer.place.now.t_ns if self._target_ns is None else self._target_ns
        await self.seek(here_ns + seconds * 1_000_000_000)

    def moment(self, text: str) -> int:
        """The time of the host that people write so; raises :class:`VmlatError`."""
        if self._outline is None:
            raise VmlatError("the recording is still being gone through", "", "try again soon")
        return self._outline.moment(text)

    async def seek(self, t_ns: int) -> None:
        """To the first frame at this time of the host or later; until then nothing changes."""
        if self._outline is not None:
            t_ns = max(self._outline.begin_ns, min(t_ns, self._outline.end_ns))
        viewer, now = self._viewer, self._viewer.moments[-1]
        ahead = t_ns > max(now.t_ns, self._target_ns or 0)
        self._target_ns = t_ns
        if ahead:
            viewer.send(Seek(t_ns))
        else:
            self._at_ns = t_ns
            await viewer.reopen(self.source)

    @property
    def _over(self) -> bool:
        return self._viewer.moments[-1].phase in _OVER

    def _pace(self, speed: Optional[float], paused: bool) -> None:
        self._speed, self._paused = speed, paused
        self._viewer.send(Pace(speed, paused))
