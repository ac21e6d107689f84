"""What the kernel gives: records of our own programs, and the layout of its structures."""

from __future__ import annotations

from functools import cache
from random import Random

from hypothesis import strategies as st

from tests.fuzz.support import Target, made, shaken
from tests.unit.probes import test_probes_btf as blobs
from vmlat_tui.model.absences import ABSENCES
from vmlat_tui.model.points import STEP_ROOM
from vmlat_tui.probes import layout
from vmlat_tui.probes.btf import Btf, BtfError

_SIZE = layout.SIZES["packets"]
#: Version and protocol of a packet that the program measures.
_MEASURED = ((4, 6), (4, 17), (4, 1), (6, 6), (6, 17), (6, 58))


def _record(data: bytes, flow: tuple[int, int]) -> bytes:
    """As the program may write it: numbers that are ours are in range, the others are anything."""
    made, place = bytearray(data), layout.STRUCTURES["packet"].offsets
    inner = layout.STRUCTURES["flow"].offsets
    made[place["flow"] + inner["version"]], made[place["flow"] + inner["proto"]] = flow
    made[place["last"]] %= STEP_ROOM
    for at in range(place["absent"], place["gap"]):
        made[at] %= len(ABSENCES) + 1
    return bytes(made)


def _decode(data: bytes) -> None:
    layout.packet(data)
    layout.packet_state(data)
    layout.flow_of(data[layout.STRUCTURES["packet"].offsets["flow"] :])


@cache
def _blob() -> bytes:
    return blobs.whole().data()


def _types(random: Random) -> bytes:
    return shaken(random, _blob())


def _read_types(data: bytes) -> None:
    btf = Btf(data, blobs.NAMES)
    for look in (
        lambda: btf.member("thing", "deeper"),
        lambda: btf.member("packed", "low"),
        lambda: btf.enumerators("color"),
        lambda: btf.enumerators("wide"),
        lambda: btf.tracepoint("event"),
        lambda: btf.tracepoint("odd"),
        lambda: btf.function("function"),
    ):
        try:
            look()
        except BtfError:
            pass


TARGETS = (
    Target(
        "ring-record",
        st.builds(_record, st.binary(min_size=_SIZE, max_size=_SIZE), st.sampled_from(_MEASURED)),
        _decode,
        40,
    ),
    Target("btf", made(_types), _read_types, 150, (BtfError,)),
)
