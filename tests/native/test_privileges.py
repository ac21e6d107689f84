"""The agent has the privileges that it needs and no other; with fewer it does less and says so."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.native.net import Bed, run, wait_until
from tests.native.test_ending import PATH
from tests.native.wire import V4
from tests.support import deprived
from tests.support.commands import command
from tests.support.frames import next_object
from vmlat_tui.agent.seccomp import REFUSED
from vmlat_tui.errors import VmlatError
from vmlat_tui.export import doctor_text
from vmlat_tui.model.capabilities import (
    BPF,
    CAPABILITIES,
    DAC_OVERRIDE,
    DAC_READ_SEARCH,
    NET_ADMIN,
    PERFMON,
    SYS_ADMIN,
    SYS_PTRACE,
    SYSLOG,
    Capability,
    CapabilityState,
)
from vmlat_tui.protocol.commands import Describe, Stop
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.protocol.session import HostFrame
from vmlat_tui.transport import bundle, hosts
from vmlat_tui.transport.hosts import Host
from vmlat_tui.transport.process import AgentProcess

ROOT = Path(__file__).resolve().parents[2]
_LIMIT_S = 60.0
#: What an agent of root keeps here, where no Open vSwitch runs.
KEPT = (BPF, PERFMON, SYS_PTRACE, DAC_READ_SEARCH, NET_ADMIN, SYSLOG)


def mask(capabilities: Sequence[Capability]) -> str:
    """As in /proc/PID/status."""
    return f"{sum(1 << one.number for one in capabilities):016x}"


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.fixture
def cache() -> Iterator[Path]:
    """Of the other user; empty."""
    made = Path(tempfile.mkdtemp(prefix="caps-"))
    os.chown(made, deprived.USER, deprived.USER)
    yield made
    shutil.rmtree(made)


def as_user(capabilities: Sequence[Capability], cache: Path) -> Host:
    """An agent of another user, who cannot read this checkout: it travels to them."""
    command = deprived.as_user(capabilities, bundle.COMMAND)
    environment = {"PATH": PATH, "VMLAT_CACHE": str(cache)}
    return Host("the user", command, environment, preamble=bundle.agent_bundle, far=True)


def without(*missing: Capability) -> Host:
    """An agent of root without some capabilities."""
    here = hosts.here()
    return Host("root", deprived.without(missing, here.argv), here.environment)


class Measured:
    """300 packets of the bed's VM, measured by an agent."""

    def __init__(self, host: Host, bed: Bed) -> None:
        self.notices: list[str] = []
        self.drops: list[Raw] = []
        with AgentProcess(host) as agent:
            agent.send(
                command(
                    "configure",
                    directions=["tx"],
                    rung="tracepoints",
                    emit=True,
                    vm_interfaces=[bed.tap.name],
                    uplinks=[bed.uplink],
                )
            )
            self.hello = self._until(agent, "hello")
            self._until(agent, "stats")
            for number in range(300):
                bed.tap.send(V4.frame(number))
            agent.send(Stop())
            stats = self._until(agent, "stats")
            while not stats["final"]:
                stats = self._until(agent, "stats")
        self.bins = stats["bins"]["tx"]

    def _until(self, agent: AgentProcess, kind: str) -> Raw:
        while True:
            frame = next_object(agent, _LIMIT_S)
            assert frame is not None, f"no {kind}"
            if frame["type"] == "notice":
                self.notices.append(frame["text"])
            if frame["type"] == "drop":
                self.drops.append(frame)
            if frame["type"] == kind:
                return frame

    @property
    def missing(self) -> list[str]:
        return [row["name"] for row in self.hello["capabilities"] if row["state"] == "missing"]


def told(host: Host) -> HostFrame:
    """What doctor is told of it."""
    with AgentProcess(host) as agent:
        agent.send(Describe())
        frame = agent.next(_LIMIT_S)
    assert isinstance(frame, HostFrame)
    return frame


# ---- with fewer ---------------------------------------------------------------------------------


def test_a_user_with_two_capabilities_measures_every_packet(bed: Bed, cache: Path) -> None:
    measured = Measured(as_user((BPF, PERFMON), cache), bed)
    assert measured.bins["started"] == measured.bins["completed"] == 300
    assert measured.hello["rung"] == "tracepoints"
    assert {SYS_PTRACE.name, DAC_READ_SEARCH.name, SYSLOG.name} <= set(measured.missing)
    (notice,) = [text for text in measured.notices if "without" in text]
    assert all(name in notice for name in measured.missing)


@pytest.mark.parametrize("missing", [BPF, PERFMON], ids=lambda one: one.name)
def test_what_is_needed_is_named(bed: Bed, missing: Capability) -> None:
    with pytest.raises(VmlatError) as raised:
        Measured(without(missing), bed)
    assert raised.value.exit_status == 2
    title, _, cause = str(raised.value).partition(": ")
    assert title == "measuring needs CAP_BPF and CAP_PERFMON"
    assert cause.startswith(f"user 0 has no {missing.name} here; run as root")
    frame = told(without(missing))
    assert not frame.measurable and doctor_text.lacking(frame) == [missing.name]
    text = doctor_text.text(frame)
    assert f"this agent has no {missing.name}" in text and "MISS  privileges" in text


