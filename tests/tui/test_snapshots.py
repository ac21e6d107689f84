"""Every screen at three sizes looks as it did.

``VMLAT_SNAPSHOTS=update python -m pytest tests/tui/test_snapshots.py`` takes new pictures; look at
them before they are committed.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.driving import drive, recorded, snapshot, tour, wakeful
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.tui.app import VmlatApp

SCREENS = {
    "domains": (),
    "path": ("enter",),
    "path-workers": ("enter", "2"),
    "path-vcpus": ("enter", "3"),
    "path-halt": ("enter", "4"),
    "flows": ("enter", "f"),
    "leg": ("enter", "tab", *"jjjjjjjj", "enter"),
    "packets": ("enter", "p"),
    "packet": ("enter", "p", "enter"),
    "compare": ("c",),
    "compare-legs": ("c", "2"),
    "placement": ("P", "j"),
    "doctor": ("d",),
    "sessions": ("s",),
    "help": ("enter", "question_mark"),
}
#: Of a measurement of the whole way.
WHOLE = {
    "findings": ("enter", "i"),
    "findings-second": ("enter", "i", "j"),
    "path-whole": ("enter",),
    "path-whole-workers": ("enter", "2"),
    "path-whole-vcpus": ("enter", "3"),
    "path-whole-halt": ("enter", "4"),
    "thread-worker": ("enter", "2", "enter"),
    "thread-vcpu": ("enter", "3", "enter"),
}
SIZES = ((80, 24), (120, 40), (200, 50))


def picture(app: VmlatApp) -> str:
    """The screen as SVG, without the address of the font."""
    return re.sub(r"@font-face \{.*?\}\s*", "", app.export_screenshot(), flags=re.DOTALL)


def words(svg: str) -> list[str]:
    """The texts in a picture, for the message of a failure."""
    return [html.unescape(t).rstrip() for t in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_screen_looks_as_it_did(size: tuple[int, int], tmp_path: Path) -> None:
    compare(recorded(), SCREENS, size, tmp_path)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_screen_of_the_whole_way_looks_as_it_did(
    size: tuple[int, int], tmp_path: Path
) -> None:
    compare(wakeful("busyloop"), WHOLE, size, tmp_path)


def compare(
    frames: Iterable[Raw],
    screens: Mapping[str, Sequence[str]],
    size: tuple[int, int],
    tmp_path: Path,
) -> None:
    """Take pictures of these screens and lay them beside those that were kept."""

    async def act(app: VmlatApp, pilot: Pilot[None]) -> dict[str, str]:
        app.directory = Path("/nowhere")
        return await tour(app, pilot, screens, lambda: picture(app))

    different = []
    for name, taken in drive(frames, act, size=size).items():
        kept = snapshot(f"{name}-{size[0]}x{size[1]}")
        if os.environ.get("VMLAT_SNAPSHOTS") == "update":
            kept.parent.mkdir(exist_ok=True)
            kept.write_text(taken, encoding="utf-8")
        before = kept.read_text(encoding="utf-8")
        if taken != before:
            (tmp_path / kept.name).write_text(taken, encoding="utf-8")
            texts = [(a, b) for a, b in zip(words(before), words(taken)) if a != b]
            different.append((kept.name, texts[:3] or "styles or number of texts"))
    assert not different, f"see {tmp_path}"
