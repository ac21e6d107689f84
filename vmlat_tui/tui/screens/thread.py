"""vhost workers or vCPUs in full: what they waited for when they were woken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

from textual.app import ComposeResult
from textual.containers import Container

from vmlat_tui.model.histogram import Histogram
from vmlat_tui.session import window
from vmlat_tui.session.sample import merged
from vmlat_tui.session.snapshot import Place
from vmlat_tui.session.window import Span
from vmlat_tui.tables import threads, waited
from vmlat_tui.tables.threads import ThreadRow
from vmlat_tui.tui import keys, messages
from vmlat_tui.tui.context import Context
from vmlat_tui.tui.screen import VmlatScreen
from vmlat_tui.tui.widgets.distribution import distribution
from vmlat_tui.tui.widgets.lines import Lines
from vmlat_tui.tui.widgets.table import Table

_WIDE = 120
_CHARTS = (("queued", "run-queue wait"), ("idle", "idle exit"))


class ThreadScreen(VmlatScreen):
    """One worker or vCPU, or all vCPUs of a VM."""

    scope = "thread"
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
        """Show the figures of this moment."""
        self.set_class(self.size.width < _WIDE, "-small")
        place = context.place
        rows = self._rows(context)
        words = waited.thread_lines(rows) if rows else ["this thread is gone"]
        head = ((self._title, "strong"), (f"   {context.span_words}", "dim"))
        self.query_one("#figures", Lines).show([head, *(((text, ""),) for text in words)])
        woken = threads.together(rows)
        for name, title in _CHARTS:
            lines = self.query_one(f"#{name}", Lines)
            drawn = distribution(
                getattr(woken, name) if woken else Histogram(),
                self._latest(place, rows, name),
                lines.size.width - 2,
                lines.size.height - 1,
                "wake-ups",
                "no wake-up waited for this in the span",
            )
            lines.show([((title, "title"),), *drawn])
        topology = place.now.topology
        self.query_one("#waited", Table).show(
            self.kept(waited.wait_rows(topology, rows), waited.WAIT_COLUMNS) if topology else [],
            ((" waited for", "title"),),
            "none in this span, or not counted by these probes (the full rung counts)",
        )

    def _rows(self, context: Context) -> list[ThreadRow]:
        place, topology = context.place, context.now.topology
        domain = topology.domain_of(self._tap) if topology else None
        if domain is None:
            return []
        seen = threads.look(place, domain, self._tap, context.span, context.mark_ns)
        if seen is None:
            return []
        if self._tid is None:
            return seen.vcpus
        every = (*threads.worker_rows(seen), *seen.vcpus)
        return [row for row in every if row.key == self._tid]

    @staticmethod
    def _latest(place: Place, rows: list[ThreadRow], name: str) -> Callable[[int], list[Histogram]]:
        tids = [row.key for row in rows]

        def latest(count: int) -> list[Histogram]:
            moments = window.stretch(place, Span.START)[-count:] if count else ()
            parts = [moment.stats.wakeups if moment.stats else {} for moment in moments]
            return [
                merged(getattr(part[tid], name) for tid in tids if tid in part) for part in parts
            ]

        return latest

    def facts(self) -> dict[str, str]:
        """The figures."""
        lines = self.query_one("#figures", Lines).content
        texts = ["".join(text for text, _ in line) for line in lines]
        return {"thread": texts[0], "figures": "; ".join(text for text in texts[1:] if text)}

    def action_span(self) -> None:
        """The next span."""
        self.request(messages.NextSpan())
