"""The text of packets and statistics is the requirement's, whatever the packet passed."""

from __future__ import annotations

from typing import Any, Optional

import pytest

from tests.support.frames import counted, seen
from vmlat_tui import words
from vmlat_tui.export.packet_text import packet_text
from vmlat_tui.export.summary import summary_json, summary_text
from vmlat_tui.model.bins import Account, Bin
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.session.stats import LEFT_OUT

Row = tuple[Optional[int], str, str, int]

TX: list[Row] = [
    (0, "tun_in", "tun_sendmsg", 1000),
    (None, "vnet_rx", "netif_receive_skb", 3345),
    (1, "switch_in", "netdev_frame_hook", 13345),
    (2, "ovs_dp", "ovs_dp_process_packet", 21579),
    (5, "switch_out", "ovs_vport_send", 37257),
    (6, "phy_queue", "net_dev_queue", 42380),
    (None, "phy_xmit", "net_dev_start_xmit", 42381),
]


def packet(rows: list[Row], **changes: Any) -> Raw:
    frame: Raw = {
        "type": "packet",
        "direction": "tx",
        "flow": {
            "src": "192.168.1.10",
            "dst": "192.168.1.20",
            "src_port": 8080,
            "dst_port": 80,
            "protocol": "tcp",
        },
        "vm_interface": "vnet0",
        "phy_interface": "eth0",
        "process": {"pid": 1234, "tid": 1234, "comm": "qemu-kvm"},
        "bytes": 98,
        "stages": [
            {"stage": number, "point": point, "function": function, "t_ns": t_ns, "cpu": 0}
            for number, point, function, t_ns in rows
        ],
        "total_ns": rows[-1][3] - rows[0][3],
    }
    frame.update(changes)
    return frame


def test_a_transmitted_packet_is_the_requirements_sample() -> None:
    lines = packet_text(seen(packet(TX)), 0).splitlines()
    assert lines[0].startswith("=== VM Network Latency Trace: ") and lines[0].endswith(" (TX) ===")
    assert lines[1:] == [
        "Flow: 192.168.1.10:8080 -> 192.168.1.20:80 (TCP)",
        "VM Device: vnet0 → Physical: eth0",
        "Process: PID=1234 COMM=qemu-kvm",
        "",
        "Latencies (us):",
        "  [0->1] STAGE_0 (tun_sendmsg) -> STAGE_1 (netdev_frame_hook): 12.345 us",
        "  [1->2] STAGE_1 (netdev_frame_hook) -> STAGE_2 (ovs_dp_process_packet): 8.234 us",
        "  [2->5] STAGE_2 (ovs_dp_process_packet) -> STAGE_5 (ovs_vport_send): 15.678 us"
        " (OVS No Upcall)",
        "  [5->6] STAGE_5 (ovs_vport_send) -> STAGE_6 (net_dev_queue): 5.123 us",
        "  [6->phy_xmit] STAGE_6 (net_dev_queue) -> phy_xmit (net_dev_start_xmit): 0.001 us",
        "",
        "Total Latency: 41.381 us",
    ]


def test_a_received_packet_has_its_devices_in_its_own_direction() -> None:
    text = packet_text(seen(packet(TX, direction="rx")), 0)
    assert "Physical: eth0 → VM Device: vnet0" in text and "(RX) ===" in text


def test_an_upcall_is_two_stages_more_and_no_note() -> None:
    rows = [
        *TX[:4],
        (3, "ovs_upcall", "ovs_dp_upcall", 22000),
        (4, "ovs_reinject", "ovs_flow_key_extract_userspace", 30000),
        *TX[4:],
    ]
    text = packet_text(seen(packet(rows)), 0)
    assert "[2->3] STAGE_2 (ovs_dp_process_packet) -> STAGE_3 (ovs_dp_upcall): 0.421 us" in text
    assert "[3->4]" in text and "[4->5]" in text and "No Upcall" not in text


def test_a_linux_bridge_has_no_note_about_openvswitch() -> None:
    text = packet_text(seen(packet([row for row in TX if row[1] != "ovs_dp"])), 0)
    assert "[1->5] STAGE_1" in text and "No Upcall" not in text


@pytest.mark.parametrize(
    ("drop", "line"),
    [
        (
            {"point": "ovs_dp", "reason": None, "function": "do_execute_actions"},
            "Dropped after ovs_dp: the kernel gives no reason, freed by do_execute_actions",
        ),
        (
            {"point": "tun_out", "reason": "FULL_RING", "function": "tun_net_xmit"},
            "Dropped after tun_out: reason FULL_RING, freed by tun_net_xmit",
        ),
    ],
)
def test_a_drop_names_its_place_reason_and_function(drop: dict[str, Any], line: str) -> None:
    text = packet_text(seen(packet(TX, type="drop", bin="dropped", drop=drop)), 0)
    assert text.startswith("=== VM Network Packet Dropped: ") and line in text.splitlines()


@pytest.mark.parametrize(
    ("point", "line"),
    [
        ("tun_out", "Still in tun's ring: the guest has not taken it"),
        ("vhost_woken", "Still in tun's ring: its vhost worker was woken and does not run"),
        ("vhost_on_cpu", "Still in tun's ring: its vhost worker runs and has not taken it"),
        ("vhost_take", "In the guest's ring: its vhost worker has not announced it"),
        ("ovs_dp", "Lost from sight after ovs_dp"),
    ],
)
def test_a_packet_that_went_no_further_says_where_it_waits(point: str, line: str) -> None:
    drop = {"point": point, "reason": None, "function": None}
    frame = packet(TX, direction="rx", type="drop", bin="expired", drop=drop)
    assert line in packet_text(seen(frame), 0).splitlines()


