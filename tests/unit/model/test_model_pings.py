"""What a host sees of pings: which end it is, what the parts took, where one was lost."""

from __future__ import annotations

from itertools import permutations
from typing import Optional

import pytest

from tests.support.chains import RECEIVED, SENT, dropped, sent
from tests.support.echoes import between_vms, half, reply, request, stats, whole
from tests.support.frames import counted, seen, settled
from vmlat_tui.model import pings
from vmlat_tui.model.crossings import Crossing
from vmlat_tui.model.pings import Outcome, Ping, PingJoiner
from vmlat_tui.model.points import Direction
from vmlat_tui.model.readings import Packet
from vmlat_tui.model.segments import CLOSURES, NESTED, QUANTITIES, Observer
from vmlat_tui.ping.capture import ping_json
from vmlat_tui.protocol.migrations import Raw

TX, RX = Direction.TX, Direction.RX
TIMEOUT_NS = 1_000_000_000


def take(joiner: PingJoiner, frame: Raw) -> Optional[Ping]:
    crossing = Crossing.of(seen(frame))
    assert crossing is not None
    return joiner.add(crossing)


def joined(*halves: Raw) -> Ping:
    joiner = PingJoiner(TIMEOUT_NS)
    found = [ping for ping in (take(joiner, frame) for frame in halves) if ping]
    assert joiner.waiting == 0
    (ping,) = found
    return ping


SENDER = {"B": 13_500, "sender_external": 186_500, "K": 8_300, "sender_total": 208_300}
RECEIVER = {"D": 8_300, "receiver_external": 191_700, "I": 13_500, "receiver_total": 213_500}


@pytest.mark.parametrize("order", list(permutations(range(2))), ids=["in order", "reply first"])
@pytest.mark.parametrize(
    ("way", "back", "observer", "expected"),
    [
        (TX, RX, Observer.SENDER_HOST, SENDER),
        (RX, TX, Observer.RECEIVER_HOST, RECEIVER),
    ],
)
def test_which_end_the_host_is_the_direction_of_the_request_says(
    way: Direction,
    back: Direction,
    observer: Observer,
    expected: dict[str, int],
    order: tuple[int, int],
) -> None:
    halves = (request(way), reply(back))
    ping = joined(*(halves[number] for number in order))
    assert (ping.observer, ping.outcome) == (observer, Outcome.COMPLETE)
    assert ping.packet == Packet(7, 1)
    assert ping.intervals_ns == expected
    assert list(ping.parts_ns) == list(expected.values())


def test_a_capture_says_why_a_packet_left_points_out() -> None:
    first = request(TX)
    assert "absent" not in ping_json(joined(first, reply(RX)), 0)
    first["absent"] = [{"reason": "kick_shared", "points": ["guest_exit", "guest_kick"]}]
    assert ping_json(joined(first, reply(RX)), 0)["absent"] == ["kick_shared"]


@pytest.mark.parametrize("way", [TX, RX])
def test_the_parts_add_up_to_the_total(way: Direction) -> None:
    found = joined(request(way), reply(RX if way is TX else TX)).intervals_ns
    sums = [(parts, whole) for parts, whole in CLOSURES if whole in found]
    assert len(sums) == 1
    for parts, total in sums:
        assert sum(found[part] for part in parts) == found[total]


def test_the_guest_s_side_of_the_tap_is_measured_where_its_points_are() -> None:
    rows = [(p, hook, t + 1_000_000, cpu, task) for p, hook, t, cpu, task in RECEIVED]
    *way, out = SENT
    ping = joined(
        whole(TX, True, [*way, ("phy_queue", "net_dev_queue", 25_500, 2, out[-1]), out]),
        whole(RX, False, rows),
    )
    found = ping.intervals_ns
    parts = ("exit", "kick", "vhost", "tun")
    assert found["U1"] == 18_600 == sum(found[f"U1.{part}"] for part in parts)
    assert found["L"] == 21_000
    assert found["L"] == sum(found[f"L.{s}"] for s in ("s1_s2", "s2_s3", "s3_s4", "s4_s5"))
    assert found["U4"] == 13_210
    assert found["B"] == 6_500, "from the vnet, not from the kick, to the uplink's queue"
    assert found["K"] == 8_000, "to the tap, not to the guest"
    assert found.keys() <= QUANTITIES.keys()
    seen = {name for name in found if name in NESTED["rtt"]}
    assert seen == {"U1", "B", "K", "L", "U4"}


