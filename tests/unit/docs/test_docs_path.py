"""docs/path.md lists every point, absence and bin of the model as they are, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vmlat_tui.model import hooks
from vmlat_tui.model.absences import ABSENCES
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.points import POINTS, Direction, Step, path

PAGE = Path(__file__).resolve().parents[3] / "docs" / "path.md"
_SPAN = re.compile(r"`([^`]+)`")
Row = tuple[str, ...]


def table(before: str) -> list[Row]:
    """The rows of the first table after these words."""
    rows = []
    text = PAGE.read_text(encoding="utf-8").partition(f"\n{before}\n")[2]
    for line in text.splitlines():
        if line.startswith("|"):
            rows.append(tuple(cell.strip() for cell in line[1:-1].split("|")))
        elif rows:
            break
    return rows[2:]


def row_of(step: Step, direction: Direction) -> Row:
    """What the page says of a step."""
    stage = step.seed_stages[direction]
    return (
        f"`{step.point.id}`",
        "" if stage is None else str(stage),
        step.point.title,
        ", ".join(f"`{hook.symbol}`" for hook in step.point.hooks),
        "optional" if step.optional else "",
    )


@pytest.mark.parametrize(
    ("direction", "before"),
    [
        (Direction.TX, "Transmit, guest to wire:"),
        (Direction.RX, "Receive, wire to guest:"),
    ],
)
def test_every_point_is_listed_at_its_place_with_its_hooks(
    direction: Direction, before: str
) -> None:
    assert table(before) == [row_of(step, direction) for step in path(direction)]


def test_both_tables_together_have_every_point() -> None:
    rows = table("Transmit, guest to wire:") + table("Receive, wire to guest:")
    assert {row[0].strip("`") for row in rows} == set(POINTS)


def test_every_reason_of_an_absent_point_is_listed() -> None:
    assert table("## Absent points") == [
        (
            f"`{absence.id}`",
            absence.direction.id,
            ", ".join(f"`{point}`" for point in absence.points),
            absence.words,
        )
        for absence in ABSENCES
    ]


def test_every_bin_is_listed() -> None:
    assert [row[0] for row in table("## Where a packet ends")] == [f"`{bin_.id}`" for bin_ in Bin]


def test_what_is_hooked_beside_the_points_is_named() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("Some hooks observe no point")[2]
    named = set(_SPAN.findall(text.partition("\n## ")[0]))
    beside = hooks.JOINS + hooks.EXTRAS + hooks.ENDINGS
    assert named == {hook.symbol for hook in beside}