def test_the_ends_of_the_path_stand_under_their_own_names() -> None:
    rows = [
        (None, "guest_kick", "ioeventfd_write", 100),
        (None, "vhost_tx", "handle_tx_kick", 600),
        *TX,
    ]
    text = packet_text(seen(packet(rows)), 0)
    assert "[guest_kick->0] guest_kick (ioeventfd_write) -> STAGE_0 (tun_sendmsg): 0.900 us" in text
    rows = [
        (6, "tun_out", "tun_net_xmit", 1_000),
        (None, "vhost_take", "tun_recvmsg", 2_000),
        (None, "guest_entry", "kvm_entry", 9_000),
    ]
    text = packet_text(seen(packet(rows, direction="rx")), 0)
    assert "[6->guest_entry] STAGE_6 (tun_net_xmit) -> guest_entry (kvm_entry): 8.000 us" in text


def test_names_from_outside_cannot_reach_the_terminal() -> None:
    evil = "a\x1b[31mb\nc\u202ed"
    process = {"pid": 1, "tid": 1, "comm": evil}
    text = packet_text(seen(packet(TX, vm_interface=evil, process=process)), 0)
    assert "\x1b" not in text and "\u202e" not in text
    assert len(text.splitlines()) == len(packet_text(seen(packet(TX)), 0).splitlines())


def stats(**changes: Any) -> Raw:
    histogram = Histogram()
    for value in (1_000, 2_000, 3_000, 400_000):
        histogram.add(value)
    account = Account(started=5)
    account.bins[Bin.COMPLETED], account.bins[Bin.DROPPED] = 4, 1
    leg = {"vm_interface": "vnet0", "leg": "tx:total", "direction": "tx", "title": "total"}
    frame: Raw = {
        "type": "stats",
        "final": True,
        "t_ns": 0,
        "bins": {"tx": account.to_json(), "rx": Account().to_json()},
        "legs": [{**leg, **histogram.to_json()}],
        "flows": [
            {
                "direction": "tx",
                "vm_interface": "vnet0",
                "flow": packet(TX)["flow"],
                "packets": 5,
                "bytes": 500,
                "first_ns": 0,
                "last_ns": 1,
            }
        ],
        "drops": [
            {
                "direction": "tx",
                "vm_interface": "vnet0",
                "point": "ovs_dp",
                "reason": None,
                "function": "do_execute_actions",
                "packets": 1,
            }
        ],
        "counters": dict.fromkeys(
            (
                "suppressed",
                "lost",
                "fragments",
                "disorder",
                "unlisted",
                "flows_evicted",
                "flows_full",
            ),
            0,
        ),
        "hooks": {},
        "cost": {"missed_runs": 0},
    }
    frame.update(changes)
    return frame


def test_the_summary_has_legs_flows_bins_and_drops() -> None:
    text = summary_text(counted(stats()), 2_000_000_000)
    assert "=== VM Network Latency Statistics (2.0 s) ===" in text
    total = next(line for line in text.splitlines() if line.startswith("  total  "))
    assert total.split()[1:3] == ["4", "101.500"] and total.split()[-1] == "400.000"
    assert "5 packets, 500 bytes, 2.5 pps, 2.00 kbit/s" in text
    assert "of: 4 + 1 + 0 + 0 + 0 + 0" in text and "DOES NOT ADD UP" not in text
    assert "TX 1 after ovs_dp: no reason given, freed by do_execute_actions" in text


def test_each_counter_of_what_a_table_had_no_room_for_is_remarked() -> None:
    for number, name in enumerate((*LEFT_OUT, "flows_evicted", "flow_packets_evicted"), 41):
        assert f"  {number} " in summary_text(counted(stats(counters={name: number})), 1), name
    assert "Remarks" not in summary_text(counted(stats(counters=dict.fromkeys(LEFT_OUT, 0))), 1)


def test_a_sum_that_does_not_add_up_is_shouted() -> None:
    bins = stats()["bins"]
    bins["tx"]["sum"] -= 1
    assert "DOES NOT ADD UP" in summary_text(counted(stats(bins=bins)), 1)


def test_the_json_summary_repeats_what_was_counted() -> None:
    summary = summary_json(counted(stats()), 2_000_000_000)
    (leg,) = summary["legs"]
    assert (leg["leg"], leg["count"], leg["sum_ns"], leg["max_ns"]) == (
        "tx:total",
        4,
        406_000,
        400_000,
    )
    assert sum(row["count"] for row in leg["histogram"]) == 4
    assert summary["bins"]["tx"]["started"] == summary["bins"]["tx"]["sum"] == 5
    assert summary["flows"][0]["packets_per_second"] == 2.5


@pytest.mark.parametrize(
    ("value_ns", "text"),
    [(0, "0 ns"), (999, "999 ns"), (1016, "1.02 us"), (8_388_600, "8.39 ms"), (2 * 10**9, "2 s")],
)
def test_bounds_have_the_unit_that_fits(value_ns: int, text: str) -> None:
    assert words.duration(value_ns) == text
