"""What a guest sees of a ping: round trips made of sightings at single points."""

from __future__ import annotations

from typing import Optional

import pytest

from vmlat_tui.model import guest
from vmlat_tui.model.flows import Echo, Flow
from vmlat_tui.model.guest import (
    GUEST_VIEW,
    TIMES,
    GuestPoint,
    RoundTrip,
    RoundTripJoiner,
    Sighting,
)
from vmlat_tui.model.readings import Packet
from vmlat_tui.model.segments import CLOSURES, QUANTITIES, Observer
from vmlat_tui.protocol import frames
from vmlat_tui.protocol.echo import EchoFrame

SOURCE, TARGET = "10.0.0.5", "10.0.0.9"
TIMEOUT_NS = 1_000_000
PING, OTHER = 900, 901


def seen(
    point: GuestPoint, request: bool, t_ns: int, *, also_ns: Optional[int] = None,
    sequence: int = 1, interface: Optional[str] = "eth0", tgid: int = PING,
) -> Sighting:  # fmt: skip
    src, dst = (SOURCE, TARGET) if request else (TARGET, SOURCE)
    flow = Flow(src, dst, 7, 7, "icmp")
    return Sighting(point, t_ns, also_ns, flow, Echo(7, sequence, request), interface, tgid, "ping")


SENT = [
    seen(GuestPoint.QUEUE, True, 110, also_ns=100),
    # A queue may let it out in any task.
    seen(GuestPoint.XMIT, True, 120, tgid=OTHER),
    seen(GuestPoint.RECEIVE, False, 320, tgid=OTHER),
    seen(GuestPoint.READ, False, 335, interface=None),
]
ANSWERED = [
    seen(GuestPoint.RECEIVE, True, 1_000, tgid=OTHER),
    seen(GuestPoint.ICMP, True, 1_024, tgid=OTHER),
    seen(GuestPoint.REPLY, False, 1_032, interface=None, tgid=OTHER),
    seen(GuestPoint.XMIT, False, 1_039, tgid=OTHER),
]


def joined(*sightings: Sighting) -> list[RoundTrip]:
    joiner = RoundTripJoiner(TIMEOUT_NS)
    found = [trip for trip in map(joiner.add, sightings) if trip]
    assert all(trip.complete for trip in found)
    return found


def test_at_the_sender_path_1_is_a_and_path_2_is_m() -> None:
    (trip,) = joined(*SENT)
    assert trip.observer is Observer.SENDER_GUEST and trip.packet == Packet(7, 1)
    assert trip.intervals_ns == {"A": 20, "sender_inter": 200, "M": 15, "rtt": 235}
    assert (trip.parts_ns, trip.total_ns) == ((20, 200, 15, 235), 235)
    assert (trip.ends, trip.interface, trip.tgid) == ((SOURCE, TARGET), "eth0", PING)


def test_at_the_receiver_path_1_is_f_path_2_is_h_and_g_is_between() -> None:
    (trip,) = joined(*ANSWERED)
    assert trip.observer is Observer.RECEIVER_GUEST
    assert trip.intervals_ns == {"F": 24, "G": 8, "H": 7, "receiver_rtt": 39}
    assert trip.tgid == 0, "who ran there has nothing to do with it"


@pytest.mark.parametrize("sightings", [SENT, ANSWERED])
def test_the_parts_add_up(sightings: list[Sighting]) -> None:
    (trip,) = joined(*sightings)
    found = trip.intervals_ns
    (parts,) = [parts for parts, whole in CLOSURES if whole == GUEST_VIEW[trip.observer][-1]]
    assert sum(found[part] for part in parts) == trip.total_ns
    assert found.keys() <= QUANTITIES.keys()


def test_without_functions_f_g_and_h_are_one() -> None:
    (trip,) = joined(ANSWERED[0], ANSWERED[3])
    assert trip.intervals_ns == {"receiver_rtt": 39}
    assert trip.parts_ns == (None, None, None, 39)


def test_where_the_driver_s_receive_point_is_missing_the_stack_s_counts() -> None:
    """GRO's comes first where there is one."""
    (trip,) = joined(*SENT[:3], seen(GuestPoint.RECEIVE, False, 325), SENT[3])
    assert trip.intervals_ns["M"] == 15


def test_behind_a_bridge_of_the_guest_the_outer_device_counts() -> None:
    inner = [
        seen(GuestPoint.QUEUE, True, 108, also_ns=100, interface="veth0"),
        seen(GuestPoint.XMIT, True, 110, interface="veth0"),
        seen(GuestPoint.QUEUE, True, 120, also_ns=100, interface="eth0"),
        seen(GuestPoint.XMIT, True, 130, interface="eth0"),
        SENT[2],
        seen(GuestPoint.RECEIVE, False, 330, interface="br0"),
        SENT[3],
    ]
    (trip,) = joined(*inner)
    assert trip.interface == "eth0"
    assert trip.intervals_ns == {"A": 30, "sender_inter": 190, "M": 15, "rtt": 235}


def test_a_guest_s_last_and_first_moments_are_its_kick_and_the_interrupt() -> None:
    sent = [SENT[0], seen(GuestPoint.XMIT, True, 120, also_ns=127), SENT[3]]
    sent.insert(2, seen(GuestPoint.RECEIVE, False, 320, also_ns=309))
    (trip,) = joined(*sent)
    assert trip.intervals_ns == {"A": 27, "sender_inter": 182, "M": 26, "rtt": 235}
    answered = [
        seen(GuestPoint.RECEIVE, True, 1_000, also_ns=990),
        *ANSWERED[1:3],
        seen(GuestPoint.XMIT, False, 1_039, also_ns=1_044),
    ]
    (trip,) = joined(*answered)
    assert trip.intervals_ns == {"F": 34, "G": 8, "H": 12, "receiver_rtt": 54}
    assert trip.times_ns.keys() <= TIMES