def test_on_the_receiver_s_host_they_are_e_u2_and_u3() -> None:
    rows = [(p, hook, t + 1_000_000, cpu, task) for p, hook, t, cpu, task in SENT]
    found = joined(whole(RX, True, RECEIVED), whole(TX, False, rows)).intervals_ns
    assert (found["E"], found["U2"], found["U3"]) == (21_000, 13_210, 18_600)


def test_a_point_that_was_left_out_leaves_its_quantity_out() -> None:
    found = joined(whole(TX, True, SENT, "kick_shared"), reply(RX)).intervals_ns
    assert "U1" not in found and "U1.kick" not in found and found["U1.tun"] == 1_999


def test_between_two_vms_of_a_host_it_is_both_ends() -> None:
    ping = joined(between_vms(True, 1_000, "vnet0"), between_vms(False, 50_000, "vnet1"))
    assert (ping.observer, ping.outcome) == (None, Outcome.COMPLETE)
    assert ping.parts_ns == (5_000, 44_000, 5_000, 54_000)
    assert not ping.intervals_ns


@pytest.mark.parametrize(
    "other",
    [
        reply(RX, sequence=2),
        reply(RX, number=8),
        reply(RX, vm_interface="vnet3"),
        reply(RX, t_ns=900_000),
        reply(TX),
        request(TX),
        request(RX),
    ],
    ids=["sequence", "id", "vNIC", "before the request", "its own way", "request", "another's"],
)
def test_what_is_not_the_reply_is_not_taken_for_it(other: Raw) -> None:
    joiner = PingJoiner(TIMEOUT_NS)
    assert take(joiner, request(TX)) is None and take(joiner, other) is None
    ping = take(joiner, reply(RX))
    assert ping is not None and ping.parts_ns[-1] == 208_300


def test_a_ping_the_other_way_with_the_same_numbers_is_another() -> None:
    joiner = PingJoiner(TIMEOUT_NS)
    theirs = request(RX)
    theirs["flow"]["src"], theirs["flow"]["dst"] = theirs["flow"]["dst"], theirs["flow"]["src"]
    assert take(joiner, request(TX)) is None and take(joiner, theirs) is None
    assert joiner.waiting == 2


def test_no_echo_is_no_crossing() -> None:
    assert Crossing.of(seen(sent())) is None


# ---- losses --------------------------------------------------------------------------------------


def lost(*halves: Raw, after_ns: int = TIMEOUT_NS, unseen_by_then: int = 0) -> list[Ping]:
    joiner = PingJoiner(TIMEOUT_NS)
    for frame in halves:
        assert take(joiner, frame) is None
    return settled(joiner, (stats(1_000_000 + after_ns, lost=unseen_by_then)))


def test_without_a_reply_it_is_lost_outside_when_the_time_is_over() -> None:
    assert not lost(request(TX), after_ns=TIMEOUT_NS - 1)
    (ping,) = lost(request(TX))
    assert ping.outcome is Outcome.OUTSIDE
    assert ping.parts_ns == (13_500, None, None, None)


def test_a_dropped_request_is_lost_inside() -> None:
    (ping,) = lost(dropped(request(TX), "vnet_rx", "dropped", reason="NO_ROUTE"))
    assert ping.outcome is Outcome.REQUEST_INSIDE and ping.parts_ns == (None,) * 4


def test_a_dropped_reply_is_lost_inside() -> None:
    ping = joined(request(TX), dropped(reply(RX), "vnet_queue", "dropped"))
    assert ping.outcome is Outcome.REPLY_INSIDE
    assert ping.parts_ns == (13_500, 186_500, None, None)


def test_nobody_says_lost_where_packets_were_not_looked_at() -> None:
    (ping,) = lost(request(TX), unseen_by_then=1)
    assert ping.outcome is Outcome.UNSEEN


def test_what_was_not_looked_at_before_a_ping_began_is_no_excuse() -> None:
    joiner = PingJoiner(TIMEOUT_NS)
    settled(joiner, (stats(0, suppressed=5)))
    take(joiner, request(TX))
    (ping,) = settled(joiner, (stats(1_000_000 + TIMEOUT_NS, suppressed=5)))
    assert ping.outcome is Outcome.OUTSIDE


