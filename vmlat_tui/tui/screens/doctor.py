"""What this host can measure, and what is missing."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Optional

from textual.app import ComposeResult

from vmlat_tui.export.doctor_text import obstacle
from vmlat_tui.model.capabilities import CapabilityState
from vmlat_tui.model.points import POINTS
from vmlat_tui.protocol.session import AgentCapability, PointHooks
from vmlat_tui.session.snapshot import Snapshot
from vmlat_tui.tables.columns import COUNT, NAME, TEXT, Column
from vmlat_tui.tui import messages
from vmlat_tui.tui.computed_screen import ComputedScreen
from vmlat_tui.tui.context import Context
from vmlat_tui.tui.paint import Line
from vmlat_tui.tui.screen import kept
from vmlat_tui.tui.widgets.lines import Lines
from vmlat_tui.tui.widgets.table import Table
from vmlat_tui.words import clean


def _hook(point: PointHooks) -> str:
    if not point.hooks:
        return f"none: {clean(point.reason)}"
    return ", ".join(f"{clean(h.function)} ({clean(h.kind)})" for h in point.hooks)


def _title(point: PointHooks) -> str:
    known = POINTS.get(point.point)
    return known.title if known else ""


def _missing(capability: AgentCapability) -> tuple[str, str]:
    return ("▲", "") if capability.state is CapabilityState.MISSING else ("", "")


_CAPABILITIES: list[Column[AgentCapability]] = [
    Column("capability", "capability", 19, NAME, lambda c: clean(c.name), 0, 22),
    Column("state", "agent", 8, TEXT, lambda c: c.state.value, 0, 10,
           lambda c: "warn" if c.state is CapabilityState.MISSING else ""),
    Column("purpose", "for what", 30, TEXT, lambda c: clean(c.purpose), 1, 64),
    Column("loss", "without it", 30, TEXT, lambda c: clean(c.loss), 2, 64),
]  # fmt: skip


class DoctorSelection(NamedTuple):
    """Which rows, and how wide the notes are."""

    pattern: str
    cells: int


@dataclass(frozen=True)
class DoctorRow:
    """A point with how often its hooks ran, if that was counted."""

    hooks: PointHooks
    hits: Optional[int]


@dataclass(frozen=True)
class DoctorContent:
    """Everything that is shown."""

    state: tuple[Line, ...]
    points: tuple[DoctorRow, ...]
    capabilities: tuple[AgentCapability, ...]
    #: Whether the agent said anything about them.
    capable: bool
    notes: tuple[Line, ...]
    empty: str


_POINTS: list[Column[DoctorRow]] = [
    Column("point", "point", 12, NAME, lambda r: r.hooks.point, 0, 16),
    Column("directions", "for", 5, TEXT, lambda r: "/".join(r.hooks.directions), 1),
    Column("hook", "hook", 30, TEXT, lambda r: _hook(r.hooks), 0, 60,
           lambda r: "" if r.hooks.hooks else "warn"),
    Column("hits", "hits", 8, COUNT, lambda r: r.hits, 2, help="how often its hooks ran"),
    Column("title", "where", 24, TEXT, lambda r: _title(r.hooks), 3, 30),
]  # fmt: skip


def compute(context: Context, selection: DoctorSelection) -> DoctorContent:
    """What is known at this moment."""
    now = context.now
    points = now.measuring.points if now.measuring else now.host.points if now.host else ()
    report = now.hello or now.host
    capabilities = report.capabilities if report else ()
    return DoctorContent(
        tuple(_state(now)),
        kept([DoctorRow(p, _hits(now, p)) for p in points], _POINTS, selection.pattern),
        kept(capabilities, _CAPABILITIES, selection.pattern),
        bool(capabilities),
        tuple(_notes(now, max(20, selection.cells))),
        "the host is being asked" if context.live else "nothing was measured",
    )


def _hits(now: Snapshot, point: PointHooks) -> Optional[int]:
    if now.stats is None or not point.hooks:
        return None
    names = {h.function for h in point.hooks}
    hits = now.stats.hits.items()
    counts = [n for id_, n in hits if id_ in names or id_.split(":")[-1] in names]
    return sum(counts) if counts else None


def _without_hook(row: DoctorRow) -> tuple[str, str]:
    return ("", "") if row.hooks.hooks else ("▲", "")


class DoctorScreen(ComputedScreen[DoctorSelection, DoctorContent]):
    """Every point with its hook or the reason why it has none; the agent's capabilities."""

    scope = "doctor"
    compute = staticmethod(compute)
    CSS = """
    DoctorScreen #state { height: auto; max-height: 8; padding: 0 1; }
    DoctorScreen #capabilities { max-height: 40%; border-top: $rule $border-blurred; }
    DoctorScreen #notes { height: auto; max-height: 6; padding: 0 1;
                          border-top: $rule $border-blurred; }
    """

    def body(self) -> ComposeResult:
        """The host, its points, what the agent may do, what could not be found out."""
        yield Lines("state")
        yield Table(_POINTS, lambda r: r.hooks.point, id="points", emphasis=_without_hook)
        yield Table(_CAPABILITIES, lambda c: c.name, id="capabilities", emphasis=_missing)
        yield Lines("notes")

    def on_mount(self) -> None:
        """Ask, if nobody did."""
        super().on_mount()
        self.request(messages.AskHost())

    def selection(self) -> DoctorSelection:
        """The pattern and the width."""
        return DoctorSelection(self.pattern, self.size.width - 4)

    def paint(self, content: DoctorContent) -> None:
        """Show it."""
        self.query_one("#state", Lines).show(content.state)
        title: Line = ((" points of the path", "title"),)
        self.query_one("#points", Table).show(content.points, title, content.empty)
        held = self.query_one("#capabilities", Table)
        held.display = content.capable
        held.show(content.capabilities, ((" capabilities of the agent", "title"),))
        self.query_one("#notes", Lines).show(content.notes)


def _state(now: Snapshot) -> Iterator[Line]:
    known = now.topology or now.hello
    kernel = clean(known.kernel if known else None)
    yield (("kernel ", "dim"), (kernel, "strong"))
    if now.measuring is not None:
        full = now.measuring.rung == "full"
        what = "every point" if full else "fewer points, see below"
        yield (
            ("rung ", "dim"),
            (
                now.measuring.rung if full else f"▲ {now.measuring.rung}",
                "strong" if full else "warn",
            ),
            (f"   {what}   field offsets from {clean(now.measuring.offsets)}", "dim"),
        )
    elif now.host is None:
        yield (("○ no probe is in place", "dim"),)
    else:
        good = now.host.measurable
        verdict = ("the main path can be measured", "good")
        yield (
            verdict if good else (f"▲ {obstacle(now.host)}", "bad"),
            (f"   rung {clean(now.host.rung)}, no probe is in place now", "dim"),
        )
    if now.topology is not None:
        ovs = now.topology.ovs
        version = f" {clean(ovs.version)}" if ovs.version else ""
        yield (("Open vSwitch ", "dim"), (f"{clean(ovs.state)}{version}", ""))
    for error in (now.problem, now.refusal.error if now.refusal else None):
        if error is not None:
            yield (("▲ ", "bad"), (clean(str(error)), "bad"))


def _notes(now: Snapshot, cells: int) -> Iterator[Line]:
    notes = list(now.topology.notes) if now.topology else []
    yield ((f"{len(notes) + len(now.notices)} notes", "title"),)
    for note in (*notes, *now.notices[::-1]):
        for at, part in enumerate(textwrap.wrap(clean(note), cells)):
            yield (("  " if at else "· ", "faint"), (part, ""))
