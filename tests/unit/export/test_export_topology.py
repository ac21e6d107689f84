"""``vmlat topology`` as text: complete, narrow, and harmless whatever names it is given."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from tests.unit.model.test_model_topology import TOPOLOGY
from vmlat_tui.cli import main
from vmlat_tui.export.topology_text import text
from vmlat_tui.model.topology import HaltPolling, OvsInterface, OvsPort, Topology, Way


def test_everything_that_matters_is_there() -> None:
    shown = text(TOPOLOGY)
    for words in (
        "h, Linux 6.1: 1 VMs known, 1 running",
        "running, pid 10, 1024 MiB on node 0, known by libvirt",
        "vnet0/0, kernel thread",
        "52:54:00:77:00:0a: virtio, moved by vhost, 2 queues, MTU 1500, source br0",
        "vhost busy polling off, 10.0.0.1 (arp)",
        "way: vnet0 > br0",
        "vlan 7",
        "Open vSwitch: running, version 3.1",
        "br0 (system): p trunks 1-2 patch to q",
        "KVM halt polling: up to 200000 ns, grows 2 times from ? ns, shrinks to 0",
        "governor performance on 0",
        "C1 2 us",
        "  - no agent",
    ):
        assert words in " ".join(shown.split()) or words in shown, (words, shown)
    assert re.search(r"vCPU 0 +11 +3 +\? +0,3 +other 0 +pinned\n", shown)
    assert re.search(r"vCPU 1 +\?\n", shown)


def test_ambiguous_ways_list_their_candidates() -> None:
    way = Way("vnet0", TOPOLOGY.ways[0].hops, ("eth0", "eth1"), "br0 has several ways out")
    shown = text(replace(TOPOLOGY, ways=(way,)))
    assert "candidates: eth0, eth1" in shown and "several ways out" in shown
    lost = replace(way, uplinks=(), tap="tap9")
    shown = text(replace(TOPOLOGY, ways=(lost,)))
    assert "Tap of no known VM: tap9" in shown and "no uplink is known" in shown


def test_halt_polling_that_is_off_or_absent_is_said() -> None:
    for values, words in (((0, 2, 1, 0), "halt polling: off"), ((None,) * 4, "KVM: not loaded")):
        assert words in text(replace(TOPOLOGY, halt_polling=HaltPolling(*values)))


HOSTILE = "[red]\x1b[2J\u202e\udcff\n" + "w\u0301" * 100


def test_no_name_can_harm_the_terminal() -> None:
    data = json.loads(
        json.dumps(TOPOLOGY.to_json()).replace("vnet0", "NAME").replace("br0", "NAME")
    )

    def hostile(value: object) -> object:
        if isinstance(value, dict):
            return {k: hostile(v) for k, v in value.items()}
        if isinstance(value, list):
            return [hostile(v) for v in value]
        return HOSTILE if value in ("NAME", "h", "phy0", "port", "tap", "p", "q", "C1") else value

    changed = hostile(data)
    assert isinstance(changed, dict)
    shown = text(Topology.from_json(changed))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e\ud800-\udfff]", shown)
    assert shown.encode()


def test_it_is_readable_at_100_columns() -> None:
    port = OvsPort("bond1", 5, (), "native-tagged", "balance-slb", "eth1", tuple(
        OvsInterface(f"eth{n}", "system", n, None, {}, {}) for n in range(12)))  # fmt: skip
    bridge = replace(TOPOLOGY.ovs.bridges[0], ports=(port,))
    many = replace(TOPOLOGY, ovs=replace(TOPOLOGY.ovs, bridges=(bridge,)), notes=("long " * 60,))
    lines = text(many).splitlines()
    assert max(map(len, lines)) <= 100
    assert "active eth1" in text(many)


def test_the_command_prints_json_that_is_a_topology(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topology", "--json", "--connect", "qemu+unix:///system?socket=/none"]) == 0
    found = Topology.from_json(json.loads(capsys.readouterr().out))
    assert any("/none" in note for note in found.notes)
