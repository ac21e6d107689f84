"""How a machine of a pair reaches the emulator that runs it: to slow its own cables down.

A serial port of the machine is joined with QEMU's monitor, inside QEMU; there is nothing of it on
the host.  Whoever is root in such a lab can thereby do what QEMU may.  Like the writable checkout,
it is not a wall against what one runs there.
"""

from __future__ import annotations

from collections.abc import Sequence

#: What the port is called inside.
PORT = "vmlat.monitor"
#: QEMU's name of the end of a cable, by the device that it is plugged into.
CABLE = "phy0"


def options(ends: Sequence[int]) -> list[str]:
    """The options for it; ``ends`` are the descriptors of a pair of connected sockets."""
    inner, outer = ends
    return [
        "-chardev", f"socket,id=monitor,fd={inner}", "-mon", "chardev=monitor,mode=control",
        "-chardev", f"socket,id=port,fd={outer}",
        "-device", "virtio-serial-pci", "-device", f"virtserialport,chardev=port,name={PORT}",
    ]  # fmt: skip
