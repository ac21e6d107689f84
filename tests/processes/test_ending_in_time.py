"""Whatever the agents do, a command that is told to end has ended within two seconds."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.stubborn import COMMANDS, Stuck, left
from vmlat_tui import ending
from vmlat_tui.ending import EndedBySignal, Ending

#: So long for the user, the rest for a machine that runs several at once.
SOON_S = ending.GONE_S + ending.FINISH_S + 1.4
WAYS = ("silent", "frozen", "goes on", "floods")
#: Any frame is an answer to ``describe``, and a wrong one ends it; ``trace`` stands for its kind.
FEWER = {"doctor": WAYS[:2], "icmp": WAYS[1:2], "irq": WAYS[2:3], "kick": WAYS[3:]}
CASES = [
    (command, how)
    for command in COMMANDS
    for how in FEWER.get(command, WAYS)
    if command != "screens"
]
_AT_ONCE = 12
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Case:
    """A command that is stuck, and how it ended."""

    stuck: Stuck
    command: str
    how: str
    number: signal.Signals

    def wrong(self, seconds: float) -> str:
        """What is wrong with its end, which it has so long for."""
        try:
            _, err = self.stuck.child.communicate(timeout=max(0.1, seconds))
        except subprocess.TimeoutExpired:
            return "is still there"
        if self.stuck.child.returncode != 128 + self.number or "Traceback" in err:
            return f"exit status {self.stuck.child.returncode}: {err}"
        return "leaves its agent" if left(self.stuck.directory) else ""


@pytest.mark.parametrize("turn", range(3))
def test_every_command_ends_soon_whatever_its_agents_do(turn: int, tmp_path: Path) -> None:
    """In three turns every command gets every signal, with one kind of agent after the other."""
    mine = [(at, case) for at, case in enumerate(CASES) if at % 3 == turn]
    found = {}
    for first in range(0, len(mine), _AT_ONCE):
        with ExitStack() as ends:
            cases = []
            for at, (command, how) in mine[first : first + _AT_ONCE]:
                one = Stuck(how, tmp_path / f"{command}-{how}".replace(" ", "-"), command)
                ends.callback(one.close)
                cases.append(Case(one, command, how, _SIGNALS[(at // 3 + at) % 3]))
            for case in cases:
                assert case.stuck.waits(), case
            for case in cases:
                case.stuck.child.send_signal(case.number)
            end = time.monotonic() + SOON_S
            for case in cases:
                found[case.command, case.how] = case.wrong(end - time.monotonic())
    assert found and not any(found.values()), {k: v for k, v in found.items() if v}


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Callable[[str], Stuck]]:
    made: list[Stuck] = []

    def make(command: str) -> Stuck:
        made.append(Stuck("frozen", tmp_path / command, command))
        assert made[-1].waits()
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_what_was_measured_is_printed_all_the_same(frozen: Callable[[str], Stuck]) -> None:
    running = {command: frozen(command) for command in ("trace", "guest", "live")}
    time.sleep(0.5)
    for one in running.values():
        one.child.send_signal(signal.SIGINT)
    said = {command: one.child.communicate(timeout=20) for command, one in running.items()}
    summary = json.loads(said["trace"][0].splitlines()[-1])
    assert summary["interrupted"] == "the agent did not end in time: interrupted"
    assert "the agent did not end in time" in said["guest"][0]
    assert said["live"][0].startswith("web-1 vnet0: ")
    for _, err in said.values():
        assert err.splitlines()[-1] == "vmlat: the agent did not end in time: interrupted"


def test_a_second_signal_ends_at_once(frozen: Callable[[str], Stuck]) -> None:
    one = frozen("trace")
    one.child.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert one.child.poll() is None, "it waits for the last figures"
    one.child.send_signal(signal.SIGINT)
    assert one.child.wait(0.7) == 130
    assert not left(one.directory)


def test_a_command_under_nohup_stays(tmp_path: Path) -> None:
    stay = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    one = Stuck("goes on", tmp_path / "a", "trace", stay)
    try:
        assert one.waits()
        one.child.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            one.child.wait(1.5)
    finally:
        one.close()


# ---- the mechanism -------------------------------------------------------------------------------


@pytest.fixture
def watched() -> Iterator[Ending]:
    one, before = Ending(), [signal.getsignal(number) for number in _SIGNALS]
    with one.watching():
        yield one
    assert [signal.getsignal(number) for number in _SIGNALS] == before


def told(number: signal.Signals = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)


def wakes(one: Ending) -> bool:
    return bool(select.select([one], [], [], 0)[0])


def test_a_signal_ends_what_has_nothing_to_finish(watched: Ending) -> None:
    with pytest.raises(EndedBySignal):
        told()
    assert watched.status == 128 + signal.SIGTERM


def test_in_order_the_first_is_a_wish_that_wakes(watched: Ending) -> None:
    with watched.orderly():
        assert (watched.asked, wakes(watched)) == (False, False)
        told(signal.SIGHUP)
        assert (watched.asked, wakes(watched)) == (True, True)
        watched.woken()
        assert (watched.asked, wakes(watched)) == (True, False)
        with pytest.raises(EndedBySignal):
            told(signal.SIGINT)
    assert watched.status == 128 + signal.SIGHUP and watched.over


def test_what_is_held_is_not_torn_apart_and_ends_then(watched: Ending) -> None:
    done = []
    with pytest.raises(EndedBySignal), watched.held():
        told()
        done.append("all of it")
    assert done


def test_agents_that_have_something_to_finish_have_more_time(watched: Ending) -> None:
    with watched.orderly():
        told()
        assert ending.GONE_S < watched.left_s(30.0) <= ending.GONE_S + ending.FINISH_S
        with pytest.raises(EndedBySignal):
            told()
        assert watched.left_s(30.0) == 0.0


def test_the_time_that_is_left_shrinks_from_the_beginning_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    one = Ending()
    assert (one.left_s(30.0), one.over) == (30.0, False)
    one.begin()
    now[0] += 0.5
    assert one.left_s(30.0) == pytest.approx(ending.GONE_S - 0.5) and one.left_s(0.1) == 0.1
    assert one.left_s(30.0, ending.ANSWER_S) == pytest.approx(ending.ANSWER_S - 0.5)
    assert (one.over, one.status) == (False, 0)
    now[0] += 0.6
    assert one.over and one.left_s(30.0) > 0
