"""JSON as it goes between an agent and its session, in either direction: one value a line."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

#: Old interpreters take hours for such a number; the others refuse it themselves.
_BIG = None if hasattr(sys, "get_int_max_str_digits") else re.compile(rb"\d{4301}")


def line(value: Any) -> bytes:
    """One line, ASCII only, so that no name from outside can carry a terminal escape."""
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def value_of(line: bytes) -> Any:
    """Inverse of :func:`line`; raises ``ValueError`` for what is not JSON, or nested too deeply."""
    if _BIG is not None and _BIG.search(line):
        raise ValueError("a number without end")
    try:
        return json.loads(line, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not a number")