def test_while_something_is_stuck_in_the_host_it_may_be_the_reply() -> None:
    """The guest is stopped: its packet has no frame until it expires."""
    joiner = PingJoiner(TIMEOUT_NS)
    take(joiner, request(TX))
    stuck = stats(1_000_000 + TIMEOUT_NS)
    stuck["bins"]["rx"]["in_flight"] = 1
    assert not settled(joiner, (stuck)) and joiner.waiting == 1
    ping = take(joiner, dropped(reply(RX), "tun_out", "expired"))
    assert ping is not None and ping.outcome is Outcome.REPLY_INSIDE
    take(joiner, request(TX, sequence=2))
    (late,) = settled(joiner, ({**stuck, "t_ns": 10 * TIMEOUT_NS}))
    assert late.outcome is Outcome.OUTSIDE, "but not for ever"


def test_a_reply_without_a_request_is_counted() -> None:
    joiner = PingJoiner(TIMEOUT_NS)
    take(joiner, reply(RX))
    assert not settled(joiner, (stats(1_200_000 + TIMEOUT_NS)))
    assert (joiner.unmatched, joiner.waiting) == (1, 0)


def test_at_the_end_what_is_known_is_said_and_the_rest_is_on_its_way() -> None:
    joiner = PingJoiner(TIMEOUT_NS)
    take(joiner, request(TX))
    take(joiner, dropped(request(TX, sequence=2), "vnet_rx", "dropped"))
    (ping,) = settled(joiner, (stats(1_300_000, final=True)))
    assert ping.packet.sequence == 2 and joiner.waiting == 1


def test_losses_come_in_the_order_in_which_they_began() -> None:
    joiner = PingJoiner(TIMEOUT_NS)
    for sequence, t_ns in ((3, 3_000), (1, 1_000), (2, 2_000)):
        take(joiner, half(TX, True, t_ns, sequence))
    assert [p.packet.sequence for p in settled(joiner, (stats(2 * TIMEOUT_NS)))] == [1, 2, 3]
    assert not joiner.waiting


def test_unseen_is_what_the_counters_say() -> None:
    frame = stats(0, lost=2, suppressed=3)
    frame["bins"]["tx"]["evicted"] = 4
    assert counted(frame).unseen == 9


# ---- bounds --------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> PingJoiner:
    """A joiner with room for ten, three of them alike; nobody ever sends it statistics."""
    monkeypatch.setattr(pings, "_MOST", 10)
    monkeypatch.setattr(pings, "_MOST_ALIKE", 3)
    return PingJoiner(TIMEOUT_NS)


def size(joiner: PingJoiner) -> int:
    """Everything that is kept."""
    return len(joiner._waiting) + sum(map(len, joiner._waiting.values()))


def test_requests_that_nobody_settles_are_given_up_and_counted(few: PingJoiner) -> None:
    for sequence in range(100):
        take(few, request(TX, sequence=sequence))
    assert (few.waiting, few.given_up, few.unmatched) == (10, 90, 0) and size(few) == 20
    assert take(few, reply(RX, sequence=89)) is None, "its request was given up"
    ping = take(few, reply(RX, sequence=99))
    assert ping is not None and ping.outcome is Outcome.COMPLETE


def test_replies_that_nobody_settles_are_given_up_and_counted(few: PingJoiner) -> None:
    for sequence in range(100):
        take(few, reply(RX, sequence=sequence))
    assert (few.waiting, few.given_up, few.unmatched) == (0, 0, 90) and size(few) == 20


def test_one_packet_again_and_again_does_not_fill_it(few: PingJoiner) -> None:
    take(few, request(TX, sequence=5))
    for _ in range(100):
        take(few, request(TX))
    assert (few.waiting, few.given_up) == (4, 97) and size(few) == 6


def test_of_pings_that_are_complete_nothing_is_kept(few: PingJoiner) -> None:
    for sequence in range(100):
        take(few, request(TX, sequence=sequence))
        assert take(few, reply(RX, sequence=sequence))
    assert size(few) == 0 and not few.given_up
    take(few, request(TX))
    settled(few, (stats(1_000_000 + TIMEOUT_NS)))
    for sequence in range(10):
        take(few, request(TX, sequence=sequence))
    assert (few.waiting, few.given_up) == (10, 0), "what was settled takes no room"


def test_of_a_frame_only_what_is_of_use_is_kept() -> None:
    frame = dropped(request(TX), "vnet_rx", "dropped")
    frame["more"] = frame["flow"]["more"] = frame["drop"]["more"] = "x" * 100_000
    frame["stages"] += [{**frame["stages"][0], "point": f"p{n}"} for n in range(60)]
    crossing = Crossing.of(seen(frame))
    assert crossing is not None and len(repr(crossing)) < 1000
