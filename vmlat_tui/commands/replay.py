"""``vmlat replay FILE``, and what it shares with ``vmlat --replay FILE`` and ``vmlat demo``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Optional

from vmlat_tui.commands.show import appearance, show
from vmlat_tui.errors import UsageError
from vmlat_tui.recording.outline import outline
from vmlat_tui.recording.replay import Recording


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``vmlat replay``."""
    parser.description = (
        "Show a recorded session on the screens, as it was. It needs no root, BCC or libvirt. "
        "Without a terminal the last moment is printed, or that of --at."
    )
    parser.add_argument("file", metavar="FILE", help="made by `vmlat record` or by the key R")
    pace(parser)
    appearance(parser)


def pace(parser: argparse._ActionsContainer) -> None:
    """Add the options of a replay's time."""
    parser.add_argument(
        "--speed", metavar="N", default="1", help="replay N times as fast; 0 shows the end at once"
    )
    parser.add_argument(
        "--at",
        metavar="TIME",
        help="begin there: seconds or m:ss, -seconds from the end, or the time of day (h:mm:ss)",
    )


def recording(path: Path, args: argparse.Namespace, about: str = "") -> Recording:
    """What :func:`pace`'s options ask for; a wrong file or time is said before any screen."""
    speed = _speed(args.speed)
    found = Recording(path, speed, about=about)
    found.check()
    return found if args.at is None else Recording(path, speed, _moment(path, args.at), about)


def _moment(path: Path, text: str) -> int:
    whole = outline(path)
    if whole is None:
        raise UsageError(f"{path.name} has no readings", "--at has no place to go to")
    return whole.moment(text)


def _speed(text: str) -> Optional[float]:
    try:
        speed = float(text)
    except ValueError:
        speed = -1
    if not 0 <= speed <= 1000:
        raise UsageError(f"--speed {text!r} is wrong", "it must be a number from 0 to 1000")
    return speed or None


def run(args: argparse.Namespace) -> int:
    """Return when the user leaves."""
    return show(args, recording(Path(args.file), args))
