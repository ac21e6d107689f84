"""Which observers have told of a ping."""

from __future__ import annotations

import pytest

from vmlat_tui.model.readings import Packet
from vmlat_tui.model.segments import Observer
from vmlat_tui.ping import correlation as rolls
from vmlat_tui.ping.correlation import Correlator

SG, SH, RH, RG = Observer
ALL = frozenset(Observer)


def correlator(accepts: bool = True) -> Correlator:
    made = Correlator(5.0)
    made.accepts = accepts
    return made


def tell(
    made: Correlator, observer: Observer, sequence: int = 1, t: float = 0.0, lost: str = ""
) -> bool:
    return made.take(observer, Packet(7, sequence), {} if lost else {"B": 1}, lost, t)


def test_it_is_over_when_all_have_told_of_it() -> None:
    made = correlator()
    for observer in (RH, RG, SH):
        assert tell(made, observer)
        assert not made.settle(ALL, 0.1) and made.waiting == 1
    assert made.take(SG, Packet(7, 1), {"rtt": 9}, "", 0.1)
    (heard,) = made.settle(ALL, 0.1)
    assert heard.by == ALL and heard.intervals_ns == {"B": 1, "rtt": 9}
    assert (made.over, made.waiting) == (1, 0)


def test_who_has_failed_is_not_waited_for_and_others_only_so_long() -> None:
    made = correlator()
    tell(made, RH)
    assert not made.settle(ALL - {RG}, 1.0)
    tell(made, SH, lost="outside the host")
    assert [heard.lost for heard in made.settle(frozenset({RH, SH}), 1.0)] == [
        {SH: "outside the host"}
    ]
    tell(made, RH, 2, 2.0)
    assert not made.settle(ALL, 6.9) and [h.by for h in made.settle(ALL, 7.0)] == [{RH}]


def test_one_that_comes_late_still_counts_but_is_not_shown_again() -> None:
    made = correlator()
    tell(made, RH)
    assert made.settle(ALL, 6.0)
    assert tell(made, SH, t=7.0) and not made.settle(ALL, 20.0) and made.over == 1


def test_a_number_that_comes_again_much_later_is_another_ping() -> None:
    made = correlator()
    tell(made, RH)
    made.settle(frozenset(), 0.0)
    assert tell(made, RH, t=60.0) and made.waiting == 1


@pytest.mark.parametrize("observer", Observer)
def test_what_began_before_all_could_see_it_never_counts(observer: Observer) -> None:
    made = correlator(accepts=False)
    assert not tell(made, observer)
    made.accepts = True
    assert not any(tell(made, other, t=0.1) for other in Observer)
    assert tell(made, observer, 2, 0.1)
    made.accepts = False
    assert tell(made, SG, 2, 0.2), "it had begun"
    assert not tell(made, SG, 3, 0.2)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolls, "_MOST", 10)
    made = correlator()
    for sequence in range(100):
        tell(made, RH, sequence)
        assert made.waiting <= 10, "though nobody settles"
    assert (made.waiting, made.over, made.given_up, len(made._past)) == (10, 90, 90, 10)
    assert [heard.packet.sequence for heard in made.settle(frozenset(), 0.0)] == list(
        range(90, 100)
    )
    assert (made.waiting, made.over) == (0, 100)
