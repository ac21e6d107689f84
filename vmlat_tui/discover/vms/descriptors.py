"""What a process has open that a VM needs: KVM, queues of taps, vhost.

A process writes its command line as it likes; what its descriptors are, the kernel says.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from vmlat_tui.discover.files import link_name, read, rows
from vmlat_tui.discover.vms import tuns
from vmlat_tui.discover.vms.statx import file_status
from vmlat_tui.discover.vms.tuns import Tun

#: Asks the kernel of which namespace's tun each of a process's descriptors is a queue.
Ask = Callable[[int, Sequence[int]], Mapping[int, Tun]]

#: No file has such a path: these are descriptors of a VM itself, and of its vCPUs.
_KVM = re.compile(r"anon_inode:kvm-(vm|vcpu.*)")
_MACVTAP = re.compile(r"tap([0-9]{1,10})")
_O_PATH = 0o10000000


@dataclass(frozen=True)
class Tap:
    """A tap of this host, with as many queues as are attached to it."""

    name: str
    ifindex: int
    mac: Optional[str]
    queues: int
    #: (major, minor) of a macvtap's own device.
    device: Optional[tuple[int, int]] = None


@dataclass(frozen=True)
class Descriptors:
    """Open descriptors of a QEMU: which are queues of which taps, and how many are vhost's."""

    taps: Mapping[int, str]
    vhost: int
    kvm: bool = False
    #: Taps of which the kernel said that they are of this namespace, and not only their name.
    exact: frozenset[str] = frozenset()
    #: It has taps of another namespace.
    elsewhere: bool = False
    #: So many were looked at; there are more if they were ``cut``.
    seen: int = 0
    cut: bool = False

    def of_a_vm(self) -> bool:
        """Whether any of them is what a VM needs, and no other process by accident.

        vhost's is nothing without a tap; and anybody can have one that is opened as a mere path.
        """
        return bool(self.kvm or self.taps or self.elsewhere)


def read_descriptors(
    pid: int, taps: Sequence[Tap], proc: Path, ask: Ask, most: int
) -> Optional[Descriptors]:
    """Of a process, the first ``most``; None if they are not ours to see.

    No file that a user may serve himself is asked for anything.
    """
    directory = proc / str(pid)
    links: dict[int, str] = {}
    cut = False
    try:
        with os.scandir(directory / "fd") as entries:
            for entry in entries:
                if len(links) >= most:
                    cut = True
                    break
                try:
                    links[int(entry.name)] = os.readlink(entry.path)
                except OSError:
                    continue
    except OSError:
        return None
    found: dict[int, str] = {}
    queues = sorted(fd for fd, target in links.items() if target.rpartition("/")[2] == "tun")
    answers = ask(pid, queues) if queues else {}
    here = _same_namespace(directory, proc)
    elsewhere = False
    for fd in queues:
        name = tuns.attached(read(directory / "fdinfo" / str(fd)))
        tun = answers.get(fd) or (Tun(name, here) if name else None)
        if tun and tun.here:
            found[fd] = tun.name
        elsewhere |= tun is not None and not tun.here
    for fd, target in links.items():
        tap = _macvtap(directory, fd, target, taps, here)
        if tap:
            found[fd] = tap
    exact = {tun.name for tun in answers.values() if tun.here}
    return Descriptors(
        taps=found,
        vhost=sum(1 for target in links.values() if target == "/dev/vhost-net"),
        kvm=any(_KVM.fullmatch(target) for target in links.values()),
        exact=frozenset(exact),
        elsewhere=elsewhere,
        seen=len(links),
        cut=cut,
    )


def _same_namespace(directory: Path, proc: Path) -> bool:
    theirs = link_name(directory / "ns/net")
    return theirs is None or theirs == link_name(proc / "self/ns/net")


def _macvtap(
    directory: Path, fd: int, target: str, taps: Sequence[Tap], here: bool
) -> Optional[str]:
    """The macvtap that a descriptor is a queue of: by its device's number, which is one for all
    namespaces, or where that is not known by its index in this one."""
    match = _MACVTAP.fullmatch(target.rpartition("/")[2])
    if not match or not target.startswith("/dev/"):
        return None
    index = int(match[1])
    tap = next((tap for tap in taps if tap.ifindex == index), None)
    if tap is None or _is_path(directory, fd):
        return None
    if tap.device is None:
        return tap.name if here else None
    status = file_status(directory / "fd" / str(fd))
    same = status and stat.S_ISCHR(status.mode) and status.device == tap.device
    return tap.name if same else None


def _is_path(directory: Path, fd: int) -> bool:
    """Whether it is a mere path, which whoever sees a file can have without the right to open."""
    said = rows(read(directory / "fdinfo" / str(fd)))
    flags = next((value for name, value in said if name == "flags"), "0")
    return not re.fullmatch("[0-7]{1,20}", flags) or bool(int(flags, 8) & _O_PATH)
