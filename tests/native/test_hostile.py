"""Other users' processes, real ones, while root measures a tap and looks at its VM."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest

from tests.native.net import Bed, Namespace
from tests.native.qemus import Qemu, qemu
from tests.native.wire import V4
from tests.support.commands import command
from tests.support.frames import next_object
from tests.support.hostile import USER, Crowd
from vmlat_tui.discover.vms import tuns
from vmlat_tui.discover.vms.emulators import Emulators
from vmlat_tui.discover.vms.vcpus import read_vcpus
from vmlat_tui.discover.watch import steady
from vmlat_tui.protocol.commands import Stop
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.transport.process import AgentProcess

_LIMIT_S = 60.0


@pytest.fixture
def honest(bed: Bed) -> Iterator[Qemu]:
    """The VM of the bed's tap."""
    tap = bed.tap.descriptor
    with qemu("-name", "guest=honest", "-m", "64", "-smp", "2", "-netdev", f"tap,id=n,fd={tap}",
              "-device", "virtio-net-pci,netdev=n", descriptors=(tap,)) as made:  # fmt: skip
        yield made


class Agent:
    """An agent that discovers and measures, and what it said last."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self.packets = 0
        self.last: dict[str, Raw] = {}
        self.process = AgentProcess()
        self.process.send(
            command(
                "configure",
                discover=True,
                rung="tracepoints",
                directions=["tx"],
                interval_s=0.2,
                connect="qemu+unix:///system?socket=/nonexistent",
                vm_interfaces=[bed.tap.name],
                uplinks=[bed.uplink],
            )
        )

    def until(self, condition: Any, seconds: float = _LIMIT_S) -> None:
        end = time.monotonic() + seconds
        while not condition():
            frame = next_object(self.process, end - time.monotonic())
            assert frame is not None and frame["type"] != "error", frame or self.last.keys()
            self.last[frame["type"]] = frame
            self.packets += frame["type"] == "packet"

    def pump(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        with contextlib.suppress(AssertionError):
            self.until(lambda: time.monotonic() > end, seconds)

    def send(self, count: int) -> int:
        """How many packets are seen of so many."""
        before = self.packets
        for number in range(count):
            self._bed.tap.send(V4.frame(number))
            time.sleep(0.002)
        self.pump(1.0)
        return self.packets - before

    def row(self, name: str = "honest") -> Any:
        (found,) = [d for d in self.last["topology"]["domains"] if d["name"] == name]
        ways = [w for w in self.last["topology"]["ways"] if w["tap"] == self._bed.tap.name]
        return steady(found), ways


@pytest.fixture
def agent(bed: Bed, honest: Qemu) -> Iterator[Agent]:
    made = Agent(bed)
    made.until(lambda: {"topology", "stats", "links"} <= set(made.last))
    yield made
    made.process.close()


def test_a_hostile_crowd_changes_no_figure(agent: Agent, bed: Bed, honest: Qemu) -> None:
    assert agent.send(200) == 200
    alone = agent.row()
    assert behind(bed.tap.name) == honest.vcpus
    assert [v["tap"] for v in alone[0]["vnics"]] == [bed.tap.name]
    with Crowd(200, bed.tap.name, "honest") as crowd:
        agent.last.pop("topology")
        # It looks for vCPUs every ten seconds.
        agent.pump(12.0)
        assert agent.send(200) == 200
        assert behind(bed.tap.name) == honest.vcpus and agent.row() == alone
        notes = "\n".join(agent.last["topology"]["notes"])
        assert "are in another network namespace" in notes
        assert all(process.poll() is None for process in crowd.processes)
        strangers = {d["pid"] for d in agent.last["topology"]["domains"]} - {honest.pid}
        assert strangers & {p.pid for p in crowd.processes} == {
            p.pid for p in crowd.processes[:10]
        }, "those who hold nothing are no VMs"
    agent.process.send(Stop())
    agent.until(lambda: agent.last["stats"]["final"])
    assert agent.last["stats"]["bins"]["tx"]["completed"] == 400
    assert agent.last["stats"]["counters"].get("lost", 0) == 0


# ---- whose a tap is -----------------------------------------------------------------------------


def behind(tap: str) -> Optional[dict[int, int]]:
    found = read_vcpus([tap], Emulators()).threads.get(tap)
    return dict(found.tids) if found else None


def test_a_tap_of_the_same_name_in_another_namespace_is_another(bed: Bed, honest: Qemu) -> None:
    name, other = bed.tap.name, Namespace()
    try:
        with contextlib.ExitStack() as both:
            tap = other.tap(name)
            both.callback(os.close, tap)
            # One in that namespace, as in a pod; one of any user's in this, who was given it.
            pod = both.enter_context(qemu("-name", "pod", descriptors=(tap,), namespace=other.path))
            both.enter_context(qemu("-name", "thief", descriptors=(tap,), user=USER))
            assert behind(name) == honest.vcpus
            assert tuns.ask(pod.pid, [tap]) == {tap: tuns.Tun(name, False)}
            assert tuns.ask(honest.pid, [bed.tap.descriptor]) == {
                bed.tap.descriptor: tuns.Tun(name, True)
            }
    finally:
        other.close()


def test_a_tap_that_was_given_into_another_namespace_is_its_vms(bed: Bed) -> None:
    tap = bed.tap.descriptor
    other = Namespace()
    try:
        with qemu("-name", "pod", descriptors=(tap,), namespace=other.path) as given:
            assert behind(bed.tap.name) == given.vcpus
    finally:
        other.close()


def test_two_that_hold_one_tap_are_nobodys_vm_and_are_named(bed: Bed, honest: Qemu) -> None:
    with qemu("-name", "second", descriptors=(bed.tap.descriptor,)) as second:
        found = read_vcpus([bed.tap.name], Emulators())
        assert bed.tap.name not in found.threads
        assert str(honest.pid) in found.notes[0] and str(second.pid) in found.notes[0]
    assert behind(bed.tap.name) == honest.vcpus


def test_what_is_no_attached_tun_is_left_out() -> None:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        assert tuns.ask(os.getpid(), [descriptor, 0, 99999]) == {}
        assert tuns.ask(2**22, [0]) == {}
    finally:
        os.close(descriptor)


# ---- sizes, and what hangs ----------------------------------------------------------------------

_LOOK = """
import resource, sys, time
from vmlat_tui.discover.topology import Discovery
look = Discovery("qemu+unix:///system?socket=/nonexistent").look
for _ in range(2):
    begin = time.monotonic()
    found = look()
    print(time.monotonic() - begin)
