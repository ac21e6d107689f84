"""A machine that can read how many instructions it has executed.

QEMU's own ``-icount`` would make its clock tell it, but under it a nested guest stops while it
boots (seen on 6.1, QEMU 10.0).  So a plugin counts, and a PCI device of the machine has the sum.
"""

from __future__ import annotations

import mmap
import subprocess
import time
from pathlib import Path

from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.lab import process
from vmlat_tui.programs import inherited

#: The device whose memory has the sum: vendor and device of ivshmem.
_DEVICE = ("0x1af4", "0x1110")
_DEVICES = Path("/sys/bus/pci/devices")
_SOURCE = Path(__file__).with_name("executed.c")
_BYTES = 1 << 20
#: The plugin renews the sum every millisecond; whoever runs beside it may delay that.
_SETTLED_S = 0.05


def options(directory: Path) -> list[str]:
    """Build the plugin in a directory; return QEMU's options that use it."""
    process.require("cc")
    plugin, shown = directory / "executed.so", directory / "executed"
    command = ["cc", "-shared", "-fPIC", "-O2", "-pthread", str(_SOURCE), "-o", str(plugin)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=inherited())
    if result.returncode != 0:
        raise VmlatError("the counter of instructions cannot be built", result.stderr.strip())
    shown.write_bytes(bytes(_BYTES))
    return [
        "-plugin", f"{plugin},shown={shown}",
        "-object", f"memory-backend-file,id=executed,share=on,mem-path={shown},size={_BYTES}",
        "-device", "ivshmem-plain,memdev=executed",
    ]  # fmt: skip


class Executed:
    """Inside: what all processors together have executed."""

    def __init__(self) -> None:
        """Raises :class:`UsageError` in a machine that does not count."""
        for place in _DEVICES.iterdir():
            if tuple((place / n).read_text().strip() for n in ("vendor", "device")) == _DEVICE:
                (place / "enable").write_text("1")
                with open(place / "resource2", "r+b") as file:
                    self._memory = mmap.mmap(file.fileno(), mmap.PAGESIZE)
                return
        raise UsageError(
            "this machine does not count instructions", "", "vmlat lab run --count-instructions"
        )

    def read(self) -> int:
        """The number, after a pause in which it catches up."""
        time.sleep(_SETTLED_S)
        return int.from_bytes(self._memory[:8], "little")
