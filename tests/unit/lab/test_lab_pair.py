"""The lab of two hypervisors: what it is made of, and who is named when one of them ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from vmlat_tui import cli
from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.lab import machine, machines, process, scenarios
from vmlat_tui.lab.hypervisor import boot, domains, pair, whole
from vmlat_tui.lab.instances import Instances, State
from vmlat_tui.lab.machine import Machine

PAIR = scenarios.scenario("pair")
#: An endless program, and one that ends with status 3.
ALIVE = [sys.executable, "-c", "import time; time.sleep(60)"]
DEAD = [sys.executable, "-c", "raise SystemExit(3)"]


@pytest.fixture
def started(tmp_path: Path) -> Any:
    """Return ``started(name, program, console) -> Machine``: the program plays QEMU."""
    lab = tmp_path / "lab"
    lab.mkdir()
    made: list[Machine] = []

    def start(name: str, program: list[str], console: str) -> Machine:
        one = Machine(lab, len(made), name)
        one.directory.mkdir()
        one._begin = time.monotonic()
        one._process = process.start(program)
        one.console.write_text(console)
        made.append(one)
        return one

    yield start
    for one in made:
        one.stop()


def test_a_pair_is_ready_when_both_are(started: Any) -> None:
    said: list[str] = []
    a = started("a", ALIVE, "@lab step x\n@lab ready\n")
    b = started("b", ALIVE, "@lab step y\n")
    with pytest.raises(VmlatError, match=r"b: waited 0 s, at last for: y"):
        machines.wait([a, b], "ready", said.append, 0.3)
    assert [line.split(" s  ")[1] for line in said] == ["a waiting for x", "b waiting for y"]
    with b.console.open("a") as file:
        file.write("@lab ready\n")
    machines.wait([b], "ready", said.append, 60)


@pytest.mark.parametrize("console", ["@lab step y\n", "@lab ready\n"])
def test_the_one_that_ends_is_named_also_if_it_was_ready(started: Any, console: str) -> None:
    a, b = started("a", ALIVE, ""), started("b", DEAD, console)
    with pytest.raises(VmlatError, match=r"b: QEMU ended with status 3") as caught:
        machines.wait([a, b], "ready", lambda line: None, 60)
    kept = a.directory.parent.parent / "last-failure.log"
    assert str(kept) in str(caught.value) and kept.read_text() == console


def test_a_cable_carries_packets_both_ways_between_the_uplinks() -> None:
    """One machine has the wire's two ends itself, a machine of a pair only its own."""
    alone = machine._wires([])
    assert [w for w in alone if w.startswith("hubport,hubid=0,")] == [
        "hubport,hubid=0,id=phy0", "hubport,hubid=0,id=remote0",
    ]  # fmt: skip
    wires = machine._wires([7, 9])
    assert [w for w in wires if w.startswith("dgram")] == [
        "dgram,local.type=fd,local.str=7,id=phy0",
        "dgram,local.type=fd,local.str=9,id=phy1",
    ]
    assert not [w for w in wires if "remote" in w or "hub" in w]


def running(tmp_path: Path, monkeypatch: Any, programs: dict[str, Any]) -> Instances:
    monkeypatch.setenv("VMLAT_LAB_STATE", str(tmp_path))
    found = {n: (p.pid, process.start_time(p.pid) or 0) for n, p in programs.items()}
    made = Instances(tmp_path)
    with made.starting():
        made.save(State(found, 1, "6.1", "pair", 2048, time.time()))
    return made


def test_status_and_ssh_name_the_one_that_ended_and_down_ends_the_other(
    tmp_path: Path, monkeypatch: Any, capfd: Any
) -> None:
    monkeypatch.delenv("VMLAT_LAB", raising=False)
    alive, ended = (subprocess.Popen(ALIVE) for _ in range(2))
    lab = running(tmp_path, monkeypatch, {"hypervisor-a": alive, "hypervisor-b": ended})
    assert cli.main(["lab", "status"]) == 0
    out = capfd.readouterr().out
    assert f"hypervisor-a is process {alive.pid}, hypervisor-b is process {ended.pid}" in out
    ended.kill()
    # Its parent, this process, does not ask for its status: it has ended all the same.
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    for words in (["status"], ["ssh", "true"], ["guest", "vm-a", "true"]):
        assert cli.main(["lab", *words]) == 1
        said = capfd.readouterr().err.strip().splitlines()[-1]
        assert said.startswith("vmlat: the lab has ended: hypervisor-b; start it again:"), words
    state = lab.state()
    assert state and not state.alive()
    assert cli.main(["lab", "down"]) == 0
    assert alive.wait(10) == -signal.SIGKILL and ended.wait(10) == -signal.SIGKILL
    assert lab.state() is None and not lab.background.exists()


