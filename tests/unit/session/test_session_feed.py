"""The reader of a host that never rests: it is posted seldom, and takes half of a processor."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Optional

from tests.support.frames import typed
from tests.tui.streams import Stream
from vmlat_tui.protocol.commands import Read
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.session.feed import Feed
from vmlat_tui.session.snapshot import Moments
from vmlat_tui.transport.source import Order


class Restless:
    """Gives a frame whenever it is asked, and counts the time that its reader runs."""

    def __init__(self) -> None:
        self._frames = self._all()
        self.ran_s = 0.0
        self.sent: list[Order] = []

    def _all(self) -> Iterator[Raw]:
        stream = Stream(("web-1",), flows=1, drawn=4)
        yield from stream.looking()
        number = 0
        while True:
            number += 1
            yield {"type": "error", "title": f"error {number}", "id": number}

    def send(self, order: Order) -> None:
        self.sent.append(order)

    def next(self, timeout_s: float) -> Optional[Frame]:
        self.ran_s = time.thread_time()
        return typed(next(self._frames))

    def close(self) -> None: ...


def floods(at_once: bool) -> tuple[float, int]:
    """The share of a processor that a feed takes of it, and how often it posts in two seconds."""
    found: list[Moments] = []
    source = Restless()
    feed = Feed(lambda: source, found.append, at_once=at_once)
    feed.start()
    time.sleep(2.0)
    feed.send(Read())
    begin = time.monotonic()
    while not source.sent and time.monotonic() < begin + 5:
        time.sleep(0.01)
    assert time.monotonic() - begin < 1.0, "it obeys between two rests"
    share = source.ran_s / 2
    feed.close()
    assert not [t for t in threading.enumerate() if t.name == "vmlat-feed"]
    return share, len(found)


def test_what_is_urgent_without_end_is_posted_five_times_a_second() -> None:
    _, posts = floods(at_once=False)
    assert 4 < posts < 16


def test_it_leaves_half_of_the_processor_to_whoever_draws() -> None:
    share, _ = floods(at_once=False)
    assert 0.05 < share < 0.65
