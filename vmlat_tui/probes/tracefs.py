"""Reads the kernel's tracefs, where it is mounted."""

from __future__ import annotations

from pathlib import Path

_MOUNTS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))


def read(name: str) -> str:
    """A file's text; empty where there is no tracefs or no such file."""
    for mount in _MOUNTS:
        try:
            return (mount / name).read_text()
        except OSError:
            continue
    return ""


def with_fentry(text: str) -> set[str]:
    """The functions that call a fentry program, in the text of ``enabled_functions``.

    A function's line may be followed by others, which are indented.
    """
    found, function = set(), ""
    for line in text.splitlines():
        if line[:1] not in ("\t", " ", ""):
            function = line.split(" ", 1)[0]
        elif line.strip().startswith("direct-->"):
            found.add(function)
    return found
