"""A packet between tap and guest: what `vmlat irq` and `vmlat kick` say of it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.support.chains import SENT, dropped, received, sent
from tests.support.frames import decoded, encoded, seen
from tests.tui import host
from vmlat_tui.export.chain import IRQ, KICK, Chain, Passed
from vmlat_tui.export.chain_text import packet_json, packet_text
from vmlat_tui.model.topology import Topology
from vmlat_tui.protocol.migrations import Raw

CASES = [
    (IRQ, received()),
    (IRQ, received("rx_worker_awake")),
    (IRQ, received("rx_worker_new")),
    (IRQ, received("signal_suppressed")),
    (IRQ, received("injected_elsewhere")),
    (IRQ, received("vcpu_polling")),
    (IRQ, received("vcpu_running", "rx_worker_awake")),
    (IRQ, received("entry_unseen")),
    (IRQ, received("ring_full")),
    (KICK, sent()),
    (KICK, sent("kick_shared")),
    (KICK, sent("kick_none")),
    (KICK, sent("tx_worker_awake")),
    (KICK, sent("tx_worker_new")),
]


def block(chain: Chain, frame: Raw) -> list[str]:
    return packet_text(Passed.of(chain, seen(frame)), 0, None).splitlines()


def nanoseconds(line: str) -> int:
    found = re.search(r": (-?\d+)\.(\d{3}) us", line)
    assert found, line
    return int(found.group(1) + found.group(2))


def test_a_received_packet_is_followed_from_the_tap_into_the_guest() -> None:
    lines = block(IRQ, received())
    assert re.fullmatch(r"=== VM Interrupt Trace: \S+ \d\d:\d\d:\d\d\.\d{3} \(RX\) ===", lines[0])
    assert lines[1:] == [
        "Flow: 10.0.0.1:7 -> 10.0.0.2:7 (ICMP)",
        "VM Device: vnet0",
        "Worker: TID=309 COMM=vhost-301 CPU=2",
        "vCPU: TID=312 COMM=CPU 0/KVM CPU=4",
        "",
        "Latencies (us):",
        "  [S1->S2] STAGE_1 (tun_net_xmit) -> STAGE_2 (vhost_add_used_and_signal_n): 19.003 us"
        " (CPU 1 -> 2)",
        "      tun_out -> vhost_woken (sched_waking): 0.400 us",
        "      vhost_woken -> vhost_on_cpu (sched_switch): 15.001 us (CPU 1 -> 2)",
        "      vhost_on_cpu -> vhost_take (tun_recvmsg): 1.599 us",
        "      vhost_take -> vhost_signal (vhost_add_used_and_signal_n): 2.003 us",
        "  [S2->S3] STAGE_2 (vhost_add_used_and_signal_n) -> STAGE_3 (eventfd_signal): 0.497 us",
        "  [S3->S4] STAGE_3 (eventfd_signal) -> STAGE_4 (irqfd_wakeup): 0.400 us",
        "  [S4->S5] STAGE_4 (irqfd_wakeup) -> STAGE_5 (kvm_apic_accept_irq): 1.100 us",
        "  [S5->guest_entry] STAGE_5 (kvm_apic_accept_irq) -> guest_entry (kvm_entry): 13.210 us"
        " (CPU 2 -> 4)",
        "      irq_accept -> vcpu_woken (sched_waking): 0.600 us",
        "      vcpu_woken -> vcpu_on_cpu (sched_switch): 10.400 us (CPU 2 -> 4)",
        "      vcpu_on_cpu -> guest_entry (kvm_entry): 2.210 us",
        "",
        "Total(S1->S5): 21.000 us",
        "Total(S1->guest_entry): 34.210 us",
    ]


def test_a_sent_packet_is_followed_from_the_kick_to_the_stack() -> None:
    assert block(KICK, sent())[2:] == [
        "VM Device: vnet0",
        "Worker: PID=301 TID=309 COMM=vhost-301 CPU=2",
        "vCPU: TID=313 COMM=CPU 1/KVM CPU=5",
        "",
        "Latencies (us):",
        "  [exit->kick] exit (kvm_exit) -> kick (ioeventfd_write): 0.600 us",
        "  [kick->worker] kick (ioeventfd_write) -> worker (handle_tx_kick): 14.800 us"
        " (CPU 5 -> 2)",
        "      guest_kick -> vhost_woken (sched_waking): 0.300 us",
        "      vhost_woken -> vhost_on_cpu (sched_switch): 12.000 us (CPU 5 -> 2)",
        "      vhost_on_cpu -> vhost_tx (handle_tx_kick): 2.500 us",
        "  [worker->tap] worker (handle_tx_kick) -> tap (tun_sendmsg): 1.201 us",
        "  [tap->stack] tap (tun_sendmsg) -> stack (netif_receive_skb): 1.999 us",
        "",
        "Total(kick->stack): 18.000 us",
        "Total(exit->stack): 18.600 us",
    ]


@pytest.mark.parametrize(("chain", "frame"), CASES, ids=range(len(CASES)))
def test_the_parts_are_the_total_to_the_nanosecond(chain: Chain, frame: Raw) -> None:
    lines = block(chain, frame)
    stages = [line for line in lines if line.startswith("  [")]
    parts: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("  ["):
            whole = line
        elif line.startswith("      "):
            parts.setdefault(whole, []).append(line)
    total = nanoseconds(lines[-1])
    assert total == sum(map(nanoseconds, stages)) == Passed.of(chain, seen(frame)).total_ns
    for stage, inner in parts.items():
        assert nanoseconds(stage) == sum(map(nanoseconds, inner))
    # One stage begins where the one before it ends.
    names = [name for line in stages for name in re.findall(r"\[(.*?)\]", line)]
    for before, after in zip(names, names[1:]):
        assert before.split("->")[1] == after.split("->")[0]


def test_a_suppressed_interrupt_is_absent_and_no_zero() -> None:
    lines = block(IRQ, received("signal_suppressed"))
    assert [line[2:9] for line in lines if line.startswith("  [")] == ["[S1->S2"]
    at = lines.index("Absent:")
    assert lines[at + 1 :] == [
        "  eventfd, irqfd, irq_accept, vcpu_woken, vcpu_on_cpu, guest_entry:"
        " the guest wanted no interrupt",
        "",
        "Total(S1->S2): 19.003 us",
    ]
    assert "vCPU" not in "\n".join(lines[:at]) and ": 0.000 us" not in "\n".join(lines)


def test_a_vcpu_that_polls_has_no_wake_up_and_its_leg_joins_the_neighbours() -> None:
    lines = block(IRQ, received("vcpu_polling"))
    assert "  vcpu_woken, vcpu_on_cpu: the vCPU was polling" in lines
    assert any(line.startswith("  [S5->guest_entry]") and "13.210 us" in line for line in lines)
    assert not any("vcpu_woken ->" in line for line in lines)


def test_a_worker_that_is_awake_takes_the_packet_without_a_wake_up() -> None:
    lines = block(IRQ, received("rx_worker_awake"))
    assert "      tun_out -> vhost_take (tun_recvmsg): 17.000 us (CPU 1 -> 2)" in lines
    assert "  vhost_woken, vhost_on_cpu: the worker was already awake" in lines


def test_a_packet_that_shares_a_kick_begins_at_the_tap() -> None:
    lines = block(KICK, sent("kick_shared"))
    assert [line for line in lines if line.startswith("  [")] == [
        "  [tap->stack] tap (tun_sendmsg) -> stack (netif_receive_skb): 1.999 us"
    ]
    points = "guest_exit, guest_kick, vhost_woken, vhost_on_cpu, vhost_tx"
    assert f"  {points}: came with another packet's kick" in lines
    assert lines[-1] == "Total(tap->stack): 1.999 us"
    assert any(line.startswith("Worker: PID=301 TID=309") for line in lines)


def test_a_skipped_probe_makes_one_leg_of_two() -> None:
    frame = received()
    frame["stages"] = [s for s in frame["stages"] if s["point"] != "irqfd"]
    lines = block(IRQ, frame)
    assert any(line.startswith("  [S3->S5] STAGE_3") and "1.500 us" in line for line in lines)
    assert "Total(S1->S5): 21.000 us" in lines


def test_only_the_points_that_were_not_passed_are_absent() -> None:
    frame = received("vcpu_running", without=False)
    assert "Absent:" not in block(IRQ, frame)


def test_a_reason_of_a_later_version_is_named() -> None:
    frame = received()
    frame["absent"] = [{"reason": "irq_posted", "points": ["vcpu_parked"]}]
    assert "Absent:" not in block(IRQ, frame), "a point that this chain does not have"
    frame["absent"] = [{"reason": "irq_posted", "points": ["vcpu_woken", "vcpu_on_cpu"]}]
    frame["stages"] = frame["stages"][:-3]
    assert "  vcpu_woken, vcpu_on_cpu: irq_posted" in block(IRQ, frame)


def hypervisor() -> Topology:
    """One VM whose threads are those of the stream's first."""
    return host.topology(["web-1"])


