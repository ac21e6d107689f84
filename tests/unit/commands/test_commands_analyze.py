"""``vmlat analyze`` and ``vmlat compare`` as their user has them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.pings import PINGS, USUAL, Ping, guest, host, logs, pings, write
from vmlat_tui.cli import main

OLD, NEW = str(PINGS / "kernel-4.19.json"), str(PINGS / "kernel-5.10.json")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return str(out)


def objects(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed(capsys, *arguments).splitlines()]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    try:
        status = main(list(arguments))
    except SystemExit as exit:
        status = int(str(exit.code))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return status, err


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    found = pings(40)
    found[4] = Ping(5, us={**USUAL, "E": 935})
    return write(tmp_path / "pair", logs(found))


def test_the_published_comparison_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "compare", OLD, NEW)
    lines = [re.sub(r"\s+", " ", line.strip()) for line in text.splitlines()]
    for line in (
        "Sender host: A+U1+B+K+L+U4+M 82.7 171.3 +88.6 2.1x 24 % derived, from means",
        "Physical network: C+J 30.7 144.0 +113.3 4.7x 30 % derived, from means",
        "Receiver host: D+E+U2+F+G+H+U3+I 113.4 285.7 +172.3 2.5x 46 % given average",
        "VM internal: A+F+G+H+M 73.9 74.4 +0.5 1.0x 0 % derived, from means",
        "as printed 80.0 225.0 +145.0 2.8x 39 % derived, from means",
        "as printed -11.0 1.6 +12.6 – 3 % derived, from means ▼ negative",
        "as printed 0.0 96.6 +96.6 – 26 % as published / derived, from means",
    ):
        assert line in lines
    assert "kernel 4.19: U1+U4 is negative (-4.0 µs): these are not the same packets" in lines
    for finding in ("Virtualisation, receive: +139.0 µs (37 % of the growth), mostly in E, E.s1_s2",
                    "Ruled out: VM internal (+0.5 µs).", "taskset -p", "halt_poll_ns"):  # fmt: skip
        assert finding in text


def test_a_comparison_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = objects(capsys, "compare", OLD, NEW, "--json")
    assert found[0]["type"] == "comparison"
    layers = {
        (row["item"], row["as_printed"]): row for row in found
        if row["type"] == "row" and row["table"] == "layers"
    }  # fmt: skip
    assert layers["physical", False]["difference_ns"] == pytest.approx(113_300)
    assert layers["virt_receive", True]["share"] == pytest.approx(0.3875, abs=1e-4)
    assert [f["layer"] for f in found if f["type"] == "finding"] == [
        "virt_receive", "physical", "rest"
    ]  # fmt: skip
    assert found[-1]["type"] == "remark"


def test_a_comparison_of_another_statistic(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, pair: Path
) -> None:
    other = write(tmp_path / "slower", logs(pings(40, D=112)))
    arguments = ("compare", str(pair), str(other), "--statistic", "p50", "--json")
    rows = [row for row in objects(capsys, *arguments) if row["type"] == "row"]
    d = next(row for row in rows if row["item"] == "D" and row["table"] == "segments")
    assert d["difference_ns"] == 100_000
    assert d["share"] == 1
    assert not any(row["as_printed"] for row in rows)


def test_an_analysis_as_text(capsys: pytest.CaptureFixture[str], pair: Path) -> None:
    text = printed(capsys, "analyze", str(pair), "--slow", "1000")
    assert "Ping analysis: pair" in text
    assert "Which segment was large in the slow packets (1 of 40 took 1000.0 µs or more)" in text
    blamed = text.split("Which segment was large")[1].splitlines()[2].split()
    assert blamed == ["E", "1", "35.0", "935.0", "+900.0", "100", "%"]
    assert "40 packets were seen by every observer" in text
    assert "not measured: U1 U2 U3 U4" in text
    slowest = text.split("The 10 slowest packets")[1].splitlines()[2].split()
    assert slowest[:2] == ["77", "5"]


def test_an_analysis_as_json_begins_with_every_packet(
    capsys: pytest.CaptureFixture[str], pair: Path
) -> None:
    found = objects(capsys, "analyze", str(pair), "--json")
    kinds = [value["type"] for value in found]
    assert kinds[:7] == ["analysis", *["source"] * 6]
    packets = [value for value in found if value["type"] == "packet"]
    assert len(packets) == 40
    assert packets[4]["seq"] == 5
    assert packets[4]["ns"]["E"] == 935_000
    assert packets[4]["derived_ns"]["physical"] == 20_000
    assert packets[4]["derived_ns"]["rest"] == 1000 * (7 + 20 + 6 + 19)
    rests = [v for v in found if v.get("item") == "rest" and not v["as_printed"]]
    assert len(rests) >= 5
    assert all(rest["spread_ns"] == 0 for rest in rests)


@pytest.mark.parametrize("command", [("analyze", NEW), ("compare", OLD, NEW)])
def test_markdown_has_tables(capsys: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    text = printed(capsys, *command, "--format", "markdown")
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len(tables) > 20
    assert text.startswith("## Ping ")
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_averages_alone_can_be_analysed(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "analyze", OLD)
    assert "these are averages without packets" in text
    assert "▼ negative" in text


def test_any_part_of_the_logs_can_be_analysed(
    capsys: pytest.CaptureFixture[str], pair: Path
) -> None:
    text = printed(capsys, "analyze", str(pair / "guest-send.log"))
    assert "Remainder: U1+B+C+D+E+U2+F+G+H+U3+I+J+K+L+U4" in text
    text = printed(capsys, "analyze", str(pair / "host-send.log"), str(pair / "host-recv.log"))
    assert "there is no round trip of the sender's guest" in text
    assert "Physical network: C+J" in text


def test_the_hole_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    files = logs(pings(30))
    files["host-recv.log"] = logs(pings(28))["host-recv.log"]
    text = printed(capsys, "analyze", str(write(tmp_path / "pair", files)))
    assert "28 packets were seen by every observer" in text
    assert "2 of 30 packets lack something at the receiver host" in text
    assert "at the sender" not in text


def test_names_and_lines_from_outside_are_shown_harmless(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    evil = "\x1b]0;title\x07\x1b[31m\u202e|<b>`x`\\"
    lines = [evil, *guest("tx", 1, 1, (18, 15, 192, 225)), *host(1, 1, (1, 2, 3, 6)), evil + "2"]
    directory = write(tmp_path / "e\x1b[2Jvil", {"a\nb\x1b[31m.log": lines})
    # A file of averages names its environment itself.
    averages = tmp_path / "x.json"
    averages.write_text(
        json.dumps({"vmlat": "averages", "name": evil, "values": {"rtt": 1, "A": 0.5}})
    )
    for command in (("analyze", str(directory)), ("compare", str(directory), str(averages))):
        for form in ("text", "markdown", "json"):
            text = printed(capsys, *command, "--format", form)
            assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
            assert form != "markdown" or "<b>" not in text.replace("&lt;b>", "")
    assert "line 1: " in printed(capsys, "analyze", str(directory))


def test_what_cannot_be_analysed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    empty = write(tmp_path / "empty", {"x.log": ["nothing"]})
    assert refused(capsys, "analyze", str(empty)) == (
        1, f"vmlat: nothing in {empty} can be analysed: 1 files were read\n"
    )  # fmt: skip
    sideless = write(tmp_path / "sideless", {"x.log": host(1, 1, (1, 2, 3, 6))})
    status, error = refused(capsys, "analyze", str(sideless))
    assert status == 1 and "--sender or --receiver" in error
    assert "sender host, Total" in printed(capsys, "analyze", str(sideless), "--sender", "x*")


@pytest.mark.parametrize(
    "arguments",
    [
        ("analyze",),
        ("analyze", "/nonexistent"),
        ("analyze", NEW, "--packets", "-1"),
        ("analyze", NEW, "--slow", "soon"),
        ("analyze", NEW, "--slow", "nan"),
        ("analyze", NEW, "--format", "xml"),
        ("compare", NEW),
        ("compare", NEW, "/nonexistent"),
        ("compare", NEW, OLD, "--statistic", "p42"),
    ],
)
def test_usage(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    status, _ = refused(capsys, *arguments)
    assert status == 2
