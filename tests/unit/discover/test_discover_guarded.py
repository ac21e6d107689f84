"""Readings that hang: each costs a thread and its own answer, and no more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vmlat_tui.discover.vms.guarded import Guarded

#: Of a reading that does not hang; for a machine that does much else.
_LIMIT_S = 0.3


class World:
    """Objects of owners, some of which hang until they are let go."""

    def __init__(self) -> None:
        self.hang: set[str] = set()
        self.read: list[str] = []
        self.go_on = threading.Event()

    def reading(self, key: str) -> str:
        self.read.append(key)
        if key in self.hang:
            self.go_on.wait(30)
        return key.upper()

    def guarded(self, trusted: str = "") -> Guarded[str, str]:
        """Keys are an owner's letter and a number."""
        return Guarded(self.reading, lambda key: (key[0], key[0] in trusted), "test-guarded")


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.go_on.set()


def threads() -> int:
    return sum(t.name == "test-guarded" for t in threading.enumerate())


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_all_is_read_and_no_thread_stays(world: World) -> None:
    guarded = world.guarded()
    assert guarded.ask(["a1", "b1"], _LIMIT_S) == {"a1": "A1", "b1": "B1"}
    until(lambda: threads() == 0)
    assert guarded.ask([], _LIMIT_S) == {} and threads() == 0


def test_one_that_hangs_leaves_the_others_their_answers(world: World) -> None:
    world.hang = {"a1"}
    guarded = world.guarded()
    begin = time.monotonic()
    assert guarded.ask(["a1", "b1", "a2"], _LIMIT_S) == {"b1": "B1", "a2": "A2"}
    assert guarded.hung == {"a1"} and time.monotonic() - begin < 4 * _LIMIT_S
    begin = time.monotonic()
    assert guarded.ask(["a1", "b1"], 10.0) == {"b1": "B1"}
    assert time.monotonic() - begin < 5, "nobody waits for it twice"
    assert world.read.count("a1") == 1 and threads() == 1


def test_what_comes_late_is_there_the_next_time(world: World) -> None:
    world.hang = {"a1"}
    guarded = world.guarded()
    assert guarded.ask(["a1"], 0.05) == {}
    world.go_on.set()
    until(lambda: not guarded.hung)
    assert guarded.ask(["a1"], _LIMIT_S) == {"a1": "A1"} and world.read == ["a1"]


def test_an_owner_whose_objects_hang_blinds_only_himself(world: World) -> None:
    bad = [f"e{n}" for n in range(50)]
    world.hang = set(bad)
    guarded = world.guarded()
    begin = time.monotonic()
    assert guarded.ask([*bad, "a1"], _LIMIT_S) == {"a1": "A1"}
    assert time.monotonic() - begin < 4 * _LIMIT_S
    assert len(guarded.hung) == threads() == 2
    assert world.read == ["e0", "e1", "a1"]


def test_many_owners_take_so_many_threads_and_those_who_are_trusted_are_read(world: World) -> None:
    bad = [f"{chr(0x4E00 + n)}1" for n in range(100)]
    world.hang = set(bad)
    guarded = world.guarded(trusted="r")
    assert guarded.ask([*bad, "r1", "a1"], 0.1) == {"r1": "R1"}
    assert len(guarded.hung) == threads() == 32
