"""What every screen has: breadcrumb, trust line, hints, the prompt, a filter of rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Optional, TypeVar, cast

from textual.app import ComposeResult
from textual.message import Message
from textual.screen import Screen

from vmlat_tui.errors import UsageError
from vmlat_tui.export.exporter import Sheet
from vmlat_tui.model import filters
from vmlat_tui.model.flows import Filter
from vmlat_tui.session.snapshot import Snapshot
from vmlat_tui.tables.columns import Column
from vmlat_tui.tui import keys, messages
from vmlat_tui.tui.context import Application, Context
from vmlat_tui.tui.paint import Line
from vmlat_tui.tui.widgets.frame import Crumb, Hints, TrustLine, trust_line
from vmlat_tui.tui.widgets.prompt import Prompt
from vmlat_tui.tui.widgets.table import Table

Row = TypeVar("Row")


def matches(text: str, pattern: str) -> bool:
    """Whether a row's text has every word of the pattern and none that begins with ``!``."""
    text = text.lower()
    for word in pattern.lower().split():
        wanted = not word.startswith("!")
        bare = word if wanted else word[1:]
        if bare and (bare in text) is not wanted:
            return False
    return True


def kept(rows: Iterable[Row], columns: Sequence[Column[Row]], pattern: str) -> tuple[Row, ...]:
    """The rows that the pattern of the filter line lets through."""
    if not pattern:
        return tuple(rows)
    return tuple(row for row in rows if matches(_text(row, columns), pattern))


def _text(row: Row, columns: Sequence[Column[Row]]) -> str:
    values = (column.value(row) for column in columns if not column.form.right)
    return " ".join(str(value) for value in values if isinstance(value, str))


def crumbs(stack: Iterable[Screen[Any]]) -> list[str]:
    """Names of the screens on a stack, outermost first."""
    return [screen.crumb for screen in stack if isinstance(screen, VmlatScreen)]


class VmlatScreen(Screen[None]):
    """One place of the program; subclasses say what is in it and fill it in :meth:`fill`."""

    #: Key of :data:`vmlat_tui.tui.keys.KEYS`.
    scope: ClassVar[str] = ""
    AUTO_FOCUS = "Table"

    def __init__(self) -> None:
        """Nothing is filtered."""
        super().__init__()
        self.pattern = ""

    @property
    def context(self) -> Context:
        """What is shown now, and what is requested."""
        return cast(Application, self.app).context

    @property
    def shown(self) -> tuple[Snapshot, str]:
        """The moment that what is painted is of, and the span in words."""
        context = self.context
        return context.now, context.span_words

    def request(self, message: Message) -> None:
        """Ask the application for something, even if this screen is left at once."""
        self.app.post_message(message)

    @property
    def crumb(self) -> str:
        """The name of this place in the breadcrumb."""
        return self.scope

    def compose(self) -> ComposeResult:
        """The frame, and the body in it."""
        yield Crumb()
        yield from self.body()
        yield TrustLine()
        yield Hints()
        yield Prompt()

    def body(self) -> ComposeResult:
        """Widgets between the breadcrumb and the trust line; override."""
        yield from ()

    def fill(self, context: Context) -> None:
        """Show one moment; override."""

    def trust(self, context: Context) -> Line:
        """How far the figures can be relied on."""
        return trust_line(context.now)

    def facts(self) -> dict[str, str]:
        """What an export says about the tables beside host and time; override."""
        return {}

    @property
    def is_open(self) -> bool:
        """Whether it has widgets, and was not closed."""
        # One that is closed before it was composed has no widgets, and counts as mounted.
        return self.is_mounted and self in self.app.screen_stack and bool(self.query(Crumb))

    def refill(self) -> None:
        """Show the moment that the application is at."""
        if not self.is_open:
            return
        context = self.context
        self.query_one(Crumb).tell(crumbs(self.app.screen_stack), context)
        self.show_trust(context)
        self.query_one(Hints).tell(keys.hints((self.scope, "table", "app")))
        self.fill(context)

    def show_trust(self, context: Context) -> None:
        """Show the trust line again."""
        self.query_one(TrustLine).show([self.trust(context)])

    def on_mount(self) -> None:
        """Show something at once."""
        self.call_after_refresh(self.refill)

    def on_screen_resume(self) -> None:
        """Time went on meanwhile."""
        self.refill()

    def on_resize(self) -> None:
        """Another size may have other panes."""
        self.call_after_refresh(self.refill)

    # ---- rows ---------------------------------------------------------------------------------

    def sheets(self) -> list[Sheet]:
        """What an export of this screen holds."""
        return [Sheet(t.id or "", t.columns, t.rows) for t in self.query(Table)]

    def filter_rows(self) -> None:
        """Ask for a pattern."""

        def change(pattern: str) -> None:
            self.pattern = pattern
            self.refill()

        self.query_one(Prompt).ask("/", self.pattern, change, change)

    # ---- what is shown and measured -----------------------------------------------------------

    def change(
        self,
        *,
        filters: Optional[tuple[Filter, ...]] = None,
        threshold_ns: Optional[int] = None,
    ) -> None:
        """Have other packets measured; raises :class:`.VmlatError` on a recording."""
        self.context.only_live()
        self.request(messages.Change(filters, threshold_ns))

    def action_packet_filter(self) -> None:
        """Ask which packets are to be measured."""

        def take(line: str) -> None:
            self.change(filters=filters.parse(line))

        self.query_one(Prompt).ask("measure", self.context.requested.filter_words, take)

    def action_span(self) -> None:
        """The next span."""
        self.request(messages.NextSpan())

    def action_release(self) -> None:
        """Measure nothing."""
        self.request(messages.StopMeasuring())

    def action_threshold(self) -> None:
        """Ask from how long on a packet is shown."""

        def take(text: str) -> None:
            try:
                microseconds = float(text or 0)
            except ValueError:
                microseconds = -1.0
            if not 0 <= microseconds <= 60_000_000:
                raise UsageError(f"{text!r} is not a threshold", "", "give µs, 0 to 60000000")
            self.change(threshold_ns=int(microseconds * 1000))

        threshold_ns = self.context.requested.threshold_ns
        self.query_one(Prompt).ask("threshold µs", f"{threshold_ns / 1000:g}", take)

    def table(self) -> Optional[Table[Any]]:
        """The table that has the focus, or the first."""
        if isinstance(self.focused, Table):
            return self.focused
        tables = self.query(Table)
        return tables.first() if tables else None
