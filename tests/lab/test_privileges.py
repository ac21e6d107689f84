"""What a measurement loses without each capability: a table, and that it is what vmlat says.

The rows of a kernel are printed at the end (``-s`` or a failure shows them) and kept in
docs/privileges.md.
"""

from __future__ import annotations

import collections
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import pytest

from tests.lab.measure import START_S, Lab, Raw
from tests.support import deprived
from tests.support.commands import command
from tests.support.frames import next_object
from vmlat_tui.errors import VmlatError
from vmlat_tui.model.capabilities import (
    BPF,
    CAPABILITIES,
    DAC_OVERRIDE,
    DAC_READ_SEARCH,
    PERFMON,
    SETPCAP,
    SYS_ADMIN,
    SYS_PTRACE,
    SYSLOG,
    Capability,
    Use,
)
from vmlat_tui.model.topology import Topology
from vmlat_tui.protocol.commands import Stop
from vmlat_tui.transport import hosts
from vmlat_tui.transport.hosts import Host
from vmlat_tui.transport.process import AgentProcess

#: What an agent saw -> the capabilities without which it may not see it.
PARTS: dict[str, set[Capability]] = {
    "fentry in modules": {SYS_ADMIN},
    "points in functions": {SYS_ADMIN},
    "vCPUs followed": {SYS_PTRACE, DAC_READ_SEARCH},
    # Measured: without points in functions those that drop have no names, either.
    "names of functions that drop": {SYSLOG, SYS_ADMIN},
    "halt polling counters": {DAC_READ_SEARCH},
    "ports of Open vSwitch": {DAC_OVERRIDE},
    "addresses from the guest": set(),
}


def usual() -> set[str]:
    """What an agent of root sees on this kernel."""
    return set(PARTS) - ({"fentry in modules"} if os.uname().release.startswith("5.10") else set())


#: Whoever is not root does not own root's sockets.
OF_ROOT = {"addresses from the guest"}
#: Within so long an agent has seen what it can; when it has, so long for what it should not see.
PATIENCE_S, MORE_S = 60.0, 4.0


@dataclass(frozen=True)
class Row:
    """One agent of the table; ``only`` None: root, without ``missing``."""

    title: str
    missing: tuple[Capability, ...] = ()
    only: Optional[tuple[Capability, ...]] = None
    foreign: bool = False

    def command(self) -> tuple[str, ...]:
        agent = (sys.executable, "-B", "-m", "vmlat_tui", "agent")
        if self.only is not None:
            return deprived.as_user(self.only, agent)
        return deprived.without(self.missing, agent)

    @property
    def deprived(self) -> set[Capability]:
        """What the agent has not."""
        return set(self.missing if self.only is None else set(CAPABILITIES) - set(self.only))

    @property
    def may_lose(self) -> set[str]:
        """Of :data:`PARTS`."""
        lost = {part for part, needs in PARTS.items() if needs & self.deprived}
        if self.only is not None:
            return lost | OF_ROOT
        return lost if self.foreign else lost - {"ports of Open vSwitch"}

    @property
    def looks_for(self) -> set[str]:
        """Of :data:`PARTS`: one with a foreign switch only discovers."""
        return {"ports of Open vSwitch"} if self.foreign else usual()


KEPT = tuple(one for one in CAPABILITIES if one.use is Use.KEPT and one is not DAC_OVERRIDE)
ROWS = (
    Row("none: root"),
    *(
        Row(one.name, (one,))
        for one in CAPABILITIES
        if one not in (DAC_OVERRIDE, SETPCAP) and one.useful(os.uname().release)
    ),
    Row("all but these: a user with CAP_BPF and CAP_PERFMON", only=(BPF, PERFMON)),
    Row("all but these: a user with what root keeps", only=KEPT),
)
#: The socket of Open vSwitch's database is another user's, as on RHEL and openEuler.
FOREIGN = (
    Row("none: root, Open vSwitch is another user's", foreign=True),
    Row("CAP_DAC_OVERRIDE, Open vSwitch is another user's", (DAC_OVERRIDE,), foreign=True),
)


