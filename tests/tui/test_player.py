"""Replaying: the keys that move through a recording, and the commands that open one."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui.driving import SMALL, painted, press, screen_text
from tests.tui.streams import Stream, write
from tests.tui.terminal import ENTERED, ROOT, running
from vmlat_tui.recording.replay import Recording
from vmlat_tui.recording.shipped import SHIPPED
from vmlat_tui.session.snapshot import Phase
from vmlat_tui.tui import keys
from vmlat_tui.tui.app import VmlatApp
from vmlat_tui.tui.widgets.table import Table

S = 1_000_000_000
#: The clock of a stream begins here, and its readings are a second apart.
BEGIN_NS = 1000 * S
Act = Callable[[VmlatApp, Pilot[None]], Awaitable[Any]]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More readings than a history keeps."""
    path = tmp_path_factory.mktemp("recordings") / "a.vmlat.gz"
    return write(path, Stream(("web-1",), flows=2).whole(240, single=0))


def play(path: Path, act: Act, at_s: int = 10, speed: float = 1.0) -> Any:
    """Replay from a second on, until it is there, then ``act``."""

    async def run() -> Any:
        app = VmlatApp(Recording(path, speed, BEGIN_NS + at_s * S))
        async with app.run_test(size=SMALL) as pilot:
            await until(pilot, lambda: app.moments[-1].t_ns >= BEGIN_NS + at_s * S)
            await until(pilot, lambda: " of " in crumb(app))
            return await act(app, pilot)

    return asyncio.run(run())


async def until(pilot: Pilot[None], condition: Callable[[], Any]) -> None:
    for _ in range(500):
        await pilot.pause(0.01)
        if condition():
            await painted(pilot)
            return
    raise AssertionError("it did not come true")


def second(app: VmlatApp) -> float:
    """Which second of the recording is shown."""
    return (app.place.now.t_ns - BEGIN_NS) / S


def reading(app: VmlatApp) -> int:
    """Which reading is shown: the stream counts its packets up by as many each time."""
    stats = app.place.now.stats
    assert stats is not None
    return stats.t_ns // S


def crumb(app: VmlatApp) -> str:
    return screen_text(app).splitlines()[0]


def test_space_stops_a_replay_and_lets_it_go_on(recording: Path) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        # It plays meanwhile, on a busy machine for some seconds.
        assert re.search("► 0:1[0-9] of 4:0", crumb(app)) and not app.live
        await press(pilot, "greater_than_sign", "greater_than_sign", "greater_than_sign")
        await until(pilot, lambda: "×8" in crumb(app))
        await press(pilot, "space")
        await pilot.pause(0.3)
        stood = second(app)
        await pilot.pause(0.4)
        assert second(app) == stood and "⏸" in crumb(app)
        await press(pilot, "space")
        await until(pilot, lambda: second(app) > stood + 2)
        await press(pilot, *["less_than_sign"] * 9)
        assert "×0.125" in crumb(app), "and no slower"

    play(recording, act)


def test_steps_are_readings_back_and_forth_and_on_into_what_was_not_read(recording: Path) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        await press(pilot, "space")
        await pilot.pause(0.2)
        newest = reading(app)
        await press(pilot, "t")
        assert reading(app) == newest - 1
        await press(pilot, "T")
        assert reading(app) == newest
        await press(pilot, "T")
        await until(pilot, lambda: reading(app) == newest + 1)
        await press(pilot, "right_curly_bracket")
        await until(pilot, lambda: reading(app) == newest + 11)
        await pilot.pause(0.3)
        assert reading(app) == newest + 11 and "⏸" in crumb(app)
        await press(pilot, "t", "t", "space")
        assert reading(app) <= newest + 10, "goes on from what was shown"
        await until(pilot, lambda: "►" in crumb(app))
        assert reading(app) <= newest + 10

    play(recording, act)


def test_what_is_no_longer_kept_is_read_again(recording: Path) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        await press(pilot, "space")
        oldest = app.moments[0].t_ns
        assert oldest > BEGIN_NS + 20 * S, "the history is shorter than the recording"
        await press(pilot, *["left_curly_bracket"] * 21)
        await until(pilot, lambda: app.place.now.t_ns < oldest and app.moments[0].number == 0)
        assert "⏸" in crumb(app) and 15 < second(app) < 40

    play(recording, act, at_s=235)


