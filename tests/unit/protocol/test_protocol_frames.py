"""The schema of the stream: what is newer is refused, what is older is led to this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.frames import objects
from tests.tui.streams import Stream, write
from vmlat_tui.errors import VmlatError
from vmlat_tui.protocol import migrations
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.recording.read import read
from vmlat_tui.recording.replay import Replay
from vmlat_tui.session.feed import drain


def rewrite(path: Path, schema: object) -> Path:
    """A recording that says to have another schema."""
    found = objects(path)
    found[0]["schema"] = schema
    return write(path, iter(found))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write(tmp_path / "a.vmlat", Stream().whole(2))


def test_a_newer_schema_is_refused_in_one_line_with_the_version_to_use(recording: Path) -> None:
    with pytest.raises(VmlatError) as caught:
        Replay(rewrite(recording, migrations.SCHEMA + 1)).peek()
    words = str(caught.value)
    assert "a newer version of vmlat wrote this" in words and "or later" in words
    assert f"schema {migrations.SCHEMA + 1}, this program reads up to {migrations.SCHEMA}" in words
    assert "\n" not in words


ODD_SCHEMAS: tuple[object, ...] = (
    *(None, "1", 0, -4, 1.5, True, 1.0, [[]], "x" * 10**6),
    *(-(1 << 40), -(10**4000)),  # a step for each of them would never end
)


@pytest.mark.parametrize("schema", ODD_SCHEMAS, ids=range(len(ODD_SCHEMAS)))
def test_what_no_version_ever_wrote_is_refused(recording: Path, schema: object) -> None:
    with pytest.raises(VmlatError, match="cannot be replayed") as caught:
        list(read(rewrite(recording, schema)))
    assert len(str(caught.value)) < 300


def older(frame: Raw) -> Raw:
    """As an imagined schema before this one had it: times in µs, vNICs under another name."""
    if frame["type"] == "hello":
        return {**frame, "schema": migrations.SCHEMA}
    if frame["type"] == "links":
        frame = {**frame, "taps": frame["vm_interfaces"]}
        del frame["vm_interfaces"]
    if "t_ns" in frame:
        frame = {**frame, "t_us": frame["t_ns"] // 1000}
        del frame["t_ns"]
    return frame


def from_before(frame: Raw) -> Raw:
    """The way from it to what the program reads."""
    frame = dict(frame)
    if "t_us" in frame:
        frame["t_ns"] = frame.pop("t_us") * 1000
    if frame["type"] == "links":
        frame["vm_interfaces"] = frame.pop("taps")
    return frame


def test_an_older_schema_goes_through_each_migration_in_turn(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, now = objects(recording), drain(Replay(recording, None))[-1]
    write(recording, map(older, whole))
    schema, calls = migrations.SCHEMA, []

    def renamed(frame: Raw) -> Raw:
        calls.append(frame["type"])
        return frame

    monkeypatch.setattr(migrations, "SCHEMA", schema + 2)
    monkeypatch.setattr(migrations, "MIGRATIONS", {schema: from_before, schema + 1: renamed})
    found = objects(recording)
    assert found[0] == {**whole[0], "schema": schema + 2} and found[1:] == whole[1:]
    assert len(calls) == len(whole)
    migrated = drain(Replay(recording, None))[-1]
    assert migrated.watched == now.watched != () and migrated.t_ns == now.t_ns
    assert migrated.stats is not None and now.stats is not None
    assert migrated.stats.totals == now.stats.totals


def test_a_gap_in_the_migrations_is_no_way(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = migrations.SCHEMA
    monkeypatch.setattr(migrations, "SCHEMA", schema + 2)
    monkeypatch.setattr(migrations, "MIGRATIONS", {schema: from_before})
    with pytest.raises(VmlatError, match=f"this program reads {schema + 2}$"):
        list(read(recording))


def test_a_migration_that_meets_nonsense_is_one_clear_error(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "SCHEMA", migrations.SCHEMA + 1)
    monkeypatch.setattr(migrations, "MIGRATIONS", {migrations.SCHEMA - 1: from_before})
    with pytest.raises(VmlatError, match="KeyError 'taps'"):
        list(read(recording))
