"""``vmlat icmp`` as a process on this kernel: pings over a bridge, and where they are lost."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest

from tests.native.net import Bed, run, wait_until
from tests.native.test_agent import programs
from tests.native.wire import ICMP, ICMPV6, V4, V6, Packet
from vmlat_tui.analysis.collection import Collection
from vmlat_tui.importers import directory
from vmlat_tui.importers.directory import Ends

ROOT = Path(__file__).resolve().parents[2]
#: The VM pings; addresses and ids of its own for each test are not needed, as each has its run.
PING = V4.with_(protocol=ICMP, sport=4711, dport=4711)
PING6 = V6.with_(protocol=ICMPV6, sport=4711, dport=4711)
#: A ping that comes from the wire.
PINGED = PING.mirrored().with_(reply=False)


class Icmp:
    """A run of the command."""

    def __init__(self, bed: Bed, *words: str) -> None:
        taps = ",".join(tap.name for tap in bed.taps)
        where = ("--rung", "tracepoints", "--vm-interface", taps, "--phy-interface", bed.uplink)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vmlat_tui", "icmp", *where, *words],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._wait()

    def _wait(self) -> None:
        """Until it counts."""
        errors = self.process.stderr
        assert errors
        line = errors.readline()
        assert line.startswith("vmlat: watching"), line
        time.sleep(0.3)

    def end(self, number: Optional[signal.Signals] = signal.SIGINT) -> tuple[str, str]:
        """Output and messages; it ends by itself if no signal is given."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, err
        return out, err

    def rows(self, number: Optional[signal.Signals] = signal.SIGINT) -> list[dict[str, Any]]:
        """The objects that it printed."""
        return [json.loads(line) for line in self.end(number)[0].splitlines()]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()


@pytest.fixture
def bed() -> Iterator[Bed]:
    with Bed(taps=2) as made:
        yield made


@pytest.fixture
def icmp(bed: Bed) -> Iterator[Any]:
    started: list[Icmp] = []

    def start(*words: str) -> Icmp:
        started.append(Icmp(bed, "--timeout", "300", *words))
        return started[-1]

    yield start
    for run_ in started:
        run_.close()


def exchange(bed: Bed, packet: Packet, number: int, outside_s: float = 0.0) -> None:
    """A request one way, and its reply the other."""
    for half in (packet, packet.mirrored()):
        if half.src_mac == PING.src_mac:
            bed.tap.send(half.frame(number))
        else:
            bed.deliver(half.frame(number))
        time.sleep(outside_s or 0.002)
    bed.tap.drain()


@pytest.mark.parametrize("packet", [PING, PING6], ids=["icmp", "icmpv6"])
def test_on_the_sender_s_host_the_time_outside_is_outside(
    icmp: Any, bed: Bed, packet: Packet
) -> None:
    command = icmp("--format", "json")
    for number in range(1, 21):
        exchange(bed, packet, number, outside_s=0.02)
    head, *rows, summary = command.rows()
    assert head["type"] == "capture"
    assert [(row["type"], row["id"], row["seq"]) for row in rows] == [
        ("reading", 4711, number) for number in range(1, 21)
    ]
    for row in rows:
        assert (row["side"], row["vm_interface"]) == ("sender", bed.tap.name)
        assert (row["src"], row["dst"]) == (packet.src, packet.dst)
        ns = row["ns"]
        assert ns["B"] + ns["sender_external"] + ns["K"] == ns["sender_total"]
        assert 20_000_000 <= ns["sender_external"] <= 40_000_000
        assert 0 < ns["B"] < 10_000_000 and 0 < ns["K"] < 10_000_000
    assert summary["pings"]["complete"] == 20
    assert sum(v for k, v in summary["pings"].items() if k != "complete") == 0


