"""One column has one unit, and what does not fit goes by priority."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from vmlat_tui.tables.columns import (
    COUNT,
    PERCENT,
    RATE,
    TIME,
    Column,
    arrange,
    bar,
    markdown_lines,
    spark,
    table_lines,
)
from vmlat_tui.words import clean, cut, fit, width


def column(id: str, width: int, priority: int = 0, most: int | None = None) -> Column[int]:
    return Column(id, id, width, TIME, lambda row: row, priority, most)


@pytest.mark.parametrize(
    ("values", "texts", "unit"),
    [
        ([850, 1_400, 99_990], ["0.85", "1.40", "99.99"], "µs"),
        ([99_996], ["100.00"], "µs"),
        ([850, 1_234_500], ["1", "1234"], "µs"),
        ([850, 234_500], ["0.8", "234.5"], "µs"),
        ([60_000_000_000], ["60000"], "ms"),
        ([999_999_999], ["1000.0"], "ms"),
        ([], [], "µs"),
    ],
)
def test_times_share_the_unit_in_which_the_largest_fits(
    values: list[int], texts: list[str], unit: str
) -> None:
    scale = TIME.scale(values, 6)
    assert [TIME.text(v, scale, 6) for v in values] == texts and scale.unit == unit
    assert all(len(text) <= 6 for text in texts)


def test_counts_rates_and_shares_have_their_own_digits() -> None:
    for form, value, text in (
        (COUNT, 123_456, "123"), (RATE, 0.46, "0.5"), (RATE, 15600.4, "15600"),
        (PERCENT, 0.5417, "54.2"), (PERCENT, 1.0, "100.0"),
    ):  # fmt: skip
        assert form.text(value, form.scale([value], 5), 5) == text
    assert COUNT.scale([123_456], 5).unit == "k"


def test_columns_drop_by_priority_and_grow_into_what_is_left() -> None:
    columns = [column("a", 5, 0, 9), column("b", 5, 2), column("c", 5, 1), column("d", 5, 2)]
    assert [c.id for c, _ in arrange(columns, 23)] == ["a", "b", "c", "d"]
    assert [c.id for c, _ in arrange(columns, 22)] == ["a", "b", "c"]
    assert [(c.id, w) for c, w in arrange(columns, 12)] == [("a", 6), ("c", 5)]
    assert [(c.id, w) for c, w in arrange(columns, 4)] == [("a", 5)]


def test_a_table_lines_up_and_names_the_unit_once() -> None:
    columns = [column("t", 8)]
    assert table_lines(columns, [1_500, 20_250], 40) == ["    t µs", "    1.50", "   20.25"]
    assert markdown_lines(columns, [1_500])[1:] == ["| ---: |", "| 1.50 |"]


def test_bars_and_sparks() -> None:
    assert bar(1.0, 4) == "████" and bar(0.5, 4) == "██" and bar(0.0, 4) == ""
    assert bar(7.0, 4) == "████" and bar(1 / 32, 4) == "▏"
    assert spark([10, 10, 10], 5) == "  ▁▁▁" and spark([10, None, 20], 3) == "▁ █"
    assert spark([], 3) == "   " and spark([0, 0], 2) == "▁▁"


HOSTILE = "[red]x[/]\x1b[2J\u202e\u0301Z\u0336a\u0327\u200b\U0001f468\u200d\U0001f469\ufe0f名"


def test_a_hostile_name_is_harmless_and_has_a_width() -> None:
    shown = clean(HOSTILE)
    assert shown.startswith("[red]x[/]") and "\x1b" not in shown and "\u202e" not in shown
    assert not any(unicodedata.combining(c) for c in shown)
    assert clean("e\u0301") == "é" and clean("\u0301") == "?" and clean(None) == "?"


def test_cutting_counts_cells_not_characters() -> None:
    assert cut("名前abc", 4) == "名…" and width(cut("名前abc", 4)) == 3
    assert fit("名", 4) == "名  " and fit("名", 4, right=True) == "  名" and cut("abc", 0) == ""
    assert fit("x" * 200, 10) == "x" * 9 + "…"


def test_every_clean_character_has_the_width_that_the_screen_gives_it() -> None:
    cells = pytest.importorskip("rich.cells")
    odd = []
    for code in range(32, sys.maxunicode + 1):
        shown = clean(chr(code))
        if width(shown) != cells.cell_len(shown):
            odd.append(hex(code))
    assert odd == []
