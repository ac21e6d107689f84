"""A frame is data until it was looked at: whatever another host sends ends in one clear error."""

from __future__ import annotations

import copy
import dataclasses
import json
import random
import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest

from tests.support.frames import counted, decoded, encoded, error_object, seen, typed
from tests.support.parts import printed, value_of
from tests.tui import host
from tests.tui.streams import Stream
from tests.tui.wakeful import Wakeful
from vmlat_tui.commands.chain import ChainView
from vmlat_tui.errors import VmlatError
from vmlat_tui.export import doctor_text, icmp_summary
from vmlat_tui.export.chain import IRQ, KICK
from vmlat_tui.export.guest_text import Figures, trip_text
from vmlat_tui.export.icmp_summary import Tally
from vmlat_tui.export.icmp_text import ping_text
from vmlat_tui.export.packet_text import packet_text
from vmlat_tui.export.summary import summary_json, summary_text
from vmlat_tui.model import jsonable
from vmlat_tui.model.crossings import Crossing
from vmlat_tui.model.filters import of_flow
from vmlat_tui.model.flows import Echo
from vmlat_tui.model.guest import RoundTrip
from vmlat_tui.model.histogram import BUCKETS
from vmlat_tui.model.pings import Outcome, Ping
from vmlat_tui.model.readings import Packet
from vmlat_tui.model.requested import Requested
from vmlat_tui.model.segments import Observer
from vmlat_tui.model.topology import Topology
from vmlat_tui.model.wakeups import Halts
from vmlat_tui.ping.capture import ping_json, trip_json
from vmlat_tui.protocol import frames
from vmlat_tui.protocol.echo import EchoFrame
from vmlat_tui.protocol.frames import FrameError
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.protocol.session import ErrorFrame, HostFrame
from vmlat_tui.session.history import History
from vmlat_tui.words import clean

HOST: Raw = {
    "type": "host", "kernel": "6.1", "machine": "x86_64", "user": 0, "rung": "full",
    "btf": {"present": True, "problem": ""}, "headers": False, "kprobes": True,
    "ring_buffer": True, "bcc": {"version": "0.26", "problem": ""}, "lockdown": "none",
    "problem": "", "points": [], "missing": [], "measurable": True, "vm_interfaces": ["vnet0"],
    "uplinks": [], "capabilities": [
        {"name": "CAP_BPF", "state": "held", "needed": True, "purpose": "maps", "loss": "all"}],
}  # fmt: skip


def good() -> list[Raw]:
    """One of every type."""
    stream = Stream(host.NAMES[:1], flows=2)
    every = [
        *stream.whole(2, 1),
        {
            "type": "ack",
            "id": 1,
            "command": "measure",
            "took_ns": 3,
            "requested": Requested().to_json(),
        },
    ]
    every += [{"type": "notice", "text": "x"}, {"type": "attaching", "t_ns": 4}, HOST]
    every += [error_object(VmlatError("a", "b", "c"))]
    times = {"send": 5, "request_xmit": 7, "reply_receive": 9, "read": 12}
    ends = ("10.0.0.5", "fd00::9")
    trip = RoundTrip(Packet(7, 1), ends, Observer.SENDER_GUEST, "eth0", 9, "ping", times)
    every += [frames.to_json(EchoFrame.of(trip))]
    every += [{"type": "released", "t_ns": 5}]
    every += [{"type": "lost", "title": "a", "cause": "", "attempt": 1, "wait_s": 0.5}]
    every += [Wakeful(host.NAMES[:1], ahead="x", flows=2).stats()]
    for frame in every:
        if frame["type"] in ("packet", "drop"):
            frame["icmp"] = Echo(7, 0xFFFF, request=False).to_json()
    every[0]["points"] = HOST["points"] = stream.measuring()["points"]
    return every


def test_good_frames_come_through_and_one_of_each_type_is_among_them() -> None:
    every = good()
    assert {frame["type"] for frame in every} == frames.TYPES
    for frame in every:
        assert decoded(encoded(frame)) == frame


