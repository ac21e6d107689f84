"""The ring buffer's reader, as the kernel sees it from another processor."""

from __future__ import annotations

import mmap
import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event

import pytest

from vmlat_tui.probes.ring import Ring

PAGE, SIZE = mmap.PAGESIZE, 1 << 16
RECORD = 24
#: So long after its beginning that a position has many bytes.
BEGIN = 1 << 40
LAPS = 300


@pytest.fixture
def memory() -> Iterator[int]:
    """A file laid out as the kernel's map: two positions, then the data twice."""
    descriptor = os.memfd_create("ring")
    os.ftruncate(descriptor, 2 * PAGE + 2 * SIZE)
    record = (RECORD - 8).to_bytes(4, "little") + bytes(4) + b"0123456789abcdef"
    data = (record * (2 * SIZE // RECORD + 1))[: 2 * SIZE]
    os.pwrite(descriptor, BEGIN.to_bytes(8, "little"), 0)
    os.pwrite(descriptor, BEGIN.to_bytes(8, "little"), PAGE)
    os.pwrite(descriptor, data, 2 * PAGE)
    yield descriptor
    os.close(descriptor)


def produce(memory: int, records: int) -> int:
    end = BEGIN + records * RECORD
    os.pwrite(memory, end.to_bytes(8, "little"), PAGE)
    return end


def test_records_are_read_to_the_end_and_counted_as_read(memory: int) -> None:
    ring = Ring(memory, SIZE)
    end = produce(memory, 5)
    assert list(ring.records(3)) == [b"0123456789abcdef"] * 3
    assert list(ring.records(100)) == [b"0123456789abcdef"] * 2 and not list(ring.records(1))
    assert int.from_bytes(os.pread(memory, 8, 0), "little") == end
    ring.close()


def least_seen(memory: int, begun: Event, done: Event, answer: Queue[int]) -> None:
    seen = memoryview(mmap.mmap(memory, PAGE, mmap.MAP_SHARED, mmap.PROT_READ)).cast("Q")
    least = seen[0]
    begun.set()
    while not done.is_set():
        for _ in range(10_000):
            least = min(least, seen[0])
    answer.put(least)


def test_whoever_looks_meanwhile_sees_whole_positions(memory: int) -> None:
    """Half of one, or 0, would be a full ring to the kernel, and the packet would be lost."""
    context = multiprocessing.get_context("fork")
    begun, done, answer = context.Event(), context.Event(), context.Queue()
    looking = context.Process(target=least_seen, args=(memory, begun, done, answer))
    looking.start()
    assert begun.wait(30)
    ring = Ring(memory, SIZE)
    count = 0
    for _ in range(LAPS):
        os.pwrite(memory, BEGIN.to_bytes(8, "little"), 0)
        produce(memory, SIZE // RECORD)
        count += sum(1 for _ in ring.records(SIZE))
    done.set()
    assert answer.get(timeout=30) >= BEGIN
    looking.join(10)
    assert count == LAPS * (SIZE // RECORD)
    ring.close()
