"""The one root of every error that a user may see.

Standard library only; importable from every layer.
"""

from __future__ import annotations

from collections.abc import Iterable

#: Characters of each part of an error that are kept: some quote what others wrote.
_MOST = 2000


def quoted(value: object, most: int = 60) -> str:
    """What was met, inside a message: printable, and at most ``most`` characters of it."""
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, int) and value.bit_length() > 128:
        return "a number without end"
    if isinstance(value, (str, bytes)):
        value = value[:most]
    shown = repr(value)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


class VmlatError(Exception):
    """An error with a title, a cause and a remedy; printed as one line, never as a traceback.

    ``exit_status`` is 2 when the request cannot be carried out as given (usage, environment),
    1 when the measurement itself failed.
    """

    exit_status = 1

    def __init__(self, title: str, cause: str = "", remedy: str = "") -> None:
        self.title, self.cause, self.remedy = (
            part if len(part) <= _MOST else part[:_MOST] + "…" for part in (title, cause, remedy)
        )
        super().__init__(self.title)

    def __str__(self) -> str:
        line = self.title
        if self.cause:
            line += f": {self.cause}"
        if self.remedy:
            line += f"; {self.remedy}"
        return " ".join(line.split())


def listed(names: Iterable[str], most: int = 10) -> str:
    """Names for a message, which stays one line however many there are."""
    every = list(names)
    rest = len(every) - most
    return ", ".join(every[:most]) + (f" and {rest} more" if rest > 0 else "")


class UsageError(VmlatError):
    """The command line or a command to the agent asks for something impossible (exit status 2)."""

    exit_status = 2
