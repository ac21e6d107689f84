"""Debian packages in a directory of their own: unpacked, run, taken apart."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, Optional

from vmlat_tui.errors import VmlatError
from vmlat_tui.lab import process
from vmlat_tui.lab.sources import find_mirror

PROGRAMS = ("mmdebstrap", "unshare", "chroot")

BUILD_SECONDS = 1800.0

_LOADER = "/lib64/ld-linux-x86-64.so.2"


def unpack(
    suite: str,
    packages: Sequence[str],
    root: Path,
    options: Sequence[str],
    check_space: Callable[[], None],
    heard: Callable[[str], object] = lambda line: None,
) -> None:
    """Make ``root`` of a release's packages; mmdebstrap takes ``options`` and is ``heard``."""
    command = [
        # Namespaces of its own: whatever ends it, no process and no mount is left.
        "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
        "mmdebstrap", "--mode=root", "--architectures=amd64",
        f"--include={','.join(packages)}",
        "--dpkgopt=force-unsafe-io",
        *options,
        suite, str(root), find_mirror().source(suite),
    ]  # fmt: skip
    run(command, check_space, heard)


def run(
    command: Sequence[str],
    check_space: Callable[[], None],
    heard: Callable[[str], object] = lambda line: None,
) -> None:
    """Run a program with an eye on the disk and the clock; show why if it fails."""
    deadline = time.monotonic() + BUILD_SECONDS
    log = bytearray()
    read, write = os.pipe()
    child = process.start(command, stdin=subprocess.DEVNULL, stdout=write, stderr=write)
    os.close(write)
    os.set_blocking(read, False)
    try:
        seen = 0
        while child.poll() is None:
            time.sleep(0.1)
            check_space()
            if time.monotonic() > deadline:
                raise VmlatError(f"{_name(command)} did not end within {BUILD_SECONDS:.0f} s")
            _drain(read, log)
            *lines, _ = bytes(log[seen:]).split(b"\n")
            for line in lines:
                heard(line.decode(errors="replace"))
                seen += len(line) + 1
        _drain(read, log)
    finally:
        process.stop(child)
        os.close(read)
    if child.returncode != 0:
        check_space()
        text = bytes(log).decode(errors="replace")
        if "No space left on device" in text:
            raise VmlatError(
                "the disk is full", _name(command), "make room, or set VMLAT_LAB_CACHE"
            )
        telling = [line for line in text.splitlines() if line.startswith("E:") or "error" in line]
        cause = " | ".join((telling or text.splitlines())[-3:])
        raise VmlatError(f"{_name(command)} failed (status {child.returncode})", cause)


def _name(command: Sequence[str]) -> str:
    return "mmdebstrap" if "mmdebstrap" in command else command[0]


def _drain(descriptor: int, into: bytearray) -> None:
    try:
        while True:
            block = os.read(descriptor, 65536)
            if not block:
                return
            into += block
    except BlockingIOError:
        return


def chroot(root: Path, *command: str) -> str:
    """Run a program of the new system; return what it printed."""
    result = subprocess.run(
        ["chroot", str(root), *command],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        check=False,
    )
    if result.returncode != 0:
        raise VmlatError(
            f"{command[0]} failed in the new system", result.stderr.decode(errors="replace")
        )
    return result.stdout.decode(errors="replace")


def libraries(root: Path, program: str) -> list[str]:
    """The libraries of a program of the new system, its loader among them."""
    listed = chroot(root, _LOADER, "--list", program).splitlines()
    paths = [_absolute(line.split()) for line in listed]
    return sorted({_LOADER, *(path for path in paths if path is not None)})


def _absolute(words: Sequence[str]) -> Optional[str]:
    return next((word for word in words if word.startswith("/")), None)


def resolved(root: Path, path: str) -> Path:
    """Follow the links of the new system within it."""
    return root / chroot(root, "realpath", path).strip().lstrip("/")