def at_home(frame: Raw) -> Raw:
    """The same packet with threads of that VM."""
    for stage in frame["stages"]:
        stage["tid"] = {309: 2030, 312: 2010, 313: 2011}.get(stage["tid"], stage["tid"])
    frame["vm_interface"] = host.tap(0)
    return frame


def test_the_queue_is_told_by_the_worker_where_discovery_knows_it() -> None:
    topology = hypervisor()
    text = packet_text(Passed.of(IRQ, seen(at_home(received()))), 0, topology)
    assert f"Queue: {host.tap(0)}/0\n" in text
    assert "Worker: PID=2030 TID=2030" in text and "vCPU: PID=2000 TID=2010" in text


def test_a_queue_that_is_not_certain_is_left_out() -> None:
    frame = at_home(received())
    for stage in frame["stages"]:
        if stage["tid"] == 2030:
            stage["tid"] = 9999
    assert "Queue" not in packet_text(Passed.of(IRQ, seen(frame)), 0, hypervisor())


def test_json_has_stages_named_parts_and_totals() -> None:
    value = packet_json(Passed.of(IRQ, seen(at_home(received("vcpu_polling")))), 5, hypervisor())
    assert json.loads(json.dumps(value)) == value
    assert value["type"] == "packet" and value["chain"] == "interrupt"
    assert value["wall_ns"] == 9_005 and value["queue"] == f"{host.tap(0)}/0"
    named = [stage["stage"] for stage in value["stages"] if stage["stage"]]
    assert named == ["S1", "S2", "S3", "S4", "S5", "guest_entry"]
    first = value["legs"][0]
    assert (first["from"], first["to"], first["ns"]) == ("S1", "S2", 19_003)
    assert [part["to"] for part in first["parts"]] == [
        "vhost_woken", "vhost_on_cpu", "vhost_take", "vhost_signal",
    ]  # fmt: skip
    assert sum(part["ns"] for leg in value["legs"] for part in leg["parts"]) == 34_210
    assert value["totals"] == [
        {"from": "S1", "to": "S5", "ns": 21_000},
        {"from": "S1", "to": "guest_entry", "ns": 34_210},
    ]
    assert value["absent"] == [
        {
            "reason": "vcpu_polling",
            "words": "the vCPU was polling",
            "points": ["vcpu_woken", "vcpu_on_cpu"],
        }
    ]
    assert value["worker"] == {"pid": 2030, "tid": 2030, "comm": "vhost-301", "cpu": 2}


