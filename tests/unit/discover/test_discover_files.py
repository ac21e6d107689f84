"""Reading the kernel's small files, and what others wrote into theirs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

import pytest

from tests.support.trees import plant
from vmlat_tui.discover import files
from vmlat_tui.discover.vms.statx import file_status


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("42", 42), ("9" * 18, 10**18 - 1), ("²", None), ("٣", None), ("1_0", None),
     ("+1", None), ("-1", None), (" 1", None), ("", None), (None, None), ("9" * 19, None),
     ("9" * 5000, None)],
)  # fmt: skip
def test_a_number_is_ascii_digits_within_its_limit(
    text: Optional[str], value: Optional[int]
) -> None:
    assert files.decimal(text) == value


def test_a_limit_may_be_lower() -> None:
    assert files.decimal("255", 256) == 255 and files.decimal("256", 256) is None


@pytest.mark.parametrize(
    ("text", "value"), [("12", 12), ("-1", -1), ("²", None), ("9" * 5000, None), ("x", None)]
)
def test_a_file_may_hold_a_negative_number(tmp_path: Path, text: str, value: Optional[int]) -> None:
    assert files.number(plant(tmp_path, {"n": text}) / "n") == value
    assert files.number(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0-3,8,10-11", (0, 1, 2, 3, 8, 10, 11)), ("", ()), ("5-", ()), ("-5", ()), ("²", ()),
     ("1-²", ()), ("3-1", ()), ("0-99999999999", ()), ("0-8192,7", (7,)), ("9" * 5000, ())],
)  # fmt: skip
def test_a_list_is_no_longer_than_the_kernels(text: str, numbers: tuple[int, ...]) -> None:
    assert files.parse_list(text) == numbers


def test_no_more_is_read_than_wanted(tmp_path: Path) -> None:
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(1 << 40)
    assert files.read(tmp_path / "huge", 10) == "\0" * 10
    assert len(files.read(tmp_path / "huge")) == 64 << 10


def test_what_a_file_is_can_be_told() -> None:
    null, here = file_status("/dev/null"), file_status(__file__)
    assert null and here and file_status("/no such file") is None
    assert null.device == (1, 3) and here.uid == os.stat(__file__).st_uid
    assert here.mode == os.stat(__file__).st_mode


def test_only_a_newline_ends_a_line() -> None:
    name = "a\v\f\x1c\x1d\x1e\x85\u2028\u2029\r"
    assert files.lines(f"Name:\t{name}\nUid:\t1") == [f"Name:\t{name}", "Uid:\t1"]
