"""Every format takes everything that is printed, and every command takes every format."""

from __future__ import annotations

import argparse
import importlib
import io
import json

import pytest

from tests.support.parts import printed, value_of
from vmlat_tui.cli import COMMANDS
from vmlat_tui.export import formats
from vmlat_tui.export.exporter import (
    Document,
    Page,
    Part,
    Prose,
    Record,
    Remark,
    Report,
    Sheet,
    Values,
    Words,
)
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.tables.columns import TEXT, Column
from vmlat_tui.tables.grid import MICRO, Grid

#: What has no data for standard output.
SILENT = {"record", "replay", "demo", "lab", "agent"}
COLUMNS = (
    Column[tuple[str, int]]("name", "name", 8, TEXT, lambda row: row[0]),
    Column[tuple[str, int]]("ns", "took", 8, MICRO, lambda row: row[1]),
)
ROWS = [("a_b", 1_500), ("c", 20)]
DOCUMENT = Document(
    "Of x_y",
    [Grid("t", "Table", COLUMNS, ROWS)],
    [Prose("Findings", lambda show: [f"{show('n_m')}: look"])],
    [Remark("read x"), Remark("    line 3", "x")],
)
BLOCK = Record(lambda: {"type": "x", "ns": 7}, lambda: "a ``` b\n  c\n")
PARTS: list[Part] = [BLOCK, Report(DOCUMENT, [{"type": "y"}]), Words("w"), Values({"v": 1})]


def parser_of(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    importlib.import_module(f"vmlat_tui.commands.{command}").configure(parser)
    return parser


def options_of(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    return {option: action for action in parser._actions for option in action.option_strings}


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - SILENT))
def test_json_and_format_mean_the_same_of_every_command_that_prints(command: str) -> None:
    options = options_of(parser_of(command))
    chosen, short = options["--format"], options["--json"]
    assert (chosen.dest, chosen.default, chosen.choices) == ("format", "text", formats.NAMES)
    assert (short.dest, short.const, short.default) == ("format", "json", None)


@pytest.mark.parametrize("command", sorted(SILENT))
def test_no_other_command_offers_them(command: str) -> None:
    assert not {"--format", "--json"} & options_of(parser_of(command)).keys()


def test_the_last_of_them_counts() -> None:
    parser = parser_of("topology")
    for words, form in (
        ([], "text"),
        (["--json"], "json"),
        (["--format", "json"], "json"),
        (["--json", "--format", "markdown"], "markdown"),
        (["--format", "markdown", "--json"], "json"),
    ):
        assert parser.parse_args(words).format == form


def test_a_format_is_a_module_with_a_suffix_of_its_own() -> None:
    assert formats.NAMES[0] == formats.TEXT == "text" and formats.JSON in formats.NAMES
    suffixes = [formats.exporter(name).suffix for name in formats.NAMES]
    assert {".txt", ".md", ".json"} <= set(suffixes) and len(set(suffixes)) == len(suffixes)


@pytest.mark.parametrize("form", formats.NAMES)
def test_every_format_takes_everything(form: str) -> None:
    assert printed(*PARTS, form=form)
    page = Page("vmlat", {"host": "h"}, [Sheet("s", COLUMNS, ROWS)])
    stream = io.StringIO()
    formats.exporter(form)(stream).write(page)
    assert "a_b" in stream.getvalue() and stream.getvalue().endswith("\n")


def test_text_is_as_it_was_laid_out_and_a_report_is_set_off() -> None:
    assert printed(BLOCK, Values({"v": 1}), Words("w")) == "a ``` b\n  c\n\nw\n"
    report = printed(Report(DOCUMENT))
    assert report == (
        "Of x_y\n\nTable\n  name  took µs\n  a_b       1.5\n  c         0.0\n\n"
        "Findings\n  n_m: look\n\nRemarks\n  read x\n  x:     line 3\n"
    )
    assert printed(Words("w"), Report(DOCUMENT)) == f"w\n\n{report}"
    assert printed(Values({"v": 1}), Report(DOCUMENT)) == report


def test_markdown_has_no_markup_but_its_own() -> None:
    code = printed(BLOCK, form="markdown")
    assert code == "````\na ``` b\n  c\n````\n\n", "what is in it does not end it"
    report = printed(Report(DOCUMENT), form="markdown").splitlines()
    assert report[0] == "## Of x\\_y" and "| a\\_b | 1.5 |" in report
    assert report[-8:] == [
        "### Findings", "", "n\\_m: look", "", "### Remarks", "", "- read x", "- x: line 3",
    ]  # fmt: skip
    assert not printed(Values({"v": 1}), form="markdown")


def test_json_is_one_object_a_line() -> None:
    lines = printed(*PARTS, form="json").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"type": "x", "ns": 7}, {"type": "y"}, {"v": 1},
    ]  # fmt: skip
    assert value_of(Values({"name": "\u202e"})) == {"name": "\u202e"}
    assert printed(Values({"name": "\u202e"}), form="json").isascii()


def test_a_part_makes_only_what_a_format_asks_for() -> None:
    made: list[str] = []

    def value() -> Raw:
        made.append("value")
        return {"v": 1}

    def block() -> str:
        made.append("block")
        return "v"

    record = Record(value, block)
    assert value_of(record) == {"v": 1} and made == ["value"]
    assert printed(record) == "v\n" and made == ["value", "block"]


def test_what_is_written_is_there_at_once() -> None:
    class Seen(io.StringIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1

    stream = Seen()
    exporter = formats.exporter("json")(stream)
    exporter.write(Values({"v": 1}))
    assert stream.flushed == 1 and stream.getvalue() == '{"v": 1}\n'
