"""What each interface is to the path program, by its number.  For the agent's one thread."""

from __future__ import annotations

from collections.abc import Mapping

from vmlat_tui.errors import UsageError
from vmlat_tui.probes import layout
from vmlat_tui.probes.program import Program

#: Interfaces of one measurement that may lie beside the table.
BESIDE_ROOM = 1024


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


class Roles:
    """The tables of roles of one loaded program.

    An interface's place is its number modulo :data:`layout.ROLE_SLOTS`.  Of several with one place
    the first stays there and the others lie in a second table, where the program looks only if the
    place is somebody else's.
    """

    def __init__(self, program: Program) -> None:
        self._table = program.map("roles")
        self._beside = program.map("roles_beside")
        #: Place -> the interface there.
        self._places: dict[int, int] = {}
        self._others: set[int] = set()

    def set(self, wanted: Mapping[int, bytes]) -> None:
        """Give each interface, by its number, its ``struct role``; others have none from now on.

        Raises :class:`UsageError`, and changes nothing, if too many have their place taken.
        """
        places = {p: i for p, i in self._places.items() if i in wanted}
        for ifindex in wanted:
            places.setdefault(ifindex % layout.ROLE_SLOTS, ifindex)
        others = set(wanted) - set(places.values())
        if len(others) > BESIDE_ROOM:
            raise UsageError(
                f"{len(others)} interfaces share their place in the probes' table with another one",
                f"there is room for {BESIDE_ROOM} of them",
                "measure fewer interfaces",
            )
        # Who moves is in both tables for a moment, never in none.
        for ifindex in others:
            self._beside.put(_u32(ifindex), wanted[ifindex])
        for place, ifindex in places.items():
            self._table.put(_u32(place), wanted[ifindex])
        for place in set(self._places) - set(places):
            self._table.put(_u32(place), layout.role(0, 0, 0, False, 0))
        for ifindex in self._others - others:
            self._beside.delete(_u32(ifindex))
        self._places, self._others = places, others