@dataclass
class Seen:
    """What an agent said and saw until it had everything, or time was up."""

    status: int = 0
    error: str = ""
    hello: Raw = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    topology: Optional[Topology] = None
    vitals: Raw = field(default_factory=dict)
    stats: Raw = field(default_factory=dict)

    @property
    def completed(self) -> int:
        """Packets measured."""
        return int(self.stats["bins"]["rx"]["completed"]) if self.stats else 0

    def parts(self) -> set[str]:
        """Which of :data:`PARTS` it saw."""
        found = set()
        if "fentry" in self.kinds("vhost_take"):
            found.add("fentry in modules")
        if self.kinds("switch_out", "tun_in", "vhost_take"):
            found.add("points in functions")
        if any(row["role"] == "vcpu" for row in self.stats.get("wakeups", ())):
            found.add("vCPUs followed")
        if any(row["function"] for row in self.stats.get("drops", ())):
            found.add("names of functions that drop")
        if self.vitals.get("halt"):
            found.add("halt polling counters")
        if self.topology and any(bridge.ports for bridge in self.topology.ovs.bridges):
            found.add("ports of Open vSwitch")
        if self.topology and any(
            address.source == "agent"
            for domain in self.topology.domains
            for vnic in domain.vnics
            for address in vnic.addresses
        ):
            found.add("addresses from the guest")
        return found

    def kinds(self, *points: str) -> list[str]:
        """How the hooks of these points, or of all, are attached."""
        return [
            hook["kind"]
            for point in self.hello.get("points", ())
            for hook in point["hooks"]
            if not points or point["point"] in points
        ]

    def without_hook(self) -> dict[str, str]:
        """Points, and why they have none."""
        points = self.hello.get("points", ())
        return {p["point"]: p["reason"] for p in points if not p["hooks"]}

    def states(self) -> dict[str, str]:
        return {row["name"]: row["state"] for row in self.hello.get("capabilities", ())}


def look(row: Row, cache: str) -> Seen:
    """Start an agent and take its frames."""
    seen = Seen()
    enough = row.looks_for - row.may_lose
    environment = {**hosts.here().environment, "VMLAT_CACHE": cache}
    with AgentProcess(Host(row.title, row.command(), environment)) as agent:
        agent.send(
            command(
                "configure",
                discover=True,
                measure=not row.foreign,
                interval_s=0.5,
                emit=False,
                filters=[{"protocol": "icmp"}, {"dst_port": 7999}],
            )
        )
        end, settled = time.monotonic() + START_S, False
        try:
            while time.monotonic() < end:
                frame = next_object(agent, 1.0)
                if frame is not None:
                    take(seen, frame)
                    if frame["type"] == "hello":
                        end = time.monotonic() + PATIENCE_S
                if not settled and enough <= seen.parts():
                    end, settled = time.monotonic() + MORE_S, True
            agent.send(Stop())
            while not row.foreign and not seen.stats.get("final"):
                last = next_object(agent, START_S)
                assert last, "it does not end"
                take(seen, last)
        except VmlatError as error:
            seen.status, seen.error = error.exit_status, str(error)
    return seen


def take(seen: Seen, frame: Raw) -> None:
    """Keep a frame."""
    kind = frame["type"]
    if kind == "hello":
        seen.hello = frame
    elif kind == "topology":
        seen.topology = Topology.from_json(frame)
    elif kind == "vitals":
        seen.vitals = frame
    elif kind == "stats":
        seen.stats = {**frame, "drops": frame["drops"] or seen.stats.get("drops", [])}
    elif kind == "notice":
        seen.notices.append(frame["text"])


_DATAGRAMS = """
import socket, sys, time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    sender.sendto(b"x", (sys.argv[1], 7999))
    time.sleep(0.3)
"""


@contextlib.contextmanager
def traffic(lab: Lab) -> Iterator[None]:
    """Pings that are answered, and datagrams that Open vSwitch drops."""
    drop = ["ovs-ofctl", "add-flow", lab.bridge, "priority=99,udp,tp_dst=7999,actions=drop"]
    subprocess.run(drop, check=True, timeout=20)
    address = lab.vms["vm-a"].ip4
    commands = (
        ["ping", "-n", "-q", "-i", "0.2", address],
        [sys.executable, "-c", _DATAGRAMS, address],
    )
    inside = ["ip", "netns", "exec", lab.remote_ns]
    running = [subprocess.Popen([*inside, *c], stdout=subprocess.DEVNULL) for c in commands]
    try:
        yield
    finally:
        for process in running:
            process.terminate()
            process.wait()
        remove = ["ovs-ofctl", "del-flows", lab.bridge, "udp,tp_dst=7999"]
        subprocess.run(remove, check=True, timeout=20)


@pytest.fixture
def caches() -> Iterator[dict[bool, str]]:
    """Compiled programs of the user (true) and of root, whose are kept for the next lab."""
    of_user = tempfile.mkdtemp(prefix="caps-")
    os.chown(of_user, deprived.USER, deprived.USER)
    yield {False: "/var/cache/vmlat", True: of_user}
    shutil.rmtree(of_user)


def share(caches: dict[bool, str]) -> None:
    """Give the user what was compiled for root: here that takes a minute."""
    shutil.copytree(caches[False], caches[True], dirs_exist_ok=True)
    for path in (Path(caches[True]), *Path(caches[True]).rglob("*")):
        os.chown(path, deprived.USER, deprived.USER)


