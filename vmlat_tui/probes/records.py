"""The structures of a C header, as Python reads and writes them.

The header is the only description of a layout: where each member is, and its type, is read from it.
Structures are little endian, as the processor that the programs run on (x86-64).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Callable, Optional, Union

#: C type -> the code of :mod:`struct` and the size in bytes.
_TYPES = {"u8": ("B", 1), "char": ("s", 1), "u16": ("H", 2), "u32": ("I", 4), "u64": ("Q", 8)}
_STRUCTURE = re.compile(r"^struct (\w+) \{(.*?)^\};", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_MEMBER = re.compile(r"(?:struct\s+)?(\w+)\s+(\w+)((?:\[\w+\])*)")
_LENGTH = re.compile(r"\[(\w+)\]")


@dataclass(frozen=True)
class Member:
    """One member: ``code`` as of :mod:`struct`, ``count`` None if it is not an array."""

    name: str
    code: str
    size: int
    align: int
    count: Optional[int]


class Structure:
    """One structure.

    A member is read and written as a number, an array as a tuple of numbers (of several dimensions:
    one after the other), and text, other structures and what the header's reader was told to leave
    raw as bytes.
    """

    def __init__(self, name: str, members: Iterable[Member]) -> None:
        """Raises ``ValueError`` if the compiler would leave a hole."""
        self.name = name
        #: Where each member is, in bytes.
        self.offsets: dict[str, int] = {}
        #: Of the whole, in bytes.
        self.size = 0
        self.align = 1
        self._places: dict[str, Union[int, slice]] = {}
        self._zeros: list[Any] = []
        form = "<"
        for member in members:
            if self.size % member.align:
                raise ValueError(f"a hole before {name}.{member.name}")
            self.offsets[member.name] = self.size
            self.size += member.size
            self.align = max(self.align, member.align)
            at, raw = len(self._zeros), member.code == "s"
            form += f"{member.size}s" if raw else f"{member.count or 1}{member.code}"
            self._zeros += [b""] if raw else [0] * (member.count or 1)
            one = raw or member.count is None
            self._places[member.name] = at if one else slice(at, len(self._zeros))
        if self.size % self.align:
            raise ValueError(f"a hole at the end of {name}")
        self.struct = struct.Struct(form)

    def picker(self, *names: str) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
        """Takes these members (two or more) out of what :attr:`struct` unpacked."""
        return itemgetter(*(self._places[name] for name in names))

    def reader(self, *names: str) -> Callable[[bytes], tuple[Any, ...]]:
        """Reads these members (two or more) at the beginning of some bytes."""
        unpack, pick = self.struct.unpack_from, self.picker(*names)

        def read(data: bytes) -> tuple[Any, ...]:
            return pick(unpack(data))

        return read

    def pack(self, **values: Any) -> bytes:
        """The structure with these members, and all others zero."""
        row = self._zeros.copy()
        for name, value in values.items():
            row[self._places[name]] = value
        return self.struct.pack(*row)


def read(
    header: str, constants: Mapping[str, int], raw: frozenset[str] = frozenset()
) -> dict[str, Structure]:
    """Every structure of a header by its name.

    ``constants`` are the lengths of arrays that the header gives by name; members with a name in
    ``raw`` are left as bytes.  Raises ``ValueError`` or ``KeyError`` for what is not understood.
    """
    found: dict[str, Structure] = {}
    for name, body in _STRUCTURE.findall(_COMMENT.sub("", header)):
        members = []
        for row in filter(None, map(str.strip, body.split(";"))):
            match = _MEMBER.fullmatch(row)
            if match is None:
                raise ValueError(f"struct {name}: {row!r}")
            kind, member, lengths = match.groups()
            inner = found.get(kind)
            code, size = ("s", inner.size) if inner else _TYPES[kind]
            align = inner.align if inner else size
            count = None
            for length in _LENGTH.findall(lengths):
                count = (count or 1) * (int(length) if length.isdigit() else constants[length])
            code = "s" if member in raw else code
            members.append(Member(member, code, size * (count or 1), align, count))
        found[name] = Structure(name, members)
    return found