def test_on_the_receiver_s_host_the_guest_is_outside(icmp: Any, bed: Bed) -> None:
    command = icmp("--format", "json")
    for number in range(1, 11):
        exchange(bed, PINGED, number, outside_s=0.02)
    _, *rows, _ = command.rows()
    assert len(rows) == 10
    for row in rows:
        assert row["side"] == "receiver" and row["ns"].keys() == {
            "D", "receiver_external", "I", "receiver_total"
        }  # fmt: skip
        assert row["ns"]["receiver_external"] >= 20_000_000


def test_a_delay_in_the_uplink_s_qdisc_is_outside(icmp: Any, bed: Bed) -> None:
    """The request waits there, behind the queue's point; the answer comes at once."""
    command = icmp("--format", "json")
    bed.hold()
    bed.tap.send(PING.frame(1))
    time.sleep(0.05)
    bed.release()
    bed.deliver(PING.mirrored().frame(1))
    bed.tap.drain()
    _, row, _ = command.rows()
    bed.unhold()
    assert row["ns"]["sender_external"] >= 50_000_000
    assert row["ns"]["B"] < 20_000_000 and row["ns"]["K"] < 20_000_000


def test_a_request_that_nobody_answers_is_lost_outside(icmp: Any, bed: Bed) -> None:
    command = icmp("--count", "2")
    exchange(bed, PING, 1)
    bed.tap.send(PING.frame(2))
    out, _ = command.end(None)
    assert "ID=4711 Seq=1 ReqRX:Y ReqTX:Y RepRX:Y RepTX:Y Side=sender" in out
    assert "Drop Location: EXTERNAL (network or peer)\n" in out
    assert f"Request sent from {bed.uplink} but Reply NOT received at {bed.uplink}" in out


def test_a_request_that_the_bridge_drops_is_lost_inside_with_the_reason(
    icmp: Any, bed: Bed
) -> None:
    command = icmp("--count", "1")
    run("ip", "link", "set", bed.uplink, "down")
    bed.tap.send(PING.frame(3))
    out, _ = command.end(None)
    assert "Flow: 192.0.2.1 -> 192.0.2.2 (ID=4711, Seq=3)\n  [0] ReqRX: recorded\n" in out
    assert "  [1] ReqTX: MISSING\n" in out
    assert "Drop Location: Request dropped INTERNALLY\n" in out
    assert "Dropped after vnet_rx: reason " in out and "freed by br_" in out


def test_a_reply_that_finds_the_tap_full_is_lost_inside(icmp: Any, bed: Bed) -> None:
    """The guest has stopped reading its tap."""
    run("ip", "link", "set", bed.tap.name, "txqueuelen", "2")
    command = icmp("--format", "json")
    for number in range(1, 7):
        bed.tap.send(PING.frame(number))
        bed.deliver(PING.mirrored().frame(number))
    time.sleep(0.6)
    bed.tap.drain()
    _, *rows, summary = command.rows()
    lost = [row for row in rows if row["type"] == "loss"]
    assert [row["seq"] for row in lost] == [3, 4, 5, 6]
    for row in lost:
        assert row["outcome"] == "reply_inside" and row["drop"]["function"] == "tun_net_xmit"
        assert row["drop"]["reason"] == "FULL_RING"
        assert row["passed"] == {"ReqRX": True, "ReqTX": True, "RepRX": True, "RepTX": False}
    assert summary["pings"]["reply_inside"] == 4


def test_a_reply_that_the_guest_does_not_take_is_in_the_host(icmp: Any, bed: Bed) -> None:
    """Until the agent gives it up, nobody knows; it is never said to be lost outside."""
    command = icmp("--count", "1")
    bed.tap.send(PING.frame(1))
    bed.deliver(PING.mirrored().frame(1))
    out, _ = command.end(None)
    assert "Drop Location: Reply dropped INTERNALLY\n" in out
    assert "Still in tun's ring: the guest has not taken it\n" in out


