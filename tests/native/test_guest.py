"""``vmlat guest`` on this kernel: two network namespaces are the two guests, and ping is ping."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.native.net import Namespace, run, wait_until
from tests.native.test_agent import programs
from vmlat_tui.analysis.collection import Collection
from vmlat_tui.importers import directory
from vmlat_tui.importers.directory import Ends
from vmlat_tui.probes import syscalls
from vmlat_tui.probes.guest import GuestEngine
from vmlat_tui.probes.ladder import Kernel

ROOT = Path(__file__).resolve().parents[2]
SOURCE, TARGET, SOURCE6, TARGET6 = "10.9.0.1", "10.9.0.2", "fd09::1", "fd09::2"


class Guests:
    """Two namespaces and the cable between them; both ends have a device ``eth0``."""

    def __init__(self) -> None:
        self.sender, self.receiver = Namespace(), Namespace()
        run(
            *("ip", "link", "add", "eth0", "netns", self.sender.path, "type", "veth"),
            *("peer", "name", "eth0", "netns", self.receiver.path),
        )
        for space, addresses in (
            (self.sender, (f"{SOURCE}/24", f"{SOURCE6}/64")),
            (self.receiver, (f"{TARGET}/24", f"{TARGET6}/64")),
        ):
            for address in addresses:
                nodad = ("nodad",) if ":" in address else ()
                space.run("ip", "addr", "add", address, "dev", "eth0", *nodad)
            space.run("ip", "link", "set", "eth0", "up")
        self.ping("-c", "1", TARGET)
        self.ping("-c", "1", TARGET6)

    def ping(self, *words: str) -> subprocess.CompletedProcess[str]:
        """As the sender."""
        return subprocess.run(
            ["nsenter", f"--net={self.sender.path}", "ping", *words],
            capture_output=True, text=True,
        )  # fmt: skip

    def close(self) -> None:
        self.sender.close()
        self.receiver.close()


class Watching:
    """A run of the command in one of them."""

    def __init__(self, space: Namespace, *words: str) -> None:
        self.process = subprocess.Popen(
            ["nsenter", f"--net={space.path}", sys.executable, "-m", "vmlat_tui", "guest", *words],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stderr
        line = self.process.stderr.readline()
        assert line == "vmlat: watching pings\n", line + self.process.stderr.read()

    def end(self, number: signal.Signals = signal.SIGINT) -> tuple[str, str]:
        time.sleep(0.1)
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, err
        return out, err

    def rows(self) -> list[dict[str, Any]]:
        """Readings and what is none, without head and summary."""
        _, *rows, _ = [json.loads(line) for line in self.end()[0].splitlines()]
        return rows

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def guests() -> Iterator[Guests]:
    made = Guests()
    yield made
    made.close()


@pytest.fixture
def watch() -> Iterator[Any]:
    started: list[Watching] = []

    def start(space: Namespace, *words: str) -> Watching:
        started.append(Watching(space, *words))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.mark.parametrize(("source", "target"), [(SOURCE, TARGET), (SOURCE6, TARGET6)])
def test_both_guests_see_every_ping_once(
    guests: Guests, watch: Any, source: str, target: str
) -> None:
    at = [watch(space, "--format", "json") for space in (guests.sender, guests.receiver)]
    guests.ping("-c", "20", "-i", "0.01", target)
    sent, answered = (one.rows() for one in at)
    assert [row["seq"] for row in sent] == [row["seq"] for row in answered] == list(range(1, 21))
    for row, other in zip(sent, answered):
        assert row["id"] == other["id"] and row["type"] == other["type"] == "reading"
        assert (row["side"], other["side"]) == ("sender", "receiver")
        assert (row["src"], row["dst"], row["interface"]) == (source, target, "eth0")
        assert row["process"]["comm"] == "ping" and row["process"]["pid"] > 0
        ns = row["ns"]
        assert ns["A"] > 0 and ns["M"] > 0
        assert ns["A"] + ns["sender_inter"] + ns["M"] == ns["rtt"]
        # The receiver's part lies within what is between the sender's two paths: one clock here.
        assert 0 < other["ns"]["receiver_rtt"] < ns["sender_inter"]
        assert row["wall_ns"] + ns["A"] < other["wall_ns"] < row["wall_ns"] + ns["rtt"]


def test_it_is_the_round_trip_that_ping_measures(guests: Guests, watch: Any) -> None:
    """ping's own clock stops at the driver's receive point, so M is not in what it prints."""
    at = watch(guests.sender, "--format", "json")
    printed = [
        1e6 * float(line.split("time=")[1].split()[0])
        for line in guests.ping("-c", "20", "-i", "0.01", TARGET).stdout.splitlines()
        if "time=" in line
    ]
    rows = at.rows()
    assert len(printed) == len(rows) == 20
    spare = sorted(ns - (row["ns"]["rtt"] - row["ns"]["M"]) for ns, row in zip(printed, rows))
    assert -5_000 <= spare[10] <= 60_000, "ping asks for the time before it enters the kernel"


#: 1442 bytes take 0.29 s, but for the first.
_SLOW = ("tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", "40kbit", "burst", "1540",
         "limit", "1mb")  # fmt: skip
_NO_QDISC = ("tc", "qdisc", "del", "dev", "eth0", "root")


@pytest.mark.parametrize(("where", "slow"), [("receiver", "sender_inter"), ("sender", "A")])
def test_what_waits_in_a_queue_waits_on_its_side_of_the_driver(
    guests: Guests, watch: Any, where: str, slow: str
) -> None:
    space: Namespace = getattr(guests, where)
    at = watch(guests.sender, "--format", "json", "--timeout", "5000")
    space.run(*_SLOW)
    guests.ping("-c", "4", "-i", "0.1", "-w", "3", "-s", "1400", TARGET)
    space.run(*_NO_QDISC)
    _, *waited = [row["ns"] for row in at.rows() if row["type"] == "reading"]
    assert len(waited) >= 3
    for ns in waited[:3]:
        assert ns[slow] > 100_000_000 > ns["rtt"] - ns[slow]


def test_a_ping_to_nobody_is_said_to_have_no_reply(guests: Guests, watch: Any) -> None:
    guests.sender.run("ip", "neigh", "replace", "10.9.0.77", "lladdr", "52:54:00:00:00:77",
                      "dev", "eth0")  # fmt: skip
    at = watch(guests.sender, "--timeout", "300")
    guests.ping("-c", "2", "-i", "0.1", "-W", "1", "10.9.0.77")
    time.sleep(1.2)
    out, _ = at.end()
    lines = [line for line in out.splitlines() if "[WARN]" in line]
    assert len(lines) == 2
    assert lines[0].endswith("no reply; it left from eth0: 10.9.0.1 -> 10.9.0.77 "
                             + lines[0][lines[0].index("(ID"):])  # fmt: skip
    assert "[INFO] sender: 0 pings, 2 without an answer" in out


def test_two_pings_at_once_do_not_mix(guests: Guests, watch: Any) -> None:
    """Every raw socket gets a copy of every reply."""
    at = watch(guests.sender, "--format", "json")
    others = subprocess.Popen(
        ["nsenter", f"--net={guests.sender.path}", "ping", "-q", "-c", "30", "-i", "0.005", TARGET],
        stdout=subprocess.DEVNULL,
    )
    guests.ping("-c", "30", "-i", "0.005", TARGET)
    others.wait()
    rows = at.rows()
    by_process: dict[int, set[int]] = {}
    for row in rows:
        assert row["type"] == "reading"
        by_process.setdefault(row["process"]["pid"], set()).add(row["id"])
    assert len(rows) == 60 and [len(ids) for ids in by_process.values()] == [1, 1]


def test_what_it_prints_is_what_the_analysis_reads(
    guests: Guests, watch: Any, tmp_path: Path
) -> None:
    at = {"send": watch(guests.sender), "recv": watch(guests.receiver)}
    guests.ping("-c", "5", "-i", "0.01", TARGET)
    for name, one in at.items():
        (tmp_path / f"{name}.log").write_text(one.end()[0])
    collection = Collection()
    for source in directory.read([tmp_path], collection, Ends()).sources:
        assert not source.troubles
    rows = collection.rows_with(["A", "M", "sender_inter", "rtt", "receiver_rtt"])
    assert len(rows) == 5, "joined by id and sequence"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_statistics_and_no_probe_is_left(
    guests: Guests, watch: Any, number: signal.Signals
) -> None:
    before = programs()
    at = watch(guests.sender, "--stats")
    assert programs() > before
    guests.ping("-c", "3", "-i", "0.01", TARGET)
    out, err = at.end(number)
    assert out.startswith("[INFO] sender: 3 pings, 0 without an answer\n")
    assert "kprobes" in err or not err
    assert wait_until(lambda: programs() == before)


def test_it_ends_after_so_many(guests: Guests, watch: Any) -> None:
    at = watch(guests.sender, "--count", "3", "--format", "json")
    guests.ping("-c", "6", "-i", "0.01", TARGET)
    out, _ = at.process.communicate(timeout=30)
    kinds = [json.loads(line)["type"] for line in out.splitlines()]
    assert at.process.returncode == 0
    assert kinds == ["capture", "reading", "reading", "reading", "summary"]


def test_where_there_are_kprobes_each_function_gets_one_or_its_alternative(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This kernel has none: the programs pass its verifier, attaching them is played."""
    asked: list[str] = []

    def open_kprobe(function: str) -> int:
        asked.append(function)
        if function == "__ip_local_out":
            raise FileNotFoundError(2, "No such file or directory")
        return os.open("/dev/null", os.O_RDONLY)

    monkeypatch.setattr(syscalls, "open_kprobe", open_kprobe)
    monkeypatch.setattr(syscalls, "enable_event", lambda event, program: None)
    engine = GuestEngine(replace(kernel, kprobes=True))
    undivided = engine.undivided
    engine.close()
    functions, notify = asked[:5], asked[5:]
    assert functions == [
        "icmp_rcv", "icmpv6_rcv", "__ip_local_out", "ip_local_out", "ip6_local_out"
    ]  # fmt: skip
    assert notify[0] == "vp_notify" and not undivided
