"""Open vSwitch: its database's own answers, and everything that may be wrong with it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.trees import OVS_TABLES, plant
from vmlat_tui.discover.switches import ovs
from vmlat_tui.model.topology import OvsInterface, OvsPort

#: What ovsdb-server 3.1 answered to the selects.
TABLES = json.loads(OVS_TABLES.read_text())


def ports(switch: ovs.Switch) -> dict[str, OvsPort]:
    return {port.name: port for bridge in switch.ovs.bridges for port in bridge.ports}


def test_bridges_and_ports_are_as_the_database_has_them() -> None:
    switch = ovs.decode(TABLES, "running")
    assert switch.ovs.version == "3.1.0" and switch.ovs.state == "running"
    assert [(b.name, b.datapath, [p.name for p in b.ports]) for b in switch.ovs.bridges] == [
        ("br-int", "system", ["br-int", "int-br-phys", "vnet0", "vx0"]),
        ("br-phys", "netdev", ["bond1", "br-phys", "phy-br-int"]),
    ]
    found = ports(switch)
    assert found["vnet0"].tag == 100 and found["vnet0"].trunks == ()
    assert found["vnet0"].interfaces[0].external_ids["attached-mac"] == "52:54:00:77:00:0a"
    assert found["int-br-phys"].interfaces == (
        OvsInterface("int-br-phys", "patch", None, "phy-br-int", {"peer": "phy-br-int"}, {}),
    )
    assert found["vx0"].interfaces[0].options["remote_ip"] == "10.0.0.2"
    bond = found["bond1"]
    assert (bond.bond_mode, bond.trunks, bond.tag) == ("balance-slb", (100, 200), None)
    assert [i.name for i in bond.interfaces] == ["eth0", "eth1"] and bond.active_member is None


def row(table: str, of: str, /, **changes: Any) -> dict[str, Any]:
    """The tables with one row changed."""
    tables = json.loads(json.dumps(TABLES))
    (found,) = [r for r in tables[table] if r["name"] == of]
    found.update(changes)
    return dict(tables)


@pytest.mark.parametrize(
    ("table", "of", "changes", "lost"),
    [
        (
            "Port",
            "vnet0",
            {"tag": "x"},
            "vnet0 in its table Port cannot be read ('x' is not a number)",
        ),
        ("Port", "vnet0", {"tag": 1 << 70}, "is not a number"),
        ("Port", "vnet0", {"trunks": ["set", [1, None, "y"]]}, "'y' is not a number"),
        ("Port", "vnet0", {"vlan_mode": ["set", [[1]]]}, "is not a text"),
        ("Port", "vnet0", {"interfaces": 7}, "(TypeError)"),
        ("Interface", "vnet0", {"ofport": True}, "vnet0 in its table Interface"),
        ("Interface", "vnet0", {"options": ["map", [[1]]]}, "vnet0 in its table Interface"),
        ("Bridge", "br-phys", {"ports": ["set", [["uuid"]]]}, "br-phys in its table Bridge"),
    ],
)
def test_an_odd_row_is_left_out_and_named(
    table: str, of: str, changes: dict[str, Any], lost: str
) -> None:
    switch = ovs.decode(row(table, of, **changes), "running")
    assert lost in switch.notes[0]
    assert ("vnet0" in ports(switch)) is (of != "vnet0" or table == "Interface")
    assert ports(switch)["br-int"] and ports(switch)["vx0"].interfaces


def test_the_active_member_of_a_bond_is_told_by_its_address() -> None:
    tables = row("Port", "bond1", bond_active_slave="52:54:00:4C:01:01")
    for member, mac in (("eth0", "52:54:00:4c:01:00"), ("eth1", "52:54:00:4c:01:01")):
        (found,) = [r for r in tables["Interface"] if r["name"] == member]
        found["mac_in_use"] = mac
    assert ports(ovs.decode(tables, "running"))["bond1"].active_member == "eth1"


def test_where_a_tunnel_leaves_is_what_its_status_says() -> None:
    status = ["map", [["tunnel_egress_iface", "eth9"], ["tunnel_egress_iface_carrier", "up"]]]
    assert ovs.decode(row("Interface", "vx0", status=status), "running").egress == {"vx0": "eth9"}


def test_hostile_names_are_kept_as_they_are() -> None:
    name = "[red]x\x1b[2J\u202e" + "y" * 200
    tables = row("Port", "vnet0", name=name, tag=["set", []])
    assert ports(ovs.decode(tables, "running"))[name].tag is None


def test_a_database_that_was_never_initialized_has_no_bridges() -> None:
    switch = ovs.decode({"Open_vSwitch": [], "Bridge": [], "Port": [], "Interface": []}, "stopped")
    assert switch.ovs.bridges == () and switch.ovs.version is None


# ---- states -------------------------------------------------------------------------------------


def test_never_installed_is_absent_and_not_running_is_stopped(tmp_path: Path) -> None:
    run, database = tmp_path / "run", tmp_path / "conf.db"
    assert ovs.read_switch(run, [database]).ovs.state == "absent"
    database.write_text("")
    assert ovs.read_switch(run, [database]).ovs.state == "stopped"
    database.unlink()
    run.mkdir()
    assert ovs.read_switch(run, [database]).ovs.state == "stopped"


class Server(threading.Thread):
    """A database server that answers what it is told to, or nothing."""

    def __init__(self, path: Path, result: Any) -> None:
        super().__init__(daemon=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._result = result
        self.open: list[socket.socket] = []

    def run(self) -> None:
        while True:
            client = self._listener.accept()[0]
            self.open.append(client)
            request = json.loads(client.recv(65536))
            if self._result == "close":
                client.close()
            elif self._result is not None:
                answer = {"id": request["id"], "error": None, "result": self._result}
                client.sendall(json.dumps(answer).encode())


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """Its directory, with a daemon that lives."""
    yield plant(tmp_path, {"ovs-vswitchd.pid": 77, "proc/77/stat": ""})


def read(run: Path) -> ovs.Switch:
    return ovs.read_switch(run, [], run / "proc")


def serve(run: Path, result: Any) -> None:
    Server(run / "db.sock", result).start()


ROWS = [{"rows": TABLES[table]} for table in ("Open_vSwitch", "Bridge", "Port", "Interface")]


def test_a_running_switch_is_asked_over_its_socket(run: Path) -> None:
    serve(run, ROWS)
    switch = read(run)
    assert switch.ovs.state == "running" and "vnet0" in ports(switch) and not switch.notes


def test_a_daemon_that_died_is_said(run: Path) -> None:
    serve(run, ROWS)
    (run / "ovs-vswitchd.pid").write_text("78\n")
    switch = read(run)
    assert switch.ovs.state == "stopped" and "vnet0" in ports(switch)
    assert "ovs-vswitchd does not run" in switch.notes[0]


def test_a_database_that_hangs_does_not_hang_us(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ovs, "_LIMIT_S", 0.3)
    serve(run, None)
    begin = time.monotonic()
    switch = read(run)
    assert time.monotonic() - begin < 5
    assert switch.ovs.state == "running", "the daemon lives, only its database does not answer"
    assert "no answer" in switch.notes[0]


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ("close", "closed the connection"),
        ([{"error": "syntax error", "details": "no table"}] * 4, "syntax error: no table"),
    ],
)
def test_what_the_database_complains_about_is_passed_on(run: Path, result: Any, words: str) -> None:
    serve(run, result)
    assert words in read(run).notes[0]


def test_a_socket_that_nobody_serves_is_a_stopped_switch(run: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(run / "db.sock"))
    (run / "ovs-vswitchd.pid").unlink()
    switch = read(run)
    assert switch.ovs.state == "stopped" and "cannot be read" in switch.notes[0]


def test_without_the_library_the_switch_runs_but_is_not_seen(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    serve(run, ROWS)
    for name in ("ovs", "ovs.jsonrpc", "ovs.stream"):
        monkeypatch.setitem(sys.modules, name, None)
    switch = read(run)
    assert switch.ovs.state == "running" and "python3-openvswitch" in switch.notes[0]
