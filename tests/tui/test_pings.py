"""The comparison of two environments on the screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from textual.pilot import Pilot

from tests.support.pings import PINGS, logs, pings, write
from tests.tui.driving import LARGE, SMALL, WIDE, drive, press, screen_text, walk
from tests.tui.terminal import running
from vmlat_tui.analysis.comparison import Comparison
from vmlat_tui.cli import main
from vmlat_tui.importers.directory import Ends
from vmlat_tui.ping.measurement import load
from vmlat_tui.tui.app import VmlatApp
from vmlat_tui.tui.screens.pings import PingsScreen
from vmlat_tui.tui.widgets.stack import drawing
from vmlat_tui.tui.widgets.table import Table

Result = TypeVar("Result")


def compared(a: Path, b: Path) -> Comparison:
    first, second = (load([str(path)], Ends()) for path in (a, b))
    return Comparison(first.found, second.found)


@pytest.fixture(scope="module")
def published() -> Comparison:
    return compared(PINGS / "kernel-4.19.json", PINGS / "kernel-5.10.json")


def shown(
    comparison: Comparison,
    act: Callable[[VmlatApp, Pilot[None]], Awaitable[Result]],
    size: tuple[int, int] = WIDE,
    ascii: bool = False,
) -> Result:
    return drive([], act, size=size, ascii=ascii, first=lambda: PingsScreen(comparison))


def cells(comparison: Comparison, width: int = 120) -> list[str]:
    return ["".join(text for text, _ in line) for line in drawing(comparison, width)]


@pytest.mark.parametrize("size", [SMALL, WIDE, LARGE])
def test_bars_path_and_layers_are_in_sight(published: Comparison, size: tuple[int, int]) -> None:
    text = shown(published, walk([]), size)
    for words in ("226.8", "601.0", "sender guest", "receiver guest", "▲E +75", "▲C +113",
                  "Layer by layer", "+17.1", "+113.3", "+139.0", "+145.0", "▼U1"):  # fmt: skip
        assert words in text


def test_both_bars_have_one_scale(published: Comparison) -> None:
    def filled(line: str) -> int:
        return len(line[25:].rstrip())

    first, second = cells(published)[:2]
    assert filled(second) in (94, 95)
    # The negative remainder of the first has no cells: the others are drawn as long as they are.
    assert filled(first) == pytest.approx(filled(second) * 230.8 / 601.0, abs=1)


def test_what_is_drawn_follows_the_path() -> None:
    comparison = compared(PINGS / "kernel-4.19", PINGS / "kernel-5.10")
    bar = cells(comparison, 400)[1]
    names = ["A", "U1+U4", "B", "C+J", "D", "E", "U2+U3", "F", "G", "H", "I", "K", "L", "M"]
    places = [bar.find(f"{fill}{name}{fill}") for name in names for fill in "▒▓█░"
              if f"{fill}{name}{fill}" in bar]  # fmt: skip
    assert len(places) == len(names)
    assert places == sorted(places)


def test_the_tables_follow_each_other(published: Comparison) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> list[str]:
        titles = []
        for _ in published.sections:
            await press(pilot, "n")
            titles.append(screen_text(app))
        return titles

    texts = shown(published, act)
    for section in published.sections:
        assert sum(f" {section.title}   table " in text for text in texts) == 1


def test_the_findings_are_a_key_away(published: Comparison) -> None:
    text = shown(published, walk(["i"]))
    assert "1. Virtualisation, receive: +139.0 µs (37 % of the growth)" in text
    assert "halt_poll_ns" not in text or "look at halt polling" in text


def test_rows_are_filtered(published: Comparison) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> int:
        await press(pilot, "slash", *"vm internal", "enter")
        return len(app.screen.query_one("#comparison", Table).rows)

    assert shown(published, act) == 1


def test_how_far_to_trust_it_is_always_said(published: Comparison, tmp_path: Path) -> None:
    assert "from means  remainder +12.3 µs" in shown(published, walk([]))
    a, b = (write(tmp_path / n, logs(pings(9, E=e))) for n, e in (("a", 35), ("b", 70)))
    assert "a 9 packets  remainder +52.0 ± 0.0 µs" in shown(compared(a, b), walk([]))


def test_what_has_no_whole_has_no_bars(tmp_path: Path) -> None:
    files = {"vhost-request.log": logs(pings(9))["vhost-request.log"]}
    a, b = (write(tmp_path / name, files) for name in "ab")
    text = shown(compared(a, b), walk([]))
    assert "there is nothing to stack" in text
    assert "Layer by layer" in text and "Virtualisation, rec" in text


def test_plain_characters_are_enough(published: Comparison) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> str:
        from vmlat_tui.tui.widgets.lines import Lines

        bars = app.screen.query_one("#bars", Lines)
        return "".join(bars.render_line(y).text for y in range(bars.size.height))

    text = shown(published, act, ascii=True)
    assert text.isascii() and "!E +75" in text and "?" not in text


def test_a_name_from_outside_is_text(tmp_path: Path) -> None:
    evil = tmp_path / "\x1b[31m[red]x"
    write(evil, logs(pings(3)))
    text = shown(compared(evil, evil), walk([]))
    assert "\x1b" not in text and "[red]x" in text


def test_it_opens_in_a_real_terminal_without_an_agent() -> None:
    arguments = ["--compare", str(PINGS / "kernel-4.19"), str(PINGS / "kernel-5.10")]
    with running(["-m", "vmlat_tui", *arguments]) as terminal:
        assert terminal.until(b"Layer by layer")
        terminal.type(b"n")
        assert terminal.until(b"Segment by segment")
        terminal.type(b"q")
        assert terminal.ended() == 0 and terminal.restored


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("/nonexistent", "/nonexistent"), "there is no /nonexistent"),
        (("a", "b", "--lab"), "show different places"),
    ],
)
def test_what_is_wrong_is_said_before_any_screen(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert main(["--compare", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and words in err and err.count("\n") == 1


def test_without_a_terminal_it_is_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--compare", str(PINGS / "kernel-4.19"), str(PINGS / "kernel-5.10")]) == 0
    assert "Segment by segment" in capsys.readouterr().out
