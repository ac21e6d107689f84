"""The verdict on the path screen, and the page of findings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui import host
from tests.tui.driving import (
    LARGE,
    SMALL,
    WIDE,
    drive,
    press,
    screen_text,
    text_of,
    wakeful,
    walk,
)
from tests.tui.streams import Stream
from tests.tui.wakeful import Wakeful
from vmlat_tui.tui.app import VmlatApp
from vmlat_tui.tui.screens.findings import VerdictScreen
from vmlat_tui.tui.screens.leg import LegScreen
from vmlat_tui.tui.screens.path import PathScreen
from vmlat_tui.tui.widgets.table import Table


def verdict(app: VmlatApp) -> str:
    """The line on the path screen."""
    return text_of(app.screen.query_one("#verdict"))


class Calm(Stream):
    """No packet is slower than the others."""

    def _value(self, base_ns: int, slow: float) -> int:
        return base_ns


async def at_path(app: VmlatApp, pilot: Pilot[None]) -> str:
    await press(pilot, "enter")
    return verdict(app)


# ---- the line -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SMALL, WIDE, LARGE], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_worst_finding_is_one_line_with_its_microseconds(size: tuple[int, int]) -> None:
    line = drive(wakeful("busyloop"), at_path, size=size)
    assert line.startswith("▲ worker shares its CPU TX ") and "µs of p50, " in line
    assert line.endswith("µs of p99  +2 more  i") and len(line) < 80


def test_what_is_in_order_is_said_to_be_with_the_reason() -> None:
    line = drive(list(Calm(host.NAMES[:1]).whole(3)), at_path)
    assert line.startswith("nothing stands out: no known cause explains 5 % of the p50 or p99")


def test_what_was_not_measured_is_not_judged() -> None:
    assert drive(list(Stream().looking()), at_path) == "not measured yet"


def test_few_packets_are_not_judged() -> None:
    stream = Wakeful(host.NAMES[:1], packets=4, drawn=4)
    assert drive(list(stream.whole(2)), at_path) == "not judged: only 4 packets last 10 s"


def test_a_path_that_ends_at_tun_is_said_to() -> None:
    frames = list(Calm(host.NAMES[:1]).whole(3))
    for frame in frames:
        if frame["type"] == "stats":
            frame["legs"] = [leg for leg in frame["legs"] if leg["leg"].split(">")[-1][0] != "v"]
    line = drive(frames, at_path, size=LARGE)
    assert line.endswith("vhost and vCPUs are not measured here")


# ---- the page -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SMALL, WIDE, LARGE], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_page_lists_findings_and_says_everything_about_one(size: tuple[int, int]) -> None:
    text = drive(wakeful("busyloop"), walk(("enter", "i")), size=size)
    for heading in ("found", "explains", "means", "check", "sure"):
        assert any(line.startswith(heading) for line in text.splitlines()), heading
    assert "behind busyloop" in " ".join(text.split())
    second = drive(wakeful("busyloop"), walk(("enter", "i", "j", "j")), size=size)
    assert "idle exit of CPU" in " ".join(second.split()), "the one under the cursor"


def test_enter_goes_to_the_leg_and_esc_back_to_the_path() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> tuple[str, list[type[object]]]:
        await press(pilot, "enter", "i", "j", "enter")
        screens: list[type[object]] = [type(app.screen)]
        crumb = app.crumbs[-1]
        for _ in range(2):
            await press(pilot, "escape")
            screens.append(type(app.screen))
        return crumb, screens

    crumb, screens = drive(wakeful("busyloop"), act)
    assert crumb == "RX vhost_woken → vhost_on_cpu"
    assert screens == [LegScreen, VerdictScreen, PathScreen]


def test_the_span_and_the_mark_choose_what_is_judged() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> list[str]:
        titles = []
        for keys in (("enter", "i"), ("w",), ("t", "t", "m", "space")):
            await press(pilot, *keys)
            titles.append(text_of(app.screen.query_one("#list")).splitlines()[0])
        return titles

    recent, minute, mark = drive(wakeful(), act)
    assert "last 10 s   18000 TX · 18000 RX packets" in recent
    assert "last 60 s   19800 TX" in minute and "since mark   3600 TX" in mark


def test_rows_are_filtered_and_an_empty_list_says_why() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> list[int | str]:
        await press(pilot, "enter", "i", "slash", *"sleeps", "enter")
        table = app.screen.query_one("#list", Table)
        kept = len(table.rows)
        await press(pilot, "slash", *"xyz", "enter")
        return [kept, len(table.rows), screen_text(app)]

    kept, none, text = drive(wakeful("busyloop"), act)
    assert (kept, none) == (1, 0) and "no finding has these words" in str(text)
    assert "found " not in str(text), "nothing is said about one that is out of sight"
    empty = drive(list(Calm(host.NAMES[:1]).whole(3)), walk(("enter", "i")))
    assert "nothing stands out" in empty


def test_the_selection_stays_with_its_finding_while_figures_change() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> list[object]:
        await press(pilot, "enter", "i", "j", "j")
        table = app.screen.query_one("#list", Table)
        keys = [table._selected]
        for step in ("t", "w", "w"):
            await press(pilot, step)
            keys.append(table._selected)
        return keys

    assert len(set(drive(wakeful("busyloop"), act))) == 1


def test_findings_are_exported_from_both_screens(tmp_path: Path) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        await press(pilot, "enter")
        for name in ("path", "page"):
            await press(pilot, "e")
            app.screen.query_one(Input).value = str(tmp_path / name)
            await press(pilot, "enter")
            await press(pilot, "i")

    drive(wakeful("busyloop"), act)
    for name in ("path", "page"):
        tables = json.loads((tmp_path / f"{name}.json").read_text())["tables"]
        first = tables["findings"][0]
        assert first["id"] == "worker-shares-cpu" and first["severity"] == "wrong"
        assert isinstance(first["p50"], int) and first["sure"] == "measured"
        assert first["sentence"].endswith("behind busyloop") and "taskset -pc" in first["remedy"]
        text = (tmp_path / f"{name}.txt").read_text()
        assert "[findings]" in text and first["remedy"] in text, "no text is cut"
        assert first["meaning"] in (tmp_path / f"{name}.md").read_text()
    assert "tx" in json.loads((tmp_path / "path.json").read_text())["tables"]
