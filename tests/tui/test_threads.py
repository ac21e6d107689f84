"""The panes of workers, vCPUs and halt polling, and what is behind each row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui.driving import SMALL, WIDE, drive, press, recorded, text_of, wakeful, walk
from vmlat_tui.tui.app import VmlatApp
from vmlat_tui.tui.screens.thread import ThreadScreen


@pytest.mark.parametrize("size", [SMALL, WIDE])
@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("2", ("wakes/s", "rq p50", "exit", "pkt/wake", "node_exporter")),
        ("3", ("steal", "hits/s", "blocks/s", "window", "50.00")),
        ("4", ("hit rate 72.0 %", "max 200 µs", "vCPU 0: 50 µs", "a miss: 48 µs CPU +")),
    ],
)
def test_each_pane_has_its_figures(key: str, words: tuple[str, ...], size: tuple[int, int]) -> None:
    text = drive(wakeful("busyloop"), walk(("enter", key)), size=size)
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize("size", [SMALL, WIDE])
@pytest.mark.parametrize(
    ("key", "words"),
    [
        (
            "2",
            (
                "vhost vnet",
                "behind task",
                "packets of its vNIC",
                "busyloop",
                "100.0",
                "with node_exporter",
            ),
        ),
        ("3", ("vCPU 0", "left idle state", "C6", "75.0 % without sleep", "window 50 µs")),
        ("4", ("all vCPUs", "2 vCPUs together", "C6", "grown 20, shrunk 10 times")),
    ],
)
def test_enter_shows_what_a_thread_waited_for(
    key: str, words: tuple[str, ...], size: tuple[int, int]
) -> None:
    text = drive(wakeful("busyloop"), walk(("enter", key, "enter")), size=size)
    assert [word for word in words if word not in text] == []
    assert "run-queue wait" in text and "idle exit" in text


def test_a_session_without_wakeups_says_so_and_shows_no_figure() -> None:
    text = drive(recorded(), walk(("enter", "2", "enter")))
    assert "≠" in drive(recorded(), walk(("enter", "2"))), "it runs far from its memory"
    assert "no wake-up was counted in this span" in text and "no wake-up waited for this" in text
    text = drive(recorded(), walk(("enter", "3")))
    assert "window now: not known" in text and "to wake" not in text


def test_the_distributions_are_of_the_chosen_span() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> list[str]:
        await press(pilot, "enter", "3", "enter")
        assert isinstance(app.screen, ThreadScreen)
        texts = []
        for _ in range(3):
            texts.append(text_of(app.screen.query_one("#figures")).splitlines()[2])
            await press(pilot, "w")
        return texts

    recent, minute, _ = drive(wakeful(), act)
    assert recent.startswith("18000 wake-ups") and minute.startswith("19800 wake-ups")


@pytest.mark.parametrize(("keys", "table"), [((), "vcpus"), (("3", "enter"), "waited")])
def test_exports_hold_the_threads(keys: tuple[str, ...], table: str, tmp_path: Path) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        await press(pilot, "enter", *keys, "e")
        app.screen.query_one(Input).value = str(tmp_path / "case.json")
        await press(pilot, "enter")

    drive(wakeful(), act)
    row = json.loads((tmp_path / "case.json").read_text())["tables"][table][0]
    if table == "vcpus":
        assert row["window"] == 50_000 and row["blocks"] > 0 and row["wait"] is not None
    else:
        assert (row["kind"], row["name"], row["share"]) == ("left idle state", "C6", 1.0)
