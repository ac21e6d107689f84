"""Guests that are whole systems: they boot the hypervisor's own root file system, as it did."""

from __future__ import annotations

from pathlib import Path

from vmlat_tui.lab.cpio import CpioWriter

#: Their first file system; they find the root file system on the disk that the hypervisor has.
INITRAMFS = Path("/run/lab/whole.cpio")

_HANDED_OVER = Path("/lab")
_FIRST_STEPS = Path(__file__).parent.parent / "files/initramfs/init"
_INIT = Path(__file__).with_name("whole-init")
#: The hypervisor's init, and that of these guests.
_THEIRS, _OURS = "/usr/local/sbin/lab-init", "/lab/init"


def first_steps() -> bytes:
    """The hypervisor's first steps, but for the last: they end in an init of our own."""
    return _FIRST_STEPS.read_text().replace(_THEIRS, _OURS).encode()


def write_initramfs(hosts: str) -> None:
    """Write the first file system: the hypervisor's, with other files over it.

    ``hosts`` are lines for their /etc/hosts.
    """
    with open(INITRAMFS, "wb") as file:
        file.write((_HANDED_OVER / "initramfs.cpio").read_bytes())
        archive = CpioWriter(file)
        archive.add_file("init", first_steps(), 0o755)
        archive.add_file(_OURS, _INIT, 0o755)
        archive.add_file("lab/host_key", _HANDED_OVER / "host_key", 0o600)
        archive.add_file("lab/authorized_keys", _HANDED_OVER / "authorized_keys")
        archive.add_file("lab/hosts", hosts.encode())
        archive.close()
