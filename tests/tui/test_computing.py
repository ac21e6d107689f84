"""What screens show is computed beside the loop: keys go on, and only what is wanted is painted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.driving import drive, painted, press, recorded, screen_text, text_of
from tests.tui.sources import Frames
from tests.tui.streams import Stream
from vmlat_tui.errors import VmlatError
from vmlat_tui.session.window import Span
from vmlat_tui.tui.app import VmlatApp
from vmlat_tui.tui.computing import Computing, Failure
from vmlat_tui.tui.context import Context
from vmlat_tui.tui.screens.help import HelpScreen
from vmlat_tui.tui.screens.path import PathScreen
from vmlat_tui.tui.screens.path_content import PathContent, PathSelection
from vmlat_tui.tui.widgets.table import Table

#: Nothing here takes so long, on the busiest machine.
LIMIT_S = 20.0
Call = Callable[[], None]


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.005)


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        await pilot.pause(0.005)


async def one_more(app: VmlatApp, pilot: Pilot[None], source: Frames, stream: Stream) -> None:
    """Another reading arrives at the screens."""
    newest = app.moments[-1].number
    source.give([stream.stats()])
    await until(pilot, lambda: app.moments[-1].number > newest)


# ---- the thread ---------------------------------------------------------------------------------


class Loop:
    """Calls what the thread delivers when it is told to."""

    def __init__(self) -> None:
        self.delivered: list[Call] = []
        self.computing = Computing(self.delivered.append)
        self.open = threading.Event()
        self.begun: list[str] = []
        self.taken: list[object] = []

    def ask(self, asker: str, name: str) -> None:
        def compute() -> str:
            self.begun.append(name)
            assert self.open.wait(LIMIT_S)
            return name

        self.computing.ask(asker, compute, self.taken.append)

    def turn(self) -> None:
        wait_for(lambda: self.delivered)
        self.delivered.pop(0)()


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    made.computing.start()
    yield made
    made.open.set()
    made.computing.close()


def test_the_newest_request_takes_the_place_of_the_one_that_waits(loop: Loop) -> None:
    loop.ask("path", "first")
    wait_for(lambda: loop.begun)
    for name in ("second", "third", "fourth"):
        loop.ask("path", name)
    loop.ask("leg", "of another screen")
    loop.ask("path", "fifth")
    assert loop.begun == ["first"]
    loop.open.set()
    for _ in range(3):
        loop.turn()
    assert loop.begun == loop.taken == ["first", "fifth", "of another screen"]
    assert loop.computing.idle


def test_it_is_not_idle_before_the_loop_has_taken_what_was_computed(loop: Loop) -> None:
    loop.open.set()
    loop.ask("path", "first")
    wait_for(lambda: loop.delivered)
    waiting = loop.computing.idle, list(loop.taken)
    loop.turn()
    assert waiting == (False, []) and loop.computing.idle and loop.taken == ["first"]


def test_what_is_forgotten_or_asked_of_a_thread_that_ends_is_not_begun(loop: Loop) -> None:
    loop.ask("path", "first")
    wait_for(lambda: loop.begun)
    loop.ask("path", "second")
    loop.computing.forget("path")
    loop.computing.forget("path")
    loop.ask("leg", "third")
    loop.computing.end()
    loop.open.set()
    loop.computing.close()
    loop.ask("leg", "fourth")
    loop.turn()
    assert loop.begun == loop.taken == ["first"]


def test_an_exception_is_a_failure_in_one_harmless_line(loop: Loop) -> None:
    def defective() -> None:
        raise ValueError("\x1b[2J" + 1000 * "x")

    def refused() -> None:
        raise VmlatError("the directory is gone")

    for compute in (defective, refused):
        loop.computing.ask("path", compute, loop.taken.append)
        loop.turn()
    defect, refusal = loop.taken
    assert isinstance(defect, Failure) and "ValueError in defective" in defect.words
    assert "\x1b" not in defect.words and len(defect.words) <= 300
    assert "Traceback" in defect.trace
    assert refusal == Failure("the directory is gone")


# ---- the screens --------------------------------------------------------------------------------


class Gate:
    """The figures of paths are computed once it is open; it sees what begins and is painted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.begun: list[Context] = []
        self.painted: list[PathContent] = []
        self.fault: Exception | None = None
        compute, paint = PathScreen.compute, PathScreen.paint

        def slow(context: Context, selection: PathSelection) -> PathContent:
            self.begun.append(context)
            assert self.open.wait(LIMIT_S)
            if self.fault is not None:
                raise self.fault
            return compute(context, selection)

        def noted(screen: PathScreen, content: PathContent) -> None:
            self.painted.append(content)
            paint(screen, content)

        monkeypatch.setattr(PathScreen, "compute", staticmethod(slow))
        monkeypatch.setattr(PathScreen, "paint", noted)

    async def reached(self, pilot: Pilot[None]) -> None:
        """Open a path, whose figures begin to be computed."""
        await pilot.press("enter")
        await until(pilot, lambda: self.begun)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate(monkeypatch)
    yield made
    made.open.set()


