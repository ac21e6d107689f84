"""An agent that was kept from running takes no ping for lost whose end it has not read yet."""

from __future__ import annotations

import types
from typing import Any

import pytest

from vmlat_tui.agent import guest, measurement
from vmlat_tui.agent.guest import GuestMeasurement
from vmlat_tui.agent.measurement import Measurement
from vmlat_tui.model.flows import Echo, Flow
from vmlat_tui.model.guest import GuestPoint, Sighting
from vmlat_tui.protocol.commands import Configure

TIMEOUT_NS = 1_000


class Clock:
    """The time of the module's agent."""

    def __init__(self) -> None:
        self.now_ns = 0

    def monotonic_ns(self) -> int:
        return self.now_ns

    def monotonic(self) -> float:
        return self.now_ns / 1e9


def seen(point: GuestPoint, request: bool, t_ns: int, sequence: int = 1) -> Sighting:
    source, target = ("10.0.0.5", "10.0.0.9") if request else ("10.0.0.9", "10.0.0.5")
    flow = Flow(source, target, 7, 7, "icmp")
    also_ns = t_ns - 5 if point is GuestPoint.QUEUE else None
    return Sighting(point, t_ns, also_ns, flow, Echo(7, sequence, request), "eth0", 900, "ping")


BEGUN = [
    seen(GuestPoint.QUEUE, True, 100),
    seen(GuestPoint.XMIT, True, 120),
    seen(GuestPoint.RECEIVE, False, 320),
]


class GuestEngine:
    """Sightings that are ready at each look."""

    undivided, lost = "", 0

    def __init__(self, *looks: list[Sighting]) -> None:
        self.looks = list(looks)

    def sightings(self, interfaces: dict[int, str]) -> list[Sighting]:
        return self.looks.pop(0) if self.looks else []


def in_a_guest(
    monkeypatch: pytest.MonkeyPatch, engine: Any
) -> tuple[GuestMeasurement, Clock, list[Any]]:
    clock = Clock()
    sent: list[Any] = []
    monkeypatch.setattr(guest, "ladder", types.SimpleNamespace(inspect=lambda: None))
    monkeypatch.setattr(guest, "GuestEngine", lambda kernel: engine)
    monkeypatch.setattr(guest, "time", clock)
    return GuestMeasurement(Configure(timeout_ns=TIMEOUT_NS), sent.append), clock, sent


def test_a_reply_that_was_read_while_the_agent_slept_is_no_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = GuestEngine(BEGUN, [seen(GuestPoint.READ, False, 335)])
    agent, clock, sent = in_a_guest(monkeypatch, engine)
    agent.send_packets()
    clock.now_ns = 100 + 2 * TIMEOUT_NS  # it ran last a long time ago
    agent.send_expired()
    (trip,) = sent
    assert trip.times["read"] == 335


def test_a_reply_that_never_came_is_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, clock, sent = in_a_guest(monkeypatch, GuestEngine(BEGUN))
    agent.send_packets()
    clock.now_ns = 99 + TIMEOUT_NS - 5
    agent.send_expired()
    assert not sent, "it may still come"
    clock.now_ns = 100 + TIMEOUT_NS
    agent.send_expired()
    (trip,) = sent
    assert "read" not in trip.times


def test_while_there_is_always_more_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = types.SimpleNamespace(sightings=lambda interfaces: BEGUN, undivided="", lost=0)
    agent, clock, sent = in_a_guest(monkeypatch, endless)
    clock.now_ns = 100 * TIMEOUT_NS
    agent.send_expired()
    assert not sent


def test_a_packet_that_came_while_counters_were_read_goes_before_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    sent: list[Any] = []
    ready: list[str] = []

    def read(exact: bool) -> Any:
        clock.now_ns = 5_000
        ready.append("the reply")
        return types.SimpleNamespace(counters={})

    def packets() -> list[str]:
        taken, ready[:] = list(ready), []
        return taken

    engine = types.SimpleNamespace(
        read=read, packets=packets, wakeups=list, replace_silent=lambda reading: (),
        attached=types.SimpleNamespace(misses=lambda: 0),
    )  # fmt: skip
    encoder = types.SimpleNamespace(
        packet_frame=lambda record: {"type": "packet", "is": record},
        stats_frame=lambda reading, wakeups, t_ns, cost, final: {"type": "stats", "t_ns": t_ns},
    )
    agent = Measurement.__new__(Measurement)
    vars(agent).update(_engine=engine, _encoder=encoder, _send=sent.append, _left_out=())
    monkeypatch.setattr(measurement, "time", clock)
    agent.send_stats(final=False)
    assert sent == [{"type": "packet", "is": "the reply"}, {"type": "stats", "t_ns": 5_000}]
