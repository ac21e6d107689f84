"""Each tool's lines, in each of their versions, give the intervals that they stand for."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import echoes
from tests.support.chains import dropped
from tests.support.pings import Ping, chain, echo, guest, host, host_banner, logs, pings, write
from tests.tui import streams
from tests.tui.streams import Stream
from vmlat_tui.analysis.collection import Collection
from vmlat_tui.commands.options.files import add_options
from vmlat_tui.errors import UsageError
from vmlat_tui.importers import directory
from vmlat_tui.importers.directory import Ends
from vmlat_tui.importers.result import Side, SourceFile, Trouble
from vmlat_tui.model.points import Direction
from vmlat_tui.model.readings import Packet, Reading, to_json

ROOT = Path(__file__).resolve().parents[3]
SENDER, RECEIVER = Ends(sender=["*"]), Ends(receiver=["*"])


def read(
    path: Path, lines: Sequence[str], ends: Ends | None = None, name: str = "some.log"
) -> tuple[Collection, SourceFile]:
    write(path, {name: lines})
    collection = Collection()
    (source,) = directory.read([path], collection, ends or Ends()).sources
    return collection, source


def row(collection: Collection, number: int = 0) -> dict[str, int]:
    values = {q: collection.value(q, number) for q in collection.quantities}
    return {quantity: value for quantity, value in values.items() if value is not None}


def loose(collection: Collection) -> dict[str, tuple[list[int], int, int]]:
    return {quantity: collection.all_values(quantity) for quantity in collection.quantities}


# ---- the guests ----------------------------------------------------------------------------------


def test_the_minimal_block(tmp_path: Path) -> None:
    lines = """\
=== ICMP RTT Trace: 2026-01-08 14:20:31.412 (TX (Local -> Remote)) ===
Session: 10.0.0.5 -> 10.0.0.9 (ID: 4711, Seq: 12)
  Total Path 1:  18.204 us
  Total Path 2:  15.733 us
