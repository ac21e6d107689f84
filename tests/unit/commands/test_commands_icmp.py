"""``vmlat icmp``: its text and JSON, and that the analysis reads both."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional, Union

import pytest

from tests.support.chains import dropped, sent
from tests.support.echoes import SOURCE, TARGET, between_vms, reply, request, stats
from tests.support.frames import counted, seen
from tests.support.parts import printed, value_of
from tests.unit.commands.test_commands_measuring import PROGRAM, ROOT, run
from vmlat_tui.analysis.collection import Collection
from vmlat_tui.commands import icmp
from vmlat_tui.commands.icmp import PingView
from vmlat_tui.commands.options import packets as command_line
from vmlat_tui.errors import UsageError
from vmlat_tui.importers import directory
from vmlat_tui.importers.directory import Ends
from vmlat_tui.importers.result import SourceFile, Trouble
from vmlat_tui.model.packets import SeenPacket
from vmlat_tui.model.points import Direction
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.protocol.session import Clock, HelloFrame
from vmlat_tui.protocol.stats import StatsFrame

TX, RX = Direction.TX, Direction.RX
TIMEOUT_NS = 1_000_000_000
LATE_NS = 10 * TIMEOUT_NS


def parsed(*words: str) -> command_line.PrintRequest:
    parser = argparse.ArgumentParser()
    icmp.configure(parser)
    return command_line.parse(parser.parse_args(words))


def event(frame: Raw) -> Union[SeenPacket, StatsFrame]:
    return counted(frame) if frame["type"] == "stats" else seen(frame)


class Shown:
    """What a run prints of these frames, and the statistics at its end."""

    def __init__(self, frames: list[Raw], *words: str) -> None:
        view = PingView(parsed(*words))
        last = stats(LATE_NS, final=True)
        entries = [entry for frame in [*frames, last] for entry in view.entries(event(frame))]
        self.blocks = [printed(entry) for entry in entries]
        self.objects = [value_of(entry) for entry in entries]
        statistics = view.summary(counted(last), LATE_NS, "")
        self.summary = printed(statistics)
        self.summary_object = value_of(statistics)
        self.head = value_of(view.begin(HelloFrame(1, "6.1", "hv1", Clock(1, 2))))

    def text(self) -> str:
        return "".join([*self.blocks, self.summary])

    def json(self) -> str:
        return "\n".join(map(json.dumps, [self.head, *self.objects, self.summary_object]))


def imported(path: Path, text: str) -> tuple[Collection, SourceFile]:
    path.write_text(text)
    collection = Collection()
    (source,) = directory.read([path], collection, Ends()).sources
    return collection, source


def values(collection: Collection, row: int = 0) -> dict[str, Optional[int]]:
    return {name: collection.value(name, row) for name in sorted(collection.quantities)}


FOUR = [request(TX), reply(RX), request(TX, t_ns=2_000_000, sequence=2),
        reply(RX, t_ns=2_300_000, sequence=2)]  # fmt: skip


def test_a_ping_is_printed_in_the_requirement_s_terms() -> None:
    block = Shown(FOUR).blocks[0].splitlines()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.001 \[complete\] ID=7 Seq=1 "
        r"ReqRX:Y ReqTX:Y RepRX:Y RepTX:Y Side=sender 10\.0\.0\.5->10\.0\.0\.9 vnet0->eth0",
        block[0],
    )
    assert block[1] == (
        "  Latency(us): ReqInternal=13.500  External=186.500  RepInternal=8.300  Total=208.300"
    )
    assert block[2] == "-" * 80


@pytest.mark.parametrize(
    ("frames", "recorded", "place", "words"),
    [
        (
            [dropped(request(TX), "vnet_rx", "dropped", reason="NOMEM", function="ovs_x")],
            "ReqRX", "Request dropped INTERNALLY",
            ["Request received at vnet0 but NOT sent from eth0",
             "Dropped after vnet_rx: reason NOMEM, freed by ovs_x", "Side=sender"],
        ),
        (
            [request(TX)], "ReqRX ReqTX", "EXTERNAL (network or peer)",
            ["Request sent from eth0 but Reply NOT received at eth0"],
        ),
        (
            [request(RX)], "ReqRX ReqTX", "EXTERNAL (network or peer)",
            ["Request sent from vnet0 but Reply NOT received at vnet0", "Side=receiver"],
        ),
        (
            [request(TX), dropped(reply(RX), "tun_out", "dropped", reason="FULL_RING")],
            "ReqRX ReqTX RepRX", "Reply dropped INTERNALLY",
            ["Reply received at eth0 but NOT sent from vnet0", "reason FULL_RING"],
        ),
        (
            [request(TX), dropped(reply(RX), "tun_out", "expired")],
            "ReqRX ReqTX RepRX", "Reply dropped INTERNALLY",
            ["Still in tun's ring: the guest has not taken it"],
        ),
        (
            [dropped(request(TX, phy_interface=None), "vnet_rx", "dropped")],
            "ReqRX", "Request dropped INTERNALLY",
            ["Request received at vnet0 but NOT sent from the uplink",
             "the kernel gives no reason"],
        ),
    ],
)  # fmt: skip
def test_a_lost_ping_is_printed_with_its_place(
    frames: list[Raw], recorded: str, place: str, words: list[str], tmp_path: Path
) -> None:
    shown = Shown(frames)
    (block,) = shown.blocks
    assert "=== ICMP Drop Detected: " in block
    assert f"\nFlow: {SOURCE} -> {TARGET} (ID=7, Seq=1)\n" in block
    rows = dict(re.findall(r"\[\d\] (\w+): (recorded|MISSING)", block))
    assert list(rows) == ["ReqRX", "ReqTX", "RepRX", "RepTX"]
    assert " ".join(name for name, what in rows.items() if what == "recorded") == recorded
    assert f"\nDrop Location: {place}\n" in block
    for line in words:
        assert line in block
    (loss,) = shown.objects
    assert loss["type"] == "loss" and (loss["id"], loss["seq"]) == (7, 1)
    for name, text in (("a.log", shown.text()), ("a.json", shown.json())):
        _, source = imported(tmp_path / name, text)
        assert sum(source.drops.values()) == 1 and not source.troubles


def test_what_was_printed_is_what_the_analysis_reads(tmp_path: Path) -> None:
    shown = Shown(FOUR)
    expected = {"B": 13_500, "K": 8_300, "sender_external": 186_500, "sender_total": 208_300}
    for name, text in (("a.log", shown.text()), ("a.json", shown.json())):
        collection, source = imported(tmp_path / name, text)
        assert values(collection) == expected
        assert source.records == dict.fromkeys(expected, 2) and not source.troubles
        assert values(collection, 1)["sender_external"] == 286_500


def test_one_host_may_be_the_sender_s_of_one_ping_and_the_receiver_s_of_another(
    tmp_path: Path,
) -> None:
    frames = [*FOUR[:2], request(RX, number=8), reply(TX, number=8)]
    for name, text in (("a.log", Shown(frames).text()), ("a.json", Shown(frames).json())):
        collection, source = imported(tmp_path / name, text)
        assert {"B", "K", "D", "I"} <= collection.quantities and not source.troubles
        assert collection.value("D", 1) == 8_300 and collection.value("D", 0) is None


def test_between_two_vms_of_the_host_it_has_no_segments(tmp_path: Path) -> None:
    shown = Shown([between_vms(True, 1_000, "vnet0"), between_vms(False, 50_000, "vnet1")])
    assert "Side=both" in shown.blocks[0] and "Total=54.000" in shown.blocks[0]
    assert shown.objects[0]["type"] == "local" and not shown.objects[0]["ns"]
    collection, source = imported(tmp_path / "a.log", shown.text())
    assert not collection.quantities and source.troubles == {Trouble.SIDELESS: 1}
    collection, source = imported(tmp_path / "a.json", shown.json())
    assert not collection.quantities and not source.troubles
    assert "vnet0, both (us):" in shown.summary and "Total" in shown.summary


def test_the_statistics_at_the_end() -> None:
    unanswered = [request(TX, sequence=n) for n in (5, 6)]
    shown = Shown([*FOUR, *unanswered, reply(RX, sequence=9)])
    assert "Total flows tracked: 4\nComplete flows: 2\n" in shown.summary
    assert "External drops: 2\n" in shown.summary
    assert "Replies without a request, or later than --timeout: 1\n" in shown.summary
    assert "vnet0, sender (us):" in shown.summary
    assert re.search(r"External +2 +236\.500 ", shown.summary)
    assert re.search(r"ReqInternal \(B: sender host, vnet to uplink\) +2 +13\.500 ", shown.summary)
    assert list(re.findall("mean|p50|p90|p99", shown.summary)) == ["mean", "p50", "p90", "p99"]
    pings = shown.summary_object["pings"]
    assert (pings["complete"], pings["outside"], pings["unmatched_replies"]) == (2, 2, 1)
    parts = {row["quantity"]: row for row in shown.summary_object["parts"]}
    assert list(parts) == ["B", "sender_external", "K", "sender_total"]
    assert parts["sender_external"]["mean_ns"] == 236_500


def test_the_threshold_is_of_the_total_and_of_what_is_printed_only() -> None:
    shown = Shown(FOUR, "--latency-threshold", "250")
    assert len(shown.blocks) == 1 and "Seq=2" in shown.blocks[0]
    assert "Complete flows: 2" in shown.summary
    assert len(Shown([request(TX)], "--latency-threshold", "250").blocks) == 1, "the lost are"


def test_the_addresses_are_those_of_the_ping() -> None:
    assert len(Shown(FOUR, "--src-ip", SOURCE, "--dst-ip", TARGET).blocks) == 2
    assert not Shown(FOUR, "--src-ip", TARGET).blocks
    assert not Shown(FOUR, "--dst-ip", SOURCE).blocks


def test_other_packets_are_none_of_its_business() -> None:
    assert not Shown([sent()]).blocks


def test_names_from_outside_do_nothing_to_the_terminal() -> None:
    evil: dict[str, Any] = {"vm_interface": "\x1b[2Jv"}
    shown = Shown([request(TX, **evil), reply(RX, **evil), request(TX, sequence=3, **evil)])
    assert "\x1b" not in shown.text() and len(shown.blocks) == 2


# ---- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--timeout", "0"], "--timeout '0' is wrong"),
        (["--timeout", "1.5"], "a whole number"),
        (["--src-ip", "x"], "--src-ip 'x' is not an address"),
        (["--src-ip", "10.0.0.1", "--dst-ip", "fd00::1"], "contradict each other"),
        (["--vm", "a", "--vm-interface", "b"], "say the same"),
        (["--stats", "--latency-threshold", "3"], "--stats prints no packets"),
        (["--count", "0"], "--count '0' is wrong"),
    ],
)
def test_options_are_checked(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parsed(*words)


@pytest.mark.parametrize("option", ["--src-port", "--protocol", "--direction", "--max-rate"])
def test_what_makes_no_sense_is_not_offered(option: str) -> None:
    parser = argparse.ArgumentParser()
    icmp.configure(parser)
    assert option not in parser.format_help()


def test_it_asks_for_every_echo_packet_both_ways(tmp_path: Path) -> None:
    out, _, configure = run(
        tmp_path, "icmp", "--duration", "0.3", "--stats", "--vm-interface", "vnet0,vnet1"
    )
    assert out.startswith("=== ICMP Flow Statistics ===\nTotal flows tracked: 0\n")
    (wanted,) = configure["filters"]
    assert wanted["protocol"] == "icmp" and wanted["either"]
    assert configure["directions"] == ["tx", "rx"] and configure["emit"]
    assert (configure["max_rate"], configure["threshold_ns"]) == (0, 0)
    assert configure["vm_interfaces"] == ["vnet0", "vnet1"]


def commands(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "commands").read_text().splitlines()]


@pytest.mark.parametrize("command", ["icmp", "trace", "irq", "kick"])
def test_a_vm_stands_for_its_taps(command: str, tmp_path: Path) -> None:
    _, err, configure = run(tmp_path, command, "--vm", "db-1", "--duration", "0.3")
    assert configure["discover"] and not configure["measure"]
    measure = commands(tmp_path)[1]
    assert (measure["command"], measure["vm_interfaces"]) == ("measure", ["vnet1"])
    assert "watching" in err


def test_a_vm_without_a_device_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "commands"), "icmp", "--vm", "web-9"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2 and not done.stdout
    assert done.stderr == "vmlat: there is no VM 'web-9': on this host: web-1, db-1\n"
