"""The whole agent on this kernel: discovery first, then a measurement beside it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.native.net import Bed
from tests.native.wire import V4
from vmlat_tui.model.topology import Topology, Way
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.transport.process import AgentProcess

_LIMIT_S = 60.0


class Watcher:
    """A discovering agent."""

    def __init__(self) -> None:
        self.agent = AgentProcess()
        self.agent.send("configure", measure=False, discover=True, interval_s=0.2,
                        connect="qemu+unix:///system?socket=/nonexistent")  # fmt: skip

    def wait(self, condition: Callable[[Frame], Any]) -> Any:
        """The first frame's answer that counts."""
        end = time.monotonic() + _LIMIT_S
        while True:
            frame = self.agent.next(end - time.monotonic())
            assert frame is not None, "nothing of that kind came"
            answer = condition(frame)
            if answer:
                return answer

    def frame(self, kind: str) -> Frame:
        """The next frame of a type."""
        found: Frame = self.wait(lambda f: f if f["type"] == kind else None)
        return found

    def way(self, tap: str) -> Way:
        """Of a tap, as soon as it is known."""

        def look(frame: Frame) -> Any:
            if frame["type"] != "topology":
                return None
            ways = Topology.from_json(frame).ways
            return next((way for way in ways if way.tap == tap), None)

        found: Way = self.wait(look)
        return found


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    made = Watcher()
    yield made
    made.agent.close()


def test_a_tap_and_its_way_are_found_when_they_appear(watcher: Watcher, bed: Bed) -> None:
    found = watcher.way(bed.tap.name)
    assert [hop.device for hop in found.hops] == [bed.tap.name, bed.bridge, bed.uplink]
    assert found.uplinks == (bed.uplink,)
    assert found.choice and "namespace" in found.choice
    late = bed.add_tap()
    assert watcher.way(late.name).hops[1].device == bed.bridge


def test_a_measurement_begins_later_and_discovery_goes_on(watcher: Watcher, bed: Bed) -> None:
    watcher.way(bed.tap.name)
    watcher.agent.send("measure", id=1, vm_interfaces=["no such"])
    error = watcher.frame("error")
    assert error["id"] == 1 and "no such interface" in error["title"]
    watcher.agent.send("measure", id=2, rung="tracepoints", directions=["tx"],
                       vm_interfaces=[bed.tap.name], uplinks=[bed.uplink])  # fmt: skip
    measuring = watcher.frame("measuring")
    assert measuring["rung"] == "tracepoints" and measuring["offsets"] == "btf"
    assert "phy_xmit" in [p["point"] for p in measuring["points"] if p["hooks"]]
    assert watcher.frame("links")["leaves"] == [bed.uplink]
    assert watcher.frame("ack")["id"] == 2
    bed.tap.send(V4.frame())
    assert watcher.frame("packet")["vm_interface"] == bed.tap.name
    late = bed.add_tap()
    assert watcher.way(late.name)
    watcher.agent.send("measure", id=3)
    assert "measures already" in watcher.frame("error")["title"]
    watcher.agent.send("stop")
    final = watcher.wait(lambda f: f if f["type"] == "stats" and f["final"] else None)
    assert final["bins"]["tx"]["completed"] >= 1


def programs() -> int:
    """How many BPF programs processes hold now."""
    count = 0
    for path in Path("/proc").glob("[0-9]*/fdinfo/*"):
        with contextlib.suppress(OSError):
            count += "prog_type:" in path.read_text()
    return count


def test_released_probes_detach_and_a_measurement_may_follow(watcher: Watcher, bed: Bed) -> None:
    watcher.way(bed.tap.name)
    before = programs()
    wish = {"rung": "tracepoints", "directions": ["tx"], "vm_interfaces": [bed.tap.name],
            "uplinks": [bed.uplink]}  # fmt: skip
    for _ in range(2):
        watcher.agent.send("measure", id=6, **wish)
        watcher.frame("measuring")
        assert watcher.frame("ack")["id"] == 6, "it has begun to count"
        assert programs() > before
        bed.tap.send(V4.frame())
        watcher.frame("packet")
        watcher.agent.send("release", id=7)
        final = watcher.wait(lambda f: f if f["type"] == "stats" and f["final"] else None)
        assert final["bins"]["tx"]["completed"] == 1, "counted from zero"
        watcher.frame("released")
        assert watcher.frame("ack")["id"] == 7
        assert programs() == before
        watcher.frame("vitals")
    watcher.agent.send("measure", **wish)
    watcher.frame("attaching")
    watcher.agent.send("release")
    watcher.frame("released")
    watcher.agent.send("read", id=8)
    assert "nothing is measured" in watcher.frame("error")["title"]


def test_it_says_what_could_be_measured_while_it_discovers(watcher: Watcher) -> None:
    watcher.frame("topology")
    watcher.agent.send("describe")
    host = watcher.frame("host")
    hooks = {point["point"]: point["hooks"] for point in host["points"]}
    assert host["measurable"] and hooks["vnet_rx"] and hooks["phy_xmit"]
    watcher.frame("vitals")


def test_what_was_counted_before_a_new_filter_is_told_before_it_is_acknowledged(bed: Bed) -> None:
    with AgentProcess() as agent:
        # Nobody would hear of it for as long as the test lasts.
        agent.send("configure", rung="tracepoints", directions=["tx"], interval_s=3600,
                   vm_interfaces=[bed.tap.name], uplinks=[bed.uplink])  # fmt: skip
        while (agent.next(_LIMIT_S) or {})["type"] != "stats":
            pass
        bed.tap.send(V4.frame())
        while (agent.next(_LIMIT_S) or {})["type"] != "packet":
            pass
        agent.send("filter", id=5, filters=[{"protocol": "tcp"}])
        told, ack = agent.next(_LIMIT_S), agent.next(_LIMIT_S)
        assert told and told["type"] == "stats" and told["bins"]["tx"]["completed"] == 1
        assert ack and (ack["type"], ack["id"]) == ("ack", 5)
