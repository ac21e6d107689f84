"""The taps of VMs that the user names."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Optional, Protocol

from vmlat_tui.errors import UsageError
from vmlat_tui.model.topology import Topology
from vmlat_tui.session import limits
from vmlat_tui.transport.process import AgentSilent
from vmlat_tui.words import clean

#: What is wrong if discovery finds nothing in time.
NO_VMS = "the agent did not say which VMs there are"


class Looking(Protocol):
    """A run that keeps what discovery found."""

    @property
    def topology(self) -> Optional[Topology]:
        """The latest."""


def taps_of(
    run: Looking,
    step: Callable[[], object],
    names: Sequence[str],
    where: str = "this host",
    remedy: str = "",
) -> list[str]:
    """Their taps, from an agent that discovers; raises :class:`UsageError` for a VM without.

    ``step`` takes one frame; ``where`` and ``remedy`` are for what the user is told.
    """
    deadline = time.monotonic() + limits.LOOK_S
    while True:
        before = run.topology
        step()
        if run.topology is not before:
            deadline = min(deadline, time.monotonic() + limits.NAME_S)
        domains = run.topology.domains if run.topology else ()
        found = {domain.name: domain for domain in domains}
        taps = [v.tap for name in names if name in found for v in found[name].vnics if v.tap]
        missing = [name for name in names if name not in found]
        if run.topology is not None and not missing and taps:
            return taps
        if time.monotonic() > deadline:
            break
    if run.topology is None:
        raise AgentSilent(NO_VMS, f"nothing in {limits.LOOK_S:.0f} s")
    if missing:
        there = ", ".join(map(clean, found)) or "none"
        raise UsageError(f"there is no VM {missing[0]!r}", f"on {where}: {there}", remedy)
    raise UsageError(f"{clean(names[0])} has no device to measure", "is it running", remedy)
