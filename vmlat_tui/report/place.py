"""Where a command may write a file."""

from __future__ import annotations

from pathlib import Path

from vmlat_tui.errors import UsageError


def part_of(path: Path) -> Path:
    """Where a file is written until it holds something: then it takes its place, and not before."""
    return path.with_name(f".part-{path.name}")


def check_place(path: Path, force: bool) -> None:
    """Raise :class:`UsageError` unless a file can be made there; ``force``: or replaced."""
    if not path.parent.is_dir():
        raise UsageError(
            f"{path} cannot be made", f"{path.parent} is no directory", "make it first"
        )
    if path.exists() and not path.is_file():
        raise UsageError(
            f"{path} cannot be replaced", "it is no regular file", "choose another name"
        )
    if path.exists() and not force:
        raise UsageError(f"{path} exists", "", "choose another name, or replace it with --force")
