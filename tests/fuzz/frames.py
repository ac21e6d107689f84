"""Frames: the boundary, and what every reader does with a frame that came through it."""

from __future__ import annotations

from functools import cache
from random import Random

from tests.fuzz.support import Target, made, mutated, shaken, to_line
from tests.support.frames import encoded
from tests.unit.protocol.test_protocol_shapes import good, readers
from vmlat_tui.protocol import frames
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.session.history import History


@cache
def samples() -> tuple[Raw, ...]:
    """One of each type."""
    return tuple(good())


def _odd_frame(random: Random) -> bytes:
    return to_line(random, mutated(random, random.choice(samples())))


def _odd_bytes(random: Random) -> bytes:
    return shaken(random, encoded(random.choice(samples())))


def _read(line: bytes) -> None:
    frame = frames.decode(line)
    again = frames.decode(frames.encode(frame))
    assert again == frame
    readers(frames.to_json(frame))


def _odd_hello(random: Random) -> bytes:
    """Sessions in which the agent is another one now and then."""
    hello, *others = (frame for frame in samples() if frame["type"] in _STATES)
    chosen = [random.choice((hello, *others)) for _ in range(random.randrange(1, 12))]
    lines = (to_line(random, mutated(random, frame, (0, 0, 1, 2))) for frame in (hello, *chosen))
    return b"\n".join(lines)


_STATES = ("hello", "topology", "vitals", "measuring", "stats", "lost", "released", "links", "ack")


def _follow(data: bytes) -> None:
    history = History()
    for line in data.splitlines():
        history.take(frames.decode(line))
        history.moments()


TARGETS = (
    Target("frame", made(_odd_frame), _read, 150),
    Target("frame-bytes", made(_odd_bytes), _read, 100),
    Target("history", made(_odd_hello), _follow, 60),
)
