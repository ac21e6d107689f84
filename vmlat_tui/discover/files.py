"""Reading the kernel's small files: a value, or nothing when it is not there or not ours to see."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional, Union


def read(path: Union[Path, str]) -> str:
    """The text of a file without surrounding space; empty if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "surrogateescape").strip()
    except OSError:
        return ""


def number(path: Union[Path, str]) -> Optional[int]:
    """The decimal number in a file; None if there is none."""
    try:
        return int(read(path))
    except ValueError:
        return None


def entries(path: Union[Path, str]) -> list[str]:
    """The sorted names in a directory; none if it cannot be read."""
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def link_name(path: Union[Path, str]) -> Optional[str]:
    """The last part of what a symbolic link names; None if it is none."""
    try:
        return os.path.basename(os.readlink(path)) or None
    except OSError:
        return None


def parse_list(text: str) -> tuple[int, ...]:
    """The kernel's notation of a set of CPUs or nodes (``0-3,8,10-11``), ascending."""
    numbers: set[int] = set()
    for part in text.replace(" ", "").split(","):
        low, _, high = part.partition("-")
        if low.isdigit() and (high.isdigit() or not high):
            numbers.update(range(int(low), int(high or low) + 1))
    return tuple(sorted(numbers))
