"""The whole agent on this kernel: discovery first, then a measurement beside it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.native.net import Bed
from tests.native.wire import TCP, V4
from tests.support.commands import command
from tests.support.frames import next_object
from vmlat_tui.model.flows import Filter, Protocol
from vmlat_tui.model.requested import Requested
from vmlat_tui.model.topology import Topology, Way
from vmlat_tui.protocol.commands import Describe, Measure, Read, Release, Stop
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.transport.process import AgentProcess

_LIMIT_S = 60.0


class Watcher:
    """A discovering agent."""

    def __init__(self) -> None:
        self.agent = AgentProcess()
        self.agent.send(
            command(
                "configure",
                measure=False,
                discover=True,
                interval_s=0.2,
                connect="qemu+unix:///system?socket=/nonexistent",
            )
        )

    def wait(self, condition: Callable[[Raw], Any]) -> Any:
        """The first frame's answer that counts."""
        end = time.monotonic() + _LIMIT_S
        while True:
            frame = next_object(self.agent, end - time.monotonic())
            assert frame is not None, "nothing of that kind came"
            answer = condition(frame)
            if answer:
                return answer

    def frame(self, kind: str) -> Raw:
        """The next frame of a type."""
        found: Raw = self.wait(lambda f: f if f["type"] == kind else None)
        return found

    def way(self, tap: str) -> Way:
        """Of a tap, as soon as it is known."""

        def look(frame: Raw) -> Any:
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
    watcher.agent.send(command("measure", id=1, vm_interfaces=["no such"]))
    error = watcher.frame("error")
    assert error["id"] == 1 and "no such interface" in error["title"]
    watcher.agent.send(
        command(
            "measure",
            id=2,
            rung="tracepoints",
            directions=["tx"],
            vm_interfaces=[bed.tap.name],
            uplinks=[bed.uplink],
        )
    )
    measuring = watcher.frame("measuring")
    assert measuring["rung"] == "tracepoints" and measuring["offsets"] == "btf"
    assert "phy_xmit" in [p["point"] for p in measuring["points"] if p["hooks"]]
    assert watcher.frame("links")["leaves"] == [bed.uplink]
    assert watcher.frame("ack")["id"] == 2
    bed.tap.send(V4.frame())
    assert watcher.frame("packet")["vm_interface"] == bed.tap.name
    late = bed.add_tap()
    assert watcher.way(late.name)
    watcher.agent.send(command("measure", id=3))
    assert "stay what they are" in watcher.frame("error")["title"], "of another rung"
    watcher.agent.send(Stop())
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
    requested = {"rung": "tracepoints", "directions": ["tx"], "vm_interfaces": [bed.tap.name],
            "uplinks": [bed.uplink]}  # fmt: skip
    for _ in range(2):
        watcher.agent.send(command("measure", id=6, **requested))
        watcher.frame("measuring")
        assert watcher.frame("ack")["id"] == 6, "it has begun to count"
        assert programs() > before
        bed.tap.send(V4.frame())
        watcher.frame("packet")
        watcher.agent.send(Release(7))
        final = watcher.wait(lambda f: f if f["type"] == "stats" and f["final"] else None)
        assert final["bins"]["tx"]["completed"] == 1, "counted from zero"
        watcher.frame("released")
        assert watcher.frame("ack")["id"] == 7
        assert programs() == before
        watcher.frame("vitals")
    watcher.agent.send(command("measure", **requested))
    watcher.frame("attaching")
    watcher.agent.send(Release())
    watcher.frame("released")
    watcher.agent.send(Read(8))
    assert "nothing is measured" in watcher.frame("error")["title"]


def test_what_is_requested_while_probes_are_attached_is_carried_out_after_that(
    watcher: Watcher, bed: Bed
) -> None:
    watcher.way(bed.tap.name)
    first = Requested((bed.tap.name,), (bed.uplink,), directions=("tx",), rung="tracepoints")
    wanted = replace(first, filters=(Filter(protocol=Protocol.TCP),), threshold_ns=1)
    for number, requested in ((1, first), (2, replace(first, rung="full")), (3, wanted)):
        watcher.agent.send(Measure(requested, number))
    watcher.frame("attaching")
    watcher.frame("measuring")
    ack = watcher.frame("ack")
    assert (ack["id"], Requested.from_json(ack["requested"])) == (1, first)
    assert watcher.frame("error")["id"] == 2, "these would be other probes"
    ack = watcher.frame("ack")
    assert (ack["id"], Requested.from_json(ack["requested"])) == (3, wanted)
    attached = programs()
    bed.tap.send(V4.frame())
    bed.tap.send(V4.with_(protocol=TCP).frame())
    assert watcher.frame("packet")["flow"]["protocol"] == "tcp"
    watcher.agent.send(Measure(first, 4))

    def answer(frame: Raw) -> Any:
        assert frame["type"] not in ("attaching", "measuring")
        return frame if frame["type"] == "ack" else None

    assert watcher.wait(answer)["id"] == 4
    assert programs() == attached, "no probe was attached again"
    bed.tap.send(V4.frame())
    assert watcher.frame("packet")["flow"]["protocol"] == "udp"


def test_a_release_ends_what_was_requested_while_probes_are_attached(
    watcher: Watcher, bed: Bed
) -> None:
    watcher.way(bed.tap.name)
    for number in (1, 2):
        watcher.agent.send(command("measure", id=number, vm_interfaces=[bed.tap.name]))
    watcher.agent.send(Release(3))
    watcher.frame("released")
    assert watcher.frame("ack")["id"] == 3
    watcher.agent.send(Read(4))
    assert watcher.frame("error")["id"] == 4, "nothing is measured, nor will be"
    watcher.agent.send(
        command(
            "measure",
            id=5,
            directions=["tx"],
            rung="tracepoints",
            vm_interfaces=[bed.tap.name],
            uplinks=[bed.uplink],
        )
    )
    assert watcher.frame("ack")["id"] == 5


def test_it_says_what_could_be_measured_while_it_discovers(watcher: Watcher) -> None:
    watcher.frame("topology")
    watcher.agent.send(Describe())
    host = watcher.frame("host")
    hooks = {point["point"]: point["hooks"] for point in host["points"]}
    assert host["measurable"] and hooks["vnet_rx"] and hooks["phy_xmit"]
    watcher.frame("vitals")


def test_what_was_counted_before_a_new_filter_is_told_before_it_is_acknowledged(bed: Bed) -> None:
    with AgentProcess() as agent:
        # Nobody would hear of it for as long as the test lasts.
        requested = Requested(
            (bed.tap.name,), (bed.uplink,), directions=("tx",), rung="tracepoints"
        )
        agent.send(command("configure", interval_s=3600, **requested.to_json()))
        while (next_object(agent, _LIMIT_S) or {})["type"] != "stats":
            pass
        bed.tap.send(V4.frame())
        while (next_object(agent, _LIMIT_S) or {})["type"] != "packet":
            pass
        requested = replace(requested, filters=(Filter(protocol=Protocol.TCP),))
        agent.send(Measure(requested, 5))
        told, ack = next_object(agent, _LIMIT_S), next_object(agent, _LIMIT_S)
        assert told and told["type"] == "stats" and told["bins"]["tx"]["completed"] == 1
        assert ack and (ack["type"], ack["id"]) == ("ack", 5)
        assert Requested.from_json(ack["requested"]) == requested
        agent.send(Measure(requested, 6))
        ack = next_object(agent, _LIMIT_S)
        assert ack and (ack["type"], ack["id"]) == ("ack", 6), "nothing changed"
