"""Reads the running kernel's BTF: member offsets, enumerators, tracepoint signatures.

The format is documented in the kernel's Documentation/bpf/btf.rst.  Kinds known here are those up
to Linux 6.18 (ENUM64 came in 6.0); a newer kind ends the walk with :class:`BtfError`.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar, cast

VMLINUX = Path("/sys/kernel/btf/vmlinux")
_Look = TypeVar("_Look", bound=Callable[..., Any])

_STRUCT, _UNION, _ENUM = 4, 5, 6
_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _FUNC_PROTO, _TYPE_TAG, _ENUM64 = 8, 9, 10, 11, 13, 18, 19
_FUNC = 12
_WITH_MEMBERS = (_STRUCT, _UNION, _ENUM, _ENUM64)
_MODIFIERS = (_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG)
#: In a row; the kernel refuses more.
_MOST_MODIFIERS = 32

# Words of a record: fixed, and per member (vlen).
_FIXED = (3, 4, 3, 6, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 3, 3, 4, 3, 3)
_PER_MEMBER = (0, 0, 0, 0, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 3)


class BtfError(Exception):
    """There is no BTF, or not the wanted thing in it."""


def _whole(look: _Look) -> _Look:
    """What leads out of the BTF while it is looked at is damage."""

    @functools.wraps(look)
    def looked(*arguments: Any) -> Any:
        try:
            return look(*arguments)
        except (IndexError, ValueError, RecursionError):
            raise BtfError("the BTF is damaged") from None

    return cast(_Look, looked)


@dataclass(frozen=True)
class Member:
    """Place of a structure member; ``bits`` is 0 unless it is a bit field."""

    bit_offset: int
    bits: int

    @property
    def offset(self) -> int:
        """In bytes, rounded down for a bit field."""
        return self.bit_offset // 8

    @property
    def mask(self) -> int:
        """Of a bit field that lies within one byte."""
        return ((1 << self.bits) - 1) << (self.bit_offset % 8)


class Btf:
    """One BTF blob.  Reading takes about 50 ms for a whole kernel; only ``names`` are indexed.

    That of a module goes on where that of the kernel, its ``base``, ends: type ids and strings.
    Of a module only :meth:`function` can be asked.
    """

    def __init__(self, data: bytes, names: Iterable[str], base: Optional[Btf] = None) -> None:
        try:
            magic, _, _, header, type_off, type_len, str_off, str_len = struct.unpack_from(
                "<HBBIIIII", data
            )
        except struct.error:
            raise BtfError("the BTF is shorter than its header") from None
        if magic != 0xEB9F:
            raise BtfError("the BTF has another byte order or is damaged")
        if len(data) < header + max(type_off + type_len, str_off + str_len) or type_len % 4:
            raise BtfError("the BTF is cut short")
        self._strings = data[header + str_off : header + str_off + str_len]
        self._first_string = len(base._strings) if base else 0
        self._first_type = len(base._offsets) - 1 if base else 0
        self._words = memoryview(data)[header + type_off : header + type_off + type_len].cast("I")
        self._base = base
        self._offsets: list[int]
        wanted = {offset for name in names for offset in self._string_offsets(name.encode())}
        self._offsets, self._named = self._walk(wanted)

    @classmethod
    def of_kernel(cls, names: Iterable[str], path: Path = VMLINUX) -> Btf:
        """Read the running kernel's; raises :class:`BtfError` if it has none."""
        try:
            return cls(path.read_bytes(), names)
        except OSError as error:
            raise BtfError(f"{path}: {error.strerror}") from None

    @_whole
    def _walk(self, wanted: set[int]) -> tuple[list[int], dict[str, list[int]]]:
        words, offsets = self._words, [0]
        named: dict[str, list[int]] = {}
        append = offsets.append
        at, end = 0, len(words)
        try:
            while at < end:
                append(at)
                if words[at] in wanted:
                    named.setdefault(self._string(words[at]), []).append(len(offsets) - 1)
                info = words[at + 1]
                kind = (info >> 24) & 31
                at += _FIXED[kind] + _PER_MEMBER[kind] * (info & 0xFFFF)
        except IndexError:
            raise BtfError("the BTF has a kind that this version does not know") from None
        return offsets, named

    def _string_offsets(self, name: bytes) -> Iterator[int]:
        # The first string of a kernel is empty, of a module it is not.
        at = 0 if self._strings.startswith(name + b"\0") else -1
        if at < 0:
            at = self._strings.find(b"\0" + name + b"\0") + 1 or -1
        if at >= 0:
            yield self._first_string + at
        if self._base:
            yield from self._base._string_offsets(name)

    def _string(self, offset: int) -> str:
        if self._base and offset < self._first_string:
            return self._base._string(offset)
        offset -= self._first_string
        return self._strings[offset : self._strings.index(b"\0", offset)].decode()

    def _kind(self, type_id: int) -> int:
        return (self._words[self._offsets[type_id] + 1] >> 24) & 31

    def _find(self, name: str, kinds: tuple[int, ...]) -> int:
        for type_id in self._named.get(name, ()):
            at = self._offsets[type_id]
            declared_only = kinds[0] in _WITH_MEMBERS and not self._words[at + 1] & 0xFFFF
            if self._kind(type_id) in kinds and not declared_only:
                return type_id
        raise BtfError(f"the BTF has no {name}")

    def _resolve(self, type_id: int) -> int:
        for _ in range(_MOST_MODIFIERS):
            if self._kind(type_id) not in _MODIFIERS:
                return type_id
            type_id = self._words[self._offsets[type_id] + 2]
        raise BtfError("a type of the BTF refers to itself")

    def _members(self, type_id: int) -> list[tuple[str, int, Member]]:
        at = self._offsets[type_id]
        info = self._words[at + 1]
        bitfields = bool(info >> 31)
        found = []
        for i in range(info & 0xFFFF):
            name, member_type, offset = self._words[at + 3 + 3 * i : at + 6 + 3 * i]
            bits = offset >> 24 if bitfields else 0
            found.append(
                (
                    self._string(name),
                    member_type,
                    Member(offset & 0xFFFFFF if bitfields else offset, bits),
                )
            )
        return found

    @_whole
    def member(self, structure: str, name: str) -> Member:
        """Place of ``name`` in ``struct structure``, looking into anonymous members."""
        found = self._search(self._find(structure, (_STRUCT,)), name)
        if found is None:
            raise BtfError(f"struct {structure} has no {name} in this kernel")
        return found

    def _search(self, type_id: int, wanted: str) -> Optional[Member]:
        for name, member_type, place in self._members(type_id):
            if name == wanted:
                return place
            if not name:
                inner_type = self._resolve(member_type)
                if self._kind(inner_type) in (_STRUCT, _UNION):
                    inner = self._search(inner_type, wanted)
                    if inner:
                        return Member(place.bit_offset + inner.bit_offset, inner.bits)
        return None

    @_whole
    def enumerators(self, name: str) -> dict[int, str]:
        """Value -> name of an enumeration; raises :class:`BtfError` if the kernel has none."""
        type_id = self._find(name, (_ENUM, _ENUM64))
        at = self._offsets[type_id]
        width = _PER_MEMBER[self._kind(type_id)]
        return {
            self._words[at + 3 + width * i + 1]: self._string(self._words[at + 3 + width * i])
            for i in range(self._words[at + 1] & 0xFFFF)
        }

    @_whole
    def function(self, name: str) -> int:
        """Type id of a kernel function; raises :class:`BtfError` if it is not there."""
        return self._first_type + self._find(name, (_FUNC,))

    @_whole
    def tracepoint(self, name: str) -> tuple[int, int]:
        """(type id, number of arguments) of a tracepoint that BTF-typed programs can attach to."""
        type_id = self._find(f"btf_trace_{name}", (_TYPEDEF,))
        pointer = self._words[self._offsets[type_id] + 2]
        proto = self._words[self._offsets[self._resolve(pointer)] + 2]
        if self._kind(proto) != _FUNC_PROTO:
            raise BtfError(f"tracepoint {name} has no signature in the BTF")
        return type_id, (self._words[self._offsets[proto] + 1] & 0xFFFF) - 1