@pytest.mark.parametrize(
    "missing", [one for one in CAPABILITIES if not one.needed and one is not DAC_OVERRIDE],
    ids=lambda one: one.name,
)  # fmt: skip
def test_what_else_is_missing_costs_its_part_only(bed: Bed, missing: Capability) -> None:
    measured = Measured(without(missing), bed)
    assert measured.bins["completed"] == 300
    assert measured.missing == [missing.name]
    (notice,) = [text for text in measured.notices if "without" in text]
    assert missing.name in notice and "doctor" in notice
    text = doctor_text.text(told(without(missing)))
    assert "The main path can be measured." in text
    row, loss = text[text.index(missing.name) :].splitlines()[:2]
    assert row.split()[1] == "missing" and loss.strip() == f"without it: {missing.loss}"


def test_functions_that_drop_have_names_with_one_capability(bed: Bed) -> None:
    run("ip", "link", "set", bed.uplink, "down")
    try:
        named, unnamed = Measured(without(), bed), Measured(without(SYSLOG), bed)
    finally:
        run("ip", "link", "set", bed.uplink, "up")
    for measured, name in ((named, "br_"), (unnamed, "None")):
        assert measured.bins["dropped"] == 300
        assert all(name in str(frame["drop"]["function"]) for frame in measured.drops)


def test_without_any_doctor_says_what_there_is(cache: Path) -> None:
    frame = told(as_user((), cache))
    assert {row.state for row in frame.capabilities} == {CapabilityState.MISSING}
    assert doctor_text.lacking(frame) == [BPF.name, PERFMON.name]
    assert "judged from outside" in doctor_text.text(frame)
    assert frame.user == deprived.USER and frame.ring_buffer


# ---- what it gives up ---------------------------------------------------------------------------


@pytest.fixture
def agent(bed: Bed, tmp_path: Path) -> Iterator[AgentProcess]:
    """One of root that measures, and has just compiled for that."""
    here = hosts.here()
    host = Host("root", here.argv, {**here.environment, "VMLAT_CACHE": str(tmp_path)})
    with AgentProcess(host) as made:
        made.send(
            command(
                "configure",
                rung="tracepoints",
                directions=["tx"],
                vm_interfaces=[bed.tap.name],
                uplinks=[bed.uplink],
            )
        )
        yield made


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(word) for word in (task / "children").read_text().split()]
    return found


def test_an_agent_of_root_and_its_compilers_hold_what_they_need(agent: AgentProcess) -> None:
    compilers: dict[int, dict[str, str]] = {}

    def compiling() -> bool:
        for pid in children(agent.pid):
            try:
                if b"vmlat_tui.probes.compiler" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    compilers[pid] = status(pid)
            except OSError:
                continue
        return len(compilers) >= 3

    assert wait_until(compiling, 20)
    for one in compilers.values():
        assert one["CapPrm"] == one["CapEff"] == mask((BPF,)), one
    while (next_object(agent, _LIMIT_S) or {})["type"] != "stats":
        pass
    for task in Path(f"/proc/{agent.pid}/task").iterdir():
        own = status(int(task.name))
        assert own["CapPrm"] == own["CapEff"] == own["CapBnd"] == mask(KEPT)
        assert own["CapInh"] == own["CapAmb"] == mask((BPF,))
        assert own["NoNewPrivs"] == "1" and own["Seccomp"] == "2"


def test_what_needs_more_is_done_by_a_process_that_ends_with_the_agent() -> None:
    agent = AgentProcess()
    agent.send(command("configure", measure=False))
    assert next_object(agent, _LIMIT_S)
    (opener,) = children(agent.pid)
    assert wait_until(lambda: status(opener)["Seccomp"] == "2")
    own = status(opener)
    assert own["CapPrm"] == own["CapEff"] == own["CapBnd"] == mask((SYS_ADMIN,))
    assert own["CapInh"] == own["CapAmb"] == mask(()) and own["NoNewPrivs"] == "1"
    held = {os.readlink(path) for path in Path(f"/proc/{opener}/fd").iterdir()}
    assert {name.partition(":")[0] for name in held} == {"/dev/null", "socket"}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(opener, number)
    assert children(agent.pid) == [opener], "a terminal's signals are not for it"
    os.kill(agent.pid, signal.SIGKILL)
    assert wait_until(lambda: not Path(f"/proc/{opener}").exists())
    agent.close()


_OPENED = """
from vmlat_tui.agent.privileges import drop
from vmlat_tui.probes import opener, syscalls
drop()
assert syscalls.open_modules_btf(["vmlinux"]) == {}, "it may not itself"
found = opener.modules_btf(["none", "vmlinux"])
(descriptor,) = found.values()
print(syscalls.read_btf(descriptor)[:2].hex(), opener.modules_btf(["none"]))
try:
    opener.attach_kprobe("tun_net_xmit", 0)
except OSError as error:
    print(error.errno)
"""