def test_the_kick_of_an_inner_device_is_not_the_outer_one_s() -> None:
    (trip,) = joined(
        SENT[0],
        seen(GuestPoint.XMIT, True, 112, also_ns=114),
        seen(GuestPoint.XMIT, True, 120),
        *SENT[2:],
    )
    assert trip.intervals_ns["A"] == 20


def test_a_driver_that_is_done_after_the_reply_has_come_is_still_where_the_request_left() -> None:
    """The host is fast, and took the processor from it before it could say so."""
    late = [SENT[0], SENT[2], seen(GuestPoint.XMIT, True, 120, also_ns=125), SENT[3]]
    (trip,) = joined(*late)
    assert trip.intervals_ns == {"A": 25, "sender_inter": 195, "M": 15, "rtt": 235}
    (trip,) = joined(*SENT[:3], seen(GuestPoint.XMIT, True, 330), SENT[3])
    assert trip.intervals_ns["A"] == 20, "a later one is a copy on its way through this guest"


def test_another_ping_s_socket_gets_a_copy_and_does_not_count() -> None:
    (trip,) = joined(*SENT[:3], seen(GuestPoint.READ, False, 322, tgid=OTHER), SENT[3])
    assert trip.intervals_ns["M"] == 15


def test_a_request_that_was_kept_back_has_no_a_and_its_reader_is_the_sender() -> None:
    """It waited for ARP: whoever ran when it left has not sent it."""
    (trip,) = joined(seen(GuestPoint.QUEUE, True, 110, tgid=OTHER), *SENT[1:])
    assert trip.intervals_ns == {"sender_inter": 200, "M": 15} and trip.total_ns is None
    assert trip.tgid == PING


def test_a_router_s_guest_is_neither_end() -> None:
    forwarded = [
        seen(GuestPoint.RECEIVE, True, 1_000),
        seen(GuestPoint.QUEUE, True, 1_005, interface="vlan5"),
        seen(GuestPoint.QUEUE, True, 1_008),
        seen(GuestPoint.XMIT, True, 1_010),
        seen(GuestPoint.RECEIVE, False, 1_100),
        seen(GuestPoint.QUEUE, False, 1_105),
        seen(GuestPoint.XMIT, False, 1_110),
    ]
    joiner = RoundTripJoiner(TIMEOUT_NS)
    assert not [trip for trip in map(joiner.add, forwarded) if trip]
    assert not joiner.waiting and not joiner.give_up(10**12)


def test_a_request_that_is_received_by_way_of_ifb_is_not_forwarded() -> None:
    """Redirected there it is queued, sent and received once more; what it waits for is in F."""
    again = [
        seen(GuestPoint.QUEUE, True, 1_005, interface="ifb0"),
        seen(GuestPoint.XMIT, True, 1_020, interface="ifb0"),
        seen(GuestPoint.RECEIVE, True, 1_021),
    ]
    (trip,) = joined(ANSWERED[0], *again, *ANSWERED[1:])
    assert trip.intervals_ns == {"F": 24, "G": 8, "H": 7, "receiver_rtt": 39}
    assert (trip.interface, trip.forwarded) == ("eth0", False)


def test_many_pings_at_once_do_not_mix() -> None:
    found = joined(
        SENT[0],
        seen(GuestPoint.QUEUE, True, 145, also_ns=140, sequence=2),
        SENT[1],
        seen(GuestPoint.XMIT, True, 150, sequence=2),
        seen(GuestPoint.RECEIVE, False, 310, sequence=2),
        *SENT[2:],
        seen(GuestPoint.READ, False, 400, sequence=2),
    )
    assert [(t.packet.sequence, t.total_ns) for t in found] == [(1, 235), (2, 260)]


@pytest.mark.parametrize("sightings", [SENT[:1], SENT[:2], SENT[:3], ANSWERED[:1], ANSWERED[:3]])
def test_what_nothing_came_of_is_given_up_in_time(sightings: list[Sighting]) -> None:
    joiner = RoundTripJoiner(TIMEOUT_NS)
    assert not [trip for trip in map(joiner.add, sightings) if trip]
    begin = sightings[0].also_ns or sightings[0].t_ns
    assert not joiner.give_up(begin + TIMEOUT_NS - 1) and joiner.waiting == 1
    (trip,) = joiner.give_up(begin + TIMEOUT_NS)
    assert not trip.complete and not joiner.waiting


def test_a_reply_of_which_no_request_was_seen_begins_nothing() -> None:
    joiner = RoundTripJoiner(TIMEOUT_NS)
    assert not [trip for trip in map(joiner.add, (*SENT[2:], ANSWERED[3])) if trip]
    assert not joiner.waiting


def test_a_round_trip_comes_through_a_frame() -> None:
    (trip,) = joined(*SENT)
    frame = frames.decode(frames.encode(EchoFrame.of(trip)))
    assert isinstance(frame, EchoFrame) and frame.trip == trip


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "_MOST", 10)
    joiner = RoundTripJoiner(1 << 61)
    for sequence in range(100):
        joiner.add(seen(GuestPoint.QUEUE, True, 110 + sequence, also_ns=100, sequence=sequence))
    assert (joiner.waiting, joiner.given_up) == (10, 90)
    for sequence in range(200, 300):
        for point in (GuestPoint.RECEIVE, GuestPoint.QUEUE):
            joiner.add(seen(point, True, 110, sequence=sequence))
    assert joiner.given_up == 100, "those that are not this guest's were never waited for"
    assert len(joiner._open) == 10
