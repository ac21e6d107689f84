"""``vmlat ping`` between two hypervisors: every packet joined, and a delay where it was put.

Only what pytest 6.0 has may be used here, as in tests/lab.
"""

import contextlib
import json
import shlex
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from vmlat_tui.lab import inside, machine
from vmlat_tui.lab.hypervisor import cable

ENDS = ("--sender", "localhost/vm-a", "--receiver", "hypervisor-b/vm-b")
GUESTS = ("--sender-guest", "vm-a", "--receiver-guest", "vm-b")
#: Agents travel, and BCC compiles in guests of emulated machines.
MEASURE_S = 900
PINGS = 200
#: Longer than a round trip on a slow machine, of 0.1 s and more: of two that meet, one is taken
#: with the other's kick or announced by its interrupt, and has none of its own.
APART_S = 0.3
INTERVAL_S = 0.2
#: Pings of one phase at least, and how many of them a fault that comes and goes meets at least.
PHASE, MET = 40, 6
#: A packet that took so much longer than usual there has met the fault: that is some round trips.
SLOW_NS = 50_000_000
#: What the emulated entries and exits of the guests, which nobody sees, may take of a round trip.
#: 3.3 to 4.6 % were measured; the more else runs on the machine the longer is the round trip.
LEFT = 0.08

#: The emulator of the sender's hypervisor keeps what that has sent.
CABLE = f"cd {shlex.quote(str(machine.CHECKOUT))} && exec lab-python -m {cable.__name__} 500"
#: The receiver's vswitchd is stopped now and then, and its datapath has no flow as long as it is:
#: deleted before, they would come back with a packet between the two.  Of the pings that wait
#: together only the first has a kick and an interrupt of its own, and can be joined.
UPCALL = """
vswitchd=$(cat /run/openvswitch/ovs-vswitchd.pid)
trap 'kill -CONT $vswitchd; exit' TERM
while :; do
    kill -STOP $vswitchd; ovs-dpctl del-flows; sleep 0.5; kill -CONT $vswitchd; sleep 0.2
done
"""
#: A real-time loop takes the CPU of the receiver's vhost worker now and then.
WORKER = """
for tid in $(grep -lx 'vhost-[0-9]*' /proc/[0-9]*/task/[0-9]*/comm | cut -d/ -f5); do
    taskset -pc 0 $tid
done
for irq in /proc/irq/[0-9]*/smp_affinity_list; do echo 1 >$irq; done 2>/dev/null
exec chrt -f 1 taskset -c 0 python3 -c '
import time
while True:
    end = time.monotonic() + 0.6
    while time.monotonic() < end:
        pass
    time.sleep(0.4)
'
"""
#: What the receiver's guest has taken from its driver waits in the queue of another device.
RECEIVED = """
ip link add late0 type ifb && ip link set late0 up && tc qdisc add dev eth0 ingress || exit
trap 'tc qdisc del dev eth0 ingress; ip link del late0; exit' TERM
tc qdisc add dev late0 root netem delay 250ms
tc filter add dev eth0 ingress matchall action mirred egress redirect dev late0
while :; do sleep 0.1; done
"""


def queue(device: str) -> str:
    """Packets wait in a device's queueing discipline, until told to stop."""
    return (
        f"tc qdisc replace dev {device} root netem delay 250ms; "
        f"trap 'tc qdisc del dev {device} root; exit' TERM; while :; do sleep 0.1; done"
    )


class Fault(NamedTuple):
    """The segment in which it is to be found, the host where it is made, and by what."""

    segment: str
    host: str
    script: str
    pings: int = PHASE


FAULTS = {
    "sender's uplink": Fault("C+J", "hypervisor-a", queue("phy0")),
    "cable": Fault("C+J", "hypervisor-a", CABLE),
    "receiver's vhost worker": Fault("E", "hypervisor-b", WORKER),
    "receiver's guest, receiving": Fault("F", "vm-b", RECEIVED),
    "receiver's guest, sending": Fault("H", "vm-b", queue("eth0")),
    # The last one: afterwards the datapath lacks flows.
    "receiver's upcall": Fault("D", "hypervisor-b", UPCALL, 2 * PHASE),
}


def run(*words: str, seconds: float = MEASURE_S) -> Any:
    return subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True,
        timeout=seconds, check=False, text=True,
    )  # fmt: skip


def there(host: str, line: str) -> None:
    done = run("ssh", "-o", "BatchMode=yes", host, line, seconds=90)
    assert done.returncode == 0, (host, line, done)


def vmlat(*words: str) -> Any:
    return run(sys.executable, "-m", "vmlat_tui", *words)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: Any) -> Any:
    """Of one ping: its file, and what was said."""
    assert inside.environment()["VMLAT_LAB_SCENARIO"] == "pair"
    path = tmp_path_factory.mktemp("ping") / "capture.json"
    done = vmlat(
        "ping", *ENDS, *GUESTS, "--count", str(PINGS), "--interval", str(APART_S),
        "--output", str(path),
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr)
    return path, done


@pytest.fixture(scope="module")
def analysis(capture: Any) -> Any:
    done = vmlat("analyze", "--json", str(capture[0]))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_packet_is_joined_at_all_points(capture: Any, analysis: Any) -> None:
    path, done = capture
    packets = [row for row in analysis if row["type"] == "packet"]
    joined = {row["seq"] for row in packets}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    why = {row["seq"]: row["absent"] for row in lines if "absent" in row}
    others = {seq: why.get(seq) for seq in range(1, PINGS + 1) if seq not in joined}
    assert len(packets) >= 0.99 * PINGS, (others, done.stdout)
    assert f"joined at all points: {len(packets)} of {PINGS} pings" in done.stdout
    assert "only intervals of one clock are used" in done.stdout


