"""The options of the log, which every command has."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from vmlat_tui import log


def log_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the log.

    They have no defaults: a parser of ``vmlat lab`` and those of its actions may both have them.
    """
    group = parser.add_argument_group("diagnostics")
    group.add_argument(
        "--log-level",
        metavar="LEVEL",
        default=argparse.SUPPRESS,
        help="log what vmlat and its agents do, on standard error or in --log-file: "
        f"{', '.join(log.LEVELS)} (with --log-file the default is {log.DEFAULT_LEVEL})",
    )
    group.add_argument(
        "--log-file",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="write the log to this file, which replaces an earlier one",
    )


def logged(args: argparse.Namespace) -> contextlib.AbstractContextManager[None]:
    """What the options ask for, for as long as a command runs; :func:`.log.written`."""
    path = getattr(args, "log_file", None)
    return log.written(getattr(args, "log_level", None), None if path is None else Path(path))
