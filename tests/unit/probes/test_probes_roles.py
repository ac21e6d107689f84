"""Where the roles of interfaces lie, whatever their numbers."""

from __future__ import annotations

from typing import cast

import pytest

from tests.unit.probes.test_probes_threads import Loaded, u32
from vmlat_tui.errors import UsageError
from vmlat_tui.probes import layout
from vmlat_tui.probes.program import Program
from vmlat_tui.probes.roles import BESIDE_ROOM, Roles

PLACES = layout.ROLE_SLOTS


def role(ifindex: int) -> bytes:
    return layout.role(ifindex, layout.ROLE_VNET, ifindex % 1000, True, 1)


class Kernel:
    """The program's tables, and what it finds in them (``role_of()`` in content.h)."""

    def __init__(self) -> None:
        self.loaded = Loaded()
        self.roles = Roles(cast(Program, self.loaded))

    def set(self, *interfaces: int) -> None:
        """Measure these."""
        self.roles.set({ifindex: role(ifindex) for ifindex in interfaces})

    def finds(self, ifindex: int) -> bool:
        """Whether a packet of this interface is measured, as this interface's."""
        there = self.loaded.tables["roles"].get(u32(ifindex % PLACES))
        if there is None or there[:4] == bytes(4):
            return False
        if there[:4] != u32(ifindex):
            there = self.loaded.tables["roles_beside"].get(u32(ifindex))
        assert there is None or bytes(there) == role(ifindex)
        return there is not None

    @property
    def beside(self) -> int:
        """How many lie beside the table."""
        return len(self.loaded.tables["roles_beside"])


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


def test_interfaces_whose_numbers_differ_by_the_length_of_the_table_are_all_found(
    kernel: Kernel,
) -> None:
    interfaces = (7, 7 + PLACES, 7 + 5 * PLACES, 8, 9 + PLACES)
    kernel.set(*interfaces)
    assert all(map(kernel.finds, interfaces))
    assert not any(map(kernel.finds, (7 + 2 * PLACES, 8 + PLACES, 9)))
    assert kernel.beside == 2


def test_when_the_one_in_the_place_goes_the_others_are_still_found(kernel: Kernel) -> None:
    kernel.set(7, 7 + PLACES, 7 + 2 * PLACES)
    kernel.set(7 + PLACES, 7 + 2 * PLACES)
    assert kernel.finds(7 + PLACES) and kernel.finds(7 + 2 * PLACES) and not kernel.finds(7)
    assert kernel.beside == 1
    kernel.set(7, 7 + 2 * PLACES)
    assert kernel.finds(7) and kernel.finds(7 + 2 * PLACES) and not kernel.finds(7 + PLACES)
    kernel.set()
    assert not any(map(kernel.finds, (7, 7 + PLACES, 7 + 2 * PLACES))) and kernel.beside == 0


def test_who_stays_keeps_its_place(kernel: Kernel) -> None:
    kernel.set(7 + PLACES)
    kernel.set(7, 7 + PLACES)
    assert kernel.loaded.tables["roles"][u32(7)] == role(7 + PLACES)
    assert kernel.finds(7)


def test_too_many_for_one_place_are_refused_and_nothing_is_changed(kernel: Kernel) -> None:
    kernel.set(7)
    with pytest.raises(UsageError, match=f"{BESIDE_ROOM + 1} interfaces"):
        kernel.set(*(8 + n * PLACES for n in range(BESIDE_ROOM + 2)))
    assert kernel.finds(7) and not kernel.finds(8) and kernel.beside == 0
