"""From words with a role to cells on the screen.

A *line* is a tuple of spans (text, role).  Names from outside are text in a span and never markup.
A role has a colour and an attribute, so that nothing is said by colour alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.color import Color, ColorParseError
from textual.scrollbar import ScrollBarRender
from textual.strip import Strip
from textual.theme import Theme

from vmlat_tui.words import cut, width

#: Words, and the role that they play.
StyledText = tuple[str, str]
Line = tuple[StyledText, ...]

#: role -> (variable of the theme or "", attributes)
_ROLES: dict[str, tuple[str, str]] = {
    "": ("", ""),
    "dim": ("text-muted", ""),
    "faint": ("border-blurred", ""),
    "strong": ("", "bold"),
    "title": ("primary", "bold"),
    "head": ("text-muted", ""),
    "accent": ("accent", "bold"),
    "good": ("success", ""),
    "warn": ("warning", "bold"),
    "bad": ("error", "bold"),
    "bar": ("primary", ""),
    "spark": ("secondary", ""),
    "mark": ("accent", "bold"),
    "key": ("accent", "bold"),
}
#: Backgrounds of whole lines: variable of the theme, attributes where there are no colours.
_BACKDROPS = {"cursor": "boost-cursor"}

#: The colours are Okabe and Ito's, which people with any colour vision can tell apart.
DARK = Theme(
    name="vmlat-dark",
    primary="#56b4e9",
    secondary="#7fa8c9",
    accent="#e8c547",
    warning="#e69f00",
    error="#ef6f4c",
    success="#35b78f",
    foreground="#d5dbe1",
    background="#11151a",
    surface="#11151a",
    panel="#1a2027",
    dark=True,
    variables={
        "text-muted": "#8592a0",
        "border-blurred": "#4a5561",
        "boost-cursor": "#24435c",
    },
)
LIGHT = Theme(
    name="vmlat-light",
    primary="#0068a8",
    secondary="#46708f",
    accent="#8a6100",
    warning="#a65c00",
    error="#b93a12",
    success="#00795a",
    foreground="#22292f",
    background="#fbfbf9",
    surface="#fbfbf9",
    panel="#eceff1",
    dark=False,
    variables={
        "text-muted": "#5c6873",
        "border-blurred": "#a9b4bd",
        "boost-cursor": "#bcdcf2",
    },
)

#: For terminals and fonts that have nothing but ASCII; one cell for one cell.
_ASCII = str.maketrans(
    {
        "→": ">", "←": "<", "▸": ">", "▲": "!", "●": "*", "○": "o", "■": "#", "…": "~", "·": "-",
        "–": "-", "µ": "u", "×": "x", "≠": "!", "✓": "+", "✗": "x", "↷": ">", "◆": "*", "⏸": "=",
        "►": ">",
        "─": "-", "│": "|", "┌": "+", "┐": "+", "└": "+", "┘": "+", "├": "+", "┤": "+", "━": "=",
        "▁": "_", "▂": ".", "▃": "-", "▄": "-", "▅": "=", "▆": "=", "▇": "+", "█": "#",
        "▏": ".", "▎": ":", "▍": ":", "▌": "=", "▋": "=", "▊": "+", "▉": "+",
        "░": ".", "▒": ":", "▓": "=", "▼": "v", "±": "+",
    }
)  # fmt: skip


class AsciiScrollBar(ScrollBarRender):
    """A bar of plain blanks in its own colour, without the blocks at its ends."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "] * 8
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "] * 8


def ascii_only(text: str) -> str:
    """The text with a plain character in each of its cells."""
    if text.isascii():
        return text
    plain = text.translate(_ASCII)
    return "".join(c if c.isascii() else "?" * width(c) for c in plain)


class Painter:
    """Makes strips of lines in the colours of a theme, and remembers them."""

    _ROOM = 2048

    def __init__(self, variables: Mapping[str, str], ascii: bool, colourless: bool) -> None:
        """``variables`` are those of the theme."""
        self._ascii = ascii
        self._styles = {
            role: self._style(variables.get(name, ""), attributes)
            for role, (name, attributes) in _ROLES.items()
        }
        self._backdrops = {
            name: (
                Style(reverse=True)
                if colourless or variable not in variables
                else Style(bgcolor=_parsed(variables[variable]).rich_color)
            )
            for name, variable in _BACKDROPS.items()
        }
        self._strips: OrderedDict[tuple[Line, int, str, Style], Strip] = OrderedDict()

    @staticmethod
    def _style(colour: str, attributes: str) -> Style:
        style = Style.parse(attributes)
        if colour:
            style += Style(color=_parsed(colour).rich_color)
        return style

    def strip(self, line: Line, cells: int, base: Style, backdrop: str = "") -> Strip:
        """The line in exactly so many cells, cut with an ellipsis or filled up."""
        key = (line, cells, backdrop, base)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = self._made(line, cells, base, backdrop)
            if len(self._strips) > self._ROOM:
                self._strips.popitem(last=False)
        return strip

    def _made(self, line: Line, cells: int, base: Style, backdrop: str) -> Strip:
        over = self._backdrops.get(backdrop)
        segments: list[Segment] = []
        left = cells
        for text, role in line:
            if left <= 0:
                break
            shown = cut(text, left)
            left -= width(shown)
            style = base + self._styles.get(role, self._styles[""])
            if over is not None:
                style += over
            segments.append(Segment(ascii_only(shown) if self._ascii else shown, style))
        if left > 0:
            segments.append(Segment(" " * left, base + over if over is not None else base))
        return Strip(segments, cells)


def _parsed(colour: str) -> Color:
    try:
        return Color.parse(colour)
    except ColorParseError:
        return Color.parse("ansi_default")
