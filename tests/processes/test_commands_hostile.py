"""What an agent on another host sends is refused or shown harmless, whichever command hears it."""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import pytest

from tests.support.echoes import stats
from tests.support.frames import encoded, seen, typed
from tests.support.observers import ENDS, ID, guest_frame, host_frames, ping_of
from tests.support.parts import printed
from tests.tui.streams import Stream
from tests.unit.protocol.test_protocol_shapes import BOMBS, ODD, spoiled
from vmlat_tui.analysis import trust
from vmlat_tui.analysis.collection import Collection
from vmlat_tui.analysis.decomposition import Decomposition
from vmlat_tui.commands import irq, measuring
from vmlat_tui.commands.options import packets
from vmlat_tui.export import analysis, icmp_summary, ping_text
from vmlat_tui.export.analysis import Shown
from vmlat_tui.export.exporter import Report
from vmlat_tui.export.icmp_summary import Tally
from vmlat_tui.model.crossings import Crossing
from vmlat_tui.model.filters import address
from vmlat_tui.model.flows import Filter, Protocol
from vmlat_tui.model.pings import PingJoiner
from vmlat_tui.model.points import Direction
from vmlat_tui.model.readings import Reading
from vmlat_tui.model.segments import Observer
from vmlat_tui.ping.correlation import Correlator
from vmlat_tui.ping.observers import GuestObserver, HostObserver, PingObserver
from vmlat_tui.protocol import frames
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.transport import hosts
from vmlat_tui.transport.process import AgentDied, AgentProcess
from vmlat_tui.transport.source import Order

ROOT = Path(__file__).resolve().parents[2]
#: What a terminal would obey.
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
HUGE = (1 << 62) - 1
LINES = (*BOMBS, b"\x1b[2J", b'{"type":"lost","title":"x","cause":"","attempt":1,"wait_s":1}')


def hello() -> Raw:
    stream = Stream(("vm-a",))
    return {**stream.hello(), "points": stream.measuring()["points"]}


def guest_stream() -> list[Raw]:
    final = {**stats(10**9, True), "bins": {}, "counters": {"lost": 1, "waiting": 0, "given_up": 2}}
    return [hello(), {"type": "notice", "text": "x"}, guest_frame("vm-a", ping_of(1)), final]


def host_stream() -> list[Raw]:
    stream = Stream(("vm-a",))
    pings = host_frames("hv1", ping_of(1))
    return [hello(), stream.links(), *pings, stats(10**10, True)]


STREAMS = {"guest": guest_stream, "icmp": host_stream}


# ---- one command and one agent -------------------------------------------------------------------

#: An ssh that says what is in a file, and then waits to be left; argv of it does not matter.
SSH = """#!{python} -IS
import os, sys
with open({path!r}, "rb") as file:
    data = file.read()
while data:
    data = data[os.write(1, data):]
endless = {endless!r}
while endless:
    os.write(1, endless)
while os.read(0, 65536):
    pass
"""


@dataclass
class Far:
    """The commands, and the host that they look at."""

    directory: Path

    def run(
        self, command: str, said: bytes, *words: str, endless: bytes = b""
    ) -> tuple[int, str, str, int]:
        """Status, output, messages and the most memory in MB."""
        script = self.directory / "said"
        script.write_bytes(said)
        ssh = self.directory / "ssh"
        ssh.write_text(
            SSH.format(python=os.path.realpath(sys.executable), path=str(script), endless=endless)
        )
        ssh.chmod(0o755)
        program = (
            "import re, sys\nfrom vmlat_tui.cli import main\nstatus = main(sys.argv[1:])\n"
            # Its own: what getrusage says began as that of whoever started it.
            "status_of = open('/proc/self/status').read()\n"
            "used = int(re.search(r'VmHWM:\\s+(\\d+)', status_of)[1]) // 1024\n"
            "print(f'MB {used}', file=sys.stderr)\nsys.exit(status)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, command, "--host", "hv1", "--count", "1", *words],
            cwd=ROOT, capture_output=True, text=True, timeout=30,
            env={**os.environ, "PATH": f"{self.directory}{os.pathsep}{os.environ['PATH']}",
                 "PYTHONIOENCODING": "utf-8:surrogateescape"},
        )  # fmt: skip
        *messages, memory = done.stderr.splitlines()
        for text in (done.stdout, *messages):
            assert not CONTROL.search(text) and "Traceback" not in text, text[:2000]
        return done.returncode, done.stdout, "\n".join(messages), int(memory.split()[1])


@pytest.fixture
def far(tmp_path: Path) -> Far:
    return Far(tmp_path)


def wire(every: Sequence[Raw]) -> bytes:
    return b"".join(map(encoded, every))


@pytest.mark.parametrize("command", STREAMS)
def test_what_is_right_is_shown(far: Far, command: str) -> None:
    status, out, said, _ = far.run(command, wire(STREAMS[command]()))
    assert status == 0, said
    assert f"{ENDS[0]}" in out and f"{ID}" in out


