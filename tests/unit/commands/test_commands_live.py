"""``vmlat doctor --live``: what it asks of an agent, what it prints, how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tui import host
from tests.tui.streams import Stream, write
from tests.tui.wakeful import Wakeful
from tests.unit.commands.test_commands_record import ROOT, commands
from vmlat_tui.cli import main
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.recording.shipped import shipped

PROGRAM = """
import sys
from vmlat_tui.cli import main
from vmlat_tui.transport import hosts
from vmlat_tui.transport.hosts import Host
log, *arguments = sys.argv[1:]
agent = (sys.executable, "-m", "tests.support.agents", log)
hosts.here = lambda: Host("this host", agent)
sys.exit(main(["doctor", *arguments]))
"""


def doctor(directory: Path, *arguments: str) -> tuple[int, str, str]:
    """Status, output and messages of one run with a made-up agent."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(directory / "commands"), *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=ROOT, timeout=60,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def recorded(directory: Path, frames: Iterator[Raw]) -> str:
    return str(write(directory / "a.vmlat.gz", frames))


def judged(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main(["doctor", "--live", "--json", *arguments]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# ---- of a recording -----------------------------------------------------------------------------


def test_findings_of_a_recording_are_one_object_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded(tmp_path, Wakeful(host.NAMES[:2], ahead="busyloop").whole(6))
    lines = judged(capsys, "--replay", path)
    first = lines[0]
    assert (first["type"], first["id"], first["vm"]) == ("finding", "worker-shares-cpu", "web-1")
    assert first["vm_interface"] == "vnet0" and first["severity"] == "wrong"
    assert first["sureness"] == "measured" and first["numbers"]["ahead"] == "busyloop"
    time = first["explained"]
    assert 0 < time["p50_ns"] <= time["total_p50_ns"] and 0 < time["share"] <= 1
    assert first["legs"] == [f"{first['direction']}:vhost_woken>vhost_on_cpu"]
    verdicts = [line for line in lines if line["type"] == "verdict"]
    assert [v["vm_interface"] for v in verdicts] == ["vnet0", "vnet1"]
    assert all(v["judged"] and v["packets"]["rx"] for v in verdicts)
    found = [line for line in lines if line["type"] == "finding" and line["vm"] == "web-1"]
    assert verdicts[0]["findings"] == len(found)


def test_only_the_chosen_vnic_is_judged_and_text_says_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded(tmp_path, Wakeful(host.NAMES[:2]).whole(6))
    assert main(["doctor", "--live", "--replay", path, "--vm-interface", "vnet1"]) == 0
    text = capsys.readouterr().out
    assert (
        text.startswith("db-1 vnet1: 10800 packets TX, 10800 packets RX\n") and "web-1" not in text
    )
    assert "▲ worker's CPU sleeps deeply (worker-deep-idle)" in text
    for heading in ("found", "explains", "means", "check", "sure"):
        assert f"\n      {heading}" in text


def test_a_recording_that_was_made_before_vhost_was_measured_is_judged_by_what_it_has(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with shipped("slow-uplink") as path:
        first, *_ = judged(capsys, "--replay", str(path))
    assert first["id"] == "qdisc-backlog" and first["direction"] == "tx"
    assert first["explained"]["share"] > 0.8 and first["numbers"]["interface"] == "phy0"


def test_what_was_measured_before_the_probes_were_removed_is_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = Wakeful(host.NAMES[:1])

    def frames() -> Iterator[Raw]:
        yield from stream.whole(4)
        yield stream.released()
        yield stream.vitals()

    lines = judged(capsys, "--replay", recorded(tmp_path, frames()))
    assert lines[0]["id"] == "worker-deep-idle"


def test_names_of_a_hostile_host_are_harmless(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded(tmp_path, Wakeful(host.NAMES[:1], ahead="\x1b[2Jx").whole(3))
    assert main(["doctor", "--live", "--replay", path]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text and "[2Jx" in text


def test_a_recording_without_packets_is_no_measurement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded(tmp_path, Stream(host.NAMES[:1]).looking())
    assert main(["doctor", "--live", "--replay", path]) == 1
    assert "no packet was measured" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--replay", "x"], "--replay is for --live"),
        (["--duration", "3"], "--duration is for --live"),
        (["--live", "--replay", "/nowhere"], "cannot be opened"),
        (["--live", "--replay", "x", "--duration", "3"], "show different places"),
        (["--live", "--duration", "-1"], "--duration '-1' is wrong"),
        (["--live", "--vm-interface", ","], "holds an empty name"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_vnic_that_was_not_measured_is_said_with_those_that_were(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded(tmp_path, Wakeful(host.NAMES[:1]).whole(2))
    assert main(["doctor", "--live", "--replay", path, "--vm-interface", "vnet7"]) == 2
    assert "vnet7 was not measured: measured: vnet0" in capsys.readouterr().err


# ---- of a host ----------------------------------------------------------------------------------


def test_every_tap_is_measured_for_as_long_as_was_asked(tmp_path: Path) -> None:
    status, out, err = doctor(tmp_path, "--live", "--duration", "0.4", "--json")
    assert status == 0, err
    verdicts = [json.loads(line) for line in out.splitlines()]
    assert [v["vm_interface"] for v in verdicts if v["type"] == "verdict"] == ["vnet0", "vnet1"]
    assert err == "vmlat: measuring vnet0, vnet1\n"
    configure, measure, stop = commands(tmp_path)
    assert configure["discover"] and not configure["measure"]
    assert measure["vm_interfaces"] == ["vnet0", "vnet1"] and measure["emit"] is False
    assert measure["filters"] == [] and stop["command"] == "stop"


def test_a_tap_that_cannot_be_measured_is_the_agents_to_refuse(tmp_path: Path) -> None:
    status, out, err = doctor(tmp_path, "--live", "--vm-interface", "vnet9")
    assert status == 2 and out == "" and "vnet9 cannot be watched" in err
