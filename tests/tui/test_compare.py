"""Several VMs side by side on the screen and in what it exports."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui import host
from tests.tui.driving import SMALL, WIDE, drive, press, recorded, screen_text, walk
from tests.tui.test_snapshots import picture
from vmlat_tui.tui.app import VmlatApp


def matrix_head(text: str) -> str:
    """The line with the names of the VMs."""
    return next(line for line in text.splitlines() if line.strip().startswith("dir leg"))


def test_every_leg_is_compared_vm_by_vm_and_more_vms_are_a_key_away() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> list[str]:
        texts = []
        for keys in (("c",), ("2",), ("right",), ("l", "l", "l"), ("h", "left"), ("v", "v", "v")):
            await press(pilot, *keys)
            texts.append(screen_text(app))
        return texts

    way, first, moved, last, back, share = drive(recorded(3, 8), act, size=SMALL)
    assert "whole way" in way and "dir leg" not in way and "whole way" not in first
    assert "p50 µs of every leg" in first and "VMs 1 to 6 of 8" in first
    assert matrix_head(first).split()[2:] == list(host.NAMES[:6])
    assert matrix_head(moved).split()[2:] == list(host.NAMES[1:7])
    assert matrix_head(last).split()[2:] == list(host.NAMES[2:8]), "and no further"
    assert "▲" not in first and "▲" in last, "the slowest one is at the right"
    assert back == first and "share % of every leg" in share


def test_both_tables_of_the_comparison_are_in_sight_where_there_is_room() -> None:
    text = drive(recorded(), walk(("c",)), size=WIDE)
    assert "whole way and slowest leg" in text and "p50 µs of every leg" in text


def test_a_leg_of_the_comparison_opens_for_the_vm_that_is_slowest_there() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> list[str]:
        await press(pilot, "c", "2", "j", "enter")
        return app.crumbs

    assert drive(recorded(), act, size=SMALL)[-1] == "TX tun_in → vnet_rx"


def test_the_slowest_vm_stands_out_without_colours_and_with_ascii_alone() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> str:
        await press(pilot, "c", "2", "right", "right")
        return "".join(html.unescape(t) for t in re.findall(r"<text[^>]*>([^<]*)<", picture(app)))

    text = drive(recorded(3, 8), act, size=SMALL, ascii=True, colourless=True).replace("\xa0", " ")
    assert re.search(r"! \d+\.\d", text) and text.isascii()


def test_the_comparison_is_exported_with_all_vms(tmp_path: Path) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        await press(pilot, "c", "e")
        app.screen.query_one(Input).value = str(tmp_path / "vms")
        await press(pilot, "enter")

    drive(recorded(3, 8), act, size=SMALL)
    head = matrix_head((tmp_path / "vms.txt").read_text())
    assert head.split()[2:] == list(host.NAMES)
    assert (
        "▲" in (tmp_path / "vms.txt").read_text() and "| TX |" in (tmp_path / "vms.md").read_text()
    )
    row = json.loads((tmp_path / "vms.json").read_text())["tables"]["matrix"][1]
    assert row["leg"] == "tun_in -> vnet_rx" and isinstance(row["vnet7"], int)
