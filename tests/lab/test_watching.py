"""Discovery while things change, hang, or are missing; and an agent that measures later."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.lab.measure import START_S, Lab, Remote
from tests.lab.test_topology import run
from tests.support.commands import command
from tests.support.frames import next_object, typed
from vmlat_tui.commands.topology import ask
from vmlat_tui.lab import inside
from vmlat_tui.model.topology import Backend, Domain, DomainState, Known, Topology, Vitals
from vmlat_tui.protocol.commands import Stop
from vmlat_tui.protocol.frames import as_hello
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.transport.process import AgentProcess

#: Far longer than an event needs even here; far shorter than the slow poll takes here.
SOON_S = 40.0


class Watcher:
    """An agent that discovers, and what it said last."""

    def __init__(self, agent: AgentProcess) -> None:
        self.agent = agent
        self.topologies: list[Topology] = []
        self.vitals: list[Vitals] = []
        self.others: list[Raw] = []
        agent.send(command("configure", measure=False, discover=True, interval_s=0.5))
        hello = next_object(agent, 60)
        assert hello
        as_hello(typed(hello))

    def pump(self, seconds: float) -> None:
        frame = next_object(self.agent, seconds)
        if frame is None:
            return
        if frame["type"] == "topology":
            self.topologies.append(Topology.from_json(frame))
        elif frame["type"] == "vitals":
            self.vitals.append(Vitals.from_json(frame))
        else:
            self.others.append(frame)

    def wait(self, what: str, condition: Callable[[Topology], Any], seconds: float = SOON_S) -> Any:
        end = time.monotonic() + seconds
        while True:
            result = self.topologies and condition(self.topologies[-1])
            if result:
                return result
            latest = self.topologies[-1].domains if self.topologies else None
            assert time.monotonic() < end, f"waited for {what}: {latest}"
            self.pump(0.2)

    def frame(self, kind: str, seconds: float = SOON_S) -> Raw:
        end = time.monotonic() + seconds
        while True:
            for frame in self.others:
                if frame["type"] == kind:
                    self.others.remove(frame)
                    return frame
            assert time.monotonic() < end, f"waited for {kind}: {self.others}"
            self.pump(0.2)


@contextlib.contextmanager
def watching() -> Iterator[Watcher]:
    with AgentProcess() as agent:
        watcher = Watcher(agent)
        watcher.wait("the first topology", lambda t: t, 60)
        yield watcher


def domain(topology: Topology, name: str = "vm-a") -> Domain:
    (found,) = [d for d in topology.domains if d.name == name]
    return found


NIC = """
<interface type='bridge'>
  <source bridge='br0'/><mac address='52:54:00:99:00:01'/><model type='virtio'/>
  <driver name='vhost'/>{port}<rom enabled='no'/>
