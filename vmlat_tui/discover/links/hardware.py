"""The hardware behind an interface: driver, NUMA node, speed, interrupts and where they go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from vmlat_tui.discover.files import decimal, entries, link_name, number, parse_list, read
from vmlat_tui.model.topology import Irq


@dataclass(frozen=True)
class Device:
    """Of an interface without hardware everything is None or empty, but perhaps its speed."""

    present: bool
    driver: Optional[str]
    node: Optional[int]
    speed_mbps: Optional[int]
    irqs: tuple[Irq, ...]


def read_device(name: str, sysfs: Path, proc: Path) -> Device:
    """The hardware of one interface."""
    interface = sysfs / "class/net" / name
    directory = interface / "device"
    speed = number(interface / "speed")
    speed = speed if speed is not None and speed > 0 else None
    if not directory.exists():
        return Device(False, None, None, speed, ())
    node = number(directory / "numa_node")
    if node is None:  # a virtio device sits on a PCI device
        node = number(directory.resolve().parent / "numa_node")
    found = (_irq(n, sysfs, proc) for n in _irq_numbers(directory))
    return Device(
        True,
        link_name(directory / "driver"),
        node if node is not None and node >= 0 else None,
        speed,
        # One without a handler is not in use: the interface is down.
        tuple(irq for irq in found if irq.name),
    )


def _irq(n: int, sysfs: Path, proc: Path) -> Irq:
    directory = proc / "irq" / str(n)
    return Irq(
        n,
        ", ".join(read(sysfs / f"kernel/irq/{n}/actions").split(",")),
        parse_list(read(directory / "smp_affinity_list")),
        parse_list(read(directory / "effective_affinity_list")),
    )


def _irq_numbers(device: Path) -> list[int]:
    for place in (device, device.resolve().parent):
        numbers = (decimal(e) for e in entries(place / "msi_irqs"))
        several = sorted(n for n in numbers if n is not None)
        if several:
            return several
        line = number(place / "irq")
        if line:
            return [line]
    return []
