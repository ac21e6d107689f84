"""What is requested: the same on both sides, within bounds, and told in words."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from typing import Any

import pytest

from vmlat_tui.model import filters
from vmlat_tui.model.requested import Requested

WHOLE = Requested(
    ("vnet0", "vnet1"), ("eth0",), filters.parse("tcp and port 443 or host fd00::9"), ("rx",),
    5_000, 50, 10, False, False, "tracepoints", "headers",
)  # fmt: skip


@pytest.mark.parametrize("one", [Requested(), WHOLE, Requested(directions=())])
def test_json_goes_both_ways(one: Requested) -> None:
    assert Requested.from_json(json.loads(json.dumps(one.to_json()))) == one
    assert hash(one) == hash(Requested.from_json(one.to_json()))


def test_every_field_has_bounds_and_a_default() -> None:
    for field in dataclasses.fields(Requested):
        assert getattr(WHOLE, field.name) != getattr(Requested(), field.name)
        wrong: tuple[Any, ...] = ({}, [None], 1 << 70, -1, "\n", 1.5)
        for odd in wrong:
            with pytest.raises(ValueError, match=field.name):
                Requested.from_json({field.name: odd})
    assert Requested.from_json({"command": "measure", "id": 7, "filters": None}) == Requested()


def test_directions_have_one_order() -> None:
    assert Requested.from_json({"directions": ["rx", "tx"]}) == Requested()
    assert Requested.from_json({"directions": ["rx", "rx"]}) == Requested(directions=("rx",))


@pytest.mark.parametrize(
    "wrong",
    [
        {"vm_interfaces": "vnet0"}, {"vm_interfaces": ["x" * 9000]}, {"uplinks": ["e"] * 4097},
        {"filters": [{"port": 5}]}, {"directions": ["up"]}, {"directions": ["tx"] * 3},
        {"threshold_ns": -1}, {"max_rate": 1 << 31}, {"sample": 0.5}, {"emit": 1},
        {"detail": None}, {"rung": "half"}, {"offsets": ""}, [], None,
    ],
)  # fmt: skip
def test_what_is_out_of_bounds_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"is no|is not of|a filter has no"):
        Requested.from_json(wrong)


def test_only_interfaces_may_differ_for_the_same_packets_to_be_counted() -> None:
    moved = replace(WHOLE, vm_interfaces=("vnet7",), uplinks=())
    assert WHOLE.same_packets(moved) and WHOLE.interfaces != moved.interfaces
    others: dict[str, Any] = {
        field.name: field.default
        for field in dataclasses.fields(Requested)
        if field.name not in ("vm_interfaces", "uplinks")
    }
    for name, value in others.items():
        changed = replace(WHOLE, **{name: value})
        assert not WHOLE.same_packets(changed)
        assert WHOLE.same_probes(changed) is (name not in ("rung", "offsets"))


def test_the_words_are_those_of_a_filter_line() -> None:
    assert Requested().words == Requested().filter_words == ""
    assert filters.parse(WHOLE.filter_words) == WHOLE.filters
    assert WHOLE.words == f"{WHOLE.filter_words}, RX only, packets from 5 µs"
