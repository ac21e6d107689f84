"""Interfaces, switches and agents come and go while packets are measured."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab.measure import Lab, Remote, check_sums
from tests.lab.running import Measuring
from vmlat_tui.lab import inside
from vmlat_tui.probes import tracefs


def ping(remote: Remote, address: str, count: int) -> int:
    """How many were answered: the emulated network loses one now and then."""
    line = ["ping", "-n", "-q", "-c", str(count), "-i", "0.05", "-W", "5", address]
    done = remote(line, 60)
    found = re.search(r"(\d+) received", done.stdout.decode())
    assert found and int(found.group(1)) >= 0.7 * count, done
    return int(found.group(1))


def probes_left() -> list[str]:
    """Functions of ours in which the kernel has a probe now: all of ftrace, fentry's included."""
    text = tracefs.read("enabled_functions") + Path("/sys/kernel/debug/kprobes/list").read_text()
    return [line for line in text.splitlines() if "tun_" in line or "ovs_" in line]


@pytest.mark.scenario("ovs")
def test_a_guest_is_destroyed_and_comes_back(
    lab: Lab, remote: Remote, measuring: Measuring
) -> None:
    vm = lab.vms["vm-a"]
    ping(remote, vm.ip4, 2)
    with measuring(filters=[{"protocol": "icmp"}]) as session:
        answered = ping(remote, vm.ip4, 10)
        session.wait(lambda r: r.stats["bins"]["tx"]["completed"] >= answered, 20, "the answers")
        subprocess.run(["virsh", "destroy", "vm-a"], check=True, timeout=60)
        session.wait(
            lambda r: all(v["ifindex"] is None for v in r.links[-1]["vm_interfaces"]),
            20,
            "the tap to vanish",
        )
        vnet = inside.start_domain("vm-a")
        session.wait(
            lambda r: any(v["name"] == vnet and v["ifindex"] for v in r.links[-1]["vm_interfaces"]),
            20,
            "the new tap",
        )
        before = session.result.stats["bins"]["tx"]["completed"]
        more = before + ping(remote, vm.ip4, 10)
        session.wait(lambda r: r.stats["bins"]["tx"]["completed"] >= more, 20, "more answers")
    result = session.result
    check_sums(result)
    assert {p["vm_interface"] for p in result.packets[-5:]} == {vnet}


@pytest.mark.scenario("ovs")
def test_openvswitch_is_restarted(lab: Lab, remote: Remote, measuring: Measuring) -> None:
    vm = lab.vms["vm-a"]
    with measuring(filters=[{"protocol": "icmp"}]) as session:
        ping(remote, vm.ip4, 5)
        subprocess.run(["lab-ovs", "restart"], check=True, timeout=60)
        session.pump(2)
        before = session.result.stats["bins"]["rx"]["completed"]
        more = before + ping(remote, vm.ip4, 10)
        session.wait(lambda r: r.stats["bins"]["rx"]["completed"] >= more, 20, "the requests")
    check_sums(session.result)


@pytest.mark.scenario("ovs")
def test_a_killed_agent_leaves_no_probe_and_a_clear_word(lab: Lab) -> None:
    assert not probes_left()
    trace = subprocess.Popen(
        [sys.executable, "-m", "vmlat_tui", "trace", "--duration", "120"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    try:
        assert trace.stderr and "watching" in trace.stderr.readline()
        assert probes_left()
        time.sleep(4)  # until statistics came
        children = Path(f"/proc/{trace.pid}/task/{trace.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        begin = time.monotonic()
        output, errors = trace.communicate(timeout=30)
    finally:
        trace.kill()
    assert time.monotonic() - begin < 20
    assert trace.returncode == 1
    assert "the agent died" in errors and "SIGKILL" in errors and "Traceback" not in errors
    assert "Statistics" in output and "Not final" in output
    assert not probes_left()
