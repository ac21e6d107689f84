"""Reads a BPF ring buffer through its two mappings (kernel 5.8, Documentation/bpf/ringbuf.rst).

BCC's own reader enters Python once per record through ctypes; this one copies whole batches.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

_PAGE = mmap.PAGESIZE
_BUSY, _DISCARD = 1 << 31, 1 << 30
_HEADER = 8


class Ring:
    """The only consumer of one ring buffer; for one thread."""

    def __init__(self, descriptor: int, size: int) -> None:
        """``size`` is the map's in bytes, a power of two."""
        self._size = size
        self._consumer = mmap.mmap(
            descriptor, _PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE
        )
        self._data = mmap.mmap(
            descriptor, _PAGE + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=_PAGE
        )
        # Whole words: struct goes byte by byte and clears first, and to a kernel that sees half a
        # position, or 0, the ring is full.
        self._consumed = memoryview(self._consumer).cast("Q")
        self._produced = memoryview(self._data)[:_HEADER].cast("Q")
        self._lengths = memoryview(self._data)[_PAGE:].cast("I")

    def records(self, limit: int) -> Iterator[bytes]:
        """At most ``limit`` records that are ready now; never waits."""
        position, end = self._consumed[0], self._produced[0]
        while position < end and limit > 0:
            at = position & (self._size - 1)
            length = self._lengths[at // 4]
            if length & _BUSY:
                break
            size = length & ~_DISCARD
            if not length & _DISCARD:
                start = _PAGE + at + _HEADER
                yield self._data[start : start + size]
                limit -= 1
            position += (size + _HEADER + 7) // 8 * 8
            self._consumed[0] = position

    def close(self) -> None:
        """Unmap; the map itself belongs to the program."""
        for view in (self._consumed, self._produced, self._lengths):
            view.release()
        self._consumer.close()
        self._data.close()
