"""Two hours of a calm host in minutes: what grows, stays behind or is lost with time shows here.

Time itself does nothing to the probes; what wears is turnover: new flows, re-used addresses of
socket buffers, upcalls, connections that come and go.  So there are as many as in two hours (some
50,000 flows, seven a second), as fast as the emulated machine carries them.  Only readings cannot
be hurried: after every burst the agent gets the time for them that it has in an hour.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Callable

import pytest

from tests.lab.measure import Guest, Lab, Result, Session, check_sums
from tests.lab.tables import LIMITS, on_the_way, tables

PHASES = 8
#: A phase's flows, each of them one in either direction, would not fit into what the phase before
#: left of the table; those of a burst fit into the quarter that readings keep free.
BURSTS, DATAGRAMS = 4, 1600
CONNECTIONS = 40
#: None of them is one on which the remote side itself answers: that would never end.
FIRST_PORT = 10_000
#: From this phase on the tables are full and the interpreter's heap has its size; and the bytes
#: that may then stay of each flow, as what the heap moves by now and then looks like that.
WARM, KEPT_BYTES = 3, 100


class Flood:
    """flood.py in the remote namespace."""

    def __init__(self, lab: Lab, address: str) -> None:
        self._process = subprocess.Popen(
            [
                "ip",
                "netns",
                "exec",
                lab.remote_ns,
                sys.executable,
                "-m",
                "tests.lab.flood",
                address,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            universal_newlines=True,
        )

    def run(self, line: str, meanwhile: Callable[[], None]) -> int:
        """Give it a line, and wait for how many were answered."""
        process = self._process
        assert process.stdin and process.stdout
        process.stdin.write(line + "\n")
        process.stdin.flush()
        while not select.select([process.stdout], [], [], 0)[0]:
            meanwhile()
        return int(process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)


def resident_kb(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])


def kept_open(session: Session) -> set[tuple[str, str]]:
    """The agent's descriptors and what they are, but for those of a moment: it reads files, and
    has tools answer, once a second."""
    looks = []
    for _ in range(6):
        session.pump(0.35)
        looks.append(set(_descriptors(session.agent.pid)))
    return set.intersection(*looks)


def _descriptors(pid: int) -> Iterator[tuple[str, str]]:
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            yield number, os.readlink(f"/proc/{pid}/fd/{number}")


def segments(guest: Guest, name: str) -> tuple[int, int]:
    """IPv4 datagrams of UDP and TCP that the guest's kernel got, and sent."""
    got = sent = 0
    lines = guest(name, "cat /proc/net/snmp").stdout.decode().splitlines()
    for header, values in zip(lines[::2], lines[1::2]):
        fields = dict(zip(header.split()[1:], map(int, values.split()[1:])))
        if header.startswith("Udp:"):
            got += fields["InDatagrams"] + fields["NoPorts"] + fields["InErrors"]
            sent += fields["OutDatagrams"]
        elif header.startswith("Tcp:"):
            got += fields["InSegs"]
            sent += fields["OutSegs"]
    return got, sent


@pytest.mark.once
@pytest.mark.scenario("ovs")
def test_hours_of_turnover_leave_nothing_behind(lab: Lab, guest: Guest) -> None:
    vm = lab.vms["vm-a"]
    assert guest(vm.name, f"ping -c 2 {lab.remote_ip4}").status == 0
    filters = [{"protocol": "udp"}, {"protocol": "tcp"}]
    before = segments(guest, vm.name)
    resident: list[list[int]] = []
    answered = 0
    with contextlib.ExitStack() as stack:
        session = stack.enter_context(Session(filters=filters, max_rate=20, interval_s=1.0))
        flood = Flood(lab, vm.ip4)
        stack.callback(flood.close)
        pid = session.agent.pid
        descriptors = kept_open(session)

        def meanwhile() -> None:
            session.pump(0.5)
            resident[-1].append(resident_kb(pid))

        for phase in range(PHASES):
            # The next packets make upcalls: they wait without a socket buffer of their own.
            subprocess.run(["ovs-appctl", "dpctl/del-flows"], check=True, timeout=30)
            resident.append([])
            begin = time.monotonic()
            for burst in range(phase * BURSTS, (phase + 1) * BURSTS):
                first = FIRST_PORT + burst * DATAGRAMS
                answered += flood.run(f"udp {first} {DATAGRAMS}", meanwhile)
                read_again(session)
            answered += flood.run(f"tcp {CONNECTIONS}", meanwhile)
            took = time.monotonic() - begin
            print(f"phase {phase}: {took:.1f} s, resident {resident[-1]}", flush=True)
        session.pump(LIMITS.expire_ns / 1e9 + 2)  # and a sweep
        check_tables(pid)
        more = kept_open(session)
        assert len(more) == len(descriptors), (more - descriptors, descriptors - more)
        result = session.finish()
    check_sums(result)
    got, sent = (now - then for now, then in zip(segments(guest, vm.name), before))
    sums = {name: result.bins(name) for name in ("tx", "rx")}
    counters = result.stats["counters"]
    print(f"guest: {got} in, {sent} out; {sums}; {counters}; {answered} answered", flush=True)
    total = PHASES * (BURSTS * DATAGRAMS + CONNECTIONS)
    assert answered >= 0.9 * total, "the lab's own network lost too much"
    # The guest's own kernel counted as many as went in to their end, and as came out of it.
    assert sums["rx"]["completed"] == got
    assert sums["tx"]["started"] == sent
    for bins in sums.values():
        assert bins["in_flight"] == bins["evicted"] == bins["filtered"] == 0, sums
    assert counters["flows_full"] == 0
    assert counters["flows_evicted"] > 0, "the table of flows was never full"
    kept = 1024 * steady_growth([min(phase) for phase in resident[WARM:]]) / (total / PHASES)
    print(f"{kept:.0f} bytes more for each flow", flush=True)
    assert kept <= KEPT_BYTES, resident


def steady_growth(values: Sequence[float]) -> float:
    """From one to the next, as the median of all pairs has it (Theil and Sen).

    What is kept of each flow is in every pair; a heap that grew once is in few.
    """
    pairs = itertools.combinations(enumerate(values), 2)
    return statistics.median((late - early) / (j - i) for (i, early), (j, late) in pairs)


def read_again(session: Session) -> None:
    """Until the agent has read everything once more: the reading that runs now may miss some."""
    times = {session.result.stats["t_ns"]}

    def twice(result: Result) -> bool:
        times.add(result.stats["t_ns"])
        return len(times) > 2

    session.wait(twice, 60, "two more readings")


def check_tables(pid: int) -> None:
    """What is still on the way seconds after the last packet would stay there."""
    assert not on_the_way(pid)
    with tables(pid) as found:
        for key, _ in found["tun_entries"].items():
            assert Path("/proc", str(int.from_bytes(key, "little"))).exists(), "a task that is gone"
        # Finished states stay for re-use; they must not crowd out what is to come.
        assert len(found["packets"].items()) <= LIMITS.packets // 2
        assert len(found["flows"].items()) <= LIMITS.flows * 3 // 4
