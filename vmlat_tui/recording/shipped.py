"""The recordings that come with vmlat: made in the lab by tools/record_lab.py."""

from __future__ import annotations

import contextlib
import importlib.resources
from collections.abc import Iterator
from pathlib import Path

from vmlat_tui.errors import UsageError

#: Name -> what can be seen in it.  The first is shown unless another is asked for.
SHIPPED = {
    "two-vms": "two VMs on Open vSwitch, one of them with two queues; nothing is wrong",
    "slow-uplink": "the uplink of vm-a holds its UDP back for half a minute",
}


@contextlib.contextmanager
def shipped(name: str) -> Iterator[Path]:
    """The file of one of them; raises :class:`UsageError` if there is none of this name."""
    if name not in SHIPPED:
        raise UsageError(
            f"there is no recording {name!r}", "", f"choose one of {', '.join(SHIPPED)}"
        )
    source = importlib.resources.files("vmlat_tui") / "recordings" / f"{name}.vmlat.gz"
    with importlib.resources.as_file(source) as path:
        yield path