def test_an_error_of_many_words_is_cut_to_what_a_frame_holds() -> None:
    error = VmlatError("title", "cause " * 5000, "remedy")
    frame = decoded(encoded(error_object(error)))
    assert frame["cause"] == ("cause " * 5000)[:2000] + "…" and frame["remedy"] == "remedy"


def test_a_task_may_have_held_a_processor_for_a_month() -> None:
    frame = Wakeful(host.NAMES[:1], ahead="x", flows=2).stats()
    frame["wakeups"][0]["ahead_ns"] = [["x", 30 * 86400 * 10**9]]
    assert decoded(encoded(frame)) == frame


def raised(frame: Raw) -> VmlatError:
    found = typed(frame)
    assert isinstance(found, ErrorFrame)
    return found.exception


ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    1 << 70,
    1.5,
    "",
    "\x1b[2J",
    "x" * 300,
    [],
    [[]],
    {},
    {"a": []},
    [None],
    [1],
)


def spoiled(frame: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every place in it (of a list only the ends)."""
    inner: list[Any] = []
    if isinstance(frame, dict):
        inner = list(frame.items())
    elif isinstance(frame, list):
        inner = [(at, frame[at]) for at in {0, len(frame) - 1} if 0 <= at < len(frame)]
    for key, value in inner:
        yield (*path, key), value
        yield from spoiled(value, (*path, key))


def readers(frame: Raw) -> None:
    """What is done with a frame, in the screens and without them."""
    kind = frame["type"]
    history = History()
    stream = Stream(host.NAMES[:1], flows=2)
    for first in (stream.hello(), stream.measuring(), stream.stats()):
        history.take(typed(first))
    history.take(typed(frame))
    history.moments()
    if kind in ("packet", "drop"):
        packet_text(seen(frame), 0)
        for chain in (IRQ, KICK):
            view = ChainView(chain, 0)
            for entry in view.entries(seen(frame)):
                assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", printed(entry))
                value_of(entry)
        crossing = Crossing.of(seen(frame))
        for ping in [Ping(crossing, crossing, outcome) for outcome in Outcome] if crossing else ():
            tally = Tally()
            tally.add(ping)
            shown = ping_text(ping, 0)
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown)
            json.dumps(ping_json(ping, 0))
    elif kind == "stats":
        assert counted(frame).unseen >= 0
        icmp_summary.summary_text(Tally(), 0, 0, counted(frame), 10**9, "")
        icmp_summary.summary_json(Tally(), 0, 0, counted(frame), 10**9)
        summary_text(counted(frame), 10**9)
        summary_json(counted(frame), 10**9)
        statistics = ChainView(IRQ, 0).summary(counted(frame), 10**9, "")
        printed(statistics)
        value_of(statistics)
    elif kind == "echo":
        found = typed(frame)
        assert isinstance(found, EchoFrame)
        trip = found.trip
        figures = Figures()
        figures.add(trip)
        text = trip_text(trip, 0) + figures.text({}, "")
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
        json.dumps([trip_json(trip, 0), figures.json({})])
    elif kind == "host":
        found = typed(frame)
        assert isinstance(found, HostFrame)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", doctor_text.text(found))
    elif kind == "error":
        assert clean(str(raised(frame)))


@pytest.mark.parametrize("kind", sorted(frames.TYPES))
def test_one_wrong_place_is_refused_or_harmless(kind: str) -> None:
    whole = next(frame for frame in reversed(good()) if frame["type"] == kind)
    places = list(spoiled(whole))
    if len(places) > 40:
        places = random.Random(1).sample(places, 40)
    refused = 0
    for path, _ in places:
        for odd in (*ODD, "missing"):
            frame = copy.deepcopy(whole)
            inner = frame
            for key in path[:-1]:
                inner = inner[key]
            if odd == "missing":
                del inner[path[-1]]
            else:
                inner[path[-1]] = odd
            try:
                readers(decoded(encoded(frame)))
            except VmlatError as error:
                refused += 1
                assert len(str(error)) < 1_000
    assert refused


def packet() -> Raw:
    return next(frame for frame in good() if frame["type"] == "packet")


@pytest.mark.parametrize(
    ("field", "odd"),
    [("id", -1), ("id", 1 << 16), ("seq", "1"), ("seq", True), ("kind", "echo"), ("kind", None)],
)
def test_an_echo_with_other_numbers_is_refused(field: str, odd: Any) -> None:
    frame = packet()
    frame["icmp"][field] = odd
    with pytest.raises(FrameError, match=f"icmp: {field}"):
        decoded(encoded(frame))


def test_a_packet_recorded_before_tasks_and_absent_points_were_is_still_one() -> None:
    frame = packet()
    frame.pop("absent", None)
    del frame["icmp"]
    for stage in frame["stages"]:
        stage.pop("tid", None)
        stage.pop("comm", None)
    assert decoded(encoded(frame)) == frame


def test_a_packet_passes_each_point_once_and_in_the_order_of_the_path() -> None:
    whole = packet()
    first, second, *others = whole["stages"]
    later = {**second, "point": "of a later version"}
    decoded(encoded({**whole, "stages": [first, later, second, *others]}))
    for stages in ([second, first, *others], [first, second, *others, first]):
        with pytest.raises(FrameError, match="order of the path"):
            decoded(encoded({**whole, "stages": stages}))


def test_a_task_that_is_not_known_is_null() -> None:
    frame = packet()
    frame["stages"][0].update(tid=None, comm=None)
    assert decoded(encoded(frame)) == frame


@pytest.mark.parametrize(
    "absent",
    [
        None,
        "kick_none",
        [None],
        [{"reason": "kick_none"}],
        [{"reason": None, "points": []}],
        [{"reason": "\x1b[2J", "points": []}],
        [{"reason": "kick_none", "points": "guest_kick"}],
        [{"reason": "kick_none", "points": [1]}],
        [{"reason": "kick_none", "points": ["guest_kick"] * 65}],
        [{"reason": "kick_none", "points": []}] * 17,
    ],
)
def test_absent_points_are_refused_when_malformed(absent: Any) -> None:
    for kind in ("packet", "drop"):
        frame = next(frame for frame in good() if frame["type"] == kind)
        frame["absent"] = absent
        with pytest.raises(FrameError, match="absent"):
            decoded(encoded(frame))


@pytest.mark.parametrize(
    ("name", "value"), [("tid", "1"), ("tid", 1.0), ("tid", 1 << 70), ("comm", 7), ("comm", [])]
)
def test_a_task_is_refused_when_malformed(name: str, value: Any) -> None:
    frame = packet()
    frame["stages"][-1][name] = value
    with pytest.raises(FrameError, match=name):
        decoded(encoded(frame))


@pytest.mark.parametrize("name", ["absences", "wakeups"])
def test_what_is_counted_beside_the_legs_may_be_missing_but_not_malformed(name: str) -> None:
    whole = Wakeful(host.NAMES[:1], flows=2).stats()
    del whole[name]
    assert decoded(encoded(whole)) == whole
    row = copy.deepcopy(Wakeful(host.NAMES[:1], flows=2).stats()[name][0])
    for key in row:
        # Earlier versions did not count halts.
        for odd in (
            *(("missing",) if key != "halts" else ()),
            *(o for o in ODD if o is not None and type(o) is not type(row[key])),
        ):
            wrong = {k: v for k, v in row.items() if k != key}
            if odd != "missing":
                wrong[key] = odd
            with pytest.raises(FrameError):
                decoded(encoded({**whole, name: [wrong]}))
    for odd in (None, {}, "x", [None], [1]):
        with pytest.raises(FrameError):
            decoded(encoded({**whole, name: odd}))


@pytest.mark.parametrize(
    ("field", "odd"),
    [
        ("tid", -1),
        ("role", "cook"),
        ("idle_states", [[1]]),
        ("idle_states", [["C6", 1]]),
        ("ahead_ns", [["x", -1]]),
        ("ahead_ns", [[1, 1]]),
        ("queued", {"count": 1}),
        ("migrations", 1 << 70),
        ("halts", {}),
        ("halts", {**asdict(Halts()), "window_ns": -1}),
        ("halts", {**asdict(Halts()), "slept": None}),
    ],
)
def test_a_wakeup_that_makes_no_sense_is_refused(field: str, odd: Any) -> None:
    frame = Wakeful(host.NAMES[:1], flows=2).stats()
    frame["wakeups"][0][field] = odd
    with pytest.raises(FrameError, match=field):
        decoded(encoded(frame))


BOMBS = [
    b'{"type":"notice","text":NaN}',
    b'{"type":"stats","t_ns":Infinity}',
    b'{"type":"notice","text":"\xff\xfe"}',
    b'{"type":["notice"]}',
    b'{"type":{"a":1}}',
    b'{"type":"ack","id":[1]}',
    b'{"type":"notice","text":' + b"[" * 100_000,
    b'{"type":"ack","id":' + b"9" * 100_000 + b"}",
    b'{"type":"hello","schema":1}',
    b"\x00" * 100,
    b"",
]


@pytest.mark.parametrize("line", BOMBS, ids=range(len(BOMBS)))
def test_bombs_are_no_frames(line: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        decoded(line)
    assert len(str(caught.value)) < 500


def test_a_hello_of_another_schema_is_told_by_its_number() -> None:
    line = json.dumps({"type": "hello", "schema": 99, "clock": "sundial"}).encode()
    with pytest.raises(FrameError, match="schema 99"):
        frames.as_hello(frames.decode(line))


def test_an_agent_cannot_choose_an_exit_status_that_means_success() -> None:
    assert raised({"type": "error", "title": "x", "exit_status": 0}).exit_status == 1
    assert raised({"type": "error", "title": "x", "exit_status": 2}).exit_status == 2


def known(kind: str) -> set[str]:
    """What is looked at in a frame."""
    return {part.name for part in jsonable.parts(frames.CLASSES[kind])}


@pytest.mark.parametrize("kind", sorted(frames.TYPES))
@pytest.mark.parametrize(
    ("field", "odds"),
    [
        ("t_ns", ("x", None, -1, 1.5, True, 1 << 62, [1])),
        ("stages", (5, [], [None], [{"t_ns": "x"}], {})),
        ("drop", (3, {}, {"point": "p", "reason": 1, "function": None})),
        ("points", (True, [{}], [{"point": "p"}])),
        ("id", ([1], {}, "1", 1.0)),
        ("bin", (1, [], "\x1b")),
    ],
)
def test_what_readers_ask_any_frame_for_is_looked_at_in_every_frame(
    kind: str, field: str, odds: tuple[Any, ...]
) -> None:
    whole = next(frame for frame in good() if frame["type"] == kind)
    for odd in odds:
        line = encoded({**whole, field: odd})
        if field in known(kind):
            with pytest.raises(FrameError, match=f"{field}: |is not a number|out of range"):
                decoded(line)
        else:
            assert field not in decoded(line), "nobody can read it"


def rows() -> list[tuple[str, Raw]]:
    """What has a flow."""
    found = [("flow", frame) for frame in good() if frame["type"] in ("packet", "drop")]
    return [*found, *(("flows", frame) for frame in good() if frame["type"] == "stats")]


NO_FLOWS: dict[str, tuple[Any, ...]] = {
    "src": ("1:2:3", "...", "1.2.3", "", "fe80::1%eth0", ":" * 300, 7),
    "dst": ("10.0.0.256", "1.2.3.4/8", "fd00::9", None),
    "src_port": (70_000, 1 << 40, -1, "80", True, 1.0),
    "protocol": ("x/y", "TCP", 6, [], "9999"),
}


@pytest.mark.parametrize(
    ("field", "odd"), [(field, odd) for field, odds in NO_FLOWS.items() for odd in odds]
)
def test_a_flow_that_no_packet_can_have_is_refused(field: str, odd: Any) -> None:
    for where, frame in rows():
        wrong = copy.deepcopy(frame)
        flow = wrong["flow"] if where == "flow" else wrong["flows"][0]["flow"]
        flow[field] = odd
        with pytest.raises(FrameError, match=f"{field}: |is not an address|one IP version"):
            decoded(encoded(wrong))


def test_every_flow_that_comes_through_can_be_filtered_by() -> None:
    for src, dst in (("10.0.0.1", "10.0.0.2"), ("fd00::9", "::ffff:1.2.3.4")):
        for protocol in ("tcp", "icmp", "47"):
            frame = packet()
            frame["flow"].update(src=src, dst=dst, protocol=protocol, src_port=65_535, dst_port=0)
            flow = seen(frame).flow
            assert of_flow(flow).src_port == 65_535


@pytest.mark.parametrize("wait", [b"1e999", b"-1", b"NaN", b'"1"', b"1e10"])
def test_a_wait_that_has_no_end_is_refused(wait: bytes) -> None:
    line = b'{"type":"lost","title":"x","cause":"","attempt":1,"wait_s":%s}\n' % wait
    with pytest.raises(FrameError):
        decoded(line)


@pytest.mark.parametrize(
    ("path", "odd"),
    [
        (("t_ns",), -1),
        (("t_ns",), 1 << 62),
        (("host",), "x" * 10_000),
        (("domains", 0, "state"), ["running"]),
        (("domains", 0, "state"), "asleep"),
        (("interfaces", 0, "details"), {"x": 1.5}),
        (("interfaces", 0, "statistics"), {"x" * 10_000: 1}),
        (("busy_poll_us",), []),
        (("notes",), "note"),
    ],
)
def test_a_topology_is_looked_at_when_it_comes(path: tuple[Any, ...], odd: Any) -> None:
    frame = next(frame for frame in good() if frame["type"] == "topology")
    inner: Any = frame
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = odd
    with pytest.raises(FrameError, match="the agent sent an invalid topology frame") as caught:
        decoded(encoded(frame))
    assert len(str(caught.value)) < 400


def test_a_name_of_the_host_s_that_is_too_long_is_cut_and_hides_nothing() -> None:
    frame = Stream(host.NAMES[:1]).topology()
    found = Topology.from_json(frame)
    long = dataclasses.replace(found, host="h" * 100_000, notes=("n" * 100_000,))
    sent = {"type": "topology", **long.to_json()}
    assert Topology.from_json(decoded(encoded(sent))).host == "h" * 8192


@pytest.mark.parametrize(
    "buckets", [[[]], [[76, 0]], [[76, 1], [76, 1]], [[-1, 1]], [[BUCKETS, 1]], [[76, 1.0]]]
)
def test_buckets_are_those_in_use_each_once(buckets: Any) -> None:
    frame = next(frame for frame in good() if frame["type"] == "stats")
    frame["legs"][0]["buckets"] = buckets
    with pytest.raises(FrameError, match="not buckets"):
        decoded(encoded(frame))


@pytest.mark.parametrize(
    "value",
    ["x" * 10**6, ["x"] * 10**5, {"a": "x" * 10**6}, 10**4000, 1.5, None],
    ids=lambda value: type(value).__name__,
)
def test_what_is_shown_of_a_wrong_value_is_short(value: Any) -> None:
    line = json.dumps({"type": "notice", "text": value}).encode()
    if isinstance(value, str):
        with pytest.raises(FrameError) as caught:
            decoded(line)
    else:
        with pytest.raises(FrameError, match="text: ") as caught:
            decoded(line)
    assert len(str(caught.value)) < 300


def test_a_value_as_deep_as_json_may_be_is_refused_like_any_other() -> None:
    for depth in (200, 500, 900, 960, 980, 990):
        line = b'{"type":"notice","text":' + b"[" * depth + b"]" * depth + b"}"
        with pytest.raises(FrameError):
            decoded(line)
        state = b'"state":' + b"[" * depth + b"]" * depth
        whole = encoded(Stream(host.NAMES[:1]).topology())
        with pytest.raises(FrameError):
            decoded(whole.replace(b'"state":"running"', state, 1))


def test_an_error_keeps_so_much_of_what_others_wrote_that_it_can_be_sent() -> None:
    sent = error_object(VmlatError("t" * 10**6, "c" * 10**6, "r" * 10**6))
    again = raised(decoded(encoded(sent)))
    assert again.title.endswith("t…") and len(str(again)) < 7_000
