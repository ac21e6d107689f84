"""Numbers and names for the screen."""

from __future__ import annotations

import datetime
import sys
import unicodedata
from functools import lru_cache
from typing import Optional

#: Characters whose width terminals and Unicode versions do not agree about (fillers and parts of
#: Hangul, hexagrams, counting rods, halves of flags, skin tones), besides those of a category.
_ODD = frozenset(
    code
    for first, last in (
        (0x1160, 0x11FF), (0x2630, 0x2637), (0x268A, 0x268F), (0x3164, 0x3164), (0x4DC0, 0x4DFF),
        (0xD7B0, 0xD7FB), (0xFFA0, 0xFFA0), (0x1D300, 0x1D356), (0x1D360, 0x1D376),
        (0x1F1E6, 0x1F1FF), (0x1F3FB, 0x1F3FF),
    )
    for code in range(first, last + 1)
)  # fmt: skip


def clean(name: Optional[str]) -> str:
    """A name from outside, without anything that a terminal would obey; ``?`` if there is none.

    Nothing is left that has no width of its own: accents are composed where a letter with that
    accent exists, else they go; controls and what changes direction show as a replacement.
    """
    if not name:
        return "?"
    if name.isascii() and name.isprintable():
        return name
    return "".join(map(_harmless, unicodedata.normalize("NFC", name))) or "?"


def say(words: str) -> None:
    """A message to the user, beside what is printed."""
    print(f"vmlat: {words}", file=sys.stderr, flush=True)


@lru_cache(1024)
def _harmless(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Mn", "Me"):
        return ""
    if category[0] == "C" or category in ("Mc", "Zl", "Zp") or ord(character) in _ODD:
        return "\N{REPLACEMENT CHARACTER}"
    return character


def width(text: str) -> int:
    """Terminal cells of a text without controls or combining characters."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def cut(text: str, cells: int) -> str:
    """The text, or as much of its beginning as fits with an ellipsis."""
    if width(text) <= cells:
        return text
    if cells <= 0:
        return ""
    kept, room = [], cells - 1
    for character in text:
        room -= width(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + "…"


def fit(text: str, cells: int, right: bool = False) -> str:
    """The text in exactly so many cells, cut or filled up with blanks."""
    short = cut(text, cells)
    blanks = " " * (cells - width(short))
    return blanks + short if right else short + blanks


def microseconds(value_ns: float) -> str:
    """Nanoseconds as microseconds with all their digits."""
    return f"{value_ns / 1000:.3f}"


def wall_clock(wall_ns: int) -> str:
    """Local time with milliseconds, as the requirement's header has it."""
    moment = datetime.datetime.fromtimestamp(wall_ns // 1_000_000_000)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{wall_ns // 1_000_000 % 1000:03d}"


def rate(count: float, unit: str) -> str:
    """A rate with a decimal prefix."""
    for prefix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.2f} {prefix}{unit}"
    return f"{count:.1f} {unit}"


def duration(value_ns: int) -> str:
    """A bucket bound: short, with the unit that fits."""
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)):
        if value_ns >= size:
            return f"{value_ns / size:.3g} {unit}"
    return f"{value_ns} ns"
