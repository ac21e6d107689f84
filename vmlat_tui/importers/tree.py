"""The files below a directory that somebody else may have filled."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from vmlat_tui.errors import UsageError
from vmlat_tui.safe_files import reached_directory

#: Files below a given directory; more is a mistake, such as `/`.
MOST_FILES = 1000
#: And whatever else is there.
MOST_ENTRIES = 20_000
_DEEPEST = 32


def below(top: Path, complain: Callable[[str], None]) -> list[Path]:
    """The regular files below ``top`` that are not hidden, in order of name.

    No link is followed.  ``complain`` gets a line for each entry that is left out.  Raises
    :class:`UsageError` if ``top`` is not a directory, or there is too much below it.
    """
    found: list[Path] = []
    left: list[tuple[str, ...]] = [()]
    entries = 0
    while left:
        place = left.pop()
        try:
            kinds = _kinds(top, place, MOST_ENTRIES - entries)
        except OSError as error:
            words = f"{top.joinpath(*place)} cannot be opened: {error.strerror}"
            if not place:
                raise UsageError(words) from None
            complain(words)
            continue
        entries += len(kinds)
        directories = []
        for name, kind in sorted(kinds.items()):
            path = top.joinpath(*place, name)
            if name.startswith("."):
                continue
            if stat.S_ISREG(kind):
                found.append(path)
            elif stat.S_ISLNK(kind):
                complain(f"{path} is a link, which is not followed")
            elif not stat.S_ISDIR(kind):
                complain(f"{path} is not a regular file")
            elif len(place) < _DEEPEST:
                directories.append((*place, name))
            else:
                complain(f"{path} is more than {_DEEPEST} directories deep")
        left += reversed(directories)
        if entries >= MOST_ENTRIES:
            raise UsageError(f"{top} has more than {MOST_ENTRIES} entries")
        if len(found) > MOST_FILES:
            raise UsageError(f"{top} has more than {MOST_FILES} files")
    return found


def _kinds(top: Path, place: tuple[str, ...], most: int) -> dict[str, int]:
    """The names in a directory, at most so many, and their kinds; raises ``OSError``."""
    kinds: dict[str, int] = {}
    descriptor = reached_directory(top, place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                if len(kinds) >= most:
                    break
                try:
                    kinds[entry.name] = entry.stat(follow_symlinks=False).st_mode
                except FileNotFoundError:
                    continue  # it is gone already
    finally:
        os.close(descriptor)
    return kinds
