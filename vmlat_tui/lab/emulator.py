"""The QEMU that emulates the hypervisors: always the same, whatever this machine has.

That of Debian 12 (7.2) now and then translates code while another processor patches it, which a
kernel with probes and nested guests does not survive: it ends with an int3 in kvm's vcpu_run, or
without a word.  QEMU locks the page meanwhile since 8.1.
"""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from typing import Callable

from vmlat_tui.lab import debian

_SUITE = "trixie"  # QEMU 10.0
#: The last two only for the names of files in ``root``: its links, and who follows them.
_PACKAGES = ("qemu-system-x86", "base-files", "coreutils")
_PROGRAM = "/usr/bin/qemu-system-x86_64"
#: What QEMU reads from its own directory to boot a kernel without a display.
_FIRMWARE = (
    "seabios/bios-256k.bin",
    "qemu/kvmvapic.bin",
    "qemu/linuxboot_dma.bin",
    "qemu/pvh.bin",
)
_LOADER = "loader"


def build(path: Path, root: Path, check_space: Callable[[], None]) -> None:
    """Pack QEMU with its libraries and firmware into the archive ``path``, by way of ``root``."""
    try:
        debian.unpack(_SUITE, _PACKAGES, root, ["--variant=extract"], check_space)
        with tarfile.open(path, "w") as archive:
            archive.add(debian.resolved(root, _PROGRAM), "qemu")
            for library in debian.libraries(root, _PROGRAM):
                name = Path(library).name
                name = _LOADER if name.startswith("ld-") else f"lib/{name}"
                archive.add(debian.resolved(root, library), name)
            for name in _FIRMWARE:
                file = debian.resolved(root, f"/usr/share/{name}")
                archive.add(file, f"share/{Path(name).name}")
    finally:
        shutil.rmtree(root, ignore_errors=True)


def unpack(path: Path, place: Path) -> list[str]:
    """Unpack the archive; return the beginning of QEMU's command line."""
    with tarfile.open(path) as archive:
        archive.extractall(place)
    loader = [str(place / _LOADER), "--library-path", str(place / "lib")]
    return [*loader, str(place / "qemu"), "-L", str(place / "share")]
