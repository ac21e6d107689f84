"""Names from outside are shown harmless, whatever they hold; so is a terminal without colours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.segment import Segment
from textual.pilot import Pilot

from tests.support.frames import seen, typed
from tests.tui import host
from tests.tui.driving import LARGE, SMALL, drive, screen_text, tour, wakeful
from tests.tui.wakeful import Wakeful
from vmlat_tui.export.glance import text as glance_text
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.protocol.session import NoticeFrame
from vmlat_tui.session.feed import drain
from vmlat_tui.session.snapshot import Place
from vmlat_tui.transport.source import Order
from vmlat_tui.tui.app import VmlatApp

NAMES = (
    "[red]markup[/red] [link=x]",
    "\x1b[2J\x1b]0;owned\x07\x9b31m",
    "名前" * 40,
    "e\u0301\u0336\u0489 zalgo\u0301\u0302\u0303",
    "\u202eright-to-left\u2066",
    "x" * 200,
    "new\nline\ttab\r",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 family",
)
NAMED = {"e": "enter", "?": "question_mark", "/": "slash", ":": "colon"}
PATHS = " e ef ee ep epe ei c d s ? e2 e3 em P PG eP Pn Pn? /x :f"
EVERYWHERE = {path: [NAMED.get(key, key) for key in path] for path in PATHS.split(" ")}


def hostile(ticks: int = 3) -> Iterator[Frame]:
    """A measurement on a host where every name is one of these."""
    stream = Wakeful(host.NAMES, notes=NAMES, ahead=NAMES[1])
    domains = [
        replace(
            d,
            name=name,
            workers=tuple(replace(w, thread=replace(w.thread, name=name)) for w in d.workers),
        )
        for d, name in zip(stream.host.domains, NAMES)
    ]
    interfaces = tuple(
        replace(i, irqs=tuple(replace(irq, name=NAMES[1], effective=()) for irq in i.irqs))
        for i in stream.host.interfaces
    )
    stream.host = replace(
        stream.host, host=NAMES[1], kernel=NAMES[0], domains=tuple(domains), interfaces=interfaces
    )
    for frame in stream.whole(ticks):
        if frame["type"] == "vitals":
            for at, neighbour in enumerate(frame["neighbours"]):
                neighbour["name"] = NAMES[at % len(NAMES)]
        if frame["type"] in ("packet", "drop"):
            # No frame that comes over a wire has such a function: the screens do not rely on that.
            packet = seen(frame)
            process = packet.process._replace(comm=NAMES[1])
            stages = tuple(stage._replace(function=NAMES[0]) for stage in packet.stages)
            yield replace(packet, process=process, stages=stages)
        else:
            yield typed(frame)
    yield NoticeFrame(NAMES[1])


def segments(app: VmlatApp) -> list[Segment]:
    """Everything that would go to the terminal."""
    return [s for strip in app.screen._compositor.render_strips() for s in strip]


def test_no_screen_passes_on_what_a_terminal_would_obey() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> dict[str, tuple[str, str, set[int]]]:
        def look() -> tuple[str, str, set[int]]:
            widths = {strip.cell_length for strip in app.screen._compositor.render_strips()}
            printed = "".join(s.text for s in segments(app) if not s.control)
            return printed, screen_text(app), widths

        return await tour(app, pilot, EVERYWHERE, look)

    for path, (printed, text, widths) in drive(tuple(hostile()), act, size=LARGE).items():
        obeyed = r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069]"
        assert not re.search(obeyed, printed), path
        assert widths == {LARGE[0]}, f"a line is longer than the screen: {path}"
        if path in ("", "d"):
            assert "[red]markup[/red]" in text, "markup is text like any other"


def test_the_plain_snapshot_is_harmless_too() -> None:
    class Given:
        def __init__(self) -> None:
            self._frames = hostile()

        def send(self, order: Order) -> None: ...

        def next(self, timeout_s: float) -> Frame:
            from vmlat_tui.transport.source import StreamEnded

            for frame in self._frames:
                return frame
            raise StreamEnded("no more")

        def close(self) -> None: ...

    moments = drain(Given())
    text = glance_text(Place(moments, len(moments) - 1))
    assert "[red]markup[/red]" in text and not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)


def test_with_ascii_nothing_else_is_drawn() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> dict[str, set[str]]:
        app.directory = Path("/nowhere")
        return await tour(
            app, pilot, EVERYWHERE, lambda: {c for s in segments(app) for c in s.text}
        )

    drawn = drive(tuple(hostile()), act, size=SMALL, ascii=True)
    assert {path for path, found in drawn.items() if not all(c.isascii() for c in found)} == set()


def test_without_colours_only_attributes_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def act(app: VmlatApp, pilot: Pilot[None]) -> dict[str, list[Segment]]:
        return await tour(app, pilot, EVERYWHERE, lambda: segments(app))

    for path, shown in drive(wakeful(), act, colourless=True).items():
        styles = [s.style for s in shown if s.style is not None]
        colours = {c.name for s in styles for c in (s.color, s.bgcolor) if c is not None}
        assert colours <= {"default"}, path
        assert any(s.reverse for s in styles) or path == "s", "the cursor shows where rows are"
