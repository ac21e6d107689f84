"""The threads that the path program follows, as its tables hold them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Optional, cast

import pytest

from tests.support.frames import wakeups_object, wakeups_of
from vmlat_tui.discover.vms.vcpus import VcpuThreads
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.wakeups import Halts, Role, Wakeups
from vmlat_tui.probes import layout, threads
from vmlat_tui.probes.program import Program
from vmlat_tui.probes.threads import Threads


class Table(dict[bytes, bytes]):
    """A BPF map."""

    def put(self, key: bytes, value: bytes) -> None:
        self[key] = value

    def get(self, key: bytes, default: object = None) -> Optional[memoryview]:  # type: ignore[override]
        return memoryview(self[key]) if key in self else None

    def items(self) -> list[tuple[bytes, bytes]]:  # type: ignore[override]
        return list(super().items())

    def delete(self, key: bytes) -> bool:
        return self.pop(key, None) is not None


class Loaded:
    """A loaded program with nothing but maps."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}

    def map(self, name: str) -> Table:
        return self.tables.setdefault(name, Table())


#: vCPUs that fit.
ROOM = 5
WORKER, WAKE = (layout.STRUCTURES[name].offsets for name in ("worker", "wake"))


def u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


@pytest.fixture
def loaded() -> Loaded:
    return Loaded()


@pytest.fixture
def followed(loaded: Loaded) -> Threads:
    return Threads(cast(Program, loaded), 4, ROOM)


def numbered(loaded: Loaded) -> dict[int, int]:
    table = loaded.tables["vcpu_threads"]
    return {int.from_bytes(k, "little"): int.from_bytes(v, "little") for k, v in table.items()}


def test_vcpus_are_watched_and_numbered_by_their_vm(loaded: Loaded, followed: Threads) -> None:
    followed.set_vcpus({1: VcpuThreads(True, {0: 70, 4: 71})})
    assert set(loaded.tables["vcpus"]) == set(loaded.tables["wakes"]) == {u32(70), u32(71)}
    assert loaded.tables["watched"] == {n: u32(layout.WATCH_VCPU) for n in (u32(70), u32(71))}
    assert numbered(loaded) == {layout.VCPU_ROOM: 70, layout.VCPU_ROOM + 4: 71}


def test_numbers_that_are_not_kvms_are_not_believed_but_for_the_only_one(
    loaded: Loaded, followed: Threads
) -> None:
    followed.set_vcpus({0: VcpuThreads(False, {0: 70, 1: 71}), 2: VcpuThreads(False, {0: 80})})
    assert numbered(loaded) == {2 * layout.VCPU_ROOM: 80}
    assert len(loaded.tables["vcpus"]) == 3


def test_a_vcpu_that_is_gone_is_forgotten(loaded: Loaded, followed: Threads) -> None:
    followed.set_vcpus({0: VcpuThreads(True, {0: 70, 1: 71})})
    followed.set_vcpus({0: VcpuThreads(True, {0: 70})})
    assert set(loaded.tables["vcpus"]) == set(loaded.tables["wakes"]) == {u32(70)}
    assert numbered(loaded) == {0: 70, 1: 0}


def test_what_is_known_of_a_vcpu_outlives_another_look(loaded: Loaded, followed: Threads) -> None:
    followed.set_vcpus({0: VcpuThreads(True, {0: 70})})
    loaded.tables["vcpus"][u32(70)] = b"kicked"
    followed.set_vcpus({0: VcpuThreads(True, {0: 70})})
    assert loaded.tables["vcpus"][u32(70)] == b"kicked"


def worker(slot: int) -> bytes:
    value = bytearray(layout.SIZES["workers"])
    struct.pack_into("<I", value, WORKER["slot"], slot)
    return bytes(value)


def test_wakeups_are_read_with_the_role_of_the_thread(loaded: Loaded, followed: Threads) -> None:
    followed.set_vcpus({0: VcpuThreads(True, {0: 70})})
    wake = bytearray(layout.SIZES["wakes"])
    struct.pack_into("<I", wake, WAKE["cpu"], 1)
    struct.pack_into("<Q", wake, WAKE["migrations"], 5)
    struct.pack_into("<3Q", wake, WAKE["idle"], 2, 300, 200)
    struct.pack_into("<2I", wake, WAKE["idle"] + 32, 0, 2)
    struct.pack_into("<3Q", wake, WAKE["queued"], 1, 90, 90)
    struct.pack_into("<I", wake, WAKE["queued"] + 32 + 4 * 3, 1)
    struct.pack_into("<2Q", wake, WAKE["idle_states"], 0, 2)
    struct.pack_into("<QI4x16s", wake, WAKE["ahead"], 88, 99, b"busy")
    loaded.tables["workers"][u32(60)] = worker(3)
    loaded.tables["wakes"][u32(60)] = bytes(wake)
    found = {row.tid: (slot, row) for slot, row in followed.wakeups()}
    assert found[60] == (
        3,
        Wakeups(
            60, Role.WORKER, Histogram(2, 300, 200, {1: 2}), Histogram(1, 90, 90, {3: 1}), 5,
            {1: 2}, {"busy": 88},
        ),
    )  # fmt: skip
    assert (
        found[70][0] == layout.NO_SLOT
        and found[70][1].role is Role.VCPU
        and found[70][1].count == 0
    )
    assert wakeups_of(wakeups_object(found[60][1])) == found[60][1]


