"""Two hypervisors and a cable: what the scenario ``pair`` promises, seen from hypervisor A.

    python3 -m vmlat_tui lab run --scenario pair -- python3 -m pytest tests/lab_pair -q

Only what pytest 6.0 has may be used here, as in tests/lab.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from vmlat_tui.lab import inside
from vmlat_tui.lab.hypervisor import cable

#: What the lab promises; what is measured in it, test_ping.py runs on another kernel as well.
pytestmark = pytest.mark.once

#: The time limit of a command that only answers; logging in takes a second or two here.
ANSWER_S = 90
#: BCC compiles in a guest of an emulated machine.
MEASURE_S = 240

PINGS = 50


def run(*words: str, seconds: float = ANSWER_S) -> Any:
    return subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True,
        timeout=seconds, check=False, text=True,
    )  # fmt: skip


def there(host: str, line: str, seconds: float = ANSWER_S) -> str:
    """Run a line of shell on another machine, which must succeed; return what it printed."""
    done = run("ssh", "-o", "BatchMode=yes", host, line, seconds=seconds)
    assert done.returncode == 0, (host, line, done)
    return str(done.stdout)


@pytest.fixture(scope="module")
def environment() -> Any:
    found = inside.environment()
    assert found["VMLAT_LAB_SCENARIO"] == "pair"
    return found


@contextlib.contextmanager
def pings(address: str, count: int = 10_000) -> Iterator[Any]:
    """``vm-a`` pings this address, ten times a second, until the end of the block."""
    with subprocess.Popen(
        ["ssh", "-tt", "-o", "BatchMode=yes", "vm-a", f"ping -q -i 0.1 -c {count} {address}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as child:  # fmt: skip
        try:
            yield child
        finally:
            child.terminate()


def test_both_hypervisors_run_their_guest_and_know_one_another(environment: Any) -> None:
    peer = environment["VMLAT_PEER"]
    assert (os.uname().nodename, peer) == ("hypervisor-a", "hypervisor-b")
    assert there(peer, "hostname; virsh -q list --name").split() == [peer, "vm-b"]
    assert run("virsh", "-q", "list", "--name").stdout.split() == ["vm-a"]
    far = dict(line.split("=", 1) for line in there(peer, "env").splitlines() if "=" in line)
    assert far["VMLAT_PEER"] == "hypervisor-a" and far["VMLAT_DOMAINS"] == "vm-b"
    assert there(peer, f"cat /sys/class/net/{far['VMLAT_VM_B_VNET']}/tun_flags").strip()
    kernels = [os.uname().release, *(there(n, "uname -r").strip() for n in (peer, "vm-b"))]
    assert len(set(kernels)) == 1 and kernels[0].startswith(environment["VMLAT_LAB_KERNEL"])


@pytest.mark.parametrize("name", ["vm-a", "vm-b"])
def test_guests_are_reached_by_name_and_by_address(environment: Any, name: str) -> None:
    stem = "VMLAT_" + name.upper().replace("-", "_")
    for way in (name, environment[stem + "_IP4"], environment[stem + "_IP6"]):
        assert there(way, "hostname").strip() == name


def test_the_scenario_stays(environment: Any) -> None:
    done = run(sys.executable, "-m", "vmlat_tui", "lab", "scenario", "ovs")
    assert done.returncode == 2
    assert done.stderr.startswith("vmlat: scenario pair needs machines of its own"), done
    assert there("vm-b", "hostname").strip() == "vm-b"


def test_the_agent_of_the_guest_answers(environment: Any) -> None:
    done = inside.guest("vm-a", "hostname; exit 7")
    assert (done.status, done.stdout) == (7, b"vm-a\n")


def octets(host: str) -> int:
    line = "cat /sys/class/net/phy0/statistics/{r,t}x_bytes"
    return sum(map(int, there(host, f"bash -c '{line}'").split()))


def test_guests_reach_one_another_over_the_cable(environment: Any) -> None:
    """Both uplinks carry it, and nothing of ssh: those who manage have their own cable."""
    hosts = ("hypervisor-a", "hypervisor-b")
    for family in ("IP4", "IP6"):
        before = [octets(host) for host in hosts]
        address = environment["VMLAT_VM_B_" + family]
        said = there("vm-a", f"ping -n -q -i 0.1 -c 20 -s 1000 {address}")
        assert " 0% packet loss" in said
        moved = [octets(host) - was for host, was in zip(hosts, before)]
        assert all(40_000 < each < 60_000 for each in moved), (family, moved)


def test_ssh_goes_on_where_the_measured_network_is_cut(environment: Any) -> None:
    peer = environment["VMLAT_PEER"]
    there(peer, "tc qdisc add dev phy0 root netem loss 100%")
    try:
        done = run("ssh", "vm-a", "ping -q -c 3 -i 0.2 -W 1 " + environment["VMLAT_VM_B_IP4"])
        assert " 100% packet loss" in done.stdout, done
        assert there("vm-b", "hostname").strip() == "vm-b"
    finally:
        there(peer, "tc qdisc del dev phy0 root")
    assert " 0% packet loss" in there("vm-a", "ping -q -c 3 " + environment["VMLAT_VM_B_IP4"])


@pytest.mark.parametrize("host", ["hypervisor-a", "hypervisor-b", "vm-a", "vm-b"])
def test_a_delay_can_be_put_in_everywhere(environment: Any, host: str) -> None:
    device = "eth0" if host.startswith("vm") else "phy0"
    there(host, f"tc qdisc replace dev {device} root netem delay 200ms")
    try:
        said = there("vm-a", "ping -q -c 5 -i 0.3 " + environment["VMLAT_VM_B_IP4"])
    finally:
        there(host, f"tc qdisc del dev {device} root")
    least = float(said.rpartition(" = ")[2].split("/")[0])
    assert 200 <= least < 1000, said


def round_trips(address: str) -> list[float]:
    """Of pings from ``vm-a``, in ms."""
    said = there("vm-a", f"ping -i 0.2 -c 10 {address}")
    return [float(word[5:]) for word in said.split() if word.startswith("time=")]


def test_the_cable_itself_can_be_slow_again_and_again(environment: Any) -> None:
    """Frames wait outside of both hypervisors: nothing is queued there, and none is lost."""
    address = environment["VMLAT_VM_B_IP4"]
    for _ in range(2):
        with subprocess.Popen(
            ["lab-python", "-m", cable.__name__, "500"], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as child:  # fmt: skip
            try:
                assert child.stdout and child.stdout.readline() == "the cable is slow\n"
                times = round_trips(address)
                queued = there("hypervisor-a", "tc -s qdisc show dev phy0")
                assert "netem" not in queued and "backlog 0b" in queued
            finally:
                child.terminate()
                said = child.communicate(timeout=ANSWER_S)
        assert child.returncode == 0, said
        assert len(times) == 10 and 250 <= max(times) < 1000, times
        assert statistics.median(round_trips(address)) < 100


def watched(host: str, address: str) -> Any:
    """Objects of ``vmlat guest`` at a guest while ``vm-a`` pings this address, and its messages."""
    with subprocess.Popen(
        [sys.executable, "-m", "vmlat_tui", "guest", "--host", host, "--format", "json",
         "--dst-ip", address, "--count", str(PINGS), "--timeout", "5000"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as child:  # fmt: skip
        try:
            end = time.monotonic() + MEASURE_S
            assert child.stderr and child.stderr.readline() == "vmlat: watching pings\n"
            with pings(address):
                out, err = child.communicate(timeout=end - time.monotonic())
        finally:
            child.kill()
    assert child.returncode == 0, err
    return [json.loads(line) for line in out.splitlines()], err


@pytest.mark.parametrize("family", ["IP4", "IP6"])
def test_the_receivers_guest_sees_every_part_of_an_echo(environment: Any, family: str) -> None:
    found, said = watched("vm-b", environment["VMLAT_VM_B_" + family])
    head, *rows, _ = found
    assert head["host"] == "vm-b" and said == ""
    readings = [row for row in rows if row["type"] == "reading"]
    assert len(readings) == len(rows) == PINGS, rows
    for row in readings:
        ns = row["ns"]
        assert (row["side"], row["interface"]) == ("receiver", "eth0")
        assert set(ns) == {"F", "G", "H", "receiver_rtt"}, "F, G and H have kprobes at their ends"
        assert min(ns["F"], ns["G"], ns["H"]) > 0
        assert ns["F"] + ns["G"] + ns["H"] == ns["receiver_rtt"]
    sequences = [row["seq"] for row in readings]
    assert sequences == list(range(sequences[0], sequences[0] + PINGS))


def test_the_senders_guest_sees_every_part_of_an_echo(environment: Any) -> None:
    head, *rows, _ = watched("vm-a", environment["VMLAT_VM_B_IP4"])[0]
    assert head["host"] == "vm-a"
    readings = [row for row in rows if row["type"] == "reading"]
    assert len(readings) == len(rows) == PINGS, rows
    for row in readings:
        ns = row["ns"]
        assert (row["side"], row["process"]["comm"]) == ("sender", "ping")
        assert min(ns.values()) > 0
        assert ns["A"] + ns["sender_inter"] + ns["M"] == ns["rtt"]
