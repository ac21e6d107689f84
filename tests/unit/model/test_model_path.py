"""Points, hooks and legs: their ids, their order, and the tables made of them."""

from __future__ import annotations

import pytest

from vmlat_tui.model.bins import Account, Bin
from vmlat_tui.model.hooks import (
    BY_ID,
    ENDINGS,
    HOOK_ROOM,
    HOOKS,
    JOINS,
    NUMBER,
    steps_of,
)
from vmlat_tui.model.legs import (
    NO_LEG,
    LegTable,
    sort_key,
)
from vmlat_tui.model.points import (
    POINTS,
    STEP_ROOM,
    STEPS,
    Direction,
    path,
    step,
)

TX, RX = Direction.TX, Direction.RX
ALL = [s.number for s in STEPS]


def test_step_numbers_are_their_places_and_fit_the_kernel_s_arrays() -> None:
    assert [s.number for s in STEPS] == list(range(len(STEPS)))
    assert len(STEPS) <= STEP_ROOM <= 32  # `seen` is a 32-bit mask
    assert STEP_ROOM & (STEP_ROOM - 1) == 0


def test_macros_and_points_are_unique_and_complete() -> None:
    assert len({s.macro for s in STEPS}) == len(STEPS)
    assert {s.point.id for s in STEPS} == set(POINTS)
    assert all(p.id == key and p.title for key, p in POINTS.items())
    for direction in Direction:
        ids = [s.point.id for s in path(direction)]
        assert len(ids) == len(set(ids))


def test_seed_stages_are_the_requirement_s_and_rise_along_the_path() -> None:
    stages = {
        d: {s.point.id: n for s in path(d) for n in [s.seed_stages[d]] if n is not None}
        for d in Direction
    }
    middle = {"switch_in": 1, "ovs_dp": 2, "ovs_upcall": 3, "ovs_reinject": 4, "switch_out": 5}
    assert stages[TX] == {"tun_in": 0, **middle, "phy_queue": 6}
    assert stages[RX] == {"phy_rx": 0, **middle, "tun_out": 6}
    for numbers in stages.values():
        assert list(numbers.values()) == sorted(numbers.values())


def test_the_paths_are_in_the_order_of_the_design() -> None:
    assert [s.point.id for s in path(TX)] == [
        *("guest_exit", "guest_kick", "vhost_woken", "vhost_on_cpu", "vhost_tx"),
        *("tun_in", "vnet_rx", "switch_in", "ovs_dp", "ovs_upcall", "ovs_reinject", "switch_out"),
        *("phy_queue", "phy_xmit", "vnet_queue", "tun_out"),
    ]
    assert [s.point.id for s in path(RX)] == [
        *("phy_gro", "phy_rx", "switch_in", "ovs_dp", "ovs_upcall", "ovs_reinject", "switch_out"),
        *("vnet_queue", "tun_out", "vhost_woken", "vhost_on_cpu", "vhost_take", "vhost_signal"),
        *("eventfd", "irqfd", "irq_accept", "vcpu_woken", "vcpu_on_cpu", "guest_entry"),
    ]


def test_step_finds_a_point_in_its_direction_only() -> None:
    assert step("vhost_woken", TX) != step("vhost_woken", RX)
    assert step("switch_in", TX) == step("switch_in", RX)
    with pytest.raises(KeyError, match="phy_xmit is not on the rx path"):
        step("phy_xmit", RX)
    with pytest.raises(KeyError):
        step("nowhere", TX)


def test_every_point_has_a_hook_and_every_hook_a_point() -> None:
    for s in STEPS:
        assert s.point.hooks, s.point.id
    for hook in HOOKS:
        assert steps_of(hook)


def test_what_a_point_needs_beside_its_hooks_is_found() -> None:
    beside = {hook.id for hook in POINTS["vhost_woken"].beside}
    assert beside == {"vhost_poll_wakeup", "handle_rx_net"} < {hook.id for hook in JOINS}
    assert POINTS["phy_rx"].beside == ()