def test_halts_are_a_vcpus_and_its_window_is_known_once_it_was_set(
    loaded: Loaded, followed: Threads
) -> None:
    followed.set_vcpus({0: VcpuThreads(True, {0: 70, 1: 71})})
    wake = bytearray(layout.SIZES["wakes"])
    struct.pack_into("<6Q2I", wake, WAKE["halts"], 5, 900, 2, 7000, 3, 1, 0, 1)
    loaded.tables["wakes"][u32(70)] = bytes(wake)
    loaded.tables["workers"][u32(60)] = worker(3)
    loaded.tables["wakes"][u32(60)] = bytes(wake)
    found = {row.tid: row for _, row in followed.wakeups()}
    assert found[70].halts == Halts(5, 900, 2, 7000, 3, 1, 0)
    assert found[71].halts == Halts() and found[60].halts is None
    assert all(wakeups_of(wakeups_object(row)) == row for row in found.values())


def test_a_worker_that_ended_is_forgotten_with_its_works(
    loaded: Loaded, followed: Threads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_PROC", tmp_path)
    (tmp_path / "61").mkdir()
    for tid in (60, 61):
        loaded.tables["workers"][u32(tid)] = worker(0)
        loaded.tables["wakes"][u32(tid)] = layout.NEW_WAKE
        loaded.tables["tun_entries"][u32(tid)] = b"since"
        work = struct.pack("<3Q4I", 0, 0, 0, 0, tid, 1, 0)
        loaded.tables["works"][tid.to_bytes(8, "little")] = work
    followed.sweep()
    for name in ("workers", "wakes", "tun_entries"):
        assert set(loaded.tables[name]) == {u32(61)}
    assert list(loaded.tables["works"]) == [(61).to_bytes(8, "little")]


def test_vcpus_beyond_the_table_are_left_out_and_counted(loaded: Loaded, followed: Threads) -> None:
    every = VcpuThreads(True, {number: 70 + number for number in range(ROOM + 3)})
    followed.set_vcpus({0: every})
    assert len(loaded.tables["vcpus"]) == ROOM and followed.vcpus_left_out == 3
    assert set(numbered(loaded).values()) == set(range(70, 70 + ROOM)), "the others are no target"
    followed.set_vcpus({0: VcpuThreads(True, {n: 70 + n for n in range(3, ROOM + 3)})})
    assert set(loaded.tables["vcpus"]) == {u32(70 + n) for n in range(3, ROOM + 3)}
    assert followed.vcpus_left_out == 0


def test_a_number_beyond_the_room_of_a_vm_is_nobody_s_place(
    loaded: Loaded, followed: Threads
) -> None:
    followed.set_vcpus({0: VcpuThreads(True, {layout.VCPU_ROOM: 70, layout.VCPU_ROOM - 1: 71})})
    assert numbered(loaded) == {layout.VCPU_ROOM - 1: 71}
    assert set(loaded.tables["vcpus"]) == {u32(70), u32(71)}, (
        "its wake-ups are counted all the same"
    )


def test_a_new_vcpu_does_not_reset_what_another_in_its_place_was_handed(
    loaded: Loaded, followed: Threads
) -> None:
    followed.set_vcpus({0: VcpuThreads(True, {0: 70})})
    loaded.tables["handed"][u32(70)] = u32(1)
    followed.set_vcpus({0: VcpuThreads(True, {0: 70, 1: 70 + layout.WATCH_ROOM})})
    assert loaded.tables["handed"][u32(70)] == u32(1)


def test_wakeups_go_on_where_a_bucket_of_32_bits_begins_anew(
    loaded: Loaded, followed: Threads
) -> None:
    followed.set_vcpus({0: VcpuThreads(True, {0: 70})})
    for count in (3_000_000_000, 6_000_000_000, 9_000_000_000):
        wake = bytearray(layout.SIZES["wakes"])
        struct.pack_into("<3Q", wake, WAKE["idle"], count, 5 * count, 5)
        struct.pack_into("<I", wake, WAKE["idle"] + 32 + 4 * 5, count % (1 << 32))
        loaded.tables["wakes"][u32(70)] = bytes(wake)
        [(_, row)] = followed.wakeups()
        assert row.idle == Histogram(count, 5 * count, 5, {5: count})
    assert followed.unplaced == 0


def test_a_slot_s_next_vnic_does_not_get_the_workers_of_the_one_before(
    loaded: Loaded, followed: Threads
) -> None:
    for tid, slot in ((60, 3), (61, 2)):
        loaded.tables["workers"][u32(tid)] = worker(slot)
        loaded.tables["wakes"][u32(tid)] = layout.NEW_WAKE
    followed.forget(3)
    assert [(slot, row.tid) for slot, row in followed.wakeups()] == [(2, 61)]
