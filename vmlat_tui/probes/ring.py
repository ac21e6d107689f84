"""Reads a BPF ring buffer through its two mappings (kernel 5.8, Documentation/bpf/ringbuf.rst).

BCC's own reader enters Python once per record through ctypes; this one copies whole batches.
"""

from __future__ import annotations

import mmap
import struct
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

    def records(self, limit: int) -> Iterator[bytes]:
        """At most ``limit`` records that are ready now; never waits."""
        position = struct.unpack_from("<Q", self._consumer)[0]
        end = struct.unpack_from("<Q", self._data)[0]
        while position < end and limit > 0:
            at = _PAGE + (position & (self._size - 1))
            length = struct.unpack_from("<I", self._data, at)[0]
            if length & _BUSY:
                break
            size = length & ~_DISCARD
            if not length & _DISCARD:
                yield self._data[at + _HEADER : at + _HEADER + size]
                limit -= 1
            position += (size + _HEADER + 7) // 8 * 8
            struct.pack_into("<Q", self._consumer, 0, position)

    def close(self) -> None:
        """Unmap; the map itself belongs to the program."""
        self._consumer.close()
        self._data.close()
