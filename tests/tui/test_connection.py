"""What the screens show of a connection to another host that breaks and comes back."""

from __future__ import annotations

from typing import Any

from textual.pilot import Pilot

from tests.tui.driving import SMALL, drive, press, screen_text
from tests.tui.sources import Frames
from tests.tui.streams import Stream
from tests.tui.test_screens import live, until
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.session.snapshot import Phase
from vmlat_tui.tui.app import VmlatApp


def lost(attempt: int, wait_s: float) -> Raw:
    """What the session says about it."""
    return {
        "type": "lost",
        "title": "the connection to hv1 was lost",
        "cause": "\x1b[2JTimeout, server hv1 not responding.",
        "attempt": attempt,
        "wait_s": wait_s,
    }


def measuring(source: Frames) -> Stream:
    """A measurement of one VM in this source."""
    stream = Stream(watched=["vnet0"])
    source.give([stream.measuring(), stream.links()])
    source.give(frame for _ in range(3) for frame in (stream.vitals(), stream.stats()))
    return stream


def test_a_lost_connection_is_shown_with_its_attempts_and_what_was_known_stays() -> None:
    source = live()

    async def act(app: VmlatApp, pilot: Pilot[None]) -> dict[str, str]:
        seen = {}
        await press(pilot, "j", "j", "enter")
        stream = measuring(source)
        await until(pilot, lambda: app.moments[-1].stats)
        before = len(app.moments)
        source.give([lost(1, 1.0)])
        await until(pilot, lambda: app.moments[-1].phase is Phase.LOST)
        seen["lost"] = screen_text(app)
        source.give([lost(2, 5.0)])
        await until(pilot, lambda: "attempt 2" in str(app.moments[-1].problem))
        seen["again"] = screen_text(app)
        await press(pilot, "escape")
        seen["list"] = screen_text(app)
        await press(pilot, "enter")
        # The user may wish something else meanwhile: the source keeps it.
        app.control.want_filter("udp")
        await until(pilot, lambda: len(source.sent) == 2)
        stream._totals.clear()
        stream.tick += 30
        source.give([stream.hello(), stream.topology()])
        await until(pilot, lambda: app.moments[-1].phase is Phase.WATCHING)
        seen["back"] = screen_text(app)
        source.give([{"type": "attaching", "t_ns": stream.t_ns}, stream.measuring()])
        source.give([stream.links(), stream.acknowledged(app.control.requested, 2)])
        source.give([stream.stats(), stream.vitals(), stream.stats()])
        await until(pilot, lambda: app.moments[-1].stats and app.moments[-1].stats.samples)
        seen["measuring"] = screen_text(app)
        assert len(app.moments) > before
        for _ in range(3):
            await press(pilot, "t")
        seen["past"] = screen_text(app)
        return seen

    seen = drive((), act, source=source, live=True)
    assert "▲ connection lost" in seen["lost"] and "attempt 1 in 1 s" in seen["lost"]
    assert "hv1 was lost" in seen["lost"] and "\x1b" not in seen["lost"]
    assert "ovs_dp" in seen["lost"], "the figures of before are still there"
    assert "attempt 2 in 5 s" in seen["again"]
    assert "attempt 2 in 5 s" in seen["list"] and "web-1" in seen["list"]
    assert "connection lost" not in seen["back"] and "● live" in seen["back"]
    assert "● measuring" in seen["measuring"] and "ovs_dp" in seen["measuring"]
    assert "pending: udp" in seen["back"].splitlines()[0]
    assert "udp" in seen["measuring"].splitlines()[0] and "pending" not in seen["measuring"]
    assert "frozen" in seen["past"] and "ovs_dp" in seen["past"], "history goes back beyond the gap"


def test_it_fits_a_small_terminal() -> None:
    source = live()

    async def act(app: VmlatApp, pilot: Pilot[None]) -> str:
        source.give([lost(3, 10.0)])
        await until(pilot, lambda: app.moments[-1].phase is Phase.LOST)
        return screen_text(app)

    text = drive((), act, source=source, live=True, size=SMALL)
    assert "▲ connection lost" in text and "hv1 was lost" in text


def test_the_mark_stays_where_it_was_when_the_hosts_clock_begins_anew() -> None:
    source = live()

    async def act(app: VmlatApp, pilot: Pilot[None]) -> tuple[Any, Any]:
        app.mark_moment()
        before = app.mark_ns, app.moments[-1].wall_offset_ns
        hello = {**Stream().hello(), "boot": "another"}
        hello["clock"] = {
            k: v - (0 if k == "wall_ns" else 10**11) for k, v in hello["clock"].items()
        }
        source.give([lost(1, 1.0), hello])
        await until(pilot, lambda: app.moments[-1].boot == "another")
        assert app.mark_ns is not None and before[0] is not None
        return before[0] + before[1], app.mark_ns + app.moments[-1].wall_offset_ns

    before, after = drive((), act, source=source, live=True)
    assert before == after