Total RTT (Path1 Start to Path2 End): 226.418 us
Inter-Path Latency (P1 end -> P2 start): 192.481 us""".splitlines()
    collection, source = read(tmp_path, lines)
    assert row(collection) == {"A": 18204, "M": 15733, "rtt": 226418, "sender_inter": 192481}
    assert collection.packet(0) == Packet(4711, 12)
    assert not source.troubles


@pytest.mark.parametrize("end", ["dev_queue_xmit", "net_dev_xmit"])
def test_the_version_of_a_guest_log_is_kept(tmp_path: Path, end: str) -> None:
    collection, source = read(tmp_path, guest("rx", 1, 2, (24.0, 7.0, 8.0, 39.0), end))
    assert row(collection) == {"F": 24000, "H": 7000, "G": 8000, "receiver_rtt": 39000}
    assert source.variants == {end}
    assert not source.troubles


def test_the_other_order_of_the_last_lines_and_missing_values(tmp_path: Path) -> None:
    lines = guest("tx", 1, 1, (18, 15, 192, 225))
    total = next(n for n, line in enumerate(lines) if line.startswith("Total RTT"))
    lines[total], lines[total + 1] = lines[total + 1], lines[total]
    lines += [
        line.replace("192.000 us", "    N/A") for line in guest("tx", 1, 2, (18, 15, 192, 225))
    ]
    lines += [x for x in guest("tx", 1, 3, (18, 15, 192, 225)) if "Total Path 1" not in x]
    collection, source = read(tmp_path, lines)
    assert "sender_inter" in row(collection)
    assert "sender_inter" not in row(collection, 1)
    assert "A" not in row(collection, 2)
    assert not source.troubles


def test_a_block_whose_parts_are_not_its_total_is_rejected(tmp_path: Path) -> None:
    collection, source = read(tmp_path, guest("tx", 1, 1, (18, 15, 192, 400)))
    assert not collection.quantities
    assert source.troubles == {Trouble.CONTRADICTORY: 1}


# ---- the hosts -----------------------------------------------------------------------------------


def test_a_host_log_in_both_layouts(tmp_path: Path) -> None:
    lines = host(3, 4, (13.5, 144.1, 8.3, 165.9))
    lines += host(3, 5, (13.5, 144.1, 8.3, 165.9))
    lines[-2] = (
        "Latency: ReqInternal=13.500 us | External=144.100 us | RepInternal=8.300 us | "
        "Total=165.900 us"
    )
    collection, source = read(tmp_path, lines, SENDER)
    for number in (0, 1):
        assert row(collection, number) == {
            "B": 13500, "sender_external": 144100, "K": 8300, "sender_total": 165900
        }  # fmt: skip
    assert not source.troubles


def test_progress_is_no_record_and_zero_is_no_latency(tmp_path: Path) -> None:
    lines = [
        *host(3, 4, (0.0, 0.0, 0.0, 0.0), "new"),
        *host(3, 4, (12.7, 0.0, 0.0, 0.0), "update"),
        *host(3, 4, (12.7, 0.0, 9.4, 0.0)),
    ]
    collection, source = read(tmp_path, lines, RECEIVER)
    assert row(collection) == {"D": 12700, "I": 9400}
    assert source.records == {"D": 1, "I": 1}


def test_drops_are_counted_by_their_place(tmp_path: Path) -> None:
    def block(location: str, words: str) -> list[str]:
        return [
            "", "=== ICMP Drop Detected: 2026-01-08 15:01:10.100 ===",
            "Flow: 10.0.0.5 -> 10.0.0.9 (ID=1, Seq=2)", "  [0] ReqRX: recorded",
            "  [1] ReqTX: MISSING", "  [2] RepRX: MISSING", "  [3] RepTX: MISSING", "",
            f"Drop Location: {location}", f"  {words}",
        ]  # fmt: skip

    lines = [
        *block("Request dropped INTERNALLY", "Request received at vnet2 but NOT sent from eth0"),
        *block(
            "EXTERNAL (network or peer)", "Request sent from eth0 but Reply NOT received at eth0"
        ),
        *block("Reply dropped INTERNALLY", "Reply received at eth0 but NOT sent from vnet2"),
        *host(3, 4, (1, 2, 3, 6)),
    ]
    _, source = read(tmp_path, lines, SENDER)
    assert sorted(source.drops) == [
        "outside the host", "reply, inside the host", "request, inside the host"
    ]  # fmt: skip
    assert not source.troubles


def test_other_protocols_of_the_same_tool_are_counted(tmp_path: Path) -> None:
    lines = [
        "2026-01-08 15:01:10.100 [FWD][new] seq=1 Port=1->2 Len=3 BPF_TS(us): RX=1 TX=2 RX:Y TX:Y",
        "  Latency(us): Internal=3.1",
    ]
    collection, source = read(tmp_path, lines)
    assert not collection.quantities
    assert source.troubles == {Trouble.OTHER: 1}


# ---- from tun to the interrupt -------------------------------------------------------------------


def test_stage_2_to_3_is_not_counted_twice(tmp_path: Path) -> None:
    collection, source = read(tmp_path, chain(echo(8, 5, 6), (98, 8, 10, 2)))
    assert row(collection) == {
        "E": 110_000, "E_printed": 118_000, "E.s1_s2": 98_000, "E.s2_s3": 8_000,
        "E.s3_s4": 2_000, "E.s3_s4_printed": 10_000, "E.s4_s5": 2_000,
    }  # fmt: skip
    assert collection.packet(0) == Packet(5, 6)
    assert not source.troubles


@pytest.mark.parametrize(
    ("packet", "ends", "segment"),
    [
        (echo(0, 5, 6), Ends(), "L"),
        (" ICMP fd00::1 -> fd00::2 type=128 code=0 id=5 seq=6", Ends(), "E"),
        (" ICMP fd00::1 -> fd00::2 type=129 code=0 id=5 seq=6", Ends(), "L"),
        (" ICMP 10.0.0.5 -> 10.0.0.9", SENDER, "L"),
        ("", RECEIVER, "E"),
        (" [packet info parse error]", RECEIVER, "E"),
    ],
)
def test_the_echo_type_says_which_end(
    tmp_path: Path, packet: str, ends: Ends, segment: str
) -> None:
    collection, source = read(tmp_path, chain(packet, (98, 8, 10, 2)), ends)
    assert collection.all_values(segment) == ([110_000], 1, 110_000)
    assert not source.troubles


@pytest.mark.parametrize(
    "packet",
    [" TCP 10.0.0.5:1 -> 10.0.0.9:2", " UDP a:1 -> b:2", " IP 10.0.0.5 -> 10.0.0.9 proto=89",
     " ICMP 10.0.0.5 -> 10.0.0.9 type=3 code=1 id=0 seq=0"],
)  # fmt: skip
def test_what_is_no_ping_is_left_out(tmp_path: Path, packet: str) -> None:
    collection, source = read(tmp_path, chain(packet, (98, 8, 10, 2)), RECEIVER)
    assert not collection.quantities
    assert source.troubles == {Trouble.OTHER: 1}


def test_an_end_that_nobody_knows_is_asked_for(tmp_path: Path) -> None:
    collection, source = read(tmp_path, chain("", (98, 8, 10, 2)))
    assert not collection.quantities
    assert source.troubles == {Trouble.SIDELESS: 1}


def test_chains_of_two_queues_do_not_mix(tmp_path: Path) -> None:
    one = chain(echo(8, 1, 1), (10, 1, 2, 3), "vnet2:q0")
    other = chain(echo(8, 1, 2), (20, 1, 4, 5), "vnet2:q1")
    mixed = [line for pair in zip(one[:4], other[:4]) for line in pair]
    collection, source = read(tmp_path, [*mixed, *one[4:], *other[4:]])
    found = {collection.packet(n).sequence: collection.value("E", n) for n in (0, 1)}
    assert found == {1: 15_000, 2: 29_000}
    assert not source.troubles


def test_an_unknown_queue_is_found_by_its_eventfd(tmp_path: Path) -> None:
    lines = chain(echo(8, 1, 1), (10, 1, 2, 3))
    lines[3] = lines[3].replace("[vnet2:q2]", "[unknown]")
    collection, source = read(tmp_path, lines)
    assert collection.value("E", 0) == 15_000
    assert not source.troubles


def test_a_packet_that_is_overtaken_has_no_end(tmp_path: Path) -> None:
    lines = chain(echo(8, 1, 1), (10, 1, 2, 3))
    collection, source = read(tmp_path, [lines[0], *chain(echo(8, 1, 2), (10, 1, 2, 3)), lines[4]])
    assert collection.packet(0).sequence == 2
    assert source.troubles == {Trouble.INCOMPLETE: 2}


def test_abbreviated_forms(tmp_path: Path) -> None:
    lines = [
        "TUN TX [vnet2:q2] Stage 1: Time=14:20:31.412 Queue=2 CPU=36 ICMP 10.0.0.5->10.0.0.9 "
        "type=8",
        *(f"TUN TX [vnet2:q2] Stage {n}: Time=14:20:31.412 Delay=0.0{n}0ms CPU=12 PID=73868"
          for n in range(2, 6)),
        "",
        "Total Delay(S1->S5):      0.098 ms",
        "  Stage1->Stage2:         0.070 ms",
        "  Stage2->Stage3:         0.008 ms",
        "  Stage3->Stage4:         0.010 ms",
        "  Stage4->Stage5:         0.010 ms",
    ]  # fmt: skip
    collection, source = read(tmp_path, lines, RECEIVER)
    assert collection.all_values("E")[0] == [20_000 + 40_000 + 50_000, 90_000]
    assert collection.all_values("E_printed")[0] == [140_000, 98_000]
    assert not source.troubles


def test_versions_without_a_total(tmp_path: Path) -> None:
    old = chain(echo(8, 1, 1), (10, 1, 2, 3))
    old[1] = old[1].replace(" Delay=0.010ms", "")
    lines = [
        *old[:5],
        "TUN_IRQ [vnet2:q2] Stage 1 [tun_net_xmit] Time=1 Sock=0x1 EventFD=0x0 GSI=0 VQ=0x0 "
        "Delay=0.000ms CPU=1 PID=1 COMM=x ICMP a:0->b:0",
        "TUN_IRQ [vnet2:q2] Stage 2 [vhost_signal] Time=1 Sock=0x1 EventFD=0x2 Delay=0.022ms CPU=1",
        "TUN_IRQ [vnet2:q2] Stage 3 [irqfd_wakeup] Time=1 EventFD=0x2 GSI=26 Delay=0.010ms CPU=1",
    ]
    collection, source = read(tmp_path, lines, RECEIVER)
    assert "E" not in collection.quantities
    assert collection.all_values("E.s1_s2")[0] == [22_000]
    assert collection.all_values("E.s4_s5")[0] == [3_000]
    assert len(source.notes) == 2


@pytest.mark.parametrize("indent", [None, 2])
def test_the_json_list_of_stages(tmp_path: Path, indent: int | None) -> None:
    delays = {1: None, 2: 98_000, 3: 8_000, 4: 10_000, 5: 2_000}
    events = [
        {"timestamp": "1970-01-01", "stage": n, "stage_name": f"s{n}", "queue_key": "vnet2:q2",
         "eventfd_ctx": 7, "delay_ns": delay, "protocol": 1, "icmp_type": 8, "icmp_id": 5,
         "icmp_seq": sequence}
        for sequence in range(1, 2001) for n, delay in delays.items()
    ]  # fmt: skip
    (tmp_path / "chains.json").write_text(json.dumps(events, indent=indent))
    collection = Collection()
    (source,) = directory.read([tmp_path], collection, Ends()).sources
    assert collection.all_values("E")[1:] == (2000, 2000 * 110_000)
    assert not source.troubles


# ---- from the kick to vnet -----------------------------------------------------------------------


def test_single_kicks(tmp_path: Path) -> None:
    lines = [
        "[14:20:31.412] tid=301 queue=1 s0=14us s1=3us s2=5us total=22us",
        "[14:20:31.413] tid=301 queue=1 s0=0us s1=3us s2=5us total=0us",
        "[final] KVM -> vhost -> TUN latency totals",
        "Total samples: S0=2 S1=2 S2=2 chain(all)= 2",
        "Exact averages (us):",
        "  S0+S1+S2 avg (per-packet): 99.000",
    ]
    collection, source = read(tmp_path, lines, SENDER)
    assert {q: values[0] for q, values in loose(collection).items()} == {
        "U1": [22_000], "U1.kick": [14_000], "U1.vhost": [3_000], "U1.tun": [5_000]
    }  # fmt: skip
    assert source.troubles == {Trouble.INCOMPLETE: 1}


@pytest.mark.parametrize(
    "lines",
    [
        ["Total samples: S0=9 S1=9 S2=9 chain(all)=9", "Exact averages (us):", "  S0 avg: 14.800",
         "  S1 avg: 2.000", "  S2 avg: n/a", "  S0+S1+S2 avg (per-packet): 22.500"],
        ["Total samples: S0=9 S1=9 S2=9 chain(all)= 9",
         "Exact averages (us): S0=14.8, S1=2, S2=5.700, Total=22.500"],
        ["=" * 60, "Summary Statistics", "S0 (ioeventfd->kick):   cnt=       9  avg=      14.8us",
         "S1 (kick->sendmsg): cnt=       9  avg=       2.0us",
         "S2 (sendmsg->receive): cnt=       0  avg=       N/Aus",
         "Total chain: cnt=       9  avg=      22.5us"],
    ],
    ids=["details", "one line", "no_discovery"],
)  # fmt: skip
def test_averages_of_kicks(tmp_path: Path, lines: list[str]) -> None:
    collection, source = read(tmp_path, lines, RECEIVER)
    assert collection.averages["U3"].mean_ns == 22_500
    assert collection.averages["U3"].count == 9
    assert collection.averages["U3.kick"].mean_ns == 14_800
    assert not source.troubles


def test_histograms_of_kicks_are_halved(tmp_path: Path) -> None:
    def stage(title: str) -> list[str]:
        return [
            title,
            "              us :    count   distribution",
            "               0 -> 1          :       10   |****      |",
            "              16 -> 31         :       90   |**********|",
            "  avg=20.0us  p50=24.0us  p90=24.0us  p99=24.0us  (n=100)",
        ]

    lines = [
        "[14:20:31] KVM -> vhost -> TUN latency",
        "Interval samples: S0=100 S1=100 S2=100 chain(all)= 100",
        *stage("S0: ioeventfd_write -> handle_tx_kick"),
        *stage("S1: handle_tx_kick -> tun_sendmsg"),
        *stage("S2: tun_sendmsg -> netif_receive_skb"),
    ]
    collection, source = read(tmp_path, [*lines, *lines], SENDER)
    kick = collection.averages["U1.kick"]
    assert (kick.mean_ns, kick.count) == (10_000, 200)
    assert kick.quantiles_ns == (11_500, 11_500, 11_500)
    assert collection.averages["U1"].mean_ns == 30_000
    assert not source.troubles


# ---- one packet through a host -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "kind", "segment"),
    [("RX", 8, "B"), ("TX", 8, "D"), ("RX", 0, "I"), ("TX", 0, "K")],
)
def test_rx_of_this_tool_leaves_the_vm(tmp_path: Path, word: str, kind: int, segment: str) -> None:
    lines = [
        "=== VM Network Latency Trace: 2026-01-08 14:20:31.412 ===",
        "Flow: 10.0.0.5 -> 10.0.0.9 (ICMP)",
        # In network byte order: 0x1267 is printed for id 0x6712, 0x0100 for sequence 1.
        f"ICMP: 10.0.0.5 -> 10.0.0.9 (id={0x1267}, seq={0x0100}, type={kind})",
        "VM Interface: vnet2 -> Physical Interface: eth0",
        f"{word} Process: PID=1 COMM=vhost-1",
        "",
        f"{word} Path Latencies (us):",
        f"  [0->1] {word}_S0_x -> {word}_S1_y:      5.000 us",
        f"  Total {word} Latency:     13.500 us",
        "",
        "=" * 80,
    ]
    collection, source = read(tmp_path, lines)
    assert row(collection) == {segment: 13_500}
    assert collection.packet(0) == Packet(0x6712, 1)
    assert not source.troubles


def test_metrics_of_one_packet(tmp_path: Path) -> None:
    lines = [
        "[2026-01-08 14:20:31.412] === FLOW COMPLETE: 7 stages captured ===",
        "FLOW: 10.0.0.5 -> 10.0.0.9 (ICMP id=77 seq=3 type=0)",
        "5-TUPLE: 10.0.0.5:0 -> 10.0.0.9:0 ICMP DIR=VNET_TX",
        "  Stage PHY_RX: KTIME=123456789ns (+0.000us)",
        "    SKB: ptr=0xff len=98 data_len=0 queue_mapping=0 hash=0x0",
        "    DEV: eth0 (ifindex=3) CPU=4",
        "  TOTAL DURATION: 8.300us",
        "  PROCESS: pid=0 comm=swapper first_dev=eth0",
        "  CT: lookup=1.2us",
        "[2026-01-08 14:20:31.500] === FLOW COMPLETE: 7 stages captured ===",
        "FLOW: 10.0.0.5 -> 10.0.0.9 (TCP 1->2 seq=5)",
        "5-TUPLE: x DIR=VNET_RX",
        "  TOTAL DURATION: 8.300us",
    ]
    collection, source = read(tmp_path, lines)
    assert row(collection) == {"K": 8_300}
    assert collection.packet(0) == Packet(77, 3)
    assert source.troubles == {Trouble.OTHER: 1}


def test_a_summary_of_all_traffic_is_recognised_and_not_used(tmp_path: Path) -> None:
    lines = [
        "=" * 80, "[2026-01-08 14:20:31] Stage + Flow Latency Report (Interval: 5.0s)", "=" * 80,
        "Found 12 unique stage pairs", "VM TX (VM->External):", "  VNET_RX -> OVS_RX:",
        "    Total samples: 12", "      8-15us      :     12 |****|",
    ]  # fmt: skip
    collection, source = read(tmp_path, lines)
    assert not collection.quantities
    assert "vm_network_latency_summary" in source.tools
    assert source.troubles[Trouble.FOREIGN] <= 2


# ---- which end -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "rx", "tx", "side"),
    [
        ("x.log", "vnet2", "ens4f0", Side.SENDER),
        ("x.log", "ens4f0", "tap3", Side.RECEIVER),
        ("host-recv.log", "vnet2", "ens4f0", Side.SENDER),
        ("zbshost-receiver.log", "a", "b", Side.RECEIVER),
        ("oshost-send.log", "a", "b", Side.SENDER),
        ("send-recv.log", "a", "b", None),
    ],
)
def test_the_end_of_a_host_log(
    tmp_path: Path, name: str, rx: str, tx: str, side: Side | None
) -> None:
    lines = [*host_banner(rx, tx), *host(1, 1, (1, 2, 3, 6))]
    _, source = read(tmp_path, lines, name=name)
    assert source.side is side


@pytest.mark.parametrize(
    ("name", "segment"),
    [("oshost-vhost-recv-request.log", "E"), ("oshost-vhost-rerecv-reply.log", "L"),
     ("vhost-recv.log", "E")],
)  # fmt: skip
def test_the_end_of_a_vhost_log_without_packets(tmp_path: Path, name: str, segment: str) -> None:
    collection, _ = read(tmp_path, chain("", (98, 8, 10, 2)), name=name)
    assert segment in collection.quantities


def test_of_two_hosts_the_sender_waits_longer(tmp_path: Path) -> None:
    files = {"a.log": host(1, 1, (1, 100, 1, 102)), "b.log": host(1, 1, (1, 200, 1, 202))}
    sources = directory.read([write(tmp_path, files)], Collection(), Ends()).sources
    assert [source.side for source in sources] == [Side.RECEIVER, Side.SENDER]


def test_what_the_user_says_is_so(tmp_path: Path) -> None:
    lines = [*host_banner("vnet2", "ens4f0"), *host(1, 1, (1, 2, 3, 6))]
    _, source = read(tmp_path, lines, RECEIVER)
    assert (source.side, source.side_reason) == (Side.RECEIVER, "an option")


@pytest.mark.parametrize("end", list(Side))
def test_names_that_the_help_gives_as_examples_are_those_that_are_recognised(
    tmp_path: Path, end: Side
) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    (option,) = (a for a in parser._actions if f"--{end.value}" in a.option_strings)
    (pattern,) = re.findall(r"\*(\w+)\*", option.help or "")
    _, source = read(
        tmp_path, [*host_banner("a", "b"), *host(1, 1, (1, 2, 3, 6))], name=f"host-{pattern}.log"
    )
    assert (source.side, source.side_reason) == (end, "its name")


# ---- files of our own ----------------------------------------------------------------------------


def test_a_capture_is_read_back(tmp_path: Path) -> None:
    readings = [
        Reading(Packet(1, 2), {"rtt": 226_800, "A": 18_200}),
        Reading(Packet(1, 2), {"B": 13_500, "U1": 7_000}),
        Reading(None, {"U3": 5}),
    ]
    lines = [json.dumps({"type": "capture", "schema": 1, "name": "live"})]
    lines += [json.dumps(to_json(reading)) for reading in readings]
    lines += ['{"type":"reading","id":1,"seq":70000,"ns":{"B":1}}', '{"type":"reading"}', "[", "{}"]
    collection, source = read(tmp_path, lines, name="live.jsonl")
    assert row(collection) == {"rtt": 226_800, "A": 18_200, "B": 13_500, "U1": 7_000}
    assert source.label == "live"
    assert source.troubles == {Trouble.DAMAGED: 3, Trouble.FOREIGN: 1}


def test_a_recorded_session_s_pings_join_others(tmp_path: Path) -> None:
    stream = Stream()
    asked, answered = echoes.request(Direction.TX), echoes.reply(Direction.RX)
    lost = dropped(echoes.reply(Direction.TX, sequence=3), "vnet_rx", "dropped")
    frames = [stream.hello(), answered, asked, echoes.stats(2_000_000),
              echoes.request(Direction.RX, sequence=2), lost]  # fmt: skip
    path = streams.write(tmp_path / "a.vmlat", iter(frames))
    collection = Collection()
    (source,) = directory.read([path], collection, Ends()).sources
    expected = {"B": 13_500, "K": 8_300, "sender_external": 186_500, "sender_total": 208_300}
    assert {name: row(collection)[name] for name in expected} == expected
    assert collection.packet(0) == Packet(7, 1)
    assert collection.value("D", 1) == 8_300 and source.records["receiver_external"] == 0
    assert source.drops == {"reply, inside the host": 1} and not source.troubles


def test_a_recording_gives_what_it_can(tmp_path: Path) -> None:
    recorded = ROOT / "vmlat_tui" / "recordings" / "two-vms.vmlat.gz"
    collection = Collection()
    (source,) = directory.read([recorded], collection, Ends()).sources
    assert {"D", "I"} <= collection.quantities
    assert source.records["D"] > 0
    assert any("sequence" in note for note in source.notes)


@pytest.mark.parametrize(
    "text",
    [
        '{"vmlat": "averages"}',
        '{"vmlat": "averages", "values": {"Z": 1}}',
        '{"vmlat": "averages", "values": {"A": "1"}}',
        '{"vmlat": "averages", "values": {"A": NaN}}',
        '{"vmlat": "averages", "values": {"A": 1e30}}',
        '{"vmlat": "averages", "unit": "h", "values": {"A": 1}}',
        '{"vmlat": "averages", "count": 0, "values": {"A": 1}}',
        '{"vmlat": "averages", "values": {"A": 1}, "more": 1}',
        '{"vmlat": "averages", "values": {"A": 1}',
        '{"vmlat": "averages", "unit": [], "values": {"A": 1}}',
        '{"vmlat": "averages", "unit": {"us": 1}, "values": {"A": 1}}',
        '{"vmlat": "averages", "unit": "' + "u" * 10**5 + '", "values": {"A": 1}}',
        '{"vmlat": "averages", "values": {"A": 1e-320}}',
        '{"vmlat": "averages", "values": {"A": 1e999}}',
        '{"vmlat": "averages", "values": {"A": 1' + "0" * 400 + "}}",
        '{"vmlat": "averages", "values": {"A": 1' + "0" * 5000 + "}}",
        '{"vmlat": "averages", "values": {"A": true}}',
        '{"vmlat": "averages", "values": {"' + "A" * 10**5 + '": 1}}',
        '{"vmlat": "averages", "values": [["A", 1]]}',
        '{"vmlat": "averages", "values": {"A": 1}, "published": [1]}',
        '{"vmlat": "averages", "values": {"A": 1}, "published": {"rest": []}}',
        '{"vmlat": "averages", "values": {"A": 1}, "' + "m" * 10**5 + '": 1}',
        '{"vmlat": "averages", "values": {"A": 1}, "count": true}',
        '{"vmlat": "averages", "values": {"A": 1}, "count": [1]}',
        '{"vmlat": "averages", "values": {"A": 1}, "count": {"A": 1.5}}',
        '{"vmlat": "averages", "values": {"A": 1}, "name": ["a"]}',
        '{"vmlat": "averages", "values": ' + "[" * 900 + "]" * 900 + "}",
    ],
    ids=lambda text: text[:60],
)
def test_a_wrong_file_of_averages_is_said_to_be_wrong(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UsageError, match=r"a\.json is not a file of averages: "):
        directory.read([tmp_path], Collection(), Ends())


def test_averages_in_another_unit(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        '{"vmlat": "averages", "unit": "ms", "count": {"A": 5}, "values": {"A": 0.5, "B": 1}}'
    )
    collection = Collection()
    directory.read([tmp_path], collection, Ends())
    assert collection.averages["A"].mean_ns == 500_000
    assert (collection.averages["A"].count, collection.averages["B"].count) == (5, None)


def test_logs_of_several_tools_in_one_file(tmp_path: Path) -> None:
    files = logs(pings(3))
    together = [line for name in sorted(files) if "host-" not in name for line in files[name]]
    collection, source = read(tmp_path, together)
    assert collection.quantities >= set("AMFGH")
    assert not source.troubles


def test_compressed_logs(tmp_path: Path) -> None:
    import gzip

    text = "\n".join(guest("tx", 1, 1, (18, 15, 192, 225)))
    (tmp_path / "a.log.gz").write_bytes(gzip.compress(text.encode()))
    collection = Collection()
    directory.read([tmp_path], collection, Ends())
    assert collection.value("rtt", 0) == 225_000


def test_ping_helper_adds_up() -> None:
    ping = Ping(1)
    assert ping.rtt == sum(ping.us.values())