</interface>"""


@pytest.mark.scenario("ovs")
def test_a_vm_changes_while_it_is_watched(lab: Lab, tmp_path: Path) -> None:
    nic = tmp_path / "nic.xml"
    nic.write_text(NIC.format(port="<virtualport type='openvswitch'/>"))
    with watching() as watcher:
        assert domain(watcher.topologies[-1]).state is DomainState.RUNNING

        run("virsh suspend vm-a")
        watcher.wait("the pause", lambda t: domain(t).state is DomainState.PAUSED)
        run("virsh resume vm-a")
        watcher.wait("the resumption", lambda t: domain(t).state is DomainState.RUNNING)

        run(f"virsh attach-device vm-a {nic} --live")
        watcher.wait("the new vNIC", lambda t: len(domain(t).vnics) == len(domain(t).workers) == 2)
        topology = watcher.wait("its way", lambda t: t if len(t.ways) == 2 else None)
        first, second = domain(topology).vnics
        assert (second.mac, second.backend) == ("52:54:00:99:00:01", Backend.VHOST)
        assert [w.queues for w in domain(topology).workers] == [
            (f"{first.tap}/0",),
            (f"{second.tap}/0",),
        ]
        assert {w.uplinks for w in topology.ways} == {("phy0",)}
        assert any(f"{second.tap}: vhost's busyloop_timeout" in note for note in topology.notes)
        assert set(topology.busy_poll_us) == {first.tap}

        run(f"virsh detach-device vm-a {nic} --live")
        watcher.wait(
            "the vNIC to go",
            lambda t: len(domain(t).vnics) == len(domain(t).workers) == len(t.ways) == 1,
        )

        run("virsh destroy vm-a")
        topology = watcher.wait("the end", lambda t: t if domain(t).pid is None else None)
        gone = domain(topology)
        assert gone.state is DomainState.OFF and gone.workers == () and gone.vnics[0].tap is None
        assert topology.ways == ()

        vnet = inside.start_domain("vm-a")
        watcher.wait("the start", lambda t: domain(t).vnics[0].tap == vnet and len(t.ways) == 1)
        watcher.wait("its threads", lambda t: domain(t).pid and domain(t).workers)
        watcher.wait("its life", lambda t: domain(t).state is DomainState.RUNNING)
        ip4 = lab.vms["vm-a"].ip4
        watcher.wait(
            "the guest's address",
            lambda t: ip4 in [a.ip for a in domain(t).vnics[0].addresses],
            120,
        )
        assert not watcher.others, watcher.others


@pytest.mark.scenario("bridge")
def test_a_vm_of_nobody_is_found_by_its_process(lab: Lab) -> None:
    """Started without libvirt, and not even running yet."""
    run("ip tuntap add tapy mode tap vnet_hdr")
    run("ip link set tapy master br0 up")
    command = ["qemu-system-x86_64", "-name", "plain,,[red]x,debug-threads=on", "-accel", "kvm",
               "-m", "64", "-smp", "2", "-display", "none", "-S", "-nodefaults", "-netdev",
               "tap,id=n,ifname=tapy,script=no,downscript=no,vhost=on,poll-us=30", "-device",
               "virtio-net-pci,netdev=n,mac=52:54:00:99:00:02,romfile="]  # fmt: skip
    with watching() as watcher:
        process = subprocess.Popen(command)
        try:
            found = watcher.wait(
                "the process",
                lambda t: next((d for d in t.domains if d.pid == process.pid and d.workers), None),
                90,
            )
        finally:
            process.kill()
            process.wait()
        assert (found.name, found.known) == ("plain,[red]x", Known.PROCESS)
        assert found.memory_kb == 64 << 10
        assert [v.number for v in found.vcpus] == [0, 1] and all(v.thread for v in found.vcpus)
        (vnic,) = found.vnics
        assert (vnic.tap, vnic.mac, vnic.backend) == ("tapy", "52:54:00:99:00:02", Backend.VHOST)
        assert [w.queues for w in found.workers] == [("tapy/0",)]
        topology = watcher.topologies[-1]
        assert topology.busy_poll_us["tapy"] == 30
        (way,) = [w for w in topology.ways if w.tap == "tapy"]
        assert way.uplinks == ("phy0",)
        watcher.wait("its end", lambda t: all(d.pid != process.pid for d in t.domains), 90)
    run("ip link del tapy")


@pytest.mark.scenario("two-vms")
def test_fast_counters_are_the_kernels(lab: Lab, remote: Remote) -> None:
    with watching() as watcher:
        topology = watcher.topologies[-1]
        while len(watcher.vitals) < 2:
            watcher.pump(1)
        first = watcher.vitals[-1]
        remote(["ping", "-n", "-q", "-c", "20", "-i", "0.1", "-w", "20", lab.vms["vm-b"].ip4])
        end = time.monotonic() + 60
        while time.monotonic() < end and not watcher.vitals[-1].neighbours:
            watcher.pump(0.5)
        last = watcher.vitals[-1]
    two = domain(topology, "vm-b")
    tap = str(two.vnics[0].tap)
    counted = last.interfaces[tap]["tx_packets"] - first.interfaces[tap]["tx_packets"]
    assert counted >= 14
    assert last.interfaces[tap]["tx_packets"] <= int(
        Path(f"/sys/class/net/{tap}/statistics/tx_packets").read_text()
    )
    uses = {use.tid: use for use in last.threads}
    before = {use.tid: use for use in first.threads}
    moved = [w.thread.tid for w in two.workers]
    assert sum(uses[t].run_ns - before[t].run_ns for t in moved) > 0
    for tid in moved:
        run_ns, waited_ns, _ = map(int, Path(f"/proc/{tid}/schedstat").read_text().split())
        assert 0 < uses[tid].run_ns <= run_ns and (uses[tid].waited_ns or 0) <= waited_ns
    (directory,) = Path("/sys/kernel/debug/kvm").glob(f"{two.pid}-*")
    for name, value in last.halt["vm-b"].items():
        assert first.halt["vm-b"][name] <= value <= int((directory / name).read_text()), name
    assert {"halt_attempted_poll", "halt_wakeup", "halt_poll_fail_ns"} <= set(last.halt["vm-b"])
    assert last.halt["vm-b"]["halt_wakeup"] > first.halt["vm-b"]["halt_wakeup"]
    assert any(n.name.startswith(("ksoftirqd", "kworker")) for n in last.neighbours)
    cpus = {use.cpu for use in last.threads}
    assert {n.cpu for n in last.neighbours} <= cpus


# ---- what hangs, stops or is not ours to see ----------------------------------------------------


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def pid_of(name: str) -> int:
    return int(run(f"pidof {name}").split()[0])


@pytest.mark.once
@pytest.mark.scenario("ovs")
def test_a_hung_libvirtd_hangs_nobody(lab: Lab) -> None:
    with frozen(pid_of("libvirtd")):
        topology = ask(None)
    (found,) = topology.domains
    assert (found.name, found.known, found.state) == ("vm-a", Known.PROCESS, DomainState.RUNNING)
    assert found.vnics[0].tap == lab.vms["vm-a"].vnet and found.workers and found.vcpus[0].thread
    assert any("libvirt does not answer" in note for note in topology.notes)
    assert [w.uplinks for w in topology.ways] == [("phy0",)]


@pytest.mark.once
@pytest.mark.scenario("ovs")
def test_libvirtd_may_hang_later(lab: Lab) -> None:
    with watching() as watcher:
        with frozen(pid_of("libvirtd")):
            run("ip link add dx type dummy")
            topology = watcher.wait("a change", lambda t: t if t.interface("dx") else None, 90)
            assert any("libvirt does not answer" in note for note in topology.notes)
            assert domain(topology).known is Known.LIBVIRT, "what it said last stays"
        run("ip link del dx")
        watcher.wait("libvirt again", lambda t: not t.notes and not t.interface("dx"), 90)


@pytest.mark.once
@pytest.mark.scenario("ovs")
def test_open_vswitch_may_hang_or_be_stopped(lab: Lab) -> None:
    with frozen(pid_of("ovsdb-server")):
        topology = ask(None)
    assert topology.ovs.state == "running" and topology.ovs.bridges == ()
    assert any("Open vSwitch" in note for note in topology.notes)
    run("lab-ovs stop")
    try:
        topology = ask(None)
    finally:
        subprocess.run(["lab-ovs", "start"], check=True, timeout=60)
    assert topology.ovs.state == "stopped" and topology.ovs.bridges == ()
    assert topology.domains[0].vnics[0].tap == lab.vms["vm-a"].vnet
    (way,) = topology.ways
    assert way.uplinks == () and "not visible" in str(way.choice)
    assert ask(None).ovs.state == "running"


@pytest.mark.once
@pytest.mark.scenario("ovs")
def test_without_root_it_shows_what_it_can(lab: Lab) -> None:
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
         sys.executable, "-B", "-m", "vmlat_tui", "topology"],
        capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = done.stdout.decode()
    assert "without CAP_SYS_PTRACE" in shown and "vm-a" in shown
    assert f"way: {lab.vms['vm-a'].vnet}" in shown


# ---- measuring later ----------------------------------------------------------------------------


@pytest.mark.scenario("ovs")
def test_a_measurement_begins_while_discovery_runs(lab: Lab, remote: Remote) -> None:
    vm = lab.vms["vm-a"]
    with watching() as watcher:
        watcher.agent.send(command("measure", id=1, vm_interfaces=["no such"]))
        error = watcher.frame("error")
        assert error["id"] == 1 and "no such interface" in error["title"]
        watcher.agent.send(
            command(
                "measure",
                id=2,
                vm_interfaces=[vm.vnet],
                uplinks=["phy0"],
                filters=[{"protocol": "icmp"}],
            )
        )
        measuring = watcher.frame("measuring", START_S)
        assert measuring["rung"] == "full" and measuring["points"] and measuring["offsets"]
        assert watcher.frame("ack")["id"] == 2
        assert watcher.frame("links")["leaves"] == ["phy0"]
        watcher.agent.send(command("measure", id=3, rung="tracepoints"))
        assert "stay what they are" in watcher.frame("error")["title"]
        remote(["ping", "-n", "-q", "-c", "5", "-i", "0.1", "-w", "20", vm.ip4])
        assert watcher.frame("packet")["vm_interface"] == vm.vnet
        before = len(watcher.vitals)
        watcher.agent.send(Stop())
        while not watcher.frame("stats")["final"]:
            pass
        assert len(watcher.vitals) >= before > 0
