"""What a command prints in which format, and where it may write a file."""

from __future__ import annotations

import argparse
import os
import stat
import sys
from pathlib import Path

from vmlat_tui.errors import UsageError
from vmlat_tui.export import formats
from vmlat_tui.export.exporter import Exporter


def output_options(parser: argparse._ActionsContainer) -> None:
    """Add the options that choose the format: the same for every command that prints."""
    parser.add_argument(
        "--format",
        choices=formats.NAMES,
        default=formats.TEXT,
        help="text (the default) and markdown are for people; json is for programs: one object a "
        "line, names and times as they are",
    )
    parser.add_argument(
        "--json",
        action="store_const",
        dest="format",
        const=formats.JSON,
        help="the same as --format json",
    )


def chosen_output(args: argparse.Namespace) -> Exporter:
    """Standard output, in the format that the options ask for."""
    return formats.exporter(args.format)(sys.stdout)


def check_place(path: Path, force: bool) -> None:
    """Raise :class:`UsageError` unless a file can be made there; ``force``: or replaced."""
    if not path.parent.is_dir():
        raise UsageError(
            f"{path} cannot be made", f"{path.parent} is not a directory", "make it first"
        )
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{path} cannot be made", error.strerror or str(error)) from None
    if not path.is_file() and not stat.S_ISLNK(mode):
        raise UsageError(
            f"{path} cannot be replaced", "it is not a regular file", "choose another name"
        )
    if not force:
        raise UsageError(f"{path} exists", "", "choose another name, or replace it with --force")
