"""``vmlat trace``, ``irq`` and ``kick`` as processes: one driver, three views."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional, Union

import pytest

from tests.support.frames import typed
from tests.tui.streams import Stream
from vmlat_tui.commands import irq, kick, measuring
from vmlat_tui.commands.options import packets
from vmlat_tui.errors import UsageError
from vmlat_tui.export.view import Entry, View
from vmlat_tui.model.packets import SeenPacket
from vmlat_tui.model.points import Direction
from vmlat_tui.protocol.stats import StatsFrame

ROOT = Path(__file__).resolve().parents[3]
#: A command with another agent; argv: log of the agent, the command and its arguments.
PROGRAM = """
import sys
from vmlat_tui.cli import main
from vmlat_tui.transport import hosts
from vmlat_tui.transport.hosts import Host
log, *arguments = sys.argv[1:]
agent = (sys.executable, "-m", "tests.support.agents", log)
hosts.here = lambda: Host("this host", agent)
sys.exit(main(arguments))
"""


def run(directory: Path, *arguments: str) -> tuple[str, str, dict[str, Any]]:
    """Output, messages, and the first command that the agent got, of a run that ended well."""
    log = directory / "commands"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(log), *arguments],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first: dict[str, Any] = json.loads(log.read_text().splitlines()[0])
    return done.stdout, done.stderr, first


def test_irq_prints_what_was_received_with_its_queue_then_statistics(tmp_path: Path) -> None:
    out, err, configure = run(tmp_path, "irq", "--count", "3")
    blocks = out.split("=== VM Interrupt ")[1:]
    assert [block.split(":")[0] for block in blocks] == ["Trace"] * 3 + [blocks[3].split(":")[0]]
    assert blocks[3].startswith("Statistics (")
    assert all("\nQueue: vnet0/0\n" in block for block in blocks[:3]), "also of the first packet"
    assert all("Total(S1->guest_entry): " in block for block in blocks[:3])
    assert configure["directions"] == ["rx"] and configure["discover"]
    assert "vmlat: watching vnet0" in err


def test_kick_prints_what_was_sent(tmp_path: Path) -> None:
    out, _, configure = run(tmp_path, "kick", "--count", "2", "--protocol", "icmp")
    assert out.count("=== VM Kick Trace: ") == 2 and out.count("=== VM Kick Statistics (") == 1
    assert "came with another packet's kick" in out
    assert configure["directions"] == ["tx"] and configure["filters"][0]["protocol"] == "icmp"


def test_trace_prints_both_ways_and_needs_to_know_no_vm(tmp_path: Path) -> None:
    out, _, configure = run(tmp_path, "trace", "--count", "2")
    assert out.count("=== VM Network Latency Trace: ") == 2 and "(RX) ===" in out
    assert configure["directions"] == ["tx", "rx"] and not configure["discover"]


def test_json_is_one_object_a_packet_then_a_summary(tmp_path: Path) -> None:
    out, _, _ = run(tmp_path, "irq", "--count", "2", "--format", "json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["type"] for row in rows] == ["packet", "packet", "summary"]
    for row in rows[:2]:
        assert sum(leg["ns"] for leg in row["legs"]) == row["total_ns"]
        assert row["totals"][-1] == {"from": "S1", "to": "guest_entry", "ns": row["total_ns"]}


def test_only_statistics_ask_for_no_packets(tmp_path: Path) -> None:
    out, _, configure = run(tmp_path, "irq", "--stats", "--duration", "0.3")
    assert out.startswith("=== VM Interrupt Statistics (") and not configure["emit"]
    assert "that were printed" not in out


def test_of_vnics_without_number_the_rest_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[Optional[str]] = []

    class Seen(View):
        def entries(self, frame: Union[SeenPacket, StatsFrame]) -> list[Entry]:
            assert not isinstance(frame, StatsFrame)
            names.append(frame.vm_interface)
            return []

    monkeypatch.setattr(measuring, "_MOST_VNICS", 3)
    command = measuring.Command("", "", lambda _: Seen())
    running = measuring.Driver(command, packets.parse(parser_of(irq).parse_args([])))
    packet = Stream(("web-1",)).packet(0, Direction.TX)
    for _ in range(2):
        for number in range(5):
            running.take(typed({**packet, "vm_interface": f"vnet{number}"}))
    assert names == ["vnet0", "vnet1", "vnet2", "others", "others"] * 2


def parser_of(command: Any) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return parser


@pytest.mark.parametrize(("command", "direction"), [(irq, "rx"), (kick, "tx")])
def test_the_direction_is_fixed_and_not_offered(command: Any, direction: str) -> None:
    parser = parser_of(command)
    assert packets.parse(parser.parse_args([])).packets.directions == (direction,)
    assert "--direction" not in parser.format_help()


def test_the_help_says_what_the_threshold_is_of() -> None:
    assert "last printed total" in " ".join(parser_of(irq).format_help().split())


def test_options_are_checked_as_those_of_trace() -> None:
    with pytest.raises(UsageError, match="has no ports"):
        packets.parse(parser_of(irq).parse_args(["--protocol", "icmp", "--src-port", "7"]))
