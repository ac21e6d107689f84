"""A BPF array mapped into this process (kernel 5.5 and later): read without a system call."""

from __future__ import annotations

import mmap


class MappedArray:
    """Elements as bytes, while the kernel's programs go on writing them; for one thread."""

    def __init__(self, descriptor: int, value_size: int, entries: int) -> None:
        """``entries`` and ``value_size`` are the map's."""
        self._size = value_size
        self._stride = (value_size + 7) // 8 * 8
        length = entries * self._stride
        pages = -(-length // mmap.PAGESIZE) * mmap.PAGESIZE
        self._map = mmap.mmap(descriptor, pages, mmap.MAP_SHARED, mmap.PROT_READ)
        self._words = memoryview(self._map)[:length].cast("Q")

    def __getitem__(self, index: int) -> bytes:
        """A copy of one element."""
        at = index * self._stride
        return self._map[at : at + self._size]

    def first_words(self) -> list[int]:
        """The first 64-bit word of every element."""
        return self._words[:: self._stride // 8].tolist()

    def all(self) -> list[bytes]:
        """A copy of every element."""
        return [self[i] for i in range(len(self._words) * 8 // self._stride)]

    def close(self) -> None:
        """Unmap; the map itself belongs to the program."""
        self._words.release()
        self._map.close()