def test_it_is_sent_to_a_time_and_minutes_back_and_forth(recording: Path) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        await press(pilot, "enter", "space", "at")
        app.screen.query_one(Input).value = "3:30"
        await press(pilot, "enter")
        await until(pilot, lambda: 210 <= second(app) < 211.5)
        await press(pilot, "left_square_bracket", "left_square_bracket")
        await until(pilot, lambda: 89 <= second(app) < 92)
        assert app.place.now.stats is not None and app.place.now.watched
        await press(pilot, "right_square_bracket")
        await until(pilot, lambda: 149 <= second(app) < 152)
        assert "⏸ 2:" in crumb(app)
        assert app.screen.query(Table).first().id in ("tx", "rx"), "on the same screen"
        await press(pilot, "at")
        app.screen.query_one(Input).value = "9:00"
        await press(pilot, "enter")
        assert "is not in the recording" in screen_text(app)

    play(recording, act)


def test_after_the_end_one_can_go_back(recording: Path) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        await press(pilot, *["right_square_bracket"] * 5)
        await until(pilot, lambda: app.moments[-1].phase is Phase.ENDED)
        assert "■ 4:0" in crumb(app) and "ended" in crumb(app)
        await press(pilot, "T", "space", "right_square_bracket")
        assert app.moments[-1].phase is Phase.ENDED
        await press(pilot, "t")
        await until(pilot, lambda: "⏸" in crumb(app))
        await press(pilot, "left_square_bracket")
        await until(pilot, lambda: app.moments[-1].phase is not Phase.ENDED and second(app) < 200)
        assert "►" in crumb(app)

    play(recording, act)


def test_a_cut_off_recording_says_so_at_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "cut.vmlat", Stream(("web-1",), flows=2).whole(20, single=0))
    path.write_bytes(path.read_bytes()[:-100])

    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        await press(pilot, "right_square_bracket")
        await until(pilot, lambda: app.moments[-1].phase is Phase.ENDED)
        await until(pilot, lambda: app._notifications)
        assert ["cut off" in n.message for n in app._notifications] == [True]

    play(path, act)


def test_help_names_the_keys_of_a_replay_only_where_there_is_one(recording: Path) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        await press(pilot, "question_mark")
        words = [row[2] for row in app.screen.query(Table).first().rows]
        assert {key.words for key in keys.KEYS["recording"]} <= set(words)

    play(recording, act)


# ---- the commands -------------------------------------------------------------------------------

#: What a viewer's machine may lack.
BLOCKED = """
import os, sys
for name in ("bcc", "libvirt", "libvirt_qemu", "ovs", "pyroute2"):
    sys.modules[name] = None
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
from vmlat_tui.cli import main
sys.exit(main(sys.argv[1:]))
"""


def plain(*arguments: str, status: int = 0, blocked: bool = False) -> tuple[str, str]:
    """Output and messages without a terminal."""
    program = ["-c", BLOCKED] if blocked else ["-m", "vmlat_tui"]
    done = subprocess.run(
        [sys.executable, *program, *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


def test_without_a_terminal_replay_and_demo_print_a_plain_snapshot(recording: Path) -> None:
    out, err = plain("replay", str(recording))
    assert "hv1, Linux 6.1" in out and "vnet0 RX, since the start" in out and err == ""
    assert plain("--replay", str(recording))[0] == out, "at once, whatever the speed"
    early = plain("replay", str(recording), "--at", "0:20")[0]
    assert early != out and "vnet0 RX, since the start" in early


def test_a_cut_off_recording_is_said_to_be_one(recording: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.vmlat.gz"
    path.write_bytes(recording.read_bytes()[:-2000])
    assert "note: the recording is cut off here" in plain("replay", str(path))[0]


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_needs_no_bcc_no_libvirt_and_no_root(name: str, tmp_path: Path) -> None:
    out, err = plain("demo", name, blocked=True)
    assert "vm-a" in out and "phy_queue → phy_xmit" in out and err == ""


def test_the_demos_are_listed() -> None:
    lines = plain("demo", "--list")[0].splitlines()
    assert [line.split()[0] for line in lines] == list(SHIPPED)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demo", "nothing"], "choose one of two-vms"),
        (["demo", "--at", "x"], "is not a time of a recording"),
        (["demo", "--at", "99:00"], "is not in the recording"),
        (["demo", "--speed", "-1"], "--speed '-1' is wrong"),
        (["replay", "/nowhere/x"], "cannot be opened"),
        (["replay", "README.md"], "is not a recording of vmlat"),
    ],
)
def test_what_cannot_be_replayed_is_one_line_and_status_2(arguments: list[str], words: str) -> None:
    out, err = plain(*arguments, status=2)
    assert words in err and len(err.splitlines()) == 1 and out == ""


def test_the_demo_opens_on_a_terminal_at_once_and_says_what_it_is() -> None:
    with running(["-m", "vmlat_tui", "demo", "slow-uplink"]) as terminal:
        assert terminal.until(b"vm-a") and ENTERED in terminal.output
        assert terminal.until(b"holds its UDP")
        terminal.type(b"q")
        assert terminal.ended() == 0 and terminal.restored