def test_the_segments_add_up_to_the_round_trip(analysis: Any) -> None:
    rows = {r["item"]: r for r in analysis if r["type"] == "row" and r["table"] == "segments"}
    whole = next(r for r in analysis if r.get("table") == "parts" and r["item"] == "total")
    assert set("ABDEFGHIKLM") | {"U1", "U2", "U3", "U4"} <= rows.keys()
    assert all(
        row["basis"] == "measured" for name, row in rows.items() if name[0] in "ABDEFGHIKLMU"
    )
    left = rows["rest"]["p50_ns"] / whole["p50_ns"]
    for name, row in rows.items():
        print(f"{name}: {row['p50_ns'] / 1e3:.1f} µs")
    print(f"residual {100 * left:+.1f} % of the median round trip")
    assert 0 <= left <= LEFT, (rows["rest"], whole)


def test_nothing_is_left_on_any_machine(capture: Any) -> None:
    for host in ("hypervisor-b", "vm-a", "vm-b"):
        there(host, "! ls -d /tmp/vmlat-* 2>/dev/null")
        there(host, "! pgrep -x ping")


# ---- a delay ------------------------------------------------------------------------------------


class Watched:
    """A running ``vmlat ping``, and the intervals that it has told of by sequence."""

    def __init__(self) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "vmlat_tui", "ping", *ENDS, *GUESTS, "--format", "json",
             "--interval", str(INTERVAL_S)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.found: dict[int, dict[str, int]] = {}
        self.latest = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.child.stdout
        for line in self.child.stdout:
            row = json.loads(line)
            if row["type"] == "reading":
                self.found.setdefault(row["seq"], {}).update(row["ns"])
                self.latest = max(self.latest, row["seq"])

    def phase(self, pings: int = PHASE) -> range:
        """The sequences of the next pings that begin now."""
        first = self.latest + 3
        deadline = time.monotonic() + MEASURE_S
        while self.latest < first + pings:
            assert self.child.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        return range(first, first + pings)

    def end(self) -> str:
        self.child.terminate()
        _, said = self.child.communicate(timeout=90)
        self._reader.join(30)
        return str(said)

    def packets(self, phase: range) -> list[dict[str, int]]:
        """The intervals of those that were joined, in ns; C and J are known as their sum."""
        joined = []
        for number in phase:
            ns = self.found.get(number, {})
            if ns.keys() >= NEEDED:
                joined.append({**ns, "C+J": ns["sender_external"] - ns["receiver_total"]})
        return joined


SEGMENTS = [*"ABDEFGHIKLM", "U1", "U2", "U3", "U4", "C+J"]
NEEDED = {"rtt", "sender_external", "receiver_total", *SEGMENTS} - {"C+J"}


@contextlib.contextmanager
def injected(fault: Fault) -> Iterator[None]:
    """Something is wrong on a host, until the end."""
    log = "/tmp/fault.log"
    line = f"sh -c {shlex.quote(fault.script)} >{log} 2>&1 & echo $!"
    done = run("ssh", "-o", "BatchMode=yes", fault.host, line, seconds=90)
    assert done.returncode == 0, done
    time.sleep(1)
    try:
        yield
    finally:
        there(fault.host, f"kill {int(done.stdout)} || {{ cat {log} >&2; exit 1; }}")


@pytest.fixture(scope="module")
def phases() -> Iterator[Any]:
    """Packets without a fault, and with each of them in turn."""
    watched = Watched()
    try:
        ranges = {"none": watched.phase()}
        for name, fault in FAULTS.items():
            with injected(fault):
                ranges[name] = watched.phase(fault.pings)
    finally:
        said = watched.end()
    assert watched.child.returncode == 0, said
    yield {name: watched.packets(phase) for name, phase in ranges.items()}


def grown(packets: Sequence[dict[str, int]], usual: Sequence[dict[str, int]]) -> Any:
    """By how much their intervals are longer than usual, in ns."""
    medians = {name: statistics.median(each[name] for each in usual) for name in ["rtt", *SEGMENTS]}
    return [{name: each[name] - ns for name, ns in medians.items()} for each in packets]


@pytest.mark.parametrize("name", list(FAULTS))
def test_a_delay_is_in_its_segment_and_nowhere_else(phases: Any, name: str) -> None:
    segment = FAULTS[name].segment
    more = grown(phases[name], phases["none"])
    # One may meet an upcall on its way back as well: that is in I.
    met = [each for each in more if each[segment] >= SLOW_NS]
    assert len(met) >= MET, (len(phases[name]), [each["rtt"] for each in more])
    # The median: one of them may have met something else as well, on four emulated machines.
    shares = {n: statistics.median(each[n] / each["rtt"] for each in met) for n in SEGMENTS}
    said = ", ".join(f"{n} {100 * share:.1f} %" for n, share in shares.items())
    more_ms = statistics.median(each["rtt"] for each in met) / 1e6
    print(f"{name}: {len(met)} packets, {more_ms:.0f} ms more: {said}")
    for place, share in shares.items():
        assert abs(share - (place == segment)) <= 0.1, (place, said)


def test_without_a_fault_too_few_are_slow_to_pass_for_one(phases: Any) -> None:
    more = grown(phases["none"], phases["none"])
    for segment in {fault.segment for fault in FAULTS.values()}:
        assert sum(each[segment] >= SLOW_NS for each in more) < MET, (segment, more)
