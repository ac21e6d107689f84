"""Reading the kernel's small files: a value, or nothing when it is not there or not ours to see."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Optional, Union

#: No file of one object is longer; a process can make some of its own as long as it likes.
_MOST_BYTES = 64 << 10
#: The kernel numbers no more CPUs (CONFIG_NR_CPUS), and far fewer nodes.
_MOST_NUMBERS = 8192


def read(path: Union[Path, str], most: int = _MOST_BYTES) -> str:
    """The text of a file without surrounding space; empty if it cannot be read.

    Of a longer one the first ``most`` bytes.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            data = chunk = file.read(most)
            while chunk and len(data) < most:
                chunk = file.read(most - len(data))
                data += chunk
            return data.decode("utf-8", "surrogateescape").strip()
    except OSError:
        return ""


def lines(text: str) -> list[str]:
    """The lines of a file of the kernel's, which ends them with a newline and nothing else.

    ``str.splitlines`` has ten more ends, which a name of a process or an interface may hold.
    """
    return text.split("\n")


def rows(text: str) -> Iterator[tuple[str, str]]:
    """The names and values of a file whose lines are ``name: value``, as they come."""
    for line in lines(text):
        name, _, value = line.partition(":")
        yield name, value.strip()


def decimal(text: Optional[str], below: int = 1 << 63) -> Optional[int]:
    """The number that ASCII digits and nothing else write, if it is less than ``below``.

    ``str.isdigit`` is true for ``²``, ``int`` takes ``٣`` and ``1_0``, and more than 4,300 digits
    make it raise: what comes from outside is read here.
    """
    if not text or len(text) > 20 or not (text.isascii() and text.isdigit()):
        return None
    value = int(text)
    return value if value < below else None


def number(path: Union[Path, str]) -> Optional[int]:
    """The decimal number in a file, of 64 bits at most; None if there is none."""
    text = read(path)
    negative = text.startswith("-")
    value = decimal(text[1:] if negative else text, 1 << 64)
    return -value if negative and value is not None else value


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


def parse_list(text: str, below: int = _MOST_NUMBERS) -> tuple[int, ...]:
    """The kernel's notation of a set of CPUs or nodes (``0-3,8,10-11``), ascending.

    A part that is none, or reaches ``below``, is left out.
    """
    numbers: set[int] = set()
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        low, high = decimal(first, below), decimal(last if dash else first, below)
        if low is not None and high is not None:
            numbers.update(range(low, high + 1))
    return tuple(sorted(numbers))
