"""Where a command may write a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from vmlat_tui.errors import UsageError


def check_place(path: Path, force: bool) -> None:
    """Raise :class:`UsageError` unless a file can be made there; ``force``: or replaced."""
    if not path.parent.is_dir():
        raise UsageError(
            f"{path} cannot be made", f"{path.parent} is no directory", "make it first"
        )
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{path} cannot be made", error.strerror or str(error)) from None
    if not path.is_file() and not stat.S_ISLNK(mode):
        raise UsageError(
            f"{path} cannot be replaced", "it is no regular file", "choose another name"
        )
    if not force:
        raise UsageError(f"{path} exists", "", "choose another name, or replace it with --force")