def rows(app: VmlatApp) -> tuple[Any, ...]:
    return app.screen.query_one("#tx", Table).rows


def test_keys_work_while_figures_are_computed(gate: Gate) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        await gate.reached(pilot)
        assert rows(app) == () and "vnet2" in screen_text(app).splitlines()[0]
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await until(pilot, lambda: "keys and columns of path" in screen_text(app))
        await pilot.press("escape", "w", "space")
        await until(pilot, lambda: app.span is Span.MINUTE and app.frozen)
        assert len(gate.begun) == 1 and not gate.painted, "all that happened meanwhile"
        gate.open.set()
        await painted(pilot)
        assert "last 60 s" in text_of(app.screen.query_one("#tx")) and rows(app)

    drive(recorded(), act)


def test_of_many_moments_one_is_computed_and_the_newest_waits(gate: Gate) -> None:
    source = Frames(recorded(), endless=True)
    more = Stream()
    more.tick = 30

    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.moments[-1].stats)
        await gate.reached(pilot)
        for _ in range(3):
            await one_more(app, pilot, source, more)
        assert len(gate.begun) == 1 and not gate.painted
        gate.open.set()
        await painted(pilot)
        first, last = gate.begun
        assert last.now is app.moments[-1] and last.now.number >= first.now.number + 3
        assert len(gate.painted) == 2, "an older moment is better than none"

    drive((), act, source=source)


@pytest.mark.parametrize("keys", [("w",), ("t",), ("n",), ("slash", "x")])
def test_what_was_chosen_since_is_all_that_is_painted(gate: Gate, keys: tuple[str, ...]) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        await gate.reached(pilot)
        await pilot.press(*keys)
        await pilot.pause()
        assert len(gate.begun) == 1
        gate.open.set()
        await painted(pilot)
        assert len(gate.begun) == 2, "the first was computed for nobody"
        (shown,) = gate.painted
        screen = app.screen
        assert isinstance(screen, PathScreen) and shown is screen.content
        assert screen.shown[0] is app.place.now and shown.span == app.context.span_words
        assert shown.tap == screen.tap
        assert keys[0] != "n" or shown.tap != "vnet2"

    drive(recorded(), act)


def test_nothing_is_painted_on_a_screen_that_was_closed(gate: Gate) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        await gate.reached(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: app.crumbs == ["VMs"])
        gate.open.set()
        await painted(pilot)
        assert len(gate.begun) == 1 and not gate.painted

    drive(recorded(), act)


def test_one_can_leave_while_figures_are_computed(gate: Gate) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> float:
        await gate.reached(pilot)
        return time.monotonic()

    left_s = drive(recorded(), act)
    assert time.monotonic() - left_s < LIMIT_S / 2, "what is under way is not waited for"
    assert not gate.painted


def test_what_cannot_be_computed_is_said_and_kept_until_it_can(gate: Gate, tmp_path: Path) -> None:
    source = Frames(recorded(), endless=True)
    more = Stream()
    more.tick = 30

    async def again(app: VmlatApp, pilot: Pilot[None]) -> str:
        await one_more(app, pilot, source, more)
        await painted(pilot)
        return screen_text(app)

    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.moments[-1].stats)
        gate.open.set()
        await press(pilot, "enter")
        before = rows(app)
        gate.fault = ZeroDivisionError("[red]of ours[/red]")
        for _ in range(2):
            text = await again(app, pilot)
            words = "▲ what is shown is old, not computed: ZeroDivisionError in slow: [red]of ours"
            assert words in text and rows(app) == before
        (told,) = (str(n.message) for n in app._notifications)
        assert "[red]of ours[/red]" in told and "defect.txt" in told, "once, not at each moment"
        gate.fault = None
        assert "not computed" not in await again(app, pilot) and rows(app) != before
        (trace,) = app.defects
        assert (tmp_path / "defect.txt").read_text() == trace and "in slow" in trace
        gate.fault = VmlatError("the file is gone")
        assert "not computed: the file is gone" in await again(app, pilot)
        assert app.defects == [trace], "that is no defect of ours"
        app.defects.clear()

    drive((), act, source=source, directory=tmp_path / "sessions")


def test_the_first_failure_leaves_the_screen_usable(gate: Gate) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        gate.fault = VmlatError("the file is gone")
        gate.open.set()
        await press(pilot, "enter", "enter", "2", "enter", "escape")
        assert app.crumbs == ["VMs"] and app.fault is None

    drive(recorded(), act)