@pytest.mark.parametrize("command", STREAMS)
@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_a_line_that_is_no_frame_ends_it_in_one_line(far: Far, command: str, line: bytes) -> None:
    status, _, said, _ = far.run(command, wire(STREAMS[command]()[:-1]) + line + b"\n")
    assert status == 1
    assert "the agent sent" in said.splitlines()[-1] and len(said.splitlines()[-1]) < 600


@pytest.mark.parametrize("command", STREAMS)
@pytest.mark.parametrize("endless", [b"x" * 65536, b"[" * 65536, b"\x1b[2J" * 9999], ids="x[e")
@pytest.mark.parametrize("before", [0, 1], ids=["at once", "after hello"])
def test_a_line_without_end_is_not_kept(
    far: Far, command: str, endless: bytes, before: int
) -> None:
    status, _, said, used = far.run(command, wire([hello()][:before]), endless=endless)
    assert status == 1 and "a line without end" in said.splitlines()[-1]
    assert used < 150


@pytest.mark.parametrize("command", STREAMS)
def test_the_first_frame_is_hello_and_a_second_one_changes_nothing(far: Far, command: str) -> None:
    first, *others = STREAMS[command]()
    status, out, said, _ = far.run(command, wire(others))
    assert status == 1 and "the stream does not begin with hello" in said
    status, out, said, _ = far.run(command, wire([first, *others[:-1], first, others[-1]]))
    assert status == 0 and (out, said) == far.run(command, wire([first, *others]))[1:3]


