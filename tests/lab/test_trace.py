"""``vmlat trace`` and ``vmlat doctor`` as a user types them."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Union

import pytest

from tests.lab.measure import Lab, Raw
from vmlat_tui.lab import inside

HEADER = re.compile(
    r"=== VM Network Latency Trace: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \((TX|RX)\) ==="
)
LEG = re.compile(
    r"  \[(\w+)->(\w+)\] (\S+) \((\w+)\) -> (\S+) \((\w+)\): (\d+\.\d{3}) us( \(OVS No Upcall\))?"
)


def vmlat(*words: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vmlat_tui", *words],
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def whole(pattern: Union[str, re.Pattern[str]], text: str) -> re.Match[str]:
    """The match of all of a text, which must match."""
    match = re.fullmatch(pattern, text)
    assert match, text
    return match


@contextlib.contextmanager
def pinged(lab: Lab) -> Iterator[None]:
    """Ten times a second."""
    address = lab.vms["vm-a"].ip4
    command = ["ip", "netns", "exec", lab.remote_ns, "ping", "-n", "-q", "-i", "0.1", address]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.mark.scenario("ovs")
def test_text_is_the_requirements(lab: Lab) -> None:
    vm = lab.vms["vm-a"]
    assert vm.vnet
    with pinged(lab):
        words = ["--vm-interface", vm.vnet, "--phy-interface", lab.uplink, "--count", "20"]
        done = vmlat("trace", *words)
    assert done.returncode == 0, done
    blocks = re.split(
        r"(?==== VM Network Latency Trace)", done.stdout.split("=== VM Network Latency Stat")[0]
    )
    assert len(blocks) == 21, done.stdout
    directions = set()
    short = []
    for block in blocks[1:]:
        lines = block.rstrip().splitlines()
        direction = whole(HEADER, lines[0]).group(1)
        directions.add(direction)
        assert re.fullmatch(r"Flow: [\d.]+:\d+ -> [\d.]+:\d+ \(ICMP\)", lines[1])
        devices = (
            "VM Device: {} → Physical: {}"
            if direction == "TX"
            else "Physical: {1} → VM Device: {0}"
        )
        assert lines[2] == devices.format(vm.vnet, lab.uplink)
        # The name of a vCPU has a space: CPU 0/KVM.
        assert re.fullmatch(r"Process: PID=\d+ COMM=\S.*", lines[3])
        assert lines[4:6] == ["", "Latencies (us):"]
        legs = [whole(LEG, line) for line in lines[6:-2]]
        assert legs, block
        for leg, following in zip(legs, legs[1:]):
            assert leg.group(2) == following.group(1)
        numbers = [leg.group(1) for leg in legs] + [legs[-1].group(2)]
        for leg in legs:
            for number, name in ((leg.group(1), leg.group(3)), (leg.group(2), leg.group(5))):
                assert name == ("STAGE_" + number if number.isdigit() else number)
            assert bool(leg.group(8)) == (leg.group(1, 2) == ("2", "5"))
        if not {"1", "2", "5", "6"} <= set(numbers):
            short.append(block)
        total = whole(r"Total Latency: (\d+\.\d{3}) us", lines[-1]).group(1)
        nanoseconds = [int(leg.group(7).replace(".", "")) for leg in legs]
        assert sum(nanoseconds) == int(total.replace(".", ""))
    assert directions == {"TX", "RX"}
    assert len(short) <= 2, short  # a kprobe's program does not run where it interrupts another
    assert (
        "legs (us):" in done.stdout and "distribution" in done.stdout and "Flows (" in done.stdout
    )


class Commands:
    """Two at a time: most of what each takes is its agent's start."""

    def __init__(self, vnet: str) -> None:
        self._pool = ThreadPoolExecutor(2)
        packets = ["--vm-interface", vnet, "--protocol", "icmp"]
        json_of_20, three = ["--format", "json", "--count", "20"], ["--count", "3"]
        lines = {
            "trace": ["trace", "--direction", "tx", "--format", "json", "--count", "5",
                      "--protocol", "icmp"],
            "doctor": ["doctor", "--json"],
            "irq": ["irq", *packets, *json_of_20],
            "irq as text": ["irq", *packets, *three],
            "kick": ["kick", *packets, *json_of_20],
            "kick as text": ["kick", *packets, *three],
        }  # fmt: skip
        self._done = {name: self._pool.submit(vmlat, *line) for name, line in lines.items()}

    def done(self, name: str) -> subprocess.CompletedProcess[str]:
        """Wait for one of them."""
        done = self._done[name].result()
        assert done.returncode == 0, done
        return done

    def rows(self, name: str) -> list[Raw]:
        """Its JSON lines."""
        return [json.loads(line) for line in self.done(name).stdout.splitlines()]

    def close(self) -> None:
        """Wait for all."""
        self._pool.shutdown()


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    """They run while others are looked at; the VM is pinged for all of them."""
    lab = inside.switch("ovs")
    vnet = lab.vms["vm-a"].vnet
    assert vnet
    with pinged(lab):
        made = Commands(vnet)
        try:
            yield made
        finally:
            made.close()


