"""Structures of a C header: where their members are, by C's own rules."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

import pytest

from vmlat_tui.probes import layout, records
from vmlat_tui.probes.records import Structure

HEADER = Path(__file__).resolve().parents[3] / "bpf/include/vmlat/record.h"
TYPES = {
    "u8": ctypes.c_uint8,
    "char": ctypes.c_char,
    "u16": ctypes.c_uint16,
    "u32": ctypes.c_uint32,
    "u64": ctypes.c_uint64,
}


def compiled(header: str, constants: dict[str, int]) -> dict[str, type[ctypes.Structure]]:
    """The structures of a header, as libffi lays them out; read line by line."""
    made: dict[str, type[ctypes.Structure]] = {}
    name = ""
    fields: list[Any] = []
    for line in re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL).splitlines():
        if line.startswith("struct "):
            name, fields = line.split()[1], []
        elif line == "};":
            made[name], name = type(name, (ctypes.Structure,), {"_fields_": fields}), ""
        elif name and line.strip():
            kind, member = line.strip(" \t;").replace("struct ", "").split(None, 1)
            field: Any = TYPES.get(kind) or made[kind]
            first, *lengths = member.replace("]", "").split("[")
            for length in reversed(lengths):
                field = field * (constants.get(length) or int(length))
            fields.append((first, field))
    return made


def test_every_member_is_where_a_c_compiler_puts_it() -> None:
    expected = compiled(HEADER.read_text(), layout.macros())
    assert set(layout.STRUCTURES) == set(expected) and len(expected) > 20
    for name, structure in layout.STRUCTURES.items():
        other = expected[name]
        assert structure.size == ctypes.sizeof(other) == structure.struct.size
        assert structure.offsets == {n: getattr(other, n).offset for n, *_ in other._fields_}


def one(body: str, raw: frozenset[str] = frozenset()) -> Structure:
    inner = "struct inner {\n\tu32 a;\n\tu16 b[2];\n};\n"
    return records.read(f"{inner}struct outer {{\n{body}\n}};\n", {"N": 3}, raw)["outer"]


def test_numbers_arrays_text_and_structures_are_read_and_written() -> None:
    outer = one(
        "u64 t[2][N]; struct inner i; char name[4]; u16 port; u8 x; u8 y;", frozenset({"port"})
    )
    given = {"t": (1, 2, 3, 4, 5, 6), "i": b"12345678", "name": b"ab", "port": b"\x01\x02", "y": 9}
    data = outer.pack(**given)
    assert len(data) == outer.size == 64
    read = outer.reader("t", "i", "name", "port", "x", "y")
    assert read(data + b"more") == ((1, 2, 3, 4, 5, 6), b"12345678", b"ab\0\0", b"\x01\x02", 0, 9)


@pytest.mark.parametrize("body", ["u8 a; u32 b;", "u32 a; u8 b;", "u32 a; struct inner i; u64 b;"])
def test_a_hole_is_refused(body: str) -> None:
    with pytest.raises(ValueError, match="a hole"):
        one(body)


@pytest.mark.parametrize("body", ["int a;", "u8 a[M];", "u8 a : 3;", "u8 *a;"])
def test_what_is_not_understood_is_refused(body: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        one(body)


def test_a_member_that_is_not_there_is_no_value() -> None:
    with pytest.raises(KeyError):
        one("u32 a;").pack(b=1)