def _guarded() -> bool:
    """Whether the kernel wants CAP_SYS_ADMIN for kprobes, as Debian's does."""
    return int(Path("/proc/sys/kernel/perf_event_paranoid").read_text()) > 2


@contextlib.contextmanager
def foreign_switch() -> Iterator[None]:
    """The socket of the database is another user's for a while."""
    socket = Path("/run/openvswitch/db.sock")
    before = socket.stat()
    os.chown(socket, deprived.USER, deprived.USER)
    os.chmod(socket, 0o750)
    try:
        yield
    finally:
        os.chown(socket, before.st_uid, before.st_gid)
        os.chmod(socket, before.st_mode & 0o7777)


def line(row: Row, seen: Seen, baseline: Seen) -> str:
    """One of the table."""
    if seen.status:
        return f"| {row.title} | none | everything | {seen.error} | {seen.status} |"
    counts = collections.Counter(seen.kinds())
    hooks = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    rung = "not measured" if row.foreign else f"{seen.hello['rung']}: {hooks}"
    lost = sorted(row.looks_for - seen.parts())
    points = sorted(set(seen.without_hook()) - set(baseline.without_hook()))
    if points:
        reason = seen.without_hook()[points[0]]
        lost.append(f"{len(points)} points ({', '.join(points)}; {reason})")
    missing = ", ".join(name for name, state in seen.states().items() if state == "missing")
    said = f"missing: {missing}" if missing else "nothing is missing"
    return f"| {row.title} | {rung} | {', '.join(lost) or 'nothing'} | {said} | {seen.status} |"


@pytest.mark.scenario("ovs")
def test_what_is_lost_without_each_capability_is_what_vmlat_says(
    lab: Lab, caches: dict[bool, str]
) -> None:
    begin = time.monotonic()

    def watch(row: Row) -> Seen:
        seen[row] = found = look(row, caches[row.only is not None])
        print(f"{time.monotonic() - begin:.0f} s: {row.title}", flush=True)
        return found

    seen: dict[Row, Seen] = {}
    with traffic(lab), ThreadPoolExecutor(2) as two:
        watch(ROWS[0])
        of_root = [row for row in ROWS[1:] if row.only is None]
        list(two.map(watch, of_root))
        share(caches)
        list(two.map(watch, [row for row in ROWS if row.only is not None]))
        with foreign_switch():
            list(two.map(watch, FOREIGN))
    paranoid = Path("/proc/sys/kernel/perf_event_paranoid").read_text().strip()
    print(f"\n### Linux {os.uname().release}, perf_event_paranoid {paranoid}\n")
    print("| taken away | rung and hooks | lost | what doctor says | exit status |")
    print("|---|---|---|---|---|")
    rows = {row: seen[row] for row in (*ROWS, *FOREIGN)}
    for row, one in rows.items():
        print(line(row, one, rows[ROWS[0]]), flush=True)
    check(rows, rows[ROWS[0]])


def check(rows: dict[Row, Seen], baseline: Seen) -> None:
    """Nothing crashes, and each row lost what its capabilities are for."""
    assert baseline.status == 0 and baseline.parts() == usual(), (baseline, usual())
    for row, seen in rows.items():
        fatal = [one for one in row.missing if one.needed and one.useful(os.uname().release)]
        if fatal:
            assert seen.status == 2 and fatal[0].name in seen.error, (row, seen.error)
            continue
        assert seen.status == 0 and not seen.error, (row, seen.error)
        assert seen.completed > 0 or row.foreign, row
        if SYS_ADMIN not in row.deprived and not row.foreign:
            assert seen.without_hook() == baseline.without_hook(), row
        lost = row.looks_for - seen.parts()
        assert lost <= row.may_lose, (row, lost)
        told = {name for name, state in seen.states().items() if state == "missing"}
        useful = {one.name for one in row.deprived} & set(seen.states())
        assert told == useful, (row, told)
        noted = any(all(name in text for name in told) for text in seen.notices)
        assert noted or row.foreign or not told, (row, seen.notices)
    assert "ports of Open vSwitch" in rows[FOREIGN[0]].parts()
    (unnamed,) = [seen for row, seen in rows.items() if row.missing == (SYSLOG,)]
    assert usual() - unnamed.parts() == {"names of functions that drop"}
    (modules,) = [seen for row, seen in rows.items() if row.missing == (SYS_ADMIN,)]
    lost = usual() - modules.parts() - {"names of functions that drop"}
    parts = {part for part, needs in PARTS.items() if needs == {SYS_ADMIN}} & usual()
    # A kernel whose perf_event_paranoid is 2 at most has kprobes in place of fentry.
    assert lost == parts or (lost == parts - {"points in functions"} and not _guarded())
