"""The base of every widget here: lines that are painted again only where they changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional, Protocol, cast

from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from vmlat_tui.tui.paint import Line, Painter

_Shown = tuple[Line, str]


class Painting(Protocol):
    """An application that these widgets are part of."""

    @property
    def painter(self) -> Painter:
        """In the colours of the theme."""


class LineView(ScrollView, can_focus=False):
    """Shows what :meth:`line` says; after a change call :meth:`repaint`."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    LineView { overflow: hidden hidden; height: auto; scrollbar-size-vertical: 1; }
    """

    def __init__(self, id: Optional[str] = None, classes: Optional[str] = None) -> None:
        """Empty at first."""
        super().__init__(id=id, classes=classes)
        self._shown: dict[int, _Shown] = {}

    def line(self, y: int) -> _Shown:
        """Line ``y`` of the widget and the backdrop behind it; override."""
        return (), ""

    def render_line(self, y: int) -> Strip:
        """Called by the compositor for a line that it wants."""
        shown = self._shown[y] = self.line(y)
        painter = cast(Painting, self.app).painter
        return painter.strip(shown[0], self.size.width, self.rich_style, shown[1])

    def repaint(self) -> None:
        """Have those lines painted that are not what they were."""
        height = self.size.height
        changed = [y for y in range(height) if self._shown.get(y) != self.line(y)]
        regions: list[Region] = []
        for y in changed:
            if regions and regions[-1].bottom == y:
                last = regions[-1]
                regions[-1] = Region(0, last.y, last.width, last.height + 1)
            else:
                regions.append(Region(0, y, self.size.width, 1))
        if regions:
            self.refresh(*regions)


class Lines(LineView):
    """Fixed lines; as high as there are lines, unless the style sheet says otherwise."""

    def __init__(self, id: Optional[str] = None, classes: Optional[str] = None) -> None:
        """Empty at first."""
        super().__init__(id, classes)
        self._lines: tuple[Line, ...] = ()

    @property
    def content(self) -> tuple[Line, ...]:
        """What is shown."""
        return self._lines

    def show(self, lines: Sequence[Line]) -> None:
        """Show these lines."""
        self._lines = tuple(lines)
        if len(lines) != self.virtual_size.height:
            self.virtual_size = Size(self.size.width, len(lines))
        self.repaint()

    def line(self, y: int) -> _Shown:
        """One of the lines; nothing below the last."""
        return (self._lines[y], "") if y < len(self._lines) else ((), "")