def test_an_agent_gets_what_it_may_not_open_itself() -> None:
    """This kernel has no kprobes: who asks hears that, and not that it may not."""
    done = subprocess.run(
        [sys.executable, "-c", _OPENED], cwd=ROOT, capture_output=True, text=True, timeout=_LIMIT_S
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["9feb {}", "95"]


def test_it_drops_before_it_is_told_anything() -> None:
    with AgentProcess() as silent:
        assert wait_until(lambda: status(silent.pid)["CapPrm"] == mask(KEPT), 20)


def test_nobody_with_fewer_looks_into_an_agent(bed: Bed, cache: Path) -> None:
    """A process that may not be dumped is root's, whoever runs it."""
    with AgentProcess(as_user((BPF, PERFMON), cache)) as theirs:
        theirs.send(command("configure", measure=False))
        hello = next_object(theirs, _LIMIT_S)
        assert hello is not None
        path = f"/proc/{hello['agent']}/environ"
        assert os.stat(path).st_uid == 0
        reader = deprived.as_user((), ("cat", path))
        done = subprocess.run(reader, capture_output=True, text=True)
        assert done.returncode and "ermission denied" in done.stderr


_INSIDE = """
import ctypes, json, os, subprocess, sys, threading
from vmlat_tui.agent.privileges import drop
from vmlat_tui.agent.seccomp import REFUSED
victim, theirs, tap = map(int, sys.argv[1:4])
tester = int(sys.argv[4])
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *words):
    words = [ctypes.c_ulong(w & (1 << 64) - 1) for w in words]
    ctypes.set_errno(0)
    return ctypes.get_errno() if libc.syscall(number, *words) < 0 else 0
privileges = drop()
found = {
    "refused": {name: call(number, -1, -1, -1, -1, -1, -1) for name, number in REFUSED.items()},
    "attach": call(101, 16, victim, 0, 0), "namespace": call(56, 0x10000000 | 17, 0, 0, 0, 0),
    "clone3": call(435, 0, 0),
    "32 bit numbering": call(0x40000000 | 39),
    "program": subprocess.run(["cat", "/proc/self/status"], stdout=-1, text=True).stdout,
    "links": [os.readlink(f"/proc/{theirs}/fd/{n}") for n in os.listdir(f"/proc/{theirs}/fd")],
    "namespace of it": os.readlink(f"/proc/{theirs}/ns/net"),
}
pidfd = libc.syscall(434, theirs, 0)
found["descriptor"] = libc.syscall(438, pidfd, 1, 0) >= 0
queue = libc.syscall(438, libc.syscall(434, tester, 0), tap, 0)
found["namespace of a tap"] = libc.ioctl(queue, 0x54E3) >= 0
thread = threading.Thread(target=lambda: found.update(thread=True))
thread.start(); thread.join()
print(json.dumps(found))
"""


@pytest.fixture
def others() -> Iterator[tuple[int, int]]:
    """A process of root, and one of a user."""
    started = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for command in (["sleep", "60"], deprived.as_user((), ["sleep", "60"]))
    ]
    assert wait_until(lambda: status(started[1].pid)["Name"] == "sleep")
    yield started[0].pid, started[1].pid
    for process in started:
        process.kill()
        process.wait()


def test_what_code_of_others_could_do_in_an_agent(bed: Bed, others: tuple[int, int]) -> None:
    places = (*others, bed.tap.descriptor, os.getpid())
    done = subprocess.run(
        [sys.executable, "-c", _INSIDE, *map(str, places)],
        cwd=ROOT, capture_output=True, text=True, timeout=_LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["refused"] == dict.fromkeys(REFUSED, 1)  # EPERM
    assert found["attach"] == found["namespace"] == 1
    assert found["clone3"] == found["32 bit numbering"] == 38  # ENOSYS: libc has another way
    lines = dict(line.split(":\t") for line in found["program"].splitlines() if ":\t" in line)
    assert lines["CapPrm"] == lines["CapEff"] == mask((BPF,)), "started as root"
    assert lines["NoNewPrivs"] == "1" and lines["Seccomp"] == "2"
    # What discovery needs.
    assert "/dev/null" in found["links"] and found["namespace of it"].startswith("net:")
    assert found["descriptor"] and found["namespace of a tap"] and found["thread"]


_FILTERED = """
import ctypes, json
from vmlat_tui.agent import seccomp
libc = ctypes.CDLL(None, use_errno=True)
assert not libc.prctl(38, 1, 0, 0, 0)
def call(number):
    libc.syscall(number, *[ctypes.c_ulong(2**64 - 1)] * 6)
    return ctypes.get_errno()
harmless = ("process_vm_readv", "userfaultfd", "umount2", "mount", "finit_module")
before = {name: call(seccomp.REFUSED[name]) for name in harmless}
seccomp.apply()
print(json.dumps([before, {name: call(seccomp.REFUSED[name]) for name in harmless}]))
"""


def test_the_filter_refuses_what_every_capability_allows() -> None:
    done = subprocess.run([sys.executable, "-c", _FILTERED], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr
    before, after = json.loads(done.stdout)
    assert 1 not in before.values() and set(after.values()) == {1}, (before, after)