for domain in found.domains:
    print(domain.pid, domain.name)
print(*found.notes, sep="\\n")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def look(*before: str) -> list[str]:
    """What a process says that looks at this host twice, after some words of a shell."""
    script = " && ".join([*before, 'exec "$@"'])
    command = ("unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-c", _LOOK)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_command_line_of_half_a_gigabyte_costs_nobody_memory(bed: Bed) -> None:
    alone = int(look()[-1])
    with contextlib.ExitStack() as crowd:
        for _ in range(3):
            script = str(Path(__file__).with_name("long_line.py"))
            process = subprocess.Popen(
                (sys.executable, script, "482", str(USER)), stdout=subprocess.PIPE
            )
            crowd.callback(process.communicate)
            crowd.callback(process.kill)
            assert process.stdout and int(process.stdout.readline()) == process.pid
        peak = int(look()[-1])
    assert peak < alone + (20 << 10), (peak, alone)


def test_a_process_that_hangs_its_readers_is_one_row(
    bed: Bed, honest: Qemu, tmp_path: Path
) -> None:
    """Here by a pipe in the place of its command line, which nobody writes to."""
    os.mkfifo(tmp_path / "pipe")
    space = Namespace()
    tap = space.tap("vmt")
    space.close()
    with qemu("-name", "evil", descriptors=(tap,), user=USER) as evil:
        os.close(tap)
        said = look(f"mount --bind {tmp_path}/pipe /proc/{evil.pid}/cmdline")
    assert float(said[0]) < 10 and float(said[1]) < 2, "nobody waits for it twice"
    assert f"{honest.pid} honest" in said and f"{evil.pid} qemu-{evil.pid}" in said
    assert any(f"(process {evil.pid} of user {USER}) is odd: its command line" in s for s in said)
