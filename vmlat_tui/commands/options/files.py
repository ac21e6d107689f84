"""Options of the commands that read what other tools and earlier measurements wrote."""

from __future__ import annotations

import argparse
from typing import Optional

from vmlat_tui.commands.options.output import output_options
from vmlat_tui.errors import UsageError
from vmlat_tui.importers.directory import Ends
from vmlat_tui.words import clean


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that reads files."""
    for end, example in (("sender", "*send*"), ("receiver", "*recv*")):
        parser.add_argument(
            f"--{end}",
            metavar="PATTERN",
            action="append",
            default=[],
            help=f"files of such names, as {example}, were written on the {end}'s host; for logs "
            "that do not say it themselves",
        )
    output_options(parser)


def ends_of(args: argparse.Namespace) -> Ends:
    """What the options say of the files."""
    return Ends(args.sender, args.receiver)


def microseconds_of(text: Optional[str], option: str) -> Optional[int]:
    """Nanoseconds of an option in microseconds; raises :class:`UsageError`."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e12:
        raise UsageError(f"{option} {clean(text)}", "it is a number of microseconds")
    return round(value * 1000)
