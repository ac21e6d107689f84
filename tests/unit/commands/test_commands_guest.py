"""``vmlat guest``: its text and JSON, and that the analysis reads both."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.importers.test_importers import row
from tests.unit.model.test_model_guest import ANSWERED, SENT, TIMEOUT_NS, joined
from vmlat_tui.analysis.collection import Collection
from vmlat_tui.commands import guest
from vmlat_tui.errors import UsageError
from vmlat_tui.export.guest_text import Figures, trip_text
from vmlat_tui.importers import directory
from vmlat_tui.importers.directory import Ends
from vmlat_tui.importers.result import Side, SourceFile
from vmlat_tui.model import captures
from vmlat_tui.model.guest import RoundTrip, RoundTripJoiner
from vmlat_tui.ping.capture import trip_json
from vmlat_tui.protocol.echo import EchoFrame

(SENDER,) = joined(*SENT)
(RECEIVER,) = joined(*ANSWERED)
(UNDIVIDED,) = joined(ANSWERED[0], ANSWERED[3])
(KICKED,) = joined(
    SENT[0],
    replace(SENT[1], also_ns=127),
    replace(SENT[2], also_ns=309),
    SENT[3],
)


def unanswered(count: int) -> RoundTrip:
    joiner = RoundTripJoiner(TIMEOUT_NS)
    for one in SENT[:count]:
        joiner.add(one)
    (trip,) = joiner.give_up(10**12)
    return trip


def written(trips: list[RoundTrip]) -> dict[str, str]:
    """As text and as JSON."""
    figures = Figures()
    for trip in trips:
        figures.add(trip)
    objects = [captures.head(), *(trip_json(trip, 0) for trip in trips), figures.json({})]
    return {
        "a.log": "\n".join([*(trip_text(trip, 0) for trip in trips), figures.text({}, "")]),
        "a.json": "\n".join(map(json.dumps, objects)),
    }


def imported(path: Path, text: str) -> tuple[Collection, SourceFile]:
    path.write_text(text)
    collection = Collection()
    (source,) = directory.read([path], collection, Ends()).sources
    return collection, source


def test_a_round_trip_is_printed_in_the_requirement_s_terms() -> None:
    lines = trip_text(SENDER, 0).splitlines()
    assert re.fullmatch(r"=== ICMP RTT Trace: [\d :.-]+ \(TX \(Local -> Remote\)\) ===", lines[1])
    assert lines[2:5] == [
        "Session: 10.0.0.5 -> 10.0.0.9 (ID: 7, Seq: 1)",
        "Path 1 (Request: TX to 10.0.0.9): PID=900 COMM=ping IF=eth0",
        "Path 2 (Reply: RX from 10.0.0.9): PID=900 COMM=ping IF=eth0",
    ]
    for line in (
        "  [0->1] P1:S0 (sendto, sendmsg) -> P1:S1 (net_dev_start_xmit): 0.020 us",
        "  Total Path 1: 0.020 us",
        "  Total Path 2: 0.015 us",
        "Total RTT (Path1 Start to Path2 End): 0.235 us",
        "Inter-Path Latency (P1 end -> P2 start): 0.200 us",
    ):
        assert line in lines
    kicked = trip_text(KICKED, 0).splitlines()
    for line in (
        "  [0->1] P1:S0 (sendto, sendmsg) -> P1:S1 (virtio notify): 0.027 us",
        "  [2->3] P2:S0 (irq_handler_entry) -> P2:S1 (skb_copy_datagram_iovec): 0.026 us",
    ):
        assert line in kicked
    assert "(RX (Remote -> Local)) ===" in trip_text(RECEIVER, 0)
    assert "Path 1 (Request: RX from 10.0.0.5): IF=eth0" in trip_text(RECEIVER, 0)


@pytest.mark.parametrize(
    ("trip", "side", "tool"),
    [
        (SENDER, Side.SENDER, "kernel_icmp_rtt TX"),
        (RECEIVER, Side.RECEIVER, "kernel_icmp_rtt RX"),
        (UNDIVIDED, Side.RECEIVER, "kernel_icmp_rtt RX"),
        (KICKED, Side.SENDER, "kernel_icmp_rtt TX"),
    ],
)
def test_what_was_printed_is_what_the_analysis_reads(
    trip: RoundTrip, side: Side, tool: str, tmp_path: Path
) -> None:
    for name, text in written([trip]).items():
        collection, source = imported(tmp_path / name, text)
        assert row(collection) == trip.intervals_ns and collection.packet(0) == trip.packet
        assert not source.troubles
        if name == "a.log":
            last = "virtio notify" if trip is KICKED else "net_dev_start_xmit"
            assert source.variants == {last} and tool in source.tools


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (1, "it did not leave this guest; it was queued on eth0"),
        (2, "no reply; it left from eth0"),
        (3, "its reply was received and not read by a socket of the sender"),
    ],
)
def test_a_ping_without_an_answer_is_one_line(count: int, words: str, tmp_path: Path) -> None:
    trip = unanswered(count)
    assert re.fullmatch(
        rf"\[WARN\] [\d :.-]+ {words}: 10\.0\.0\.5 -> 10\.0\.0\.9 \(ID: 7, Seq: 1\)",
        trip_text(trip, 0),
    )
    assert trip_json(trip, 0)["type"] == "unanswered"
    for name, text in written([SENDER, trip]).items():
        collection, source = imported(tmp_path / name, text)
        assert source.records["rtt"] == 1 and not source.troubles
        assert collection.quantities == {"A", "M", "rtt", "sender_inter"}


def test_the_statistics_have_both_sides() -> None:
    figures = Figures()
    for trip in (SENDER, SENDER, unanswered(1), RECEIVER):
        figures.add(trip)
    text = figures.text({"lost": 3, "waiting": 1}, "the agent died")
    assert "Not final: the agent died\n" in text
    assert "sender: 2 pings, 1 without an answer\n" in text
    assert re.search(r"Path 1 \(A: sender guest, transmit stack\) +2 +0\.020 ", text)
    assert re.search(r"Inter-Path \(G: receiver guest, echo\) +1 +0\.008 ", text)
    assert "3 points were lost" in text and "1 pings were on their way" in text
    sender, receiver = figures.json({})["sides"]
    assert (sender["complete"], sender["unanswered"]) == (2, 1)
    assert [p["quantity"] for p in receiver["parts"]] == ["F", "G", "H", "receiver_rtt"]


def test_a_name_from_outside_does_nothing_to_the_terminal() -> None:
    (trip,) = joined(*SENT)
    trip.comm, trip.interface = "\x1b[2Jx", "\x1b]0;e"
    assert "\x1b" not in trip_text(trip, 0)


def parsed(*words: str) -> guest.GuestRequest:
    parser = argparse.ArgumentParser()
    guest.configure(parser)
    return guest.parse(parser.parse_args(words))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--timeout", "0"], "--timeout '0' is wrong"),
        (["--src-ip", "x"], "--src-ip 'x' is not an address"),
        (["--src-ip", "10.0.0.1", "--dst-ip", "fd00::1"], "contradict each other"),
        (["--count", "none"], "--count 'none' is wrong"),
        (["--latency-threshold", "-1"], "--latency-threshold '-1' is wrong"),
        (["--sudo"], "--sudo is for who is not root"),
    ],
)
def test_options_are_checked(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parsed(*words)


def watched(trips: list[RoundTrip], capsys: Any, *words: str) -> list[str]:
    watching = guest._Watching(parsed(*words))
    for trip in trips:
        watching.take(EchoFrame.of(trip))
    out: str = capsys.readouterr().out
    return re.findall(r"Session: .*Seq: \d+\)|WARN", out)


def test_what_is_printed_can_be_chosen(capsys: Any) -> None:
    trips = [SENDER, RECEIVER, unanswered(1)]
    assert len(watched(trips, capsys)) == 3
    assert len(watched(trips, capsys, "--src-ip", "10.0.0.9")) == 0
    assert len(watched(trips, capsys, "--dst-ip", "10.0.0.9")) == 3
    assert len(watched(trips, capsys, "--latency-threshold", "0.2")) == 2, "and what was lost"
    assert len(watched(trips, capsys, "--count", "1")) == 1
    assert len(watched(trips, capsys, "--stats")) == 0
