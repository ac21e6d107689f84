"""Recordings: written beside the stream, read back in time, whole as far as they go."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest

from tests.support.frames import next_object, objects
from tests.tui.sources import Frames
from tests.tui.streams import Stream, write
from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.model.requested import Requested
from vmlat_tui.protocol.commands import Measure
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.recording.replay import Replay
from vmlat_tui.recording.write import Tee
from vmlat_tui.session.feed import Feed, drain
from vmlat_tui.session.snapshot import Moments, Phase
from vmlat_tui.transport.source import StreamEnded


def everything(source: Replay) -> list[Raw]:
    """All frames of a recording."""
    found: list[Raw] = []
    while True:
        try:
            frame = next_object(source, 1.0)
        except StreamEnded:
            return found
        if frame is not None:
            found.append(frame)


@pytest.mark.parametrize("name", ["a.vmlat", "a.vmlat.gz"])
def test_a_recording_is_the_stream_itself(name: str, tmp_path: Path) -> None:
    frames = list(Stream().whole(2))
    tee = Tee(Frames(frames))
    tee.record(tmp_path / "deep" / name)
    for _ in frames:
        next_object(tee, 1)
    tee.close()
    assert list(objects(tmp_path / "deep" / name)) == frames
    assert (tmp_path / "deep" / name).stat().st_mode & 0o777 == 0o600


def test_a_recording_begun_late_begins_with_the_state_of_things(tmp_path: Path) -> None:
    frames = list(Stream().whole(3, single=0))
    tee = Tee(Frames(frames))
    for _ in frames[:-4]:
        next_object(tee, 1)
    tee.record(tmp_path / "late.vmlat")
    for _ in frames[-4:]:
        next_object(tee, 1)
    tee.stop()
    kinds = [frame["type"] for frame in objects(tmp_path / "late.vmlat")]
    assert kinds[:6] == ["hello", "topology", "measuring", "links", "vitals", "stats"]
    assert drain(Replay(tmp_path / "late.vmlat", None))[-1].stats is not None


def test_a_recording_begun_when_measuring_is_over_says_nothing_of_it(tmp_path: Path) -> None:
    stream = Stream()
    frames = [*stream.whole(3), stream.released(), stream.vitals()]
    tee = Tee(Frames(frames))
    for _ in frames[:-1]:
        next_object(tee, 1)
    tee.record(tmp_path / "late.vmlat")
    next_object(tee, 1)
    tee.stop()
    kinds = [frame["type"] for frame in objects(tmp_path / "late.vmlat")]
    assert kinds == ["hello", "topology", "vitals", "vitals"]


@pytest.mark.parametrize("name", ["cut.vmlat", "cut.vmlat.gz"])
def test_a_tail_that_was_cut_off_ends_the_recording(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, Stream().whole(2))
    whole = objects(path)
    path.write_bytes(path.read_bytes()[:-300])
    *found, notice = objects(path)
    assert found == whole[: len(found)] and 0 < len(found) < len(whole)
    assert notice["type"] == "notice" and "cut off" in notice["text"]


def test_what_a_killed_program_had_recorded_is_there(tmp_path: Path) -> None:
    frames = list(Stream().whole(3))
    tee = Tee(Frames(frames))
    tee.record(tmp_path / "a.vmlat.gz")
    for _ in frames:
        next_object(tee, 1)
    *found, notice = objects(tmp_path / "a.vmlat.gz")
    assert found == frames and "cut off" in notice["text"], "nothing was closed"
    tee.close()


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    path = write(tmp_path / "a.vmlat", Stream().looking())
    before = path.read_bytes()
    tee = Tee(Frames(Stream().looking()))
    with pytest.raises(UsageError, match="exists"):
        tee.record(path)
    assert path.read_bytes() == before
    tee.close()


def test_a_full_disk_ends_the_recording_and_nothing_else(tmp_path: Path) -> None:
    frames = list(Stream().whole(40))
    source = Frames(frames, endless=True)
    found: list[Moments] = []
    feed = Feed(lambda: source, found.append)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        feed.record(tmp_path / "full.vmlat")
        feed.start()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not (found and found[-1][-1].number > 35):
            time.sleep(0.01)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        feed.close()
    now = found[-1][-1]
    assert now.phase is Phase.MEASURING and now.recording is None and now.number > 35
    (notice,) = now.notices
    assert "full.vmlat ended: File too large" in notice
    assert len(list(objects(tmp_path / "full.vmlat"))) > 20


def test_what_is_no_recording_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "x.vmlat"
    for content in ("nonsense\n", '{"type":"stats"}\n', '{"type":"hello","schema":99}\n', ""):
        path.write_text(content)
        with pytest.raises(VmlatError) as caught:
            Replay(path).peek()
        assert "\n" not in str(caught.value)
    (tmp_path / "x.vmlat.gz").write_text("no gzip\n")
    for missing in (tmp_path / "x.vmlat.gz", tmp_path / "none"):
        with pytest.raises(UsageError):
            Replay(missing).peek()


def test_a_replay_keeps_the_pace_of_the_recording(tmp_path: Path) -> None:
    path = write(tmp_path / "a.vmlat", Stream(host_names(), interval_s=0.5).looking(3))
    begin = time.monotonic()
    assert len(everything(Replay(path, 10.0))) == 5
    assert 0.08 < time.monotonic() - begin < 1.0
    slow = Replay(path, 0.01)
    assert [next_object(slow, 0.01) for _ in range(5)].count(None) >= 2


def host_names() -> tuple[str, ...]:
    return ("one",)


def posts(feed_of: Frames, seconds: float = 5.0) -> list[Moments]:
    """What a feed posts until its stream ends."""
    found: list[Moments] = []
    feed = Feed(lambda: feed_of, found.append)
    feed.start()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found and found[-1][-1].phase in (Phase.ENDED, Phase.FAILED):
            break
        time.sleep(0.01)
    feed.close()
    return found


def test_a_feed_posts_twice_a_second_however_many_frames_come() -> None:
    source = Frames(Stream().whole(30))
    found = posts(source)
    assert found[-1][-1].phase is Phase.ENDED and len(found) < 12 and source.closed


def test_a_feed_says_why_there_is_no_source() -> None:
    def connect() -> Frames:
        raise VmlatError("no agent", "it is not installed")

    found: list[Moments] = []
    feed = Feed(connect, found.append)
    feed.start()
    feed.close()
    assert found[-1][-1].phase is Phase.FAILED and "not installed" in str(found[-1][-1].problem)


def test_commands_reach_the_source_and_a_failed_recording_is_a_refusal(tmp_path: Path) -> None:
    source = Frames(Stream().looking(), endless=True)
    found: list[Moments] = []
    feed = Feed(lambda: source, found.append)
    feed.start()
    feed.send(Measure(Requested(("vnet0",))))
    feed.record(tmp_path)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not (found and found[-1][-1].refusal):
        time.sleep(0.01)
    feed.close()
    assert source.sent == [Measure(Requested(("vnet0",)))]
    assert "exists" in str(found[-1][-1].refusal)
    assert source.closed


def test_a_recording_begun_late_says_what_is_measured(tmp_path: Path) -> None:
    stream = Stream()
    first, other = stream.refiltered()
    read_ack: Raw = {"type": "ack", "id": None, "command": "read", "took_ns": 1}
    before = [*stream.whole(2, single=0), first, read_ack]
    tee = Tee(Frames([*before, other, stream.stats(), stream.released(), stream.vitals()]))
    for _ in before:
        next_object(tee, 1)
    tee.record(tmp_path / "late.vmlat")
    next_object(tee, 1), next_object(tee, 1)
    tee.stop()
    moments = drain(Replay(tmp_path / "late.vmlat", None))
    assert {m.acknowledged.words for m in moments if m.acknowledged} == {"", "udp"}
    now = moments[-1].stats
    assert now and now.totals and now.totals.before, "nothing reaches back beyond the filter"
    next_object(tee, 1)
    tee.record(tmp_path / "later.vmlat")
    next_object(tee, 1)
    tee.close()
    assert [frame["type"] for frame in objects(tmp_path / "later.vmlat")].count("ack") == 0


def test_a_lost_connection_is_in_the_recording_and_replays_as_it_was(tmp_path: Path) -> None:
    stream = Stream()
    lost: Raw = {"type": "lost", "title": "cut", "cause": "", "attempt": 1, "wait_s": 1.0}
    before = [*stream.whole(2, single=0), lost]
    after = [stream.hello(), stream.topology(), stream.vitals()]
    tee = Tee(Frames([*before, *after, stream.vitals()]))
    tee.record(tmp_path / "whole.vmlat")
    for _ in (*before, *after):
        next_object(tee, 1)
    assert drain(Replay(tmp_path / "whole.vmlat", None))[-1].measuring is None
    tee.record(tmp_path / "late.vmlat")
    next_object(tee, 1)
    tee.close()
    kinds = [frame["type"] for frame in objects(tmp_path / "late.vmlat")]
    assert kinds == ["hello", "topology", "vitals", "vitals"], "nothing of the agent before"
