"""Opens the screens on a source, or prints a plain snapshot of it where there is no terminal."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Union

from vmlat_tui import log
from vmlat_tui.commands.snapshot import snapshot
from vmlat_tui.ending import ENDING
from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.recording.replay import Recording
from vmlat_tui.transport.source import Source


def appearance(parser: argparse._ActionsContainer) -> None:
    """Add the options that say how the screens look."""
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII only")
    parser.add_argument(
        "--no-color", action="store_true", help="no colours; so does the variable NO_COLOR"
    )


def show(
    args: argparse.Namespace,
    shown: Union[Recording, Callable[[], Source]],
    **options: Any,
) -> int:
    """Return when the user leaves; ``args`` has the options of :func:`appearance`.

    ``options`` are further ones of :class:`vmlat_tui.tui.app.VmlatApp`.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(snapshot(shown), end="")
        return 0
    if log.on_terminal():
        raise UsageError("the screens have the terminal", "--log-level", "add --log-file FILE")
    colourless = args.no_color or bool(os.environ.get("NO_COLOR"))
    if colourless:
        # Textual reads it, and strips every colour of a terminal's own palette.
        os.environ["NO_COLOR"] = "1"
    gc.disable()
    from vmlat_tui.tui.app import VmlatApp

    app = VmlatApp(shown, ascii=args.ascii or not _utf8(), colourless=colourless, **options)
    # The reader decodes thousands of short-lived lists a second, beside keys that want an answer.
    gc.freeze()
    gc.enable()
    gc.set_threshold(100_000, 20, 100)
    sys.setswitchinterval(0.001)
    try:
        app.run()
    finally:
        ENDING.begin()
        # Textual's loop has taken the signals, and let go of them.
        with ENDING.watching(), ENDING.held():
            app.close()
    if app.fault is not None:
        raise VmlatError("the screens ended by a defect of vmlat", *_kept(app.fault, app.directory))
    return app.return_code or 0


def _kept(fault: str, directory: Path) -> tuple[str, str]:
    """Cause and remedy of a defect; its traceback goes into a file."""
    from vmlat_tui.tui.files import keep_defect

    try:
        remedy = f"report it with {keep_defect(directory, fault)}"
    except VmlatError:
        remedy = "report it"
    return fault.strip().splitlines()[-1], remedy


def _utf8() -> bool:
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return encoding == "utf8"
