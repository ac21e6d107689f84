"""The BTF reader, on blobs made by hand and on the running kernel's."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Optional

import pytest

from vmlat_tui.probes.btf import VMLINUX, Btf, BtfError

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT = range(1, 12)
FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(12, 20)


class Blob:
    """Puts a BTF blob together."""

    def __init__(self, base: Optional[Blob] = None) -> None:
        self._base = base
        self._strings = bytearray() if base else bytearray(b"\0")
        self._types = bytearray()
        self.count: int = base.count if base else 0

    def string(self, text: str) -> int:
        """Offset of a string, in those of the base if it is there."""
        if not text:
            return 0
        entry = b"\0" + text.encode() + b"\0"
        before = bytes(self._base._strings) if self._base else b""
        if entry not in before + self._strings:
            self._strings += entry[1:]
        return (before + self._strings).index(entry) + 1

    def add(
        self, kind: int, name: str = "", size: int = 0, tail: bytes = b"", n: int = 0, flag: int = 0
    ) -> int:
        """One record; gives its type id."""
        info = flag << 31 | kind << 24 | n
        self._types += struct.pack("<III", self.string(name), info, size) + tail
        self.count += 1
        return self.count

    def compound(
        self, kind: int, name: str, members: list[tuple[str, int, int]], flag: int = 0
    ) -> int:
        tail = b"".join(struct.pack("<III", self.string(m), t, o) for m, t, o in members)
        return self.add(kind, name, 8, tail, len(members), flag)

    def data(self, magic: int = 0xEB9F) -> bytes:
        header = struct.pack(
            "<HBBIIIII", magic, 1, 0, 24, 0, len(self._types), len(self._types), len(self._strings)
        )
        return header + bytes(self._types) + bytes(self._strings)


def _bits(offset: int, size: int) -> int:
    return size << 24 | offset


def whole() -> Blob:
    """Every kind of record once, in between what is looked for."""
    made = Blob()
    number = made.add(INT, "int", 4, struct.pack("<I", 32))
    made.add(FLOAT, "double", 8)
    made.add(FWD, "later")
    pointer = made.add(PTR, "", number)
    made.add(ARRAY, "", 0, struct.pack("<III", number, number, 7))
    made.add(VAR, "variable", number, struct.pack("<I", 0))
    made.add(DATASEC, ".data", 8, struct.pack("<III", 6, 0, 8), 1)
    made.add(DECL_TAG, "tag", number, struct.pack("<I", 0))
    inner = made.compound(STRUCT, "", [("deep", number, 0), ("deeper", number, 32)])
    named = made.compound(STRUCT, "named", [("hidden", number, 0)])
    union = made.compound(UNION, "", [("", inner, 0), ("flat", pointer, 0)])
    alias = made.add(TYPEDEF, "alias", union)
    const = made.add(CONST, "", made.add(VOLATILE, "", made.add(TYPE_TAG, "rcu", alias)))
    made.compound(
        STRUCT,
        "thing",
        [("first", number, 0), ("", const, 64), ("member", named, 128), ("last", pointer, 192)],
    )
    made.compound(
        STRUCT,
        "packed",
        [
            ("plain", number, _bits(32, 0)),
            ("low", number, _bits(64, 3)),
            ("high", number, _bits(67, 1)),
            ("", inner, _bits(96, 0)),
        ],
        flag=1,
    )
    made.add(STRUCT, "declared", 0)
    made.compound(STRUCT, "declared", [("real", number, 8)])
    made.add(ENUM, "color", 4, struct.pack("<4I", made.string("RED"), 0, made.string("BLUE"), 7), 2)
    made.add(
        ENUM64,
        "wide",
        8,
        struct.pack("<6I", made.string("SMALL"), 5, 0, made.string("BIG"), 6, 1),
        2,
    )
    proto = made.add(
        FUNC_PROTO, "", 0, struct.pack("<6I", 0, pointer, made.string("a"), number, 0, 0), 3
    )
    made.add(FUNC, "function", proto)
    made.add(TYPEDEF, "btf_trace_event", made.add(PTR, "", proto))
    made.add(TYPEDEF, "btf_trace_odd", made.add(PTR, "", number))
    return made


NAMES = [
    *("thing", "packed", "declared", "color", "wide", "named", "later"),
    *("btf_trace_event", "btf_trace_odd"),
]


@pytest.fixture
def blob() -> Blob:
    return whole()


@pytest.fixture
def btf(blob: Blob) -> Btf:
    return Btf(blob.data(), NAMES)


@pytest.mark.parametrize(
    ("name", "offset"), [("first", 0), ("member", 16), ("last", 24), ("flat", 8), ("deeper", 12)]
)
def test_a_member_is_found_also_inside_anonymous_ones(btf: Btf, name: str, offset: int) -> None:
    place = btf.member("thing", name)
    assert (place.offset, place.bits) == (offset, 0)


def test_a_member_of_a_named_structure_is_not_the_outer_one_s(btf: Btf) -> None:
    with pytest.raises(BtfError, match="struct thing has no hidden"):
        btf.member("thing", "hidden")


def test_bit_fields_have_a_byte_and_a_mask(btf: Btf) -> None:
    low, high = btf.member("packed", "low"), btf.member("packed", "high")
    assert (low.offset, low.bits, low.mask) == (8, 3, 0b0111)
    assert (high.offset, high.bits, high.mask) == (8, 1, 0b1000)
    assert btf.member("packed", "plain").offset == 4
    assert btf.member("packed", "plain").bits == 0
    assert btf.member("packed", "deeper").offset == 16


def test_a_declaration_without_members_is_passed_over(btf: Btf) -> None:
    assert btf.member("declared", "real").offset == 1


def test_enumerators_of_both_widths(btf: Btf) -> None:
    assert btf.enumerators("color") == {0: "RED", 7: "BLUE"}
    assert btf.enumerators("wide")[5] == "SMALL"
    assert "BIG" in btf.enumerators("wide").values()


def test_a_tracepoint_s_arguments_are_counted_without_its_context(btf: Btf, blob: Blob) -> None:
    type_id, arguments = btf.tracepoint("event")
    assert arguments == 2
    assert 0 < type_id <= blob.count
    with pytest.raises(BtfError, match="no signature"):
        btf.tracepoint("odd")
    with pytest.raises(BtfError, match="has no btf_trace_absent"):
        btf.tracepoint("absent")


@pytest.mark.parametrize("extra", ["", "before"])
def test_a_module_s_functions_are_numbered_after_the_kernel_s_types(blob: Blob, extra: str) -> None:
    kernel = Btf(blob.data(), [*NAMES, "function", "shared"])
    module = Blob(blob)
    if extra:
        module.add(STRUCT, extra, 0)
    proto = module.add(FUNC_PROTO, "", 0)
    own = module.add(FUNC, "own", proto)
    again = module.add(FUNC, "function", proto)  # its name is a string of the kernel
    read = Btf(module.data(), ["own", "function", "thing", "absent"], kernel)
    assert own == blob.count + 2 + bool(extra)
    assert (read.function("own"), read.function("function")) == (own, again)
    assert kernel.function("function") < blob.count
    for absent in ("absent", "thing"):
        with pytest.raises(BtfError, match=f"has no {absent}"):
            read.function(absent)


@pytest.mark.parametrize("name", ["nothing", "color", "later"])
def test_what_is_no_structure_is_not_found(btf: Btf, name: str) -> None:
    with pytest.raises(BtfError, match=f"has no {name}"):
        btf.member(name, "x")


def test_a_kind_from_the_future_is_an_error_and_not_a_wrong_answer(blob: Blob) -> None:
    blob.add(20, "novelty")
    with pytest.raises(BtfError, match="does not know"):
        Btf(blob.data(), NAMES)


def test_another_byte_order_or_no_btf_at_all_is_an_error(blob: Blob) -> None:
    with pytest.raises(BtfError, match="byte order"):
        Btf(blob.data(0x9FEB), NAMES)
    for text in (b"", b"\x9f\xeb", b"x" * 10):
        with pytest.raises(BtfError):
            Btf(text, NAMES)


def test_data_cut_short_anywhere_gives_an_error_or_the_right_answer(blob: Blob) -> None:
    whole = blob.data()
    for length in range(len(whole)):
        try:
            found = Btf(whole[:length], NAMES).member("thing", "last")
        except BtfError:
            continue
        assert found.offset == 24


def test_a_kernel_without_btf_is_reported_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(BtfError, match="vmlinux"):
        Btf.of_kernel(NAMES, tmp_path / "vmlinux")


@pytest.mark.skipif(not VMLINUX.exists(), reason="this kernel has no BTF")
def test_the_running_kernel_s_btf_has_what_vmlat_asks_of_it() -> None:
    from vmlat_tui.model.hooks import function_symbols
    from vmlat_tui.probes import offsets
    from vmlat_tui.probes.ladder import tracepoint_symbols

    try:
        btf = offsets.kernel_btf(tracepoint_symbols(), function_symbols())
    except BtfError as error:
        pytest.skip(str(error))
    found = offsets.from_btf(btf)
    assert found.source == "btf"
    for macro, (structure, name) in offsets.MEMBERS.items():
        if f"{macro}_BYTE" in found.macros:
            assert bin(found.macros[f"{macro}_MASK"]).count("1") == btf.member(structure, name).bits
        else:
            assert 0 <= found.macros[macro] < 1 << 16
    assert found.macros["SKB_DATA"] - found.macros["SKB_HEAD"] == 8
    for symbol in tracepoint_symbols():
        assert btf.tracepoint(symbol)[1] >= 1
