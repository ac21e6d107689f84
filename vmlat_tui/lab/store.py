"""Where built hypervisors are kept: found by a key of their inputs, verified before use.

A directory per release and key holds the files and a manifest.  It appears by one rename, so it
is whole or absent; damage is found by size, time stamp and checksum, and heals by building anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.lab.releases import Release
from vmlat_tui.safe_files import make_own_directory

#: Free space that a build needs at its start, and must never fall below while it runs.
NEEDED_BYTES = 3 << 30
RESERVE_BYTES = 256 << 20
#: A build takes minutes; whoever waits longer for another one is told.
LOCK_SECONDS = 1200.0

_MANIFEST = "manifest.json"
_STAMP = "verified.json"
_TEMPORARY = "build-"


@dataclass(frozen=True)
class Image:
    """A built hypervisor."""

    directory: Path

    @property
    def kernel(self) -> Path:
        """The uncompressed kernel."""
        return self.directory / "vmlinux"

    @property
    def initramfs(self) -> Path:
        """The first file system."""
        return self.directory / "initramfs.cpio"

    @property
    def root(self) -> Path:
        """The read-only root file system."""
        return self.directory / "root.erofs"

    @property
    def emulator(self) -> Path:
        """The QEMU to run it with (an archive: see emulator.py)."""
        return self.directory / EMULATOR


EMULATOR = "emulator.tar"
#: The files that every image has.
FILES = ("vmlinux", "initramfs.cpio", "root.erofs", EMULATOR)


def default_directory() -> Path:
    """Return the cache's directory: ``VMLAT_LAB_CACHE``, or below the user's cache directory."""
    chosen = os.environ.get("VMLAT_LAB_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vmlat" / "lab"


def key(release: Release, inputs: list[Path]) -> str:
    """Return a short digest of everything that a build depends on."""
    digest = hashlib.sha256()
    digest.update(repr((release.suite, release.packages)).encode())
    for top in inputs:
        paths = sorted(p for p in top.rglob("*") if p.is_file()) if top.is_dir() else [top]
        for path in paths:
            name = str(path.relative_to(top.parent))
            digest.update(f"{name}\0{path.stat().st_mode & 0o111:o}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


class Store:
    """The cache directory."""

    def __init__(self, directory: Path, say: Callable[[str], None]) -> None:
        self.directory = directory
        self._say = say

    def find(self, release: Release, digest: str) -> Optional[Image]:
        """Return the image of this key if it is there and intact."""
        directory = self._place(release, digest)
        if not directory.is_dir():
            return None
        self._make_directory()  # or what runs there would be whatever somebody else has put there
        fault = _fault(directory)
        if fault is None:
            return Image(directory)
        self._say(f"the cached hypervisor is damaged ({fault}); building it anew")
        return None

    @contextlib.contextmanager
    def lock(self, release: Release, seconds: float = LOCK_SECONDS) -> Iterator[None]:
        """Hold the right to build this release; wait a limited time for who has it."""
        self._make_directory()
        path = self.directory / f"{release.suite}.lock"
        deadline = time.monotonic() + seconds
        with open(path, "a+") as file:
            announced = False
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    if not announced:
                        self._say(f"waiting for process {_holder(path)}, which is building it")
                        announced = True
                    if time.monotonic() >= deadline:
                        raise VmlatError(
                            "the lab is being built by another process",
                            f"process {_holder(path)} has held {path} for {seconds:.0f} s",
                            "wait for it, or end it",
                        ) from None
                    time.sleep(0.2)
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
            yield

    @contextlib.contextmanager
    def build(self, release: Release, digest: str) -> Iterator[Path]:
        """Give an empty directory to build in; take it over as the image if all goes well.

        Needs the lock.  The directory is removed when the build fails, and so is what an earlier
        build that was killed has left.
        """
        self._remove_leftovers(release)
        self.check_space(NEEDED_BYTES)
        work = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY}{release.suite}-", dir=self.directory))
        try:
            output = work / "image"
            output.mkdir()
            yield output
            _write_manifest(output)
            place = self._place(release, digest)
            shutil.rmtree(place, ignore_errors=True)
            os.replace(output, place)
            self._remove_older(release, place)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def check_space(self, needed: int = RESERVE_BYTES) -> None:
        """Raise if the disk has less free space than this."""
        free = shutil.disk_usage(self.directory).free
        if free < needed:
            raise VmlatError(
                "not enough disk space for the lab",
                f"{self.directory} has {free >> 20} MB free, {needed >> 20} MB are needed",
                "make room, or set VMLAT_LAB_CACHE to a directory on another disk",
            )

    def _make_directory(self) -> None:
        try:
            make_own_directory(self.directory)
        except UsageError as error:
            raise VmlatError(
                "the lab's cache directory cannot be used",
                str(error),
                "set VMLAT_LAB_CACHE to a directory you may write to",
            ) from error

    def _place(self, release: Release, digest: str) -> Path:
        return self.directory / f"{release.suite}-{digest}"

    def _remove_leftovers(self, release: Release) -> None:
        for path in self.directory.glob(f"{_TEMPORARY}{release.suite}-*"):
            shutil.rmtree(path, ignore_errors=True)

    def _remove_older(self, release: Release, current: Path) -> None:
        for path in self.directory.glob(f"{release.suite}-*"):
            if path != current and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)


def _holder(path: Path) -> str:
    try:
        return path.read_text().strip() or "?"
    except OSError:
        return "?"


def _checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _identity(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _write_manifest(directory: Path) -> None:
    manifest = {
        name: {"size": (directory / name).stat().st_size, "sha256": _checksum(directory / name)}
        for name in FILES
    }
    for name in FILES:
        with open(directory / name, "rb") as file:
            os.fsync(file.fileno())
    (directory / _MANIFEST).write_text(json.dumps(manifest, indent=1))
    _write_stamp(directory, manifest)


def _write_stamp(directory: Path, names: Iterable[str]) -> None:
    identities = {name: _identity(directory / name) for name in names}
    with contextlib.suppress(OSError):  # only saves time
        (directory / _STAMP).write_text(json.dumps(identities))


def _fault(directory: Path) -> Optional[str]:
    """Say what is wrong with an image; ``None`` if nothing is.

    Files whose size, times and inode are those of the last full check are taken as they are;
    otherwise the checksum decides.
    """
    try:
        manifest: dict[str, dict[str, object]] = json.loads((directory / _MANIFEST).read_text())
        identities = {name: _identity(directory / name) for name in FILES}
        expected = {name: (manifest[name]["size"], manifest[name]["sha256"]) for name in FILES}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"incomplete: {error}"
    for name in FILES:
        if identities[name][0] != expected[name][0]:
            return f"{name} has {identities[name][0]} bytes instead of {expected[name][0]}"
    try:
        if json.loads((directory / _STAMP).read_text()) == identities:
            return None
    except (OSError, ValueError):
        pass
    for name in FILES:
        if _checksum(directory / name) != expected[name][1]:
            return f"{name} has changed"
    _write_stamp(directory, FILES)
    return None


def stderr_say(line: str) -> None:
    """Print one line of progress."""
    print(f"lab: {line}", file=sys.stderr, flush=True)
