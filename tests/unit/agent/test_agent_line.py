"""No frame is longer than its reader takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.frames import decoded, encoded, typed
from tests.tui import host
from vmlat_tui.agent.line import line_of
from vmlat_tui.model.bins import Account
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.protocol import frames
from vmlat_tui.protocol.migrations import Raw

FLOW = {"src": "192.0.2.1", "dst": "192.0.2.2", "src_port": 1, "dst_port": 2, "protocol": "udp"}
LIMIT = 200_000


@pytest.fixture(autouse=True)
def short_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_LINE", LIMIT)


def stats(flows: int = 0, legs: int = 0, wakeups: int = 0) -> Raw:
    """Of so many rows."""
    histogram: dict[str, Any] = Histogram(9, 90, 10, dict.fromkeys(range(40, 49), 1)).to_json()
    return {
        "type": "stats", "final": True, "t_ns": 1, "hooks": {}, "cost": {}, "drops": [],
        "counters": {"lost": 0},
        "bins": {d: Account().to_json() for d in ("tx", "rx")},
        "flows": [{"direction": "tx", "vm_interface": "vnet0", "flow": FLOW, "packets": n * 7 % 999,
                   "bytes": 1, "first_ns": 1, "last_ns": 2} for n in range(flows)],
        "legs": [{"vm_interface": f"vnet{n}", "leg": "tx:total", "direction": "tx",
                  "title": "total", **histogram} for n in range(legs)],
        "wakeups": [{"tid": n, "role": "vcpu", "vm_interface": None, "idle": histogram,
                     "queued": histogram, "migrations": 0, "idle_states": [], "ahead_ns": [],
                     "halts": None}
                    for n in range(wakeups)],
    }  # fmt: skip


def test_a_frame_that_is_short_enough_is_sent_as_it_is() -> None:
    frame = stats(flows=5, legs=5, wakeups=5)
    assert decoded(line_of(typed(frame))) == frame


def test_flows_with_the_fewest_packets_are_left_out_first_and_counted() -> None:
    frame = stats(flows=2000, legs=100, wakeups=50)
    assert len(encoded(frame)) > LIMIT
    line = line_of(typed(frame))
    sent = decoded(line)
    assert LIMIT * 0.9 < len(line) <= LIMIT
    assert (sent["legs"], sent["wakeups"]) == (frame["legs"], frame["wakeups"])
    kept = [row["packets"] for row in sent["flows"]]
    every = sorted((row["packets"] for row in frame["flows"]), reverse=True)
    assert kept == every[: len(kept)]
    assert sent["counters"] == {"lost": 0, "rows_left_out": 2000 - len(kept)}
    assert frame["counters"] == {"lost": 0}, "what was counted is the agent's own"


def test_where_that_is_not_enough_the_last_threads_and_legs_go_too() -> None:
    frame = stats(flows=100, legs=1500, wakeups=100)
    sent = decoded(line_of(typed(frame)))
    assert sent["flows"] == sent["wakeups"] == []
    assert 0 < len(sent["legs"]) < 1500 and sent["legs"] == frame["legs"][: len(sent["legs"])]
    assert sent["counters"]["rows_left_out"] == 1700 - len(sent["legs"])


def test_of_another_frame_that_is_too_long_a_notice_remains() -> None:
    sent = decoded(line_of(replace(host.topology(host.NAMES[:1]), notes=("x" * 8000,) * 400)))
    assert sent == {"type": "notice", "text": "a topology frame of 3 MiB is too long to be sent"}
