"""What the user can do, key by key."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.support.frames import error_object, objects
from tests.tui import host
from tests.tui.driving import (
    SMALL,
    WIDE,
    drive,
    painted,
    press,
    recorded,
    screen_text,
    text_of,
    walk,
)
from tests.tui.sources import Frames
from tests.tui.streams import Stream, write
from tests.unit.protocol.test_protocol_shapes import HOST
from vmlat_tui.errors import UsageError
from vmlat_tui.model.capabilities import BPF, SYS_ADMIN, SYSLOG, CapabilityState
from vmlat_tui.model.requested import Requested
from vmlat_tui.protocol.commands import Describe, Measure, Release
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.tui import keys
from vmlat_tui.tui.app import VmlatApp
from vmlat_tui.tui.screen import VmlatScreen, matches
from vmlat_tui.tui.screens import pings  # noqa: F401 (its keys are in the table)
from vmlat_tui.tui.screens.doctor import DoctorScreen
from vmlat_tui.tui.screens.flows import FlowsScreen
from vmlat_tui.tui.screens.path import PathScreen
from vmlat_tui.tui.screens.sessions import recordings
from vmlat_tui.tui.widgets.table import Table


def live(frames: Optional[Iterable[Raw]] = None) -> Frames:
    """An agent that has looked at its host and waits for commands."""
    return Frames(Stream().looking() if frames is None else frames, endless=True)


async def until(pilot: Pilot[None], condition: Any) -> None:
    """Wait a while for something to come true."""
    for _ in range(200):
        await pilot.pause(0.01)
        if condition():
            await painted(pilot)
            return
    raise AssertionError("it did not come true")


async def measuring(app: VmlatApp, pilot: Pilot[None], source: Frames) -> Requested:
    """What is shown was asked for: the agent acknowledges it."""
    await until(pilot, lambda: app.moments[-1].stats)
    app.control.measure(app.moments[-1].watched)
    await until(pilot, lambda: source.sent)
    requested: Requested = source.sent.pop().requested
    source.give([Stream.acknowledged(requested, 1)])
    await until(pilot, lambda: app.moments[-1].acknowledged == requested)
    return requested


def table(app: VmlatApp, selector: str = "Table") -> Table[Any]:
    """A table of the screen in front."""
    found: Table[Any] = app.screen.query(selector).first(Table)
    return found


# ---- choosing ---------------------------------------------------------------------------------


def test_the_list_of_vms_shows_rates_and_what_looks_wrong() -> None:
    text = drive(recorded(), walk(()))
    assert "web-1" in text and "5200" in text and "▲ worker on vCPU's CPU" in text
    assert "both bound to CPU" in drive(recorded(), walk("j")), "the evidence for it"


def test_choosing_a_vm_measures_it_and_another_one_is_added_to_the_watch() -> None:
    source = live()

    async def act(app: VmlatApp, pilot: Pilot[None]) -> list[Measure]:
        await press(pilot, "j", "j", "enter")
        await until(pilot, lambda: source.sent)
        stream = Stream(watched=["vnet0"])
        asked = source.sent[0].requested
        source.give([stream.measuring(), stream.links(), stream.acknowledged(asked, 1)])
        source.give([stream.stats()])
        await until(pilot, lambda: app.moments[-1].stats)
        await press(pilot, "escape", "k", "enter")
        await until(pilot, lambda: len(source.sent) > 1)
        return source.sent

    measure, other = drive((), act, source=source, live=True)
    requested = measure.requested
    assert isinstance(measure, Measure) and requested.vm_interfaces == ("vnet0",)
    assert requested.uplinks == ("ens1f0",) and requested.directions == ("tx", "rx")
    assert other == Measure(replace(requested, vm_interfaces=("vnet1",)), id=2)


def test_marked_vms_are_measured_together_and_compared() -> None:
    source = live()

    async def act(app: VmlatApp, pilot: Pilot[None]) -> str:
        await press(pilot, "m", "m", "c")
        await until(pilot, lambda: source.sent)
        return screen_text(app)

    text = drive((), act, source=source, live=True)
    assert (
        source.sent[0].requested.vm_interfaces == ("vnet2", "vnet1")
        and "nothing is measured" in text
    )


def test_a_vm_without_a_device_cannot_be_measured() -> None:
    stream = Stream(host.NAMES[:1])
    frame = stream.topology()
    frame["domains"][0]["vnics"] = []
    source = live([stream.hello(), frame])
    text = drive((), walk(("enter",)), source=source, live=True)
    assert "no vNIC" in text and not source.sent


# ---- the path ---------------------------------------------------------------------------------


def test_everything_is_in_sight_at_120x40_and_a_key_apart_at_80x24() -> None:
    parts = ("TX guest → wire", "RX wire → guest", "vhost workers", " vCPUs  ", "halt polling")
    text = drive(recorded(), walk(("enter",)), size=WIDE)
    assert all(part in text for part in parts)
    for key, shown in (("1", parts[:2]), ("2", parts[2:3]), ("3", parts[3:4]), ("4", parts[4:])):
        text = drive(recorded(), walk(("enter", key)), size=SMALL)
        assert [part for part in parts if part in text] == list(shown)


def test_the_slowest_leg_stands_out_in_words_glyph_and_on_the_strip() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> tuple[str, str]:
        await press(pilot, "enter")
        return text_of(app.screen.query_one("#strip")), text_of(table(app, "#rx"))

    strip, rx = drive(recorded(), act)
    assert "▲ vhost 2230" in strip and "slowest TX ▲ ovs_dp → switch_out" in strip
    assert next(line for line in rx.splitlines() if "▲" in line).startswith("▲→vhost_on_cpu")


def test_the_selection_follows_the_row_not_its_place() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> tuple[object, object]:
        await press(pilot, "enter", "f", "j", "j", "j")
        rows = table(app)
        before = rows.selected
        rows.sort_by("rate", False)
        await pilot.pause()
        return before, rows.selected

    before, after = drive(recorded(), act)
    assert before is not None and before == after


def test_the_span_changes_what_is_counted() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> list[int]:
        await press(pilot, "enter")
        counts = []
        for key in ("w", "w", "w"):
            counts.append(table(app, "#tx").rows[0].count)
            await press(pilot, key)
        return counts

    assert drive(recorded(), act) == [27_000, 29_700, 32_400]


def test_a_mark_is_a_span() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> tuple[str, int]:
        await press(pilot, "enter", "t", "t", "t", "m", "space")
        return app.span.words, table(app, "#tx").rows[0].count

    assert drive(recorded(), act) == ("since mark", 3 * 2_700)


def test_frozen_figures_stay_while_the_stream_goes_on_and_time_can_be_stepped() -> None:
    source = live(recorded())

    async def act(app: VmlatApp, pilot: Pilot[None]) -> list[str]:
        await until(pilot, lambda: app.moments[-1].stats)
        await press(pilot, "enter", "space")
        texts = [text_of(table(app, "#tx"))]
        more = Stream()
        more.tick = 30
        source.give([more.stats(), more.stats()])
        newest = app.moments[-1].number
        await until(pilot, lambda: app.moments[-1].number > newest)
        texts.append(text_of(table(app, "#tx")))
        await press(pilot, "t")
        texts.append(text_of(table(app, "#tx")))
        assert "frozen 1 s ago" in screen_text(app)
        await press(pilot, "T")
        texts.append(text_of(table(app, "#tx")))
        await press(pilot, "space")
        texts.append(text_of(table(app, "#tx")))
        return texts

    frozen, still, earlier, again, released = drive((), act, source=source)
    assert frozen == still == again and earlier != frozen and released != frozen


# ---- filters ----------------------------------------------------------------------------------


def test_rows_are_filtered_by_words_and_by_their_absence() -> None:
    assert matches("10.0.0.9:443 tcp", "TCP 443") and not matches("10.0.0.9 udp", "tcp")
    assert matches("udp", "!tcp") and not matches("tcp", "!tcp") and matches("x", "! ")

    async def act(app: VmlatApp, pilot: Pilot[None]) -> tuple[int, int, str]:
        await press(pilot, "enter", "f", "slash", *"udp")
        filtered = len(table(app).rows)
        await press(pilot, "enter")
        assert isinstance(app.focused, Table), "the list has the focus again"
        await press(pilot, "slash", "home", "exclamation_mark")
        inverted = len(table(app).rows)
        await press(pilot, "end", *"x")
        return filtered, inverted, app.screen.query_one(Input).value

    assert drive(recorded(), act) == (6, 18, "!udpx")


def test_leaving_the_filter_line_takes_back_what_was_typed() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> int:
        await press(pilot, "slash", *"nothing")
        assert "no VM matches nothing" in screen_text(app)
        await press(pilot, "escape")
        return len(table(app).rows)

    assert drive(recorded(), act) == 3


def test_a_filter_in_words_is_sent_and_a_wrong_one_is_explained() -> None:
    source = live(recorded())

    async def act(app: VmlatApp, pilot: Pilot[None]) -> str:
        await measuring(app, pilot, source)
        await press(pilot, "enter", "F", *"port x", "enter")
        text = screen_text(app)
        assert not source.sent and app.screen.query_one(Input).has_focus
        await press(pilot, "backspace", *"443 tcp", "enter")
        await until(pilot, lambda: source.sent)
        assert "pending: tcp and port 443" in screen_text(app)
        source.give([Stream.acknowledged(source.sent[0].requested, 2)])
        await until(pilot, lambda: "tcp and port 443" in screen_text(app).splitlines()[0])
        await until(pilot, lambda: "pending" not in screen_text(app))
        return text

    assert "▲ port 'x' is wrong; give a number" in drive((), act, source=source, live=True)
    assert isinstance(source.sent[0], Measure)
    assert source.sent[0].requested.filters[0].src_port == 443


def test_a_refused_filter_leaves_what_was_before() -> None:
    source = live(recorded())

    async def act(app: VmlatApp, pilot: Pilot[None]) -> str:
        before = await measuring(app, pilot, source)
        await press(pilot, "enter", "F", *"udp", "enter")
        error = UsageError("the filters need more than 8 rules")
        source.give([error_object(error, id=2), {"type": "notice", "text": "[red]x[/red]"}])
        await until(pilot, lambda: app.moments[-1].refusal and app.moments[-1].notices)
        assert app.control.requested == before and "udp" not in screen_text(app)
        return " ".join(str(n.message) for n in app._notifications)

    told = drive((), act, source=source, live=True)
    assert "more than 8 rules" in told and "[red]x[/red]" in told


def test_picked_flows_are_measured_once_for_both_directions() -> None:
    source = live(recorded())

    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        await measuring(app, pilot, source)
        await press(pilot, "enter", "f", "m", "m", "m")
        assert "◆ 3 picked" in screen_text(app)
        await press(pilot, "a")
        await until(pilot, lambda: source.sent)
        assert isinstance(app.screen, PathScreen)

    drive((), act, source=source, live=True)
    assert len(source.sent[0].requested.filters) == 2, "two rows were the same conversation"


def test_direction_and_threshold_change_while_it_runs() -> None:
    source = live(recorded())

    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        await measuring(app, pilot, source)
        await press(pilot, "enter", "D", "L", "backspace", *"50", "enter")
        await until(pilot, lambda: len(source.sent) == 2)
        assert "TX only, packets from 50 µs" in screen_text(app)

    drive((), act, source=source, live=True)
    first, second = source.sent
    assert first.requested.directions == ("tx",)
    slow = replace(first.requested, threshold_ns=50_000)
    assert second == Measure(slow, id=3), "the whole of it"


def test_measuring_stops_and_begins_again_from_the_path_and_the_list_of_vms() -> None:
    stream = Stream()
    source = live(stream.whole(3))

    async def act(app: VmlatApp, pilot: Pilot[None]) -> list[str]:
        texts = []
        await until(pilot, lambda: app.moments[-1].stats)
        await press(pilot, "enter", "M")
        await until(pilot, lambda: source.sent)
        source.give([stream.released()])
        await until(pilot, lambda: app.moments[-1].measuring is None)
        await painted(pilot)
        texts.append(screen_text(app))
        await press(pilot, "M")
        await until(pilot, lambda: len(source.sent) == 2)
        source.give([stream.measuring(), stream.links(), stream.stats()])
        await until(pilot, lambda: app.moments[-1].stats)
        await press(pilot, "escape", "M")
        await until(pilot, lambda: len(source.sent) == 3)
        source.give([stream.released()])
        await until(pilot, lambda: app.moments[-1].measuring is None)
        await press(pilot, "M", "enter")
        await until(pilot, lambda: len(source.sent) == 4)
        texts.append(" ".join(str(n.message) for n in app._notifications))
        return texts

    path, told = drive((), act, source=source, live=True)
    assert [type(sent) for sent in source.sent] == [Release, Measure, Release, Measure]
    assert path.count("not measured (M measures it)") == 2 and "not measured: choose a VM" in path
    assert "nothing is measured" in told, "there was nothing to stop"


def test_a_recording_cannot_be_told_what_to_measure() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> str:
        await press(pilot, "enter", "F", *"tcp", "enter")
        return screen_text(app)

    assert "this is a recording" in drive(recorded(), act)


def test_ten_thousand_flows_are_a_list_like_any_other() -> None:
    stream = Stream(host.NAMES[:1], flows=5_000)
    frames = list(stream.whole(2, single=0))

    async def act(app: VmlatApp, pilot: Pilot[None]) -> tuple[int, bool]:
        await press(pilot, "enter", "f", "G")
        rows = table(app)
        return len(rows.rows), rows.rows[-1] is rows.selected

    assert drive(frames, act) == (10_000, True)


# ---- drilling down ------------------------------------------------------------------------------


def test_from_a_leg_to_its_distribution_to_a_packet_and_back() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> list[str]:
        texts = []
        await press(pilot, "enter", "j", "enter")
        texts.append(screen_text(app))
        await press(pilot, "enter")
        texts.append(screen_text(app))
        await press(pilot, "escape", "escape", "escape", "escape")
        texts.append(" ".join(app.crumbs))
        return texts

    leg, packet, crumbs = drive(recorded(), act)
    assert "from .. to µs" in leg and "█" in leg and "slowest packets of this leg" in leg
    assert "tun_in" in packet and "tun_sendmsg" in packet and "total" in packet
    assert crumbs == "VMs"


def test_dropped_packets_say_where_and_why() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> list[str]:
        await press(pilot, "j", "j", "enter", "p")
        texts = [screen_text(app)]
        await press(pilot, "tab", "enter")
        return [*texts, screen_text(app)]

    packets, packet = drive(recorded(), act)
    assert "after switch_out: QDISC_DROP, freed by __dev_queue_xmit" in packets
    assert "▲ it did not arrive" in packet


# ---- empty panes ------------------------------------------------------------------------------


def test_without_root_it_opens_and_says_what_is_missing() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> str:
        await press(pilot, "enter")
        return screen_text(app)

    text = drive((), act, source=live(Stream().refusing()), live=True)
    assert "measuring needs CAP_BPF and CAP_PERFMON" in text and "run as root" in text
    assert "vnet2/0" in text, "placement is shown all the same"


def test_without_an_agent_it_opens_and_says_why() -> None:
    broken = Stream().hello()
    broken["schema"] = 99
    text = drive([broken], walk(()))
    assert "nothing is known about this host: the stream has schema 99" in text
    assert "▲ the stream has schema 99" in text, "the trust line says it too"


def test_an_empty_host_says_that_and_what_could_not_be_found_out() -> None:
    stream = Stream((), notes=("libvirt: permission denied",))
    text = drive([stream.hello(), stream.topology()], walk(()))
    assert "no VM runs on this host (libvirt: permission denied)" in text


def test_a_lower_rung_is_said_on_the_trust_line_and_by_the_doctor() -> None:
    frames = list(Stream(functions=False).whole(2))
    assert "▲ rung tracepoints" in drive(frames, walk(()))
    text = drive(frames, walk(("d",)))
    assert "none: this kernel has no kprobes" in text and "▲ tracepoints" in text


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (CapabilityState.HELD, "the main path can be measured"),
        (CapabilityState.MISSING, "this agent has no CAP_BPF"),
    ],
)
def test_the_doctor_asks_the_host_before_anything_is_measured(
    state: CapabilityState, words: str
) -> None:
    stream = Stream()
    source = Frames([stream.hello(), stream.topology()], endless=True)

    async def act(app: VmlatApp, pilot: Pilot[None]) -> str:
        await press(pilot, "d")
        await until(pilot, lambda: Describe() in source.sent)
        points = stream.measuring()["points"]
        capability = {"name": BPF.name, "state": state.value, "needed": True,
                      "purpose": BPF.purpose, "loss": BPF.loss}  # fmt: skip
        measurable = state is CapabilityState.HELD
        source.give(
            [{**HOST, "measurable": measurable, "points": points, "capabilities": [capability]}]
        )
        await until(pilot, lambda: app.moments[-1].host is not None)
        await pilot.pause(0.3)
        await painted(pilot)
        return screen_text(app)

    text = drive([], act, source=source, live=True)
    assert words in text and "napi_gro_receive_entry" in text


def test_the_doctor_shows_what_the_agent_may_do() -> None:
    hello = Stream().hello()
    hello["capabilities"] = [
        {"name": one.name, "state": state.value, "needed": one.needed, "purpose": one.purpose,
         "loss": one.loss}
        for one, state in (
            (BPF, CapabilityState.HELD), (SYSLOG, CapabilityState.MISSING),
            (SYS_ADMIN, CapabilityState.GIVEN_UP),
        )
    ]  # fmt: skip
    frames = [hello, *list(Stream().whole(2))[1:]]
    lines = drive(frames, walk(("d",)), size=(160, 40)).splitlines()
    (held,) = [line for line in lines if "CAP_BPF" in line]
    assert "held" in held and BPF.purpose in held and "▲" not in held
    (missing,) = [line for line in lines if "CAP_SYSLOG" in line]
    assert "▲" in missing and "missing" in missing and SYSLOG.loss in missing
    assert any("CAP_SYS_ADMIN" in line and "given up" in line for line in lines)
    small = drive(frames, walk(("d",)), size=SMALL)
    assert "CAP_SYSLOG" in small and "vnet_rx" in small


# ---- the rest ---------------------------------------------------------------------------------


def test_what_tables_had_no_room_for_is_on_the_trust_line() -> None:
    frames = list(Stream().whole(3))
    assert "left out" not in drive(frames, walk(()))
    for frame in frames:
        if frame["type"] == "stats":
            frame["counters"] = {**frame["counters"], "drops_full": 5, "vnics_left_out": 2}
    assert "▲ left out 7" in drive(frames, walk(()))


@pytest.mark.parametrize("path", ["", "e", "ef", "ee", "c", "d", "s", "?", "epe", "P", "eP"])
def test_the_trust_line_is_always_there(path: str) -> None:
    names = {"e": "enter", "?": "question_mark"}
    shown = drive(recorded(), walk([names.get(key, key) for key in path]), size=SMALL)
    assert "matched 100.00 %  lost 0" in shown


def test_help_names_every_key_of_the_screen() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> list[str]:
        await press(pilot, "enter", "question_mark")
        return [row[2] for row in table(app).rows]

    words = drive(recorded(), act)
    for scope in ("path", "table", "app"):
        assert {key.words for key in keys.KEYS[scope]} <= set(words)
    assert any("nine of ten" in word for word in words), "and what the columns mean"


def test_every_key_has_an_action_where_it_is_said_to_work() -> None:
    screens = {cls.scope: cls for cls in _screens(VmlatScreen)}
    for scope, rows in keys.KEYS.items():
        ours = {"app": VmlatApp, "recording": VmlatApp, "table": Table}
        target = ours.get(scope) or screens[scope]
        for key in rows:
            name = key.action.partition("(")[0]
            assert hasattr(target, f"action_{name}"), (scope, key)


def _screens(base: type[VmlatScreen]) -> Iterable[type[VmlatScreen]]:
    for cls in base.__subclasses__():
        yield cls
        yield from _screens(cls)


def test_the_palette_runs_a_command_of_the_screen() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> bool:
        await press(pilot, "enter", "colon")
        await press(pilot, *"flows of this")
        await pilot.pause(0.3)
        await press(pilot, "enter")
        await until(pilot, lambda: isinstance(app.screen, FlowsScreen))
        return True

    assert drive(recorded(), act)


def test_a_row_is_copied_in_plain_text() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> str:
        await press(pilot, "j", "y")
        return app.clipboard

    assert drive(recorded(), act).startswith("db-1 running vnet1 vhost 2 ens1f0")


def test_what_is_shown_is_exported_as_text_markdown_and_json(tmp_path: Path) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        app.directory = tmp_path / "sessions"
        await press(pilot, "enter", "e")
        app.screen.query_one(Input).value = str(tmp_path / "case 17")
        await press(pilot, "enter")

    drive(recorded(), act)
    text = (tmp_path / "case 17.txt").read_text()
    assert "cache-2" in text and "[rx]" in text and "vhost_woken → vhost_on_cpu" in text
    assert "| tun_in → vnet_rx |" in (tmp_path / "case 17.md").read_text()
    data = json.loads((tmp_path / "case 17.json").read_text())
    assert data["host"] == "hv1" and data["tables"]["tx"][0]["count"] == 27_000
    assert isinstance(data["tables"]["tx"][1]["p50"], int), "nanoseconds, not text"


def test_an_export_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> str:
        await press(pilot, "e")
        app.screen.query_one(Input).value = "/proc/none/x"
        await press(pilot, "enter")
        return screen_text(app)

    assert "cannot be made" in drive(recorded(), act)


def test_a_session_is_recorded_and_replayed_from_within(tmp_path: Path) -> None:
    source = live(recorded())

    async def act(app: VmlatApp, pilot: Pilot[None]) -> str:
        await until(pilot, lambda: app.moments[-1].stats)
        await press(pilot, "R")
        await until(pilot, lambda: app.moments[-1].recording)
        assert "● recording" in screen_text(app)
        await press(pilot, "R")
        await until(pilot, lambda: not app.moments[-1].recording)
        await press(pilot, "s", "j", "enter")
        await until(pilot, lambda: not app.live and app.moments[-1].stats)
        return screen_text(app)

    text = drive((), act, source=source, live=True, directory=tmp_path)
    assert "cache-2" in text
    (path,) = tmp_path.iterdir()
    assert [f["type"] for f in objects(path)][:2] == ["hello", "topology"]


def test_a_recording_that_is_broken_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "x.vmlat").write_text("nonsense\n")
    write(tmp_path / "good.vmlat", Stream().looking())

    async def act(app: VmlatApp, pilot: Pilot[None]) -> tuple[int, bool]:
        await press(pilot, "s")
        rows = table(app)
        rows.select(tmp_path / "x.vmlat")
        await press(pilot, "enter")
        return len(rows.rows), app.screen is not None and app.moments[-1].stats is not None

    assert drive(recorded(), act, directory=tmp_path) == (2, True)


def test_what_is_no_recording_in_the_directory_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.vmlat").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "b.vmlat")
    (tmp_path / "c.vmlat").mkdir()
    (tmp_path / "d.vmlat").touch()
    (tmp_path / "e.vmlat").symlink_to("d.vmlat")
    paths = [row.path for row in recordings(tmp_path)]
    assert {path.name for path in paths if path} == {"d.vmlat", "e.vmlat"}


def test_a_pipe_in_the_place_of_a_recording_is_an_error_and_no_wait(tmp_path: Path) -> None:
    (tmp_path / "a.vmlat").touch()

    async def act(app: VmlatApp, pilot: Pilot[None]) -> str:
        await press(pilot, "s", "j")
        (tmp_path / "a.vmlat").unlink()
        os.mkfifo(tmp_path / "a.vmlat")
        await press(pilot, "enter")
        await until(pilot, lambda: app._notifications)
        return " ".join(str(n.message) for n in app._notifications)

    source = live(recorded())
    text = drive((), act, source=source, live=True, directory=tmp_path)
    assert "a.vmlat is not a regular file" in text


# ---- screens that come and go -----------------------------------------------------------------


def test_a_screen_that_is_closed_before_it_has_widgets_is_left_alone() -> None:
    """As when two keys arrive at once, one that opens it and one that closes it."""

    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        screen = DoctorScreen()
        app.push_screen(screen)
        app.pop_screen()
        await until(pilot, lambda: screen.is_mounted)
        assert not screen.children
        screen.refill()

    drive(Stream().looking(), act)