@pytest.mark.parametrize("command", STREAMS)
def test_names_do_nothing_to_the_terminal(far: Far, command: str) -> None:
    every = json.loads(json.dumps(STREAMS[command]()))
    evil = "\x1b]0;evil\x07\u202e\ud800\r\n"

    def spoil(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: spoil(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [spoil(inner, name) for inner in value]
        free = ("text", "comm", "host", "kernel", "boot", "interface", "vm_interface",
                "phy_interface", "reason", "leaves", "name", "cause", "title")  # fmt: skip
        return evil if name in free and isinstance(value, str) else value

    for words in ((), ("--format", "json")):
        status, out, said, _ = far.run(command, wire([spoil(frame) for frame in every]), *words)
        assert status == 0 and out, said
    error = {"type": "error", "title": evil, "cause": evil, "remedy": evil, "exit_status": 2}
    for before in (0, 2):
        status, _, said, _ = far.run(command, wire([*every[:before], error]))
        assert status == 2 and "evil" in said.splitlines()[-1]


@pytest.mark.parametrize("command", STREAMS)
def test_names_of_fields_do_nothing_either(far: Far, command: str) -> None:
    *every, final = STREAMS[command]()
    for name in ("bins", "counters", "hooks", "cost"):
        value = next(iter(stats(0)["bins"].values())) if name == "bins" else 1
        spoiled_stats = {**final, name: {**final[name], "\x1b[2J": value}}
        status, _, said, _ = far.run(command, wire([*every, spoiled_stats]))
        assert status == 1 and "the agent sent an invalid stats frame" in said


# ---- an observer among several -------------------------------------------------------------------


class Scripted(AgentProcess):
    """An agent that has said everything already."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = list(lines)

    def send(self, order: Order) -> None:
        pass

    def next(self, timeout_s: float) -> Optional[Frame]:
        if not self._lines:
            raise AgentDied("it has ended")
        return self._checked(frames.decode(self._lines.pop(0)))

    def close(self) -> None:
        pass


def lines_of(frames: Sequence[Raw]) -> list[bytes]:
    return [wire([frame]) for frame in frames]


def observer(place: str, lines: Sequence[bytes]) -> PingObserver:
    made: PingObserver
    if place == "hv1":
        made = HostObserver(Observer.SENDER_HOST, hosts.here(), 10**9)
    else:
        made = GuestObserver(Observer.SENDER_GUEST, hosts.here(), 10**9)
    made._source = Scripted(lines)
    source, target = (address(end, "") for end in ENDS)
    made.wanted = Filter(source, target, protocol=Protocol.ICMP, either=True)
    return made


def shown(observers: Sequence[PingObserver]) -> str:
    """All that is made of what they tell."""
    correlator, collection = Correlator(1.0), Collection()
    correlator.accepts = True
    out = io.StringIO()
    with contextlib.redirect_stderr(out):
        for one in observers:
            for seen in one.poll():
                if correlator.take(seen.observer, seen.packet, seen.intervals_ns, seen.lost, 0.0):
                    json.dumps(seen.line)
                    if seen.intervals_ns:
                        collection.add(Reading(seen.packet, seen.intervals_ns))
    lines = [
        ping_text.ping_line(ping, tuple(Observer)) for ping in correlator.settle(frozenset(), 9.0)
    ]
    found = Decomposition("vm-a -> vm-b", collection)
    said = [*ping_text.holes(observers), *trust.remarks(found)]
    report = analysis.document(found, ping_text.observers(observers), said, Shown())
    lines.append(printed(Report(report)))
    json.dumps(ping_text.summary_json(observers, 0, 0))
    return "\n".join(lines) + out.getvalue()


def told_by(place: str) -> list[Raw]:
    stream = Stream(("vm-a",))
    if place == "vm-a":
        return guest_stream()
    first, links, *others = host_stream()
    return [first, stream.topology(), stream.measuring(), links, *others]


def test_what_observers_tell_is_shown() -> None:
    text = shown([observer(place, lines_of(told_by(place))) for place in ("hv1", "vm-a")])
    assert "1 packets were seen by every observer" in text


@pytest.mark.parametrize("place", ["hv1", "vm-a"])
def test_one_wrong_place_is_refused_or_harmless(place: str) -> None:
    every = told_by(place)
    chance = random.Random(1)
    refused = 0
    for at, whole in enumerate(every):
        if whole["type"] == "topology":
            continue  # it has a reader and tests of its own
        places = [path for path, _ in spoiled(whole)]
        for path in chance.sample(places, min(len(places), 30)):
            for odd in (*ODD, HUGE, 0, "\ud800\u202e"):
                frame = copy.deepcopy(whole)
                inner = frame
                for key in path[:-1]:
                    inner = inner[key]
                inner[path[-1]] = odd
                lines = [wire([f]) for f in (*every[:at], frame, *every[at + 1 :])]
                made = observer(place, lines)
                text = shown([made])
                assert not CONTROL.search(text), (path, odd, text)
                refused += made.error is not None
    assert refused > 100


def test_the_longest_times_are_only_large() -> None:
    guest, host = told_by("vm-a"), told_by("hv1")
    for name, ns in zip(("send", "request_xmit", "reply_receive", "read"), (0, 0, HUGE, HUGE)):
        guest[2]["times"][name] = ns
    for stage in host[5]["stages"]:
        stage["t_ns"] = HUGE
    text = shown([observer("hv1", lines_of(host)), observer("vm-a", lines_of(guest))])
    assert "1 packets were seen by every observer" in text


def test_ways_of_losing_pings_are_told_apart_only_so_far() -> None:
    first, _, echo, final = guest_stream()
    lines = [wire([first])]
    for sequence in range(500):
        trip = {**echo, "icmp": {"id": ID, "seq": sequence}, "interface": f"eth{sequence}"}
        trip["times"] = {"send": 1, "request_xmit": 2}
        lines.append(wire([trip]))
    made = observer("vm-a", [*lines, wire([final])])
    assert "480 pings lost (in other ways)" in shown([made])
    assert len(made.lost) == 21 and sum(made.lost.values()) == 500


def test_what_is_told_twice_counts_once() -> None:
    first, notice, echo, final = guest_stream()
    other = copy.deepcopy(echo)
    other["times"]["read"] += 1000
    text = shown([observer("vm-a", [wire([f]) for f in (first, notice, echo, other, echo, final)])])
    assert len(re.findall(rf"^id {ID} seq 1 ", text, re.MULTILINE)) == 1
    assert "1 packets were seen" in text


def test_what_an_agent_names_does_not_fill_the_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(icmp_summary, "_MOST_PLACES", 3)
    tally, joiner = Tally(), PingJoiner(10**9)
    for number in range(20):
        for frame in host_frames("hv1", ping_of(1)):
            crossing = Crossing.of(seen({**frame, "vm_interface": f"vnet{number}"}))
            ping = joiner.add(crossing) if crossing else None
            if ping:
                tally.add(ping)
    assert [place[1] for place, _ in tally.rows()] == ["vnet0", "vnet1", "vnet2", "other vNICs"]
    assert tally.rows()[-1][1][0][1].count == 17


def test_flows_and_packets_that_wait_are_bounded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measuring, "_MOST_FLOWS", 10)
    monkeypatch.setattr(measuring, "_MOST_HELD", 5)
    parser = argparse.ArgumentParser()
    irq.configure(parser)
    made = measuring.Driver(irq._COMMAND, packets.parse(parser.parse_args([])))
    stream = Stream(("vm-a",), flows=1)
    row = stream.stats()["flows"][0]
    for port in range(100):
        flow = {**row["flow"], "src_port": port}
        made.take(typed({**stats(1), "flows": [{**row, "flow": flow}]}))
    assert made._latest is not None
    assert [row.flow.src_port for row in made._latest.flows] == list(range(90, 100))
    for _ in range(4):
        made.take(typed(stream.packet(0, Direction.RX)))
    assert not capsys.readouterr().out, "it is not known whose they are"
    made.take(typed(stream.packet(0, Direction.RX)))
    assert capsys.readouterr().out.count("=== VM Interrupt Trace") == 5
