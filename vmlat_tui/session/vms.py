"""The taps of VMs that the user names."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Optional, Protocol

from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.model.topology import Topology
from vmlat_tui.words import clean

#: How long an agent may take to look around, and libvirt to name a VM after that.
_LOOK_S, _FIND_S = 60.0, 6.0


class Looking(Protocol):
    """A run that keeps what discovery found."""

    @property
    def topology(self) -> Optional[Topology]:
        """The latest."""


def taps_of(
    run: Looking,
    step: Callable[[], str],
    names: Sequence[str],
    look_s: float = _LOOK_S,
    where: str = "this host",
    remedy: str = "",
) -> list[str]:
    """Their taps, from an agent that discovers; raises :class:`UsageError` for a VM without.

    ``step`` takes one frame and returns its type; ``look_s`` is how long the agent may look;
    ``where`` and ``remedy`` are for what the user is told.
    """
    deadline = time.monotonic() + look_s
    while True:
        if step() == "topology":
            deadline = min(deadline, time.monotonic() + _FIND_S)
        domains = run.topology.domains if run.topology else ()
        found = {domain.name: domain for domain in domains}
        taps = [v.tap for name in names if name in found for v in found[name].vnics if v.tap]
        missing = [name for name in names if name not in found]
        if run.topology is not None and not missing and taps:
            return taps
        if time.monotonic() > deadline:
            break
    if run.topology is None:
        raise VmlatError("the agent did not say which VMs there are", f"in {look_s:.0f} s")
    if missing:
        there = ", ".join(map(clean, found)) or "none"
        raise UsageError(f"there is no VM {missing[0]!r}", f"on {where}: {there}", remedy)
    raise UsageError(f"{clean(names[0])} has no device to measure", "is it running", remedy)