def test_between_two_vms_of_one_host(icmp: Any, bed: Bed) -> None:
    other = bytes.fromhex("525400aa0002")
    bed.learn(other, bed.taps[1].name)
    command = icmp("--format", "json")
    there = PING.with_(dst_mac=other)
    for number in range(1, 4):
        bed.taps[0].send(there.frame(number))
        assert bed.taps[1].receive()
        bed.taps[1].send(there.mirrored().frame(number))
        assert bed.taps[0].receive()
    _, *rows, _ = command.rows()
    assert [(row["type"], row["side"], row["seq"]) for row in rows] == [
        ("local", "both", number) for number in (1, 2, 3)
    ]
    for row in rows:
        *parts, total = row["parts_ns"].values()
        assert sum(parts) == total


def test_the_printed_text_is_what_the_analysis_reads(icmp: Any, bed: Bed, tmp_path: Path) -> None:
    command = icmp()
    for number in range(1, 6):
        exchange(bed, PING, number)
        exchange(bed, PINGED.with_(sport=5, dport=5), number)
    bed.tap.send(PING.frame(9))
    time.sleep(0.4)
    (tmp_path / "host.log").write_text(command.end()[0])
    collection = Collection()
    (source,) = directory.read([tmp_path], collection, Ends()).sources
    assert not source.troubles and source.drops == {"outside the host": 1}
    assert source.records == dict.fromkeys(
        ("B", "sender_external", "K", "sender_total",
         "D", "receiver_external", "I", "receiver_total"), 5
    )  # fmt: skip


def test_other_traffic_is_not_shown(icmp: Any, bed: Bed) -> None:
    command = icmp("--src-ip", "192.0.2.1", "--dst-ip", "192.0.2.2", "--format", "json")
    exchange(bed, PING.with_(src="192.0.2.7"), 1)
    exchange(bed, PINGED, 2)
    bed.tap.send(V4.frame(3))
    exchange(bed, PING, 4)
    _, *rows, _ = command.rows()
    assert [row["seq"] for row in rows] == [4]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_statistics_and_no_probe_is_left(
    icmp: Any, bed: Bed, number: signal.Signals
) -> None:
    before = programs()
    command = icmp("--stats")
    assert programs() > before
    exchange(bed, PING, 1)
    out, err = command.end(number)
    assert out.startswith("=== ICMP Flow Statistics ===\nTotal flows tracked: 1\n")
    assert "Complete flows: 1\n" in out and not err
    assert wait_until(lambda: programs() == before)


def test_what_is_printed_is_printed_at_once(icmp: Any, bed: Bed) -> None:
    command = icmp()
    exchange(bed, PING, 1)
    assert command.process.stdout
    assert select.select([command.process.stdout], [], [], 5)[0]


def test_trace_and_record_carry_the_numbers(bed: Bed, tmp_path: Path) -> None:
    where = ("--vm-interface", bed.tap.name, "--phy-interface", bed.uplink)
    recorded = tmp_path / "a.vmlat"
    commands = (
        ("trace", "--rung", "tracepoints", "--format", "json", *where, "--count", "2"),
        ("record", str(recorded), *where, "--duration", "4"),
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "vmlat_tui", *words], cwd=ROOT, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for words in commands
    ]  # fmt: skip
    # Both count when both have seen it.
    for _ in range(100):
        exchange(bed, PING, 258, outside_s=0.02)
        if running[0].poll() is not None and running[1].poll() is not None:
            break
    out, _ = running[0].communicate(timeout=30)
    running[1].communicate(timeout=30)
    frames = [json.loads(line) for line in out.splitlines()[:2]]
    kept = [json.loads(line) for line in recorded.read_text().splitlines()]
    for found in (frames, [frame for frame in kept if frame["type"] == "packet"]):
        kinds = {frame["direction"]: frame["icmp"] for frame in found}
        assert kinds == {
            "tx": {"id": 4711, "seq": 258, "kind": "request"},
            "rx": {"id": 4711, "seq": 258, "kind": "reply"},
        }


def test_what_cannot_be_watched_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vmlat_tui", "icmp", "--vm-interface", "no such"],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2 and not done.stdout
    assert len(done.stderr.splitlines()) == 1 and "no such" in done.stderr
