"""Build a hypervisor: a Debian root file system as one read-only file, and its kernel."""

from __future__ import annotations

import lzma
import os
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Callable

from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.lab import debian, emulator, process
from vmlat_tui.lab.cpio import CpioWriter
from vmlat_tui.lab.releases import Release
from vmlat_tui.lab.store import EMULATOR

FILES = Path(__file__).parent / "files"

_BUILDERS = ("builder", "debian", "emulator")
#: Everything whose change must lead to a new image.
INPUTS = [FILES, *(Path(__file__).with_name(f"{each}.py") for each in _BUILDERS)]

PROGRAMS = (*debian.PROGRAMS, "mkfs.erofs")

#: Not unpacked at all: documentation, and drivers no emulated machine has.
_EXCLUDED = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/i18n/*",
    "/usr/share/bash-completion/*",
    "/usr/share/iso-codes/*",
    "/usr/share/qemu/edk2-*",
    "*/x86_64-linux-gnu/dri/*",
    "/boot/System.map-*",
    "*/modules/*/kernel/sound/*",
    "*/modules/*/kernel/drivers/*",
)
_INCLUDED = tuple(
    f"*/modules/*/kernel/drivers/{part}/*"
    for part in ("block", "char", "crypto/ccp", "net", "ptp", "pps", "vhost", "virtio")
)
_EXCLUDED_AGAIN = (
    "*/modules/*/kernel/drivers/net/wireless/*",
    "*/modules/*/kernel/drivers/net/ethernet/*",
)
_INCLUDED_AGAIN = ("*/modules/*/kernel/drivers/net/ethernet/intel/e1000*",)

#: Modules that the two first file systems load, in an order that only matters between families.
_HYPERVISOR_MODULES = ("crc32c_generic", "virtio_pci", "virtio_blk", "erofs", "overlay")
_GUEST_MODULES = ("virtio_pci", "virtio_net", "virtio_console", "8021q")

_PERL_PARTS = ("strict.pm", "warnings.pm", "Errno.pm", "Fcntl.pm", "Socket.pm", "XSLoader.pm",
               "Exporter.pm", "Exporter", "warnings", "vars.pm", "Carp.pm", "constant.pm",
               "Config.pm", "overload.pm", "overloading.pm", "bytes.pm",
               "auto/Fcntl", "auto/Socket")  # fmt: skip


def build(
    release: Release,
    output: Path,
    say: Callable[[str], None],
    check_space: Callable[[], None],
) -> None:
    """Fill ``output`` with all files of the image (see store.FILES)."""
    process.require(*PROGRAMS)
    if os.geteuid() != 0:
        raise UsageError(
            "building the lab's hypervisor needs root",
            "it unpacks a Debian system with its owners and device nodes",
            "run `vmlat lab build` once as root",
        )
    root = output.parent / "root"
    try:
        say("unpacking the emulator")
        emulator.build(output / EMULATOR, root, check_space)
        _install(release, root, say, check_space)
        say("preparing the kernel and its modules")
        kernel = _prepare_kernel(root)
        (output / "vmlinux").write_bytes(kernel)
        shutil.copytree(FILES / "rootfs", root, dirs_exist_ok=True)
        share = root / "usr/share/lab"
        share.mkdir()
        (share / "vmlinux").write_bytes(kernel)
        debian.chroot(root, "ovsdb-tool", "create", "/usr/share/lab/conf.db")
        # libvirt looks for its default user even when told to use another one.
        if "libvirt-qemu" not in (root / "etc/passwd").read_text():
            debian.chroot(root, "useradd", "--system", "--user-group", "libvirt-qemu")
        _write_hypervisor_initramfs(root, output / "initramfs.cpio")
        _write_guest_initramfs(root, share / "guest.cpio")
        _trim(root)
        say("packing the root file system")
        check_space()
        debian.run(
            [
                "mkfs.erofs",
                "-E",
                "force-inode-extended",
                "--quiet",
                str(output / "root.erofs"),
                str(root),
            ],
            check_space,
        )
    except OSError as error:
        check_space()
        raise VmlatError("cannot build the lab's hypervisor", str(error)) from error
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _install(
    release: Release, root: Path, say: Callable[[str], None], check_space: Callable[[], None]
) -> None:
    filters = [f"--dpkgopt=path-exclude={pattern}" for pattern in _EXCLUDED]
    filters += [f"--dpkgopt=path-include={pattern}" for pattern in _INCLUDED]
    filters += [f"--dpkgopt=path-exclude={pattern}" for pattern in _EXCLUDED_AGAIN]
    filters += [f"--dpkgopt=path-include={pattern}" for pattern in _INCLUDED_AGAIN]
    # The lab has its own first file system: Debian's would take a minute to make.
    no_initramfs = (
        'chroot "$1" dpkg-divert --local --no-rename --add /usr/sbin/update-initramfs >/dev/null'
        ' && mkdir -p "$1/usr/sbin" && ln -s /bin/true "$1/usr/sbin/update-initramfs"'
    )
    options = ["--variant=apt", *filters, f"--essential-hook={no_initramfs}"]
    count = len(release.packages)
    say(f"installing Debian {release.debian} ({release.suite}) with {count} packages")

    def heard(line: str) -> None:
        if line.startswith("I: ") and line.endswith("..."):
            say(line[3:-3])

    debian.unpack(release.suite, release.packages, root, options, check_space, heard)


def _prepare_kernel(root: Path) -> bytes:
    """Unpack what the emulated processor would take seconds to: the kernel and its modules."""
    (image,) = (root / "boot").glob("vmlinuz-*")
    version = image.name[len("vmlinuz-") :]
    compressed = list(_modules(root).rglob("*.ko.xz"))
    for module in compressed:
        module.with_suffix("").write_bytes(lzma.decompress(module.read_bytes()))
        module.unlink()
    debian.chroot(root, "depmod", version)
    kernel = _unpacked_kernel(root, image.read_bytes())
    image.unlink()
    return kernel


def _unpacked_kernel(root: Path, image: bytes) -> bytes:
    """Return the ELF file inside a bzImage (see the kernel's Documentation/arch/x86/boot.rst)."""
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    payload = image[(setup_sectors + 1) * 512 + offset :][:length]
    if payload.startswith(b"\xfd7zXZ"):
        return lzma.LZMADecompressor().decompress(payload)
    if payload.startswith(b"\x28\xb5\x2f\xfd"):
        packed = root / "tmp/vmlinux.zst"
        packed.write_bytes(payload[:-4])  # the last word is the unpacked size
        debian.chroot(root, "zstd", "-q", "-d", "/tmp/vmlinux.zst")
        packed.unlink()
        plain = root / "tmp/vmlinux"
        kernel = plain.read_bytes()
        plain.unlink()
        return kernel
    raise VmlatError("cannot unpack the kernel", f"unknown compression {payload[:4].hex()}")


def _modules(root: Path) -> Path:
    (directory,) = (
        path
        for path in (root / "lib/modules").iterdir()
        if (path / "modules.dep").exists() or (path / "kernel").is_dir()
    )
    return directory


def _closure(root: Path, names: Sequence[str]) -> list[Path]:
    """Return these modules and what they depend on, in the order in which they must be loaded."""
    directory = _modules(root)
    depends: dict[str, list[str]] = {}
    for line in (directory / "modules.dep").read_text().splitlines():
        module, _, rest = line.partition(":")
        depends[module] = rest.split()
    by_name = {Path(module).stem.replace("-", "_"): module for module in depends}
    order: list[str] = []
    for name in names:
        if name not in by_name:
            continue  # built into this kernel
        wanted = by_name[name]
        for needed in [*reversed(depends[wanted]), wanted]:
            if needed not in order:
                order.append(needed)
    return [directory / module for module in order]


def _add_modules(archive: CpioWriter, root: Path, names: Sequence[str]) -> None:
    modules = _closure(root, names)
    for module in modules:
        archive.add_file(f"modules/{module.name}", module)
    archive.add_file("modules/order", "".join(f"{module.name}\n" for module in modules).encode())


def _add_busybox(archive: CpioWriter, root: Path) -> None:
    archive.add_file("bin/busybox", root / "bin/busybox", 0o755)
    for applet in debian.chroot(root, "busybox", "--list").split():
        if applet != "busybox":
            archive.add_link(f"bin/{applet}", "busybox")


def _write_hypervisor_initramfs(root: Path, path: Path) -> None:
    with open(path, "wb") as file:
        archive = CpioWriter(file)
        archive.add_tree(FILES / "initramfs", "")
        _add_busybox(archive, root)
        _add_modules(archive, root, _HYPERVISOR_MODULES)
        for directory in ("proc", "sys", "dev", "lower", "rw", "root", "lab"):
            archive.add_directory(directory)
        archive.close()


def _write_guest_initramfs(root: Path, path: Path) -> None:
    with open(path, "wb") as file:
        archive = CpioWriter(file)
        archive.add_tree(FILES / "guest", "")
        _add_busybox(archive, root)
        _add_modules(archive, root, _GUEST_MODULES)
        _add_program(archive, root, "/usr/sbin/qemu-ga")
        _add_program(archive, root, "/usr/bin/perl")
        perl = "usr/lib/x86_64-linux-gnu/perl-base"
        for part in _PERL_PARTS:
            source = root / perl / part
            if source.is_dir():
                archive.add_tree(source, f"{perl}/{part}")
            elif source.exists():
                archive.add_file(f"{perl}/{part}", source)
        archive.add_file("usr/local/bin/traffic", FILES / "rootfs/usr/local/sbin/traffic", 0o755)
        for directory in ("proc", "sys", "dev", "tmp", "run", "root", "etc"):
            archive.add_directory(directory)
        archive.close()


def _add_program(archive: CpioWriter, root: Path, program: str) -> None:
    """Add a dynamically linked program of the new system, with its libraries."""
    archive.add_file(program, root / program.lstrip("/"), 0o755)
    for path in debian.libraries(root, program):
        archive.add_file(path, debian.resolved(root, path), 0o755)


def _trim(root: Path) -> None:
    """Remove what would only slow the hypervisor down."""
    for name in ("qemu-system-i386", "qemu-system-x86_64-microvm"):
        (root / "usr/bin" / name).unlink(missing_ok=True)
    for directory in ("proc", "sys", "dev", "run", "tmp"):
        shutil.rmtree(root / directory, ignore_errors=True)
        (root / directory).mkdir(exist_ok=True)
    for directory in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(root / directory, ignore_errors=True)
    var = root / "var"
    for name in ("run", "lock"):
        path = var / name
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)
        path.symlink_to(f"/run/{name}" if name == "lock" else "/run")
