"""``vmlat ping`` as a process, with four agents that are made up."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.support.far import FarHost
from tests.support.observers import ENDS, ID, ping_of, send, sent
from vmlat_tui import ending
from vmlat_tui.commands.options import ping as options
from vmlat_tui.errors import UsageError
from vmlat_tui.ping.request import PingRequest, addresses

ROOT = Path(__file__).resolve().parents[2]
#: The command with other agents; argv: their directory, and the arguments.
PROGRAM = """
import os, sys
from vmlat_tui.cli import main
from vmlat_tui.model import pings
from vmlat_tui.session import limits
from vmlat_tui.transport import hosts
from vmlat_tui.transport.hosts import Host
directory, *arguments = sys.argv[1:]
made_up = (sys.executable, "-m", "tests.support.observers", directory)
hosts.reached_by_ssh = lambda place, sudo=False, option="": Host(place, (*made_up, place), far=True)
hosts.command_at = lambda place, command, option: (*made_up, *command)
limit_s = float(os.environ.get("LIMIT_S", 30))
limits.START_ALL_S = limits.LOOK_S = limits.END_S = limit_s
pings._MOST = int(os.environ.get("MOST", pings._MOST))
sys.exit(main(arguments))
"""
HOSTS = ("--sender", "hv1/vm-a", "--receiver", "hv2/vm-b")
GUESTS = ("--sender-guest", "vm-a", "--receiver-guest", "vm-b")
MADE = (*HOSTS, *GUESTS, "--interval", "0.01")
#: Two seconds to end in, and one more for a busy machine.
SOON_S = 2.0 + 1.0


@dataclass
class Done:
    """What a run has printed, and its end."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """One for each ping."""
        return re.findall(rf"^id {ID} seq .*", self.out, re.MULTILINE)

    def table(self, title: str) -> list[str]:
        """The rows of a table, without its head."""
        block = self.out.split(f"\n{title}", 1)[1].split("\n\n", 1)[0]
        return block.splitlines()[2:]

    def row(self, title: str, words: str) -> str:
        """The row of a table that has these words."""
        (found,) = [row for row in self.table(title) if words in row]
        return found


@dataclass
class Hosts:
    """Where the agents are."""

    directory: Path
    limit_s: float = 30
    faults: dict[str, str] = field(default_factory=dict)

    def start(self, *words: str) -> subprocess.Popen[str]:
        (self.directory / "faults.json").write_text(json.dumps(self.faults))
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(self.directory), "ping", *words],
            cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT), "LIMIT_S": str(self.limit_s)},
        )  # fmt: skip

    def run(self, *words: str) -> Done:
        child = self.start(*words)
        out, err = child.communicate(timeout=60)
        for text in (out, err):
            assert "\x1b" not in text and "Traceback" not in text, text
        return Done(child.returncode, out, err)

    def commands(self, place: str) -> list[dict[str, Any]]:
        text = (self.directory / f"{place}.commands").read_text()
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def far(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path)


@pytest.fixture
def pinging(far: Hosts) -> Iterator[Hosts]:
    """Somebody pings all the time."""
    over = threading.Event()

    def ping() -> None:
        while not over.wait(0.02):
            send(far.directory, sent(far.directory) + 1)

    thread = threading.Thread(target=ping)
    thread.start()
    yield far
    over.set()
    thread.join()


# ---- everybody is there --------------------------------------------------------------------------


def test_four_observers_take_every_ping_apart(far: Hosts) -> None:
    done = far.run(*MADE, "--count", "40")
    assert done.status == 0, done.err
    assert len(done.lines) == 40 and "joined at all points: 40 of 40 pings" in done.out
    us = ping_of(1).us
    assert done.lines[0].startswith(f"id {ID} seq 1 | total {ping_of(1).rtt:.1f} | A 18.0 U1 7.0 ")
    assert "| C+J* 20.0 |" in done.lines[0] and f"U2 {us['U2']:.1f} F 24.0" in done.lines[0]
    assert done.lines[0].endswith(" M 15.0 | residual* +0.0")
    for segment in ("A", "U1", "B", "D", "E", "U3", "K", "L", "U4", "M"):
        cells = done.row("Segments", f"  {segment}  ").split()
        assert f"{us[segment]:.1f}" in cells and cells[-1] == "measured", segment
    assert "derived, per packet" in done.row("Sender, network, receiver", "C+J")
    assert done.row("Segments", "  Residual").split()[1:7] == ["40", *["0.0"] * 5]
    slow = done.table("Which segment was large in the slow packets")
    assert slow[0].split()[:2] == ["U2", "8"]
    assert "only intervals of one clock are used" in done.out
    assert "4 packets transmitted" not in done.err and "40 packets transmitted" in done.err


def test_receivers_come_first_and_all_are_asked_for_every_echo_packet_of_the_pair(
    far: Hosts,
) -> None:
    done = far.run(*MADE, "--count", "3", "--receiver-phy-interface", "ens1f0")
    hosts, guests, *others = done.err.splitlines()
    assert hosts == "vmlat: starting receiver host hv2, sender host hv1"
    assert guests == "vmlat: starting receiver guest vm-b, sender guest vm-a"
    places = ("receiver guest vm-b", "receiver host hv2", "sender guest vm-a", "sender host hv1")
    ready = sorted(line.split(": ")[1] for line in others[:4])
    assert ready == [f"the {place} is ready" for place in places]
    assert others[4] == f"vmlat: vm-a pings: {ENDS[0]} -> {ENDS[1]}", "when all are ready"
    for place, tap in (("hv1", "vnet0"), ("hv2", "vnet1")):
        configure, measure, stop = far.commands(place)
        assert configure["discover"] and not configure["measure"] and stop["command"] == "stop"
        assert measure["vm_interfaces"] == [tap] and measure["directions"] == ["tx", "rx"]
        assert measure["emit"] and (measure["max_rate"], measure["threshold_ns"]) == (0, 0)
        (wanted,) = measure["filters"]
        assert (wanted["src_ip"], wanted["dst_ip"]) == ENDS and wanted["either"]
        assert wanted["protocol"] == "icmp"
    assert far.commands("hv2")[1]["uplinks"] == ["ens1f0"]
    assert all(far.commands(place)[0]["guest"] for place in ("vm-a", "vm-b"))


def test_the_guest_pings_as_asked(far: Hosts) -> None:
    far.run(*MADE, "--count", "2", "--size", "1000")
    words = (far.directory / "ping").read_text().split("\0")
    assert words == ["-n", "-i", "0.01", "-s", "1000", "-c", "2", ENDS[1]]


def test_what_is_written_is_analysed_to_the_same_tables(far: Hosts, tmp_path: Path) -> None:
    path = tmp_path / "capture.json"
    done = far.run(*MADE, "--count", "30", "--output", str(path))
    assert done.status == 0 and path.stat().st_mode & 0o777 == 0o600
    analyzed = analyze(path)
    assert tables(analyzed) == tables(done.out) and len(tables(done.out)) > 5
    assert "vm-a -> vm-b" in analyzed.splitlines()[0]


def test_json_is_a_capture(far: Hosts, tmp_path: Path) -> None:
    done = far.run(*MADE, "--count", "30", "--format", "json")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert (rows[0]["type"], rows[-1]["type"]) == ("capture", "summary")
    assert (rows[-1]["pings"], rows[-1]["joined"]) == (30, 30)
    assert {row["type"] for row in rows[1:-1]} == {"reading"} and len(rows) == 2 + 4 * 30
    path = tmp_path / "out.json"
    path.write_text(done.out)
    assert "30 packets were seen by every observer" in analyze(path)


def analyze(path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "vmlat_tui", "analyze", str(path)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


def tables(text: str) -> list[str]:
    """All of a document but what its readings are from, and the remarks."""
    begin = re.search(r"^The \d+ slowest packets", text, re.MULTILINE)
    assert begin
    return text[begin.start() : text.index("\nRemarks")].split("\n\n")


# ---- less than everybody -------------------------------------------------------------------------


def test_without_guests_their_segments_are_one(pinging: Hosts) -> None:
    done = pinging.run(*HOSTS, "--count", "20")
    assert done.status == 0, done.err
    assert f"waiting for pings {ENDS[0]} -> {ENDS[1]}" in done.err
    assert "derived, per packet" in done.row("Segments", "      F+G+H")
    assert "U2 20.0 F+G+H* 39.0 U3 6.0" in done.out
    assert "the receiver guest was not asked: its segments are one (--receiver-guest)" in done.out
    assert not (pinging.directory / "ping").exists()
    joined = re.search(r"joined at all points: (\d+) of (\d+) pings", done.out)
    assert joined and joined[1] == joined[2], "no ping counts that not all could see"


def test_a_running_ping_is_joined_with_all_four(pinging: Hosts) -> None:
    done = pinging.run(*HOSTS, "--receiver-guest", "vm-b", "--count", "20")
    joined = re.search(r"joined at all points: (\d+) of (\d+) pings", done.out)
    assert joined and joined[1] == joined[2] and int(joined[1]) >= 20 and done.status == 0
    assert "H 7.0" in done.lines[0] and "F 24.0" in done.lines[0]


@pytest.mark.parametrize(
    ("place", "fault", "cause"),
    [
        ("vm-b", "refused", "the receiver guest vm-b does not measure: vm-b does not let you in"),
        ("hv2", "refuses", "the receiver host hv2 does not measure: measuring needs root"),
        ("hv1", "refuses", "the sender host hv1 does not measure: measuring needs root"),
    ],
)
def test_who_fails_at_the_start_is_named_and_the_others_go_on(
    far: Hosts, place: str, fault: str, cause: str
) -> None:
    far.faults[place] = fault
    done = far.run(*MADE, "--count", "10")
    assert done.status == 1 and cause in done.err
    assert len(done.lines) == 10 and "nothing from the" in done.lines[0]
    assert f"{place} is missing from the beginning" in done.out
    assert "never: " in done.row("Who has observed", place)
    if place == "vm-b":
        assert "derived, per packet" in done.row("Segments", "      F+G+H")


def test_a_host_that_is_not_there_needs_the_address_only(far: Hosts) -> None:
    far.faults["hv2"] = "refused"
    done = far.run(*MADE, "--count", "10")
    assert done.status == 2 and "name it with --receiver-ip" in done.err.splitlines()[-1]
    done = far.run(*MADE, "--count", "10", "--receiver-ip", ENDS[1])
    assert done.status == 1 and len(done.lines) == 10
    assert "hv2 does not let you in" in done.out


def test_nobody_is_left(far: Hosts) -> None:
    far.faults.update(dict.fromkeys(("hv1", "hv2", "vm-a", "vm-b"), "refused"))
    done = far.run(*MADE, "--sender-ip", ENDS[0], "--receiver-ip", ENDS[1])
    assert done.status == 2 and not done.out
    assert done.err.splitlines()[-1].startswith("vmlat: no observer is left: ")


DEATHS = {
    "dies": "the connection to {} was lost",
    "garbage": "the agent sent an invalid frame",
    "shapeless": "the agent sent an invalid packet frame",
    "endless": "a line without end",
    "leaves": "its agent ended by itself",
}


@pytest.mark.parametrize("place", ["hv2", "vm-b"])
@pytest.mark.parametrize("fault", DEATHS)
def test_who_fails_midway_is_named_and_the_rest_is_reported(
    far: Hosts, place: str, fault: str
) -> None:
    far.faults[place] = f"{fault}:12"
    done = far.run(*MADE, "--count", "40")
    assert done.status == 1
    assert re.search(rf"{place} is gone after 12 pings: .*{DEATHS[fault].format(place)}", done.err)
    assert f"{place} is missing after 12 pings" in done.out
    assert len(done.lines) == 40 and "joined at all points: 12 of 40 pings" in done.out
    assert "until it was gone: " in done.row("Who has observed", place)
    observer = "receiver host" if place == "hv2" else "receiver guest"
    assert f"28 of 40 packets lack something at the {observer}" in done.out


def test_one_that_says_much_does_not_drown_the_others(far: Hosts) -> None:
    far.limit_s = 2
    far.faults["hv2"] = "floods:12"
    done = far.run(*MADE, "--count", "40")
    assert done.status == 1 and len(done.lines) == 40
    assert done.err.count("more\n") == 20 and "further messages of it are not shown" in done.err
    assert "hv2 is gone after 12 pings: the agent does not answer" in done.err


@pytest.mark.parametrize("fault", ["mute", "deaf"])
def test_who_does_not_answer_is_waited_for_with_a_limit(far: Hosts, fault: str) -> None:
    far.limit_s = 1.5
    far.faults["vm-b"] = fault
    done = far.run(*MADE, "--count", "20")
    assert done.status == 1 and "vm-b" in done.err and "the agent does not answer" in done.err
    assert len(done.lines) == 20
    if fault == "deaf":
        assert "joined at all points: 20 of 20 pings" in done.out, "it had told everything"


def test_escapes_do_nothing(far: Hosts) -> None:
    far.faults.update({"hv1": "escapes", "vm-a": "escapes", "vm-b": "escapes"})
    done = far.run(*MADE, "--count", "10")
    assert done.status == 0 and len(done.lines) == 10 and "]0;evil" in done.err


def test_what_comes_before_hello_is_refused(far: Hosts) -> None:
    far.faults["vm-b"] = "early"
    done = far.run(*MADE, "--count", "10")
    assert done.status == 1 and len(done.lines) == 10
    assert "vm-b does not measure: the stream does not begin with hello" in done.err


def test_what_is_told_twice_is_one_ping(far: Hosts) -> None:
    far.faults["vm-b"] = "twice"
    done = far.run(*MADE, "--count", "10")
    assert done.status == 0 and len(done.lines) == 10, done.err
    assert "joined at all points: 10 of 10 pings" in done.out


def test_packets_that_nothing_settles_are_given_up_and_counted(
    far: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOST", "5")
    far.faults["hv1"] = "unsettled"
    done = far.run(*MADE, "--count", "20", "--timeout", "100")
    assert done.status == 1 and len(done.lines) == 20
    assert "the sender host hv1: 15 packets were lost from sight" in done.out


def test_pings_that_one_has_not_seen_are_shown_and_counted(far: Hosts) -> None:
    far.faults["vm-b"] = "blind"
    done = far.run(*MADE, "--count", "20", "--timeout", "100")
    assert "joined at all points: 15 of 20 pings" in done.out
    assert sum("nothing from the receiver guest" in line for line in done.lines) == 5


def test_a_ping_that_cannot_be_made_is_said(far: Hosts) -> None:
    far.faults["ping"] = "fails"
    done = far.run(*MADE, "--count", "20")
    assert done.status == 1 and not done.lines
    assert "ping: connect: Network is unreachable" in done.err
    assert "joined at all points: 0 of 0 pings" in done.out


def test_lost_pings_say_where(far: Hosts, tmp_path: Path) -> None:
    far.faults["hv1"] = "unanswered"
    path = tmp_path / "capture.json"
    done = far.run(*MADE, "--count", "5", "-w", str(path))
    assert done.status == 1 and len(done.lines) == 5
    assert all("LOST, says the sender host: outside the host" in line for line in done.lines)
    assert "the sender host hv1: 5 pings lost (outside the host)" in done.out
    assert "5 packets lost (outside the host)" in analyze(path)


# ---- the end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_tables(far: Hosts, number: signal.Signals) -> None:
    child = far.start(*MADE)
    assert child.stdout and child.stderr
    for line in child.stdout:
        if line.startswith(f"id {ID} seq 5 "):
            child.send_signal(number)
            break
    out, err = child.communicate(timeout=60)
    joined = re.search(r"joined at all points: (\d+) of (\d+) pings", out)
    assert child.returncode == 0 and joined and joined[1] == joined[2], err
    assert all(far.commands(place)[-1]["command"] == "stop" for place in ("hv1", "hv2", "vm-a"))


def test_a_signal_before_all_are_ready_ends_it_at_once(far: Hosts) -> None:
    far.faults["vm-b"] = "mute"
    child = far.start(*MADE)
    assert child.stderr
    for line in child.stderr:
        if "receiver host hv2 is ready" in line:
            child.send_signal(signal.SIGINT)
            break
    begin = time.monotonic()
    out, err = child.communicate(timeout=60)
    assert time.monotonic() - begin < SOON_S
    assert child.returncode == 130 and not out and "Traceback" not in err


def test_a_signal_ends_it_with_what_is_known_when_nobody_answers_any_more(far: Hosts) -> None:
    child = far.start(*MADE)
    assert child.stdout
    for line in child.stdout:
        if line.startswith(f"id {ID} seq 5 "):
            break
    agents = children(child.pid)
    assert len(agents) == 5, "four observers and what pings"
    for pid in agents:
        os.kill(pid, signal.SIGSTOP)
    begin = time.monotonic()
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=60)
    assert time.monotonic() - begin < SOON_S + ending.FINISH_S
    assert child.returncode == 1 and re.search(r"joined at all points: \d+ of \d+ pings", out)
    assert err.count("the agent did not end in time") == 4, err
    assert not [pid for pid in agents if Path(f"/proc/{pid}").exists()]


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_no_agent_waits_for_the_end_of_another_one(far: Hosts) -> None:
    """Each that does not end is waited for for more than a second."""
    far.faults.update(dict.fromkeys(("hv1", "hv2"), "mute"))
    child = far.start(*MADE)
    assert child.stderr and "starting" in child.stderr.readline()
    begin = time.monotonic()
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    assert child.returncode == 130 and time.monotonic() - begin < SOON_S


def test_the_time_ends_it(far: Hosts) -> None:
    done = far.run(*MADE, "--duration", "0.5")
    assert done.status == 0 and 5 < len(done.lines) < 60


# ---- what is asked for ---------------------------------------------------------------------------


def parsed(*words: str) -> PingRequest:
    parser = argparse.ArgumentParser()
    options.configure(parser)
    return options.parse(parser.parse_args(words))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sender", "hv1"], "--sender 'hv1' names no VM on a host; give [user@]host/vm"),
        (["--sender", "hv1/"], "names no VM"),
        (["--sender", "/vm"], "names no VM"),
        (["--sender", "ssh://hv1"], "names no VM"),
        (["--receiver=-oProxyCommand=x/vm"], "--receiver '-oProxyCommand=x' is not a host"),
        (["--receiver", "a b/vm"], "--receiver 'a b' is not a host"),
        (["--sender", "hv2/vm-b"], "--sender and --receiver are the same VM"),
        (["--sender-guest", "$(x)"], "--sender-guest '$(x)' is not a host"),
        (["--receiver-guest=-x"], "--receiver-guest '-x' is not a host"),
        (["--sender-ip", "x"], "--sender-ip 'x' is not an address"),
        (
            ["--sender-ip", "224.0.0.1"],
            "--sender-ip 224.0.0.1 is not an address of one VM; give that",
        ),
        (["--receiver-ip", "::"], "--receiver-ip :: is not an address of one VM"),
        (["--receiver-ip", "127.0.0.1"], "--receiver-ip 127.0.0.1 is not an address of one VM"),
        (["--output", "/tmp"], "/tmp cannot be replaced: it is not a regular file; choose another"),
        (["--sender-guest", "a", "--interval", "0"], "a number from 0.001 to 3600"),
        (["--sender-ip", "10.0.0.1", "--receiver-ip", "fd00::1"], "not of one IP version"),
        (["--sender-ip", "10.0.0.1", "--receiver-ip", "10.0.0.1"], "are the same address"),
        (["--receiver-phy-interface", "a,,b"], "--receiver-phy-interface 'a,,b' holds an empty"),
        (["--interval", "1"], "--interval is of a ping that vmlat starts"),
        (["--size", "1"], "give --sender-guest"),
        (["--sender-guest", "a", "--size", "65508"], "--size '65508' is wrong"),
        (["--sender-guest", "a", "--interval", "nan"], "--interval 'nan' is wrong"),
        (["--count", "0"], "--count '0' is wrong"),
        (["--timeout", "0"], "--timeout '0' is wrong"),
        (["--duration", "soon"], "--duration 'soon' is wrong"),
        (["--output", "/nowhere/x"], "/nowhere is not a directory"),
    ],
)
def test_options_are_checked(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parsed(*HOSTS, *words)


def test_a_file_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("mine")
    with pytest.raises(UsageError, match="replace it with --force"):
        parsed(*HOSTS, "-w", str(path))
    assert parsed(*HOSTS, "-w", str(path), "--force").output == path


def test_places_and_the_ping_are_what_ssh_gets() -> None:
    request = parsed(
        "--sender", "ssh://me@[fd00::1]:22/vm-a", "--receiver", "localhost/vm-b",
        "--sender-guest", "root@vm-a", "--receiver-guest", "localhost", "--sudo", "--count", "7",
        "--interval", "0.2", "--size", "0",
    )  # fmt: skip
    assert request.sender.host.name == "ssh://me@[fd00::1]:22" and request.sender.host.far
    assert "sudo -n python3" in request.sender.host.argv[-1]
    assert not request.receiver.host.far and request.receiver.vm == "vm-b"
    line = request.ping_argv(ip_address("10.0.0.9"))
    assert line and line[0] == "ssh" and "BatchMode=yes" in line and "sudo" not in line[-1]
    assert line[-2] == "root@vm-a" and "!" not in line[-1]
    assert shlex.split(line[-1])[5:] == shlex.split("ping -n -i 0.2 -s 0 -c 7 10.0.0.9")
    local = parsed(*HOSTS, "--sender-guest", "localhost").ping_argv(ip_address("fd00::9"))
    assert local and local[4:] == ("ping", "-n", "-i", "1", "-s", "56", "fd00::9")


V4, OTHER_V4, V6, LINK = "10.0.0.5", "10.0.1.5", "fd00::5", "fe80::5"


@pytest.mark.parametrize(
    ("sender", "receiver", "found"),
    [
        ({V4}, {"10.0.0.9"}, (V4, "10.0.0.9")),
        ({V4, V6, LINK}, {"10.0.0.9", "fd00::9"}, (V4, "10.0.0.9")),
        ({V4, OTHER_V4, V6}, {"10.0.0.9", "fd00::9"}, (V6, "fd00::9")),
        ({V6, LINK}, {"fd00::9", "fe80::9", "\x1b[2J"}, (V6, "fd00::9")),
    ],
)
def test_the_address_is_the_only_one_that_is_known(
    sender: set[str], receiver: set[str], found: tuple[str, str]
) -> None:
    request = parsed(*HOSTS)
    ends = (request.sender, frozenset(sender)), (request.receiver, frozenset(receiver))
    assert tuple(map(str, addresses(*ends))) == found


@pytest.mark.parametrize(
    ("words", "sender", "receiver", "message"),
    [
        ([], set(), {V4}, "the address of vm-a is not certain: its host knows none; name it with"),
        ([], {V4}, {LINK}, "the address of vm-b is not certain: its host knows none"),
        ([], {V4, OTHER_V4}, {"10.0.0.9"}, f"of vm-a is not certain: {V4}, {OTHER_V4}; name it"),
        (["--sender-ip", V6], {V4}, {"10.0.0.9"}, "name it with --receiver-ip"),
        ([], {V4}, {V4}, "are the same address"),
    ],
)
def test_an_address_that_is_not_certain_is_asked_for(
    words: list[str], sender: set[str], receiver: set[str], message: str
) -> None:
    request = parsed(*HOSTS, *words)
    ends = (request.sender, frozenset(sender)), (request.receiver, frozenset(receiver))
    with pytest.raises(UsageError, match=re.escape(message)):
        addresses(*ends)


def test_a_vm_that_is_not_there_is_one_line(far: Hosts) -> None:
    done = far.run("--sender", "hv1/vm-a", "--receiver", "hv2/vm-9")
    assert done.status == 2 and not done.out
    assert done.err.splitlines()[-1] == (
        "vmlat: there is no VM 'vm-9': on hv2: vm-x, vm-b; "
        "correct --receiver; `vmlat topology --host hv2` shows what is there"
    )


def test_two_vms_of_one_machine_are_refused_by_whatever_names_it_is_reached(far: Hosts) -> None:
    far.faults.update(hv1="same", hv2="same")
    done = far.run(*HOSTS)
    assert done.status == 2 and "both VMs are on one host" in done.err.splitlines()[-1]


def test_nothing_is_left_on_the_other_hosts(tmp_path: Path) -> None:
    """The real agents, which find no such VM."""
    host = FarHost(tmp_path)
    path = tmp_path / "capture.json"
    path.write_text("precious")
    done = subprocess.run(
        [sys.executable, "-m", "vmlat_tui", "ping", *HOSTS, *GUESTS, "-w", str(path), "--force"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PATH": host.path},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("vmlat: there is no VM 'vm-b': ")
    assert host.empties() and path.read_text() == "precious"
    assert not list(tmp_path.glob(".*"))


def test_hosts_that_ssh_does_not_know_are_one_line_with_what_to_do(tmp_path: Path) -> None:
    host = FarHost(tmp_path)
    host.says(255, "ssh: Could not resolve hostname hv1: Name or service not known")
    path = tmp_path / "capture.json"
    ips = ("--sender-ip", ENDS[0], "--receiver-ip", ENDS[1])
    for words in ((), ips):
        done = subprocess.run(
            [sys.executable, "-m", "vmlat_tui", "ping", *HOSTS, *GUESTS, *words, "-w", str(path)],
            cwd=ROOT, capture_output=True, text=True, timeout=60,
            env={**os.environ, "PATH": host.path},
        )  # fmt: skip
        assert done.returncode == 2 and done.stdout == "", done.stderr
        assert "hv1 cannot be reached: ssh: Could not resolve" in done.stderr
        assert "; `ssh hv1` must work" in done.stderr and not path.exists()


def test_a_file_that_cannot_be_written_is_said_before_anything_is_started() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vmlat_tui", "ping", *HOSTS, "-w", "/proc/vmlat-capture"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    assert re.fullmatch(
        "vmlat: /proc/vmlat-capture cannot be made: .*; choose another place\n", done.stderr
    )