@pytest.mark.scenario("ovs")
def test_json_is_one_object_a_packet_then_a_summary(commands: Commands) -> None:
    rows = commands.rows("trace")
    assert [row["type"] for row in rows] == ["packet"] * 5 + ["summary"]
    for row in rows[:5]:
        assert set(row) >= {
            "direction",
            "flow",
            "vm_interface",
            "phy_interface",
            "process",
            "stages",
            "total_ns",
        }
        assert set(row["flow"]) == {"src", "dst", "src_port", "dst_port", "protocol"}
        for stage in row["stages"]:
            assert set(stage) >= {"stage", "point", "function", "t_ns"}
    assert rows[5]["bins"]["tx"]["started"] == rows[5]["bins"]["tx"]["sum"] >= 5


@pytest.mark.parametrize(
    ("command", "first", "last"),
    [("irq", "tun_out", "guest_entry"), ("kick", "guest_kick", "vnet_rx")],
)
@pytest.mark.scenario("ovs")
def test_irq_and_kick_follow_packets_on_the_guests_side(
    command: str, first: str, last: str, lab: Lab, commands: Commands
) -> None:
    vm = lab.vms["vm-a"]
    rows = commands.rows(command)
    assert [row["type"] for row in rows] == ["packet"] * 20 + ["summary"]
    whole = [r for r in rows[:20] if {first, last} <= {s["point"] for s in r["stages"]}]
    assert len(whole) >= 10, rows
    for row in whole:
        times = [stage["t_ns"] for stage in row["stages"]]
        assert sum(leg["ns"] for leg in row["legs"]) == row["total_ns"] == times[-1] - times[0], row
        for leg in row["legs"]:
            assert sum(part["ns"] for part in leg["parts"]) == leg["ns"] or not leg["parts"], row
        assert row["worker"]["comm"].startswith("vhost-") and row["queue"] == f"{vm.vnet}/0", row
        assert row["vcpu"]["comm"] == "CPU 0/KVM", row
    assert "Total" in commands.done(f"{command} as text").stdout


@pytest.mark.scenario("ovs")
def test_doctor_finds_the_full_rung(lab: Lab, commands: Commands) -> None:
    host = json.loads(commands.done("doctor").stdout)
    assert host["measurable"] and host["rung"] == "full", host
    without = {p["point"]: p["reason"] for p in host["points"] if not p["hooks"]}
    assert not without
    # 5.10 has no BTF of its modules.
    (take,) = (p["hooks"] for p in host["points"] if p["point"] == "vhost_take")
    assert [hook["kind"] for hook in take] == ["kprobe" if lab.kernel == "5.10" else "fentry"]


@pytest.mark.once
@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--vm-interface", "nosuch"], "no such interface"),
        (["--vm-interface", "lo"], "is not a tap interface"),
        (["--src-ip", "10.0.0.256"], "is not an address"),
        (["--src-ip", "10.0.0.1", "--dst-ip", "fd00::1"], "not of one IP version"),
        (["--protocol", "icmp", "--dst-port", "7"], "no ports"),
        (["--stats", "--latency-threshold", "5"], "leave one out"),
        (["--duration", "soon"], "must be a number"),
    ],
)
def test_bad_input_is_one_line_and_status_2(words: list[str], text: str) -> None:
    done = vmlat("trace", *words)
    assert done.returncode == 2
    assert text in done.stderr and len(done.stderr.splitlines()) == 1 and not done.stdout
