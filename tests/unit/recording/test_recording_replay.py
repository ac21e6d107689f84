"""The time of a replay: paused, stepped, sped up, sent ahead; and what a time is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import command
from tests.support.frames import next_object, typed
from tests.tui.streams import Stream, write
from vmlat_tui.errors import UsageError
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.protocol.session import HelloFrame
from vmlat_tui.recording.outline import Outline, minutes, outline
from vmlat_tui.recording.read import time_of
from vmlat_tui.recording.replay import Replay
from vmlat_tui.transport.source import Pace, Seek, Step, StreamEnded

S = 1_000_000_000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write(tmp_path / "a.vmlat.gz", Stream().whole(20, single=1))


def available(replay: Replay) -> list[Raw]:
    """What comes without being waited for."""
    found: list[Raw] = []
    while True:
        try:
            frame = next_object(replay, 0.0)
        except StreamEnded:
            return found
        if frame is None:
            return found
        found.append(frame)


def readings(found: list[Raw]) -> int:
    return sum(frame["type"] == "stats" for frame in found)


def is_at(frame: Raw, t_ns: int) -> bool:
    """The stream's packets come some microseconds after its readings."""
    return 0 <= (time_of(typed(frame)) or 0) - t_ns < 1_000_000


def whole(path: Path) -> Outline:
    found = outline(path)
    assert found is not None
    return found


def test_a_replay_begins_where_it_is_told_to_with_all_that_came_before(recording: Path) -> None:
    at_ns = whole(recording).begin_ns + 10 * S
    found = available(Replay(recording, 1.0, at_ns))
    assert found[0]["type"] == "hello" and is_at(found[-1], at_ns)
    assert max(time_of(typed(frame)) or 0 for frame in found) < at_ns + 1_000_000


def test_what_is_paused_gives_nothing_until_it_goes_on(recording: Path) -> None:
    replay = Replay(recording, 1.0, whole(recording).begin_ns, paused=True)
    available(replay)
    begin = time.monotonic()
    assert next_object(replay, 0.05) is None and time.monotonic() - begin >= 0.05
    replay.send(Pace(None, paused=False))
    assert readings(available(replay)) == 20
    with pytest.raises(StreamEnded):
        next_object(replay, 0.0)


def test_a_step_is_one_reading_whatever_else_came_with_it(recording: Path) -> None:
    replay = Replay(recording, 1.0, whole(recording).begin_ns + 5 * S, paused=True)
    available(replay)
    for count in (1, 1, 3):
        replay.send(Step(count))
        found = available(replay)
        assert readings(found) == count and found[-1]["type"] == "stats"


def test_before_anything_is_measured_a_reading_is_one_of_the_counters(tmp_path: Path) -> None:
    path = write(tmp_path / "a.vmlat", Stream().looking(5))
    replay = Replay(path, 1.0, whole(path).begin_ns, paused=True)
    available(replay)
    replay.send(Step(2))
    assert [frame["type"] for frame in available(replay)] == ["vitals", "vitals"]


def test_it_is_sent_ahead_and_goes_on_from_there_at_its_pace(recording: Path) -> None:
    begin_ns = whole(recording).begin_ns
    replay = Replay(recording, 1.0, begin_ns)
    available(replay)
    replay.send(Seek(begin_ns + 15 * S))
    assert is_at(available(replay)[-1], begin_ns + 15 * S)
    begin = time.monotonic()
    replay.send(Pace(10.0, paused=False))
    while next_object(replay, 0.5) is not None:
        if time.monotonic() - begin > 0.25:
            break
    assert time.monotonic() - begin < 0.4, "a tenth of a second for each"


def test_what_only_an_agent_obeys_is_ignored(recording: Path) -> None:
    replay = Replay(recording)
    replay.send(command("measure", vm_interfaces=["vnet0"]))
    assert isinstance(replay.peek(), HelloFrame)


# ---- times --------------------------------------------------------------------------------------

#: 64.5 s from 14:03:20.5 UTC.
SPAN = Outline(1000 * S + S // 2, 1065 * S, (1_790_000_000 - 1_790_000_000 % 86400 + 49_600) * S)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), ("12", 12), ("1.5", 1.5), ("0:30", 30), ("1:04", 64), (" 7 ", 7),
        ("-0", 64.5), ("-10", 54.5), ("14:03:20", 0), ("14:03:30", 9.5), ("14:04:25", 64.5),
    ],
)  # fmt: skip
def test_a_time_is_seconds_minutes_the_end_or_the_time_of_day(
    text: str, seconds: float, utc: None
) -> None:
    assert SPAN.moment(text) == SPAN.begin_ns + int(seconds * S)


@pytest.mark.parametrize(
    "text", ["", "x", "1:x", "1:-5", "0:75", "25:00:00", "1:2:3:4", "nan", "1e300", "²"]
)
def test_what_is_no_time_is_said_to_be_none(text: str, utc: None) -> None:
    with pytest.raises(UsageError, match="is not a time of a recording"):
        SPAN.moment(text)


@pytest.mark.parametrize("text", ["65", "2:00", "-65", "14:03:19", "13:00:00", "15:00:00"])
def test_what_is_not_in_the_recording_is_refused_with_its_bounds(text: str, utc: None) -> None:
    with pytest.raises(UsageError) as caught:
        SPAN.moment(text)
    assert "from 0:00 to 1:04, 14:03:20 to 14:04:25" in str(caught.value)


def test_midnight_may_lie_in_a_recording(utc: None) -> None:
    span = Outline(0, 60 * S, (1_790_035_200 - 30) * S)
    assert span.moment("23:59:40") == 10 * S and span.moment("00:00:20") == 50 * S


def test_a_position_is_in_minutes_however_long_it_is() -> None:
    assert SPAN.position(1012 * S) == "0:11 of 1:04" and minutes(3723 * S) == "62:03"


def test_a_recording_without_readings_has_no_outline(tmp_path: Path) -> None:
    stream = Stream()
    path = write(tmp_path / "a.vmlat", iter([stream.hello(), stream.topology()]))
    assert outline(path) is None


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