@pytest.mark.parametrize(("before", "wanted"), [("ovs", "pair"), ("pair", "ovs"), ("pair", "pair")])
def test_a_running_hypervisor_is_not_changed_to_a_pair_or_from_one(
    monkeypatch: Any, before: str, wanted: str
) -> None:
    """Nothing is touched before: there is no libvirt here, nor a lab's directory."""
    monkeypatch.setattr(boot, "current", lambda: scenarios.SCENARIOS[before])
    with pytest.raises(UsageError) as caught:
        boot.change(None, scenarios.SCENARIOS[wanted])
    assert "scenario pair needs machines of its own" in str(caught.value)
    assert f"end this lab, then: vmlat lab up --scenario {wanted}" in str(caught.value)


def test_each_guest_runs_on_its_own_hypervisor() -> None:
    assert [[d.name for d in PAIR.domains_on(n)] for n in range(2)] == [["vm-a"], ["vm-b"]]
    assert "pair" not in scenarios.ALONE
    for name in scenarios.ALONE:
        one = scenarios.SCENARIOS[name]
        assert one.domains_on(0) == one.domains and not one.paired


def test_a_whole_guest_has_the_disk_and_a_way_to_its_sshd() -> None:
    tree: Any = ElementTree.fromstring(domains.describe(PAIR, PAIR.domains[1]))
    disk = tree.find("devices/disk")
    assert disk.find("source").get("dev") == "/dev/vda" and disk.find("readonly") is not None
    assert tree.find("os/initrd").text == str(whole.INITRAMFS)
    qemu = "{http://libvirt.org/schemas/domain/qemu/1.0}"
    words = [each.get("value") for each in tree.findall(f"{qemu}commandline/{qemu}arg")]
    assert f"hostfwd=tcp::{pair.GUEST_SSH_PORT}-10.0.2.15:22" in words[1]
    assert len(tree.findall("devices/interface")) == 1, "nobody has to choose among vNICs"
    lean: Any = ElementTree.fromstring(domains.describe(PAIR, scenarios.VM_A))
    assert lean.find("devices/disk") is None and lean.find(f"{qemu}commandline") is None


def test_a_whole_guest_begins_as_the_hypervisor_and_ends_in_its_own_init() -> None:
    theirs = whole._FIRST_STEPS.read_text().splitlines()
    ours = whole.first_steps().decode().splitlines()
    assert ours[:-1] == theirs[:-1]
    assert ours[-1] == "exec switch_root /root /lab/init"


def test_its_init_is_a_script_that_can_be_executed() -> None:
    assert whole._INIT.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", str(whole._INIT)], check=True)


def resolved(tmp_path: Path, name: str) -> dict[str, str]:
    """What the system's ssh makes of the configuration."""
    config = tmp_path / "config"
    config.write_text(pair.ssh_config(PAIR))
    done = subprocess.run(
        ["ssh", "-G", "-F", str(config), name], capture_output=True, text=True, check=True
    )
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


@pytest.mark.parametrize(
    ("name", "where", "port"),
    [
        ("hypervisor-a", "192.168.78.2", 22),
        ("hypervisor-b", "192.168.78.3", 22),
        ("192.168.78.3", "192.168.78.3", 22),
        ("vm-a", "192.168.78.2", 2222),
        ("vm-b", "192.168.78.3", 2222),
        ("192.168.77.11", "192.168.78.3", 2222),
        ("fd77::11", "192.168.78.3", 2222),
    ],
)
def test_by_name_or_address_ssh_goes_over_the_management_cable(
    tmp_path: Path, name: str, where: str, port: int
) -> None:
    found = resolved(tmp_path, name)
    assert (found["hostname"], found["port"], found["user"]) == (where, str(port), "root")
    assert found["hostkeyalias"] == "lab" and found["stricthostkeychecking"] in ("true", "yes")


def test_names_of_guests_are_addresses_of_the_measured_network() -> None:
    lines = pair.hosts_lines(PAIR).splitlines()
    assert lines == [
        "192.168.78.2 hypervisor-a", "192.168.78.3 hypervisor-b",
        "192.168.77.10 vm-a", "192.168.77.11 vm-b",
    ]  # fmt: skip
    assert len({pair._mac(n, d) for n in range(2) for d in ("phy0", "phy1")}) == 4
    assert re.fullmatch("(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", pair._mac(1, "phy1"))
