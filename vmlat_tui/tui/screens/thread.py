"""vhost workers or vCPUs in full: what they waited for when they were woken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Optional

from textual.app import ComposeResult
from textual.containers import Container

from vmlat_tui.model.histogram import Histogram
from vmlat_tui.session import window
from vmlat_tui.session.sample import merged
from vmlat_tui.session.snapshot import Place
from vmlat_tui.session.window import Span
from vmlat_tui.tables import threads, waited
from vmlat_tui.tables.threads import ThreadRow
from vmlat_tui.tables.waited import WaitRow
from vmlat_tui.tui import keys
from vmlat_tui.tui.computed_screen import ComputedScreen
from vmlat_tui.tui.context import Context
from vmlat_tui.tui.paint import Line
from vmlat_tui.tui.screen import kept
from vmlat_tui.tui.widgets.distribution import distribution
from vmlat_tui.tui.widgets.lines import Lines
from vmlat_tui.tui.widgets.table import Table

_WIDE = 120
_CHARTS = (("queued", "run-queue wait"), ("idle", "idle exit"))


class ThreadSelection(NamedTuple):
    """Of which thread (None: all vCPUs), what was waited for, and the room of each chart."""

    tap: str
    tid: Optional[int]
    pattern: str
    rooms: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ThreadContent:
    """Everything that is shown."""

    words: tuple[str, ...]
    span: str
    charts: tuple[tuple[Line, ...], ...]
    waited: tuple[WaitRow, ...]


def compute(context: Context, selection: ThreadSelection) -> ThreadContent:
    """The figures of this moment."""
    rows, topology = _rows(context, selection), context.now.topology
    words = waited.thread_lines(rows) if rows else ["this thread is gone"]
    woken = threads.together(rows)
    charts = [
        distribution(
            getattr(woken, name) if woken else Histogram(),
            _latest(context.place, rows, name),
            *room,
            "wake-ups",
            "no wake-up waited for this in the span",
        )
        for (name, _), room in zip(_CHARTS, selection.rooms)
    ]
    found = waited.wait_rows(topology, rows) if topology else []
    return ThreadContent(
        tuple(words),
        context.span_words,
        tuple(map(tuple, charts)),
        kept(found, waited.WAIT_COLUMNS, selection.pattern),
    )


def _rows(context: Context, selection: ThreadSelection) -> list[ThreadRow]:
    place, topology, tap = context.place, context.now.topology, selection.tap
    domain = topology.domain_of(tap) if topology else None
    seen = threads.look(place, domain, tap, context.span, context.mark_ns) if domain else None
    if seen is None:
        return []
    if selection.tid is None:
        return seen.vcpus
    every = (*threads.worker_rows(seen), *seen.vcpus)
    return [row for row in every if row.key == selection.tid]


def _latest(place: Place, rows: list[ThreadRow], name: str) -> Callable[[int], list[Histogram]]:
    tids = [row.key for row in rows]

    def latest(count: int) -> list[Histogram]:
        moments = window.stretch(place, Span.START)[-count:] if count else ()
        parts = [moment.stats.wakeups if moment.stats else {} for moment in moments]
        return [merged(getattr(part[tid], name) for tid in tids if tid in part) for part in parts]

    return latest


class ThreadScreen(ComputedScreen[ThreadSelection, ThreadContent]):
    """One worker or vCPU, or all vCPUs of a VM."""

    scope = "thread"
    compute = staticmethod(compute)
    BINDINGS = keys.bindings("thread")
    CSS = """
    ThreadScreen #figures { height: 4; padding: 0 1; }
    ThreadScreen #charts { height: 1fr; layout: horizontal; }
    ThreadScreen.-small #charts { layout: vertical; }
    ThreadScreen #charts Lines { width: 1fr; height: 1fr; padding: 0 1; }
    ThreadScreen #waited { height: 9; border-top: $rule $border-blurred; }
    ThreadScreen.-small #waited { height: 6; }
    """

    def __init__(self, tap: str, title: str, tid: Optional[int]) -> None:
        """The thread of the VM that owns ``tap``; None: all its vCPUs."""
        super().__init__()
        self._tap, self._title, self._tid = tap, title, tid

    @property
    def crumb(self) -> str:
        """Which one."""
        return self._title

    def body(self) -> ComposeResult:
        """Figures, both distributions, what was waited for."""
        yield Lines("figures")
        with Container(id="charts"):
            for name, _ in _CHARTS:
                yield Lines(name)
        yield Table(waited.WAIT_COLUMNS, lambda r: r.key, id="waited")

    def fill(self, context: Context) -> None:
        """Ask for the figures of this moment."""
        self.set_class(self.size.width < _WIDE, "-small")
        super().fill(context)

    def selection(self) -> ThreadSelection:
        """The thread, the pattern, and the room."""
        sizes = [self.query_one(f"#{name}", Lines).size for name, _ in _CHARTS]
        rooms = tuple((size.width - 2, size.height - 1) for size in sizes)
        return ThreadSelection(self._tap, self._tid, self.pattern, rooms)

    def paint(self, content: ThreadContent) -> None:
        """Show them."""
        head = ((self._title, "strong"), (f"   {content.span}", "dim"))
        self.query_one("#figures", Lines).show([head, *(((w, ""),) for w in content.words)])
        for (name, title), lines in zip(_CHARTS, content.charts):
            self.query_one(f"#{name}", Lines).show([((title, "title"),), *lines])
        self.query_one("#waited", Table).show(
            content.waited,
            ((" waited for", "title"),),
            "none in this span, or not counted by these probes (the full rung counts)",
        )

    def facts(self) -> dict[str, str]:
        """The figures."""
        lines = self.query_one("#figures", Lines).content
        texts = ["".join(text for text, _ in line) for line in lines]
        return {"thread": texts[0], "figures": "; ".join(text for text in texts[1:] if text)}
