"""What each schema wrote is read as it always was: a short recording of each, kept as it was."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.frames import objects
from vmlat_tui.protocol import migrations
from vmlat_tui.recording.replay import Replay
from vmlat_tui.recording.shipped import SHIPPED, shipped
from vmlat_tui.session.feed import drain

KEPT = Path(__file__).parent / "schemas"


def test_there_is_a_recording_of_every_schema_that_some_version_wrote() -> None:
    kept = {int(path.stem) for path in KEPT.glob("*.vmlat")}
    assert kept == {migrations.SCHEMA, *migrations.MIGRATIONS}


@pytest.mark.parametrize("path", sorted(KEPT.glob("*.vmlat")), ids=lambda path: path.stem)
def test_it_is_read_and_shows_the_same(path: Path) -> None:
    now = drain(Replay(path, None))[-1]
    assert now.hello is not None and now.hello.schema == migrations.SCHEMA
    assert now.topology is not None and now.topology.domains[0].name == "vm-a"
    assert now.watched == ("vnet0",) and now.measuring is not None and now.slowest
    assert now.stats is not None and now.stats.totals is not None
    assert now.stats.totals.counted["vnet0", "tx:total"].count > 0


def same(before: Any, after: Any) -> bool:
    """Nothing is lost or changed; what an older version did not say is empty."""
    if isinstance(before, dict):
        more = [value for key, value in after.items() if key not in before]
        return not any(more) and all(same(value, after[key]) for key, value in before.items())
    if isinstance(before, list):
        return len(before) == len(after) and all(map(same, before, after))
    return bool(type(before) is type(after) and before == after)


def test_what_this_schema_wrote_is_written_again_as_it_was() -> None:
    path = KEPT / f"{migrations.SCHEMA}.vmlat"
    lines = path.read_bytes().splitlines()
    again = objects(path)
    assert len(again) == len(lines)
    assert all(map(same, map(json.loads, lines), again))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_recordings_that_ship_are_written_again_as_they_were(name: str) -> None:
    with shipped(name) as path, gzip.open(path) as file:
        lines, again = list(file), objects(path)
    assert len(again) == len(lines) > 1000
    assert all(map(same, map(json.loads, lines), again))
