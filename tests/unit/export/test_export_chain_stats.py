"""Averages of stages come from sums that the kernel keeps, and say what they are of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.chains import legs, received, sent
from tests.support.frames import counted, seen, wakeups_object
from tests.support.parts import printed, value_of
from tests.unit.export.test_export_packet_text import stats as trace_stats
from vmlat_tui.commands.chain import ChainView
from vmlat_tui.export.chain import IRQ, KICK, Chain
from vmlat_tui.export.chain_stats import stage_rows
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.wakeups import Role, Wakeups
from vmlat_tui.protocol.migrations import Raw


def later(frame: Raw, ns: int, point: str) -> Raw:
    """The packet with everything from this point on so much later."""
    late = False
    for stage in frame["stages"]:
        late = late or stage["point"] == point
        stage["t_ns"] += ns * late
    frame["total_ns"] += ns
    return frame


def histogram(*values: int) -> Histogram:
    made = Histogram()
    for value in values:
        made.add(value)
    return made


def stats(packets: list[Raw], **changes: Any) -> Raw:
    return trace_stats(**{"legs": legs(packets), "drops": [], **changes})


def view(chain: Chain, packets: list[Raw], threshold_ns: int = 0) -> ChainView:
    made = ChainView(chain, threshold_ns)
    for frame in packets:
        made.entries(seen(frame))
    return made


def summary(made: ChainView, frame: Raw, interrupted: str = "") -> str:
    return printed(made.summary(counted(frame), 10**9, interrupted))


def rows_of(text: str, head: str) -> dict[str, list[str]]:
    """Name -> its figures, of one table of a text."""
    lines = text.split(head)[1].split("\n\n")[0].splitlines()[2:]
    return {line[:34].strip(): line[34:].split() for line in lines}


MIXED = [
    received(),
    later(received("rx_worker_awake"), 4_000, "vhost_signal"),
    received("signal_suppressed"),
    received("vcpu_polling"),
]


def test_the_mean_of_a_stage_is_exact_though_packets_took_different_legs_in_it() -> None:
    rows = {row.name: row for row in stage_rows(IRQ, counted(stats(MIXED)), "vnet0")}
    first = rows["S1->S2"]
    assert (first.count, first.sum_ns, first.exact) == (4, 4 * 19_003 + 4_000, True)
    assert first.histogram is None, "the kernel does not know which legs were one packet's"
    assert first.mean_ns == 20_003
    entry = rows["S5->guest_entry"]
    assert (entry.count, entry.mean_ns) == (3, 13_210)


def test_a_stage_of_one_leg_has_quantiles() -> None:
    (row,) = [
        row for row in stage_rows(IRQ, counted(stats(MIXED)), "vnet0") if row.name == "S2->S3"
    ]
    assert row.histogram and (row.histogram.count, row.histogram.max_ns) == (3, 497)


def test_a_total_that_not_all_packets_passed_has_no_mean_of_all() -> None:
    rows = {row.name: row for row in stage_rows(IRQ, counted(stats(MIXED)), "vnet0")}
    assert (rows["S1->S5"].count, rows["S1->S5"].mean_ns) == (3, None)
    alone = {row.name: row for row in stage_rows(IRQ, counted(stats(MIXED[:2])), "vnet0")}
    assert alone["S1->S5"].mean_ns == 23_000 and alone["S1->S5"].exact


def test_a_packet_on_the_way_makes_the_mean_inexact_and_is_said() -> None:
    waiting = received()
    waiting["stages"] = waiting["stages"][:6]
    whole = stats([received() for _ in range(150)] + [waiting])
    (row,) = [row for row in stage_rows(IRQ, counted(whole), "vnet0") if row.name == "S1->S2"]
    assert (row.loose, row.exact) == (1, False)
    text = summary(view(IRQ, []), whole)
    shown = rows_of(text, "vnet0, all packets (us):")["S1->S2"]
    assert shown[:2] == ["150", "~19.116"]
    assert "~: up to 1 % of these packets passed only a part of the stage" in text


def test_a_leg_that_skips_a_stage_is_of_neither_and_shown_for_itself() -> None:
    odd = received()
    odd["stages"] = [stage for stage in odd["stages"] if stage["point"] != "vhost_signal"]
    whole = stats([received() for _ in range(9)] + [odd])
    rows = {row.name: row for row in stage_rows(IRQ, counted(whole), "vnet0")}
    assert rows["S1->S2"].count == 9 and rows["S1->S2"].loose >= 1
    assert rows["S2->S3"].count == 9
    text = summary(view(IRQ, []), whole)
    assert rows_of(text, "all packets (us):")["vhost_take -> eventfd"][0] == "1"


def test_packets_that_were_printed_have_the_quantiles_of_every_stage() -> None:
    text = summary(view(IRQ, MIXED), stats(MIXED))
    assert text.startswith("=== VM Interrupt Statistics (1.0 s) ===\n")
    rows = rows_of(text, "the 4 packets that were printed (us):")
    assert rows["S1->S2"][:2] == ["4", "20.003"] and rows["S1->S2"][-1] == "23.003"
    assert rows["S1->S5"][0] == rows["S1->guest_entry"][0] == "3"
    assert rows_of(text, "all packets (us):")["S1->S5"] == ["3", *"-" * 5]


def test_kick_says_what_of_it_all_packets_had() -> None:
    packets = [sent(), sent("kick_shared"), sent("tx_worker_awake")]
    text = summary(view(KICK, packets), stats(packets))
    rows = rows_of(text, "vnet0, all packets (us):")
    assert rows["kick->worker"][:2] == ["2", "14.800"]
    assert rows["guest_kick -> vhost_tx"][0] == rows["guest_kick -> vhost_woken"][0] == "1"
    assert rows["tap->stack"][:2] == ["3", "1.999"]
    assert rows["kick->stack"][:2] == ["3", "-"]
    assert rows_of(text, "that were printed (us):")["kick->stack"][:2] == ["2", "18.000"]


def test_the_threshold_is_that_of_the_printed_total() -> None:
    chosen = ChainView(KICK, 18_600)
    assert chosen.entries(seen(sent())) and not chosen.entries(seen(sent("kick_shared")))
    assert sent()["total_ns"] > 18_000 and not ChainView(KICK, 18_601).entries(seen(sent()))
    text = summary(chosen, stats([sent(), sent("kick_shared")]))
    assert "the 1 packets that were printed and took at least 18.600 us" in text


ABSENCES = [
    {"vm_interface": "vnet0", "direction": "rx", "reason": "signal_suppressed", "packets": 7},
    {"vm_interface": "vnet0", "direction": "tx", "reason": "kick_shared", "packets": 5},
    {"vm_interface": "vnet0", "direction": "rx", "reason": "irq_posted", "packets": 2},
]
EVIL = "a\x1b[31mb\nc"
WAKEUPS = [
    wakeups_object(Wakeups(312, Role.VCPU, histogram(10_400), Histogram(), 0, {-1: 1})),
    wakeups_object(Wakeups(
        309, Role.WORKER, histogram(15_000, 17_000), histogram(90_000), 2, {1: 2},
        {EVIL: 88_500}, "vnet0",)),
]  # fmt: skip


def test_how_often_points_were_absent_is_said_with_the_reason() -> None:
    text = summary(view(IRQ, []), stats(MIXED, absences=ABSENCES))
    assert (
        "\nAbsent points:\n"
        "  vnet0: 7 packets without eventfd, irqfd, irq_accept, vcpu_woken, vcpu_on_cpu,"
        " guest_entry: the guest wanted no interrupt\n"
        "  vnet0: 2 packets: irq_posted\n\n"
    ) in text
    other = summary(view(KICK, []), stats([sent()], absences=ABSENCES))
    assert "5 packets without guest_exit, guest_kick" in other and "interrupt\n" not in other


def test_wake_ups_say_what_each_thread_waited_for() -> None:
    def about(*values: int) -> str:
        made = histogram(*values)
        p50, p99 = (f"{(made.quantile(q) or 0) / 1000:.3f}" for q in (0.5, 0.99))
        return f"mean {made.mean_ns / 1000:.3f}, p50 {p50}, p99 {p99}, max {max(values) / 1000:.3f}"

    text = summary(view(IRQ, []), stats(MIXED, wakeups=WAKEUPS))
    assert text.split("from being woken to running (us):\n")[1].split("\n\n")[0].splitlines() == [
        "  worker TID=309 of vnet0: 3 wake-ups, 2 on another CPU than before",
        f"    its CPU was idle: 2, {about(15_000, 17_000)}; 2 from state 1",
        f"    another task ran: 1, {about(90_000)};"
        " 88.500 behind a\N{REPLACEMENT CHARACTER}[31mb\N{REPLACEMENT CHARACTER}c",
        "  vCPU TID=312: 1 wake-ups",
        f"    its CPU was idle: 1, {about(10_400)}; 1 from an unknown state",
    ]
    assert "vCPU" not in summary(view(KICK, []), stats([sent()], wakeups=WAKEUPS))


def test_the_json_summary_has_the_same() -> None:
    whole = stats(MIXED, absences=ABSENCES, wakeups=WAKEUPS)
    value = value_of(view(IRQ, MIXED).summary(counted(whole), 10**9, ""))
    assert json.loads(json.dumps(value)) == value
    assert value["type"] == "summary" and value["chain"] == "interrupt"
    assert value["stages"][0] == {
        "vm_interface": "vnet0", "stage": "S1->S2", "count": 4, "sum_ns": 80_012,
        "mean_ns": 20_003.0, "exact": True, "partial": 0,
    }  # fmt: skip
    assert {"vm_interface", "from", "to", "p99_ns"} <= set(value["legs"][0])
    single = {row["stage"]: row for row in value["single"]}
    assert single["S1->guest_entry"]["count"] == 3
    assert [(row["reason"], row["packets"]) for row in value["absences"]] == [
        ("signal_suppressed", 7), ("irq_posted", 2),
    ]  # fmt: skip
    woken = {row["tid"]: row for row in value["wakeups"]}
    assert woken[309]["queued"]["max_ns"] == 90_000 and woken[309]["idle_states"] == [[1, 2]]
    assert woken[309]["count"] == 3 and woken[309]["comm"] is None
    assert {"bins", "drops", "counters", "hooks", "cost"} <= set(value)


@pytest.mark.parametrize("chain", [IRQ, KICK], ids=["irq", "kick"])
def test_without_packets_the_summary_says_so(chain: Chain) -> None:
    text = summary(view(chain, []), stats([]), "the agent died")
    assert "Not final: the agent died" in text and "No packet passed two of these points." in text
