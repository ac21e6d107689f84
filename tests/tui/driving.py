"""Drives the screens on a stream, without a terminal."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, TypeVar, Union

from textual.pilot import Pilot
from textual.screen import Screen
from textual.widget import Widget

from tests.tui.sources import Frames
from tests.tui.streams import Stream
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.session.snapshot import Phase
from vmlat_tui.tui.app import VmlatApp
from vmlat_tui.tui.computed_screen import ComputedScreen
from vmlat_tui.tui.widgets.lines import LineView

Result = TypeVar("Result")
WIDE, SMALL, LARGE = (120, 40), (80, 24), (200, 50)


@functools.cache
def recorded(ticks: int = 12, vms: int = 3) -> tuple[Raw, ...]:
    """A whole measurement; made once."""
    from tests.tui.host import NAMES

    return tuple(Stream(NAMES[:vms], notes=("libvirt is not reachable: no socket",)).whole(ticks))


@functools.cache
def wakeful(ahead: str = "", ticks: int = 12, vms: int = 2) -> tuple[Raw, ...]:
    """A measurement of the whole way, with wake-ups; workers wait for a task, if one is named."""
    from tests.tui.host import NAMES
    from tests.tui.wakeful import Wakeful

    return tuple(Wakeful(NAMES[:vms], ahead=ahead).whole(ticks))


def drive(
    frames: Iterable[Union[Frame, Raw]],
    act: Callable[[VmlatApp, Pilot[None]], Awaitable[Result]],
    *,
    size: tuple[int, int] = WIDE,
    source: Optional[Frames] = None,
    **options: Any,
) -> Result:
    """Run the application on frames until all are shown, then ``act``."""
    stream = source or Frames(frames)

    async def run() -> Result:
        app = VmlatApp(lambda: stream, **{"live": False, **options})
        async with app.run_test(size=size) as pilot:
            await settled(app, pilot, stream)
            result = await act(app, pilot)
        app.close()
        assert stream.closed and not app.defects
        return result

    return asyncio.run(run())


async def settled(app: VmlatApp, pilot: Pilot[None], source: Frames) -> None:
    """Wait until every frame has arrived on the screen."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        await pilot.pause(0.01)
        now = app.moments[-1]
        if now.phase in (Phase.ENDED, Phase.FAILED) or (source.endless and now.topology):
            break
    await pilot.pause(0.05)
    await painted(pilot)


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys one after another; each has acted, and what it asked for is painted."""
    for key in keys:
        await pilot.press(key)
        await painted(pilot)


async def painted(pilot: Pilot[None]) -> None:
    """Wait until what was asked for is computed and painted, on a busy machine too."""
    app = pilot.app
    assert isinstance(app, VmlatApp)
    deadline = time.monotonic() + 10
    calm = 0
    while calm < 3 and time.monotonic() < deadline:
        await pilot.pause(0.005)
        calm = calm + 1 if app.computing.idle and _begun(app.screen) else 0


def _begun(screen: Screen[Any]) -> bool:
    """Whether a screen, which may be new, is composed and has asked for something and got it."""
    if not screen.children:
        return False
    if isinstance(screen, ComputedScreen):
        return screen.content is not None or bool(screen._failure)
    return True


def text_of(widget: Widget) -> str:
    """What a widget of ours shows, line by line."""
    assert isinstance(widget, LineView)
    lines = (widget.line(y)[0] for y in range(widget.size.height))
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)


def screen_text(app: VmlatApp) -> str:
    """What the screen in front shows, widget by widget."""
    views = [w for w in app.screen.query(LineView) if w.display and w.size.height]
    return "\n".join(text_of(w) for w in views)


def walk(keys: Sequence[str]) -> Callable[[VmlatApp, Pilot[None]], Awaitable[str]]:
    """Press keys, then read the screen."""

    async def act(app: VmlatApp, pilot: Pilot[None]) -> str:
        await press(pilot, *keys)
        return screen_text(app)

    return act


async def tour(
    app: VmlatApp,
    pilot: Pilot[None],
    places: Mapping[str, Sequence[str]],
    look: Callable[[], Result],
) -> dict[str, Result]:
    """Visit one place after another, each from the first screen, and ``look`` there."""
    seen = {}
    for name, keys in places.items():
        await press(pilot, *keys)
        seen[name] = look()
        while len(app.screen_stack) > 2:
            await app.pop_screen()
        await painted(pilot)
    return seen


def snapshot(name: str) -> Path:
    """Where the picture of a screen is kept."""
    return Path(__file__).with_name("snapshots") / f"{name}.svg"
