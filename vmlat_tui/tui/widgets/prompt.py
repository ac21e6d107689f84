"""The line at the foot in which the user types: a filter, a threshold, a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input

from vmlat_tui.errors import VmlatError
from vmlat_tui.tui.widgets.lines import Lines

Take = Callable[[str], None]


class Prompt(Horizontal):
    """Hidden until :meth:`ask`.  A :class:`VmlatError` of what takes the answer is shown in it."""

    DEFAULT_CSS = """
    Prompt { height: 1; display: none; background: $panel; padding: 0 1; }
    Prompt.-open { display: block; }
    Prompt Lines { width: auto; height: 1; }
    Prompt #prompt-label { width: 10; }
    Prompt #prompt-error { width: 2fr; }
    Prompt Input { width: 1fr; height: 1; border: none; padding: 0; background: $panel; }
    Prompt Input:focus { border: none; }
    """

    def __init__(self) -> None:
        """Asks nothing."""
        super().__init__(id="prompt")
        self._take: Optional[Take] = None
        self._change: Optional[Take] = None
        self._before: Optional[str] = None

    def compose(self) -> ComposeResult:
        """Label, text, error."""
        yield Lines("prompt-label")
        yield Input(id="prompt-input", compact=True, select_on_focus=False)
        yield Lines("prompt-error")

    def ask(self, label: str, value: str, take: Take, change: Optional[Take] = None) -> None:
        """Ask; ``take`` gets the answer, ``change`` every text on the way too."""
        self._take, self._change, self._before = take, change, value
        lines = self.query_one("#prompt-label", Lines)
        lines.styles.width = len(label) + 1
        lines.show([((label, "key"),)])
        self._complain("")
        self.add_class("-open")
        field = self.query_one(Input)
        field.cursor_blink = False
        field.value = value
        field.cursor_position = len(value)
        field.focus()

    @property
    def open(self) -> bool:
        """Whether it is asking."""
        return self.has_class("-open")

    def cancel(self) -> None:
        """Ask no more; what changed on the way is taken back."""
        if self.open and self._change is not None and self._before is not None:
            self._change(self._before)
        self._close()

    def _close(self) -> None:
        self.remove_class("-open")
        self._take = self._change = None
        self.screen.focus_next("Table")

    def _complain(self, text: str) -> None:
        line = self.query_one("#prompt-error", Lines)
        line.display = bool(text)
        line.show([((f"▲ {text}", "bad"),)] if text else [])

    @on(Input.Changed)
    def changed(self, event: Input.Changed) -> None:
        """Live where that was asked for."""
        event.stop()
        if self.open and self._change is not None:
            self._change(event.value)

    @on(Input.Submitted)
    def submitted(self, event: Input.Submitted) -> None:
        """Hand it over; what is wrong with it is said here."""
        event.stop()
        try:
            if self._take is not None:
                self._take(event.value)
        except VmlatError as error:
            self._complain(str(error))
        else:
            self._close()
