"""A screen whose figures are computed on another thread."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Generic, NamedTuple, Optional, TypeVar, Union, cast

from vmlat_tui.session.snapshot import Snapshot
from vmlat_tui.tui import messages
from vmlat_tui.tui.computing import Failure
from vmlat_tui.tui.context import Application, Context
from vmlat_tui.tui.paint import Line
from vmlat_tui.tui.screen import VmlatScreen
from vmlat_tui.tui.widgets.frame import Crumb

Selection = TypeVar("Selection", bound=Hashable)
Content = TypeVar("Content")


class VnicSelection(NamedTuple):
    """Of which vNIC, and which rows."""

    tap: str
    pattern: str


def _computed(
    compute: Callable[[Context, Any], Any], context: Context, selection: Any
) -> tuple[Any, str]:
    """The content, and what it is of in words."""
    return compute(context, selection), context.span_words


class ComputedScreen(VmlatScreen, Generic[Selection, Content]):
    """Asks for its content at each moment, and paints it when it comes.

    What was computed for another selection or span, or before time was frozen, stepped or sought,
    is thrown away; of the same ones, an older moment is better than none.
    """

    def __init__(self) -> None:
        """Nothing is known yet."""
        super().__init__()
        #: What is painted.
        self.content: Optional[Content] = None
        self._of: Optional[tuple[Snapshot, str]] = None
        self._wanted: Optional[tuple[Hashable, Selection]] = None
        self._failure = ""

    def selection(self) -> Selection:
        """What the user chose on this screen, and the room that there is; immutable."""
        raise NotImplementedError

    @staticmethod
    def compute(context: Context, selection: Any) -> Any:
        """Make the content, a value; on another thread, so of nothing but what is given."""
        raise NotImplementedError

    def paint(self, content: Content) -> None:
        """Show it; override."""
        raise NotImplementedError

    def fill(self, context: Context) -> None:
        """Ask for what belongs to this moment."""
        if not self.query_one(Crumb).size:
            return  # before it is laid out there is no room to compute for
        selection = self.selection()
        self._wanted = wanted = (context.chosen, selection)
        cast(Application, self.app).computing.ask(
            self,
            partial(_computed, self.compute, context, selection),
            partial(self._take, wanted, context.now),
        )

    def paint_again(self) -> None:
        """Show the same content in another way."""
        if self.content is not None and self.is_open:
            self.paint(self.content)

    @property
    def shown(self) -> tuple[Snapshot, str]:
        """Those of the content."""
        return self._of or super().shown

    def _take(
        self,
        wanted: tuple[Hashable, Selection],
        now: Snapshot,
        outcome: Union[tuple[Content, str], Failure],
    ) -> None:
        if wanted != self._wanted or not self.is_open:
            return
        if isinstance(outcome, Failure):
            self._fail(outcome)
            return
        if self._failure:
            self._failure = ""
            self.show_trust(self.context)
        self.content, span = outcome
        # Not the whole context: that would keep a history alive behind every screen.
        self._of = now, span
        self.paint(self.content)

    def _fail(self, failure: Failure) -> None:
        if failure.words != self._failure:
            self._failure = failure.words
            self.request(messages.Failed(failure))
        self.show_trust(self.context)

    def trust(self, context: Context) -> Line:
        """That figures are old comes before how good they were."""
        if self._failure:
            return (("▲ ", "bad"), (f"what is shown is old, not computed: {self._failure}", "bad"))
        return super().trust(context)

    def on_unmount(self) -> None:
        """Nobody waits for it."""
        cast(Application, self.app).computing.forget(self)
