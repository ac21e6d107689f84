"""Which of a VM's vNICs has which of its taps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from vmlat_tui.discover.vms.descriptors import Descriptors, Tap
from vmlat_tui.discover.vms.qemu_args import Nic
from vmlat_tui.model.topology import Backend, Vnic


def pair(
    nics: Sequence[Nic], descriptors: Optional[Descriptors], taps: Sequence[Tap]
) -> tuple[tuple[Vnic, ...], dict[str, int]]:
    """The vNICs of a process with their taps, and the busy polling of those that tell.

    A tap is known by its name, by a descriptor that the command line names, or by its address: it
    differs from the guest's in the first byte only.  When the descriptors can be seen, a NIC
    without a tap was unplugged, and a tap without a NIC was plugged in later.
    """
    open_taps = None if descriptors is None else sorted(set(descriptors.taps.values()))
    free = [tap for tap in taps if open_taps is None or tap.name in open_taps]
    attached = {tap.name: tap.queues for tap in taps}
    chosen: dict[int, str] = {}

    def choose(i: int, name: Optional[str]) -> None:
        if i not in chosen and name is not None and name not in chosen.values():
            chosen[i] = name

    for i, nic in enumerate(nics):
        if nic.ifname and (open_taps is None or nic.ifname in open_taps):
            choose(i, nic.ifname)
        for fd in nic.descriptors:
            choose(i, descriptors.taps.get(fd) if descriptors else None)
    for i, nic in enumerate(nics):
        if nic.mac and nic.backend in (Backend.VHOST, Backend.QEMU):
            tail = nic.mac[2:]
            same = [t.name for t in free if t.mac and t.mac.lower()[2:] == tail]
            choose(i, same[0] if len(same) == 1 else None)
    left = [name for name in open_taps or () if name not in chosen.values()]
    without = [i for i, n in enumerate(nics) if i not in chosen and _has_tap(n)]
    if len(left) == len(without) == 1 and not nics[without[0]].descriptors:
        choose(without[0], left.pop())
    vnics, polls = [], {}
    for i, nic in enumerate(nics):
        tap = chosen.get(i)
        if tap is None and _has_tap(nic) and open_taps is not None:
            continue
        queues = attached.get(tap or "") or nic.queues
        vnics.append(Vnic(tap, nic.mac, nic.model, nic.backend, queues, nic.mtu, nic.bridge, ()))
        if tap is not None and nic.backend is Backend.VHOST:
            polls[tap] = nic.busy_poll_us
    spare = (descriptors.vhost if descriptors else 0) - sum(
        v.queues for v in vnics if v.backend is Backend.VHOST
    )
    for name in left:
        queues = attached.get(name) or 1
        backend = Backend.VHOST if spare >= queues else Backend.QEMU
        spare -= queues
        vnics.append(Vnic(name, None, None, backend, queues, None, None, ()))
    return tuple(vnics), polls


def _has_tap(nic: Nic) -> bool:
    return nic.backend in (Backend.VHOST, Backend.QEMU)