def test_a_kick_is_on_the_cpu_of_its_vcpu() -> None:
    value = packet_json(Passed.of(KICK, seen(sent())), 0, None)
    cpus = {stage["point"]: stage["cpu"] for stage in value["stages"]}
    assert cpus["guest_kick"] == cpus["vhost_woken"] == 5 and cpus["vhost_tx"] == 2
    assert value["vcpu"] == {"pid": None, "tid": 313, "comm": "CPU 1/KVM", "cpu": 5}
    assert value["queue"] is None


def test_names_from_outside_cannot_reach_the_terminal() -> None:
    evil = "a\x1b[31mb\nc\u202ed"
    frame = received(vm_interface=evil)
    for stage in frame["stages"]:
        stage["comm"] = evil if stage["tid"] else None
    frame = decoded(encoded(frame))
    text = packet_text(Passed.of(IRQ, seen(frame)), 0, None)
    assert "\x1b" not in text and "\u202e" not in text
    assert len(text.splitlines()) == len(block(IRQ, received()))
    assert "\x1b" not in json.dumps(packet_json(Passed.of(IRQ, seen(frame)), 0, None))


@pytest.mark.parametrize(
    ("point", "ended", "why", "line"),
    [
        ("tun_out", "expired", {}, "Still in tun's ring: the guest has not taken it"),
        (
            "vhost_woken",
            "expired",
            {},
            "Still in tun's ring: its vhost worker was woken and does not run",
        ),
        (
            "vhost_on_cpu",
            "expired",
            {},
            "Still in tun's ring: its vhost worker runs and has not taken it",
        ),
        (
            "vhost_take",
            "expired",
            {},
            "In the guest's ring: its vhost worker has not announced it",
        ),
        (
            "vhost_signal",
            "expired",
            {},
            "In the guest's ring: announced, but the guest has not been seen to go on",
        ),
        (
            "tun_out",
            "dropped",
            {"reason": "FULL_RING", "function": "tun_net_xmit"},
            "Dropped after tun_out: reason FULL_RING, freed by tun_net_xmit",
        ),
    ],
)
def test_a_packet_that_stays_behind_says_where(
    point: str, ended: str, why: dict[str, Any], line: str
) -> None:
    passed = Passed.of(IRQ, seen(dropped(received(), point, ended, **why)))
    assert passed.worth
    text = packet_text(passed, 0, None)
    assert text.startswith(f"=== VM Interrupt Packet {ended.capitalize()}: ")
    assert line in text.splitlines()


def test_what_passes_no_leg_of_a_chain_is_not_worth_a_line() -> None:
    assert not Passed.of(IRQ, seen(sent())).worth and not Passed.of(KICK, seen(received())).worth
    assert not Passed.of(IRQ, seen(dropped(received(), "switch_out", "dropped"))).worth
    only = sent()
    only["stages"] = [s for s in only["stages"] if s["point"] not in {row[0] for row in SENT[:6]}]
    assert not Passed.of(KICK, seen(only)).worth, "a host without functions sees only the stack"
