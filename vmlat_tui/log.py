"""What is written down for whoever looks for a fault, where that was asked for.

Each module outside the screens has the standard library's logger of its own name.  By default they
are off: a call costs a look at a flag.  A line is ``TIME LEVEL LOGGER: MESSAGE``, the time in UTC.
Messages may quote what others wrote, so a line is printable and bounded.

An agent writes its lines to standard error, never between its frames, and its session takes them
from there into its own log (:mod:`vmlat_tui.transport.standard_error`).

Standard library only; importable from every layer, and it travels to other hosts.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Optional, TextIO

from vmlat_tui.errors import UsageError
from vmlat_tui.safe_files import new_file
from vmlat_tui.words import say

#: From the most to the least.
LEVELS = ("debug", "info", "warning", "error")
#: Of a log file, if no level is asked for.
DEFAULT_LEVEL = "info"
#: Characters of a line.
LONGEST = 2000

_ours = logging.getLogger("vmlat_tui")
#: The level of a program that logs nothing.
_OFF = _ours.level

_LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) vmlat_tui[\w.]*: "
)


class _Formatter(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
        )

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if len(text) > LONGEST:
            text = text[: LONGEST - 1] + "…"
        return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


class _Handler(logging.Handler):
    """A log that cannot be written never disturbs what it is about."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.setFormatter(_Formatter())
        self.stream = stream
        #: Why lines are missing, if some are.
        self.failure: Optional[Exception] = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, at once: whoever logs may be about to die."""
        try:
            self.stream.write(self.format(record) + "\n")
            self.stream.flush()
        except Exception as error:
            self.failure = self.failure or error


def level() -> Optional[str]:
    """The one of :data:`LEVELS` that is written down; None if nothing is."""
    return None if _ours.level == _OFF else logging.getLevelName(_ours.level).lower()


def level_of(line: str) -> Optional[int]:
    """The library's number of the level of a line that another process logged; None for others."""
    found = _LINE.match(line)
    return None if found is None else int(getattr(logging, found.group(1)))


def on_terminal() -> bool:
    """Whether lines would be written over what is drawn there."""
    return any(
        isinstance(handler, _Handler) and handler.stream is sys.stderr and sys.stderr.isatty()
        for handler in _ours.handlers
    )


def to_standard_error(name: str) -> None:
    """Write lines of this level from now on; for the agent, which is told so by its session."""
    if not any(isinstance(handler, _Handler) for handler in _ours.handlers):
        _ours.addHandler(_Handler(sys.stderr))
    _ours.setLevel(name.upper())


@contextlib.contextmanager
def written(name: Optional[str], path: Optional[Path]) -> Iterator[None]:
    """Write lines of this level or above to a new file, or to standard error without one.

    Neither: nothing is written.  The file takes the place of an earlier one, and is only its
    owner's.  Raises :class:`UsageError` if there is no such level, or the file cannot be made.
    """
    if name is None and path is None:
        yield
        return
    name = name or DEFAULT_LEVEL
    if name not in LEVELS:
        raise UsageError(f"--log-level {name!r} is wrong", f"it is one of {', '.join(LEVELS)}")
    with contextlib.ExitStack() as ends:
        stream: TextIO = sys.stderr
        if path is not None:
            made = ends.enter_context(new_file(path))
            made.take_place(replace=True)
            stream = io.TextIOWrapper(made.file, "utf-8", "backslashreplace", write_through=True)
        handler = _Handler(stream)
        _ours.addHandler(handler)
        _ours.setLevel(name.upper())
        try:
            yield
        finally:
            _ours.setLevel(_OFF)
            _ours.removeHandler(handler)
            if handler.failure is not None and path is not None:
                say(f"{path} is incomplete: {handler.failure}")