def test_hooks_are_unique_and_fit_the_kernel_s_counters() -> None:
    assert len(BY_ID) == len(HOOKS) + len(JOINS) + len(ENDINGS)
    assert len(HOOKS) <= HOOK_ROOM
    assert [HOOKS[n].id for n in NUMBER.values()] == list(NUMBER)


def test_every_step_of_the_tracepoint_rung_needs_no_function() -> None:
    """The ladder's second rung: these points must remain without kprobes."""
    without = {p.id for p in POINTS.values() if any(h.kind == "tracepoint" for h in p.hooks)}
    assert without >= {"vnet_rx", "phy_queue", "phy_xmit", "phy_rx", "vnet_queue", "tun_out"}


# ---- legs -------------------------------------------------------------------------------


def test_the_leg_table_numbers_the_pairs_that_a_packet_can_pass() -> None:
    table = LegTable(ALL)
    legs = list(table.numbered.values())
    assert len({leg.id for leg in legs}) == len(legs)
    ids = {leg.id for leg in legs}
    # Optional steps in between, and up to two whose probe was skipped.
    assert {"tx:guest_kick>vhost_tx", "tx:guest_kick>tun_in", "rx:tun_out>vhost_take"} <= ids
    assert {"rx:vhost_signal>guest_entry", "rx:vnet_queue>vhost_signal"} <= ids
    assert {"tx:vnet_rx>vnet_queue", "tx:ovs_dp>switch_out"} <= ids
    assert "tx:guest_kick>switch_out" not in ids and "rx:phy_rx>vhost_take" not in ids
    for direction in Direction:
        steps = path(direction)
        assert {f"{direction.id}:{a.point.id}>{b.point.id}" for a, b in zip(steps, steps[1:])} < ids
    assert list(table.numbered) == list(range(table.room))
    assert [table.numbered[number].id for number in table.totals] == ["tx:total", "rx:total"]


def test_the_square_leads_from_two_steps_to_the_number_of_their_leg() -> None:
    table = LegTable(ALL)
    legs = table.square(STEP_ROOM)
    assert len(legs) == 2 * STEP_ROOM * STEP_ROOM
    listed = 0
    for number, leg in table.numbered.items():
        if leg.start is None or leg.end is None:
            continue
        at = (leg.direction * STEP_ROOM + leg.start.number) * STEP_ROOM + leg.end.number
        assert legs[at] == number
        listed += 1
    assert sum(number != NO_LEG for number in legs) == listed


def test_steps_without_a_hook_take_no_room() -> None:
    few = LegTable([step("vnet_rx", TX).number, step("phy_queue", TX).number])
    assert [leg.id for leg in few.numbered.values()] == [
        "tx:vnet_rx>phy_queue",
        "tx:total",
        "rx:total",
    ]


def test_legs_sort_in_path_order_with_totals_last() -> None:
    legs = sorted(LegTable(ALL).numbered.values(), key=sort_key)
    half = [leg for leg in legs if leg.direction is TX]
    assert legs[: len(half)] == half
    assert half[-1].id == "tx:total"
    assert half[0].id == "tx:guest_exit>guest_kick"


# ---- bins -------------------------------------------------------------------------------


def test_an_account_is_balanced_when_every_packet_is_in_a_bin() -> None:
    account = Account(6, dict.fromkeys(Bin, 1))
    assert account.ended == 6
    assert account.balanced
    account.started += 1
    assert not account.balanced


def test_an_account_reads_back() -> None:
    account = Account(21, {b: int(b) + 1 for b in Bin})
    assert Account.from_json(account.to_json()) == account
    row = account.to_json()
    assert row["sum"] == sum(row[b.id] for b in Bin)


@pytest.mark.parametrize("value", [{}, {"started": 1}])
def test_what_is_no_account_is_refused(value: dict[str, int]) -> None:
    with pytest.raises(KeyError):
        Account.from_json(value)
