"""The live path of one vNIC: legs of both directions, vhost workers, vCPUs, halt polling."""

from __future__ import annotations

from typing import Optional

from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Horizontal

from vmlat_tui.export.exporter import Sheet
from vmlat_tui.model.points import Direction
from vmlat_tui.model.topology import Domain
from vmlat_tui.session import window
from vmlat_tui.session.snapshot import Phase, Place
from vmlat_tui.session.window import LegRow
from vmlat_tui.tables import findings, halting, legs, thread_columns
from vmlat_tui.tables.threads import ThreadRow
from vmlat_tui.tui import keys, messages
from vmlat_tui.tui.computed_screen import ComputedScreen
from vmlat_tui.tui.context import Context
from vmlat_tui.tui.screens import path_content
from vmlat_tui.tui.screens.path_content import PathContent, PathSelection, ThreadsContent
from vmlat_tui.tui.widgets.lines import Lines
from vmlat_tui.tui.widgets.table import Table
from vmlat_tui.words import clean

#: From this size on everything is in sight together.
_WIDE, _HIGH = 120, 34
_PAGES = ("legs", "workers", "vcpus", "halt")


class PathScreen(ComputedScreen[PathSelection, PathContent]):
    """One vNIC; enter on a leg, a thread or halt polling drills down."""

    scope = "path"
    compute = staticmethod(path_content.compute)
    AUTO_FOCUS = "#tx"
    BINDINGS = keys.bindings("path")
    CSS = """
    PathScreen #strip { height: 3; padding: 0 1; }
    PathScreen #verdict { height: 1; padding: 0 1; }
    PathScreen #legs { height: 1fr; }
    PathScreen #legs Table { width: 1fr; }
    PathScreen #panes { height: 13; border-top: $rule $border-blurred; layout: horizontal; }
    PathScreen #threads { width: 1fr; }
    PathScreen #workers { height: 5; }
    PathScreen #halt-pane { width: 41; margin-left: 1; }
    PathScreen .caption { height: auto; padding: 0 1; }
    PathScreen #threads-caption { height: 1; }
    PathScreen #halt-caption { height: 4; }
    PathScreen.-small #panes { display: none; border-top: none; height: 1fr; }
    PathScreen.-small.-workers #panes, PathScreen.-small.-vcpus #panes,
    PathScreen.-small.-halt #panes { display: block; }
    PathScreen.-small.-workers #legs, PathScreen.-small.-vcpus #legs,
    PathScreen.-small.-halt #legs { display: none; }
    PathScreen.-small.-workers #halt-pane, PathScreen.-small.-workers #vcpus,
    PathScreen.-small.-vcpus #halt-pane, PathScreen.-small.-vcpus #workers,
    PathScreen.-small.-halt #threads { display: none; }
    PathScreen.-small #workers { height: 1fr; }
    PathScreen.-small #halt-pane { margin-left: 0; width: 1fr; }
    """

    def __init__(self, tap: str) -> None:
        """Show the vNIC with this device."""
        super().__init__()
        self.tap = tap

    @property
    def crumb(self) -> str:
        """VM and device."""
        domain = self._domain(self.context.place)
        return f"{clean(domain.name)} {clean(self.tap)}" if domain else clean(self.tap)

    def _domain(self, place: Place) -> Optional[Domain]:
        topology = place.now.topology
        return topology.domain_of(self.tap) if topology else None

    def body(self) -> ComposeResult:
        """Strip, verdict, both tables of legs, three panes."""
        yield Lines("strip")
        yield Lines("verdict")
        with Horizontal(id="legs"):
            for name in ("tx", "rx"):
                yield Table(
                    legs.COLUMNS, lambda r: r.key, id=name, emphasis=legs.emphasis, margin=1
                )
        with Container(id="panes"):
            with Container(id="threads"):
                for name, columns in (
                    ("workers", thread_columns.WORKER_COLUMNS),
                    ("vcpus", thread_columns.VCPU_COLUMNS),
                ):
                    yield Table(columns, lambda r: r.key, id=name, emphasis=thread_columns.emphasis)
                yield Lines("threads-caption", classes="caption")
            with Container(id="halt-pane"):
                yield Table(halting.HALT_COLUMNS, lambda r: r.key, id="halt")
                yield Lines("halt-caption", classes="caption")

    # ---- showing ------------------------------------------------------------------------------

    def fill(self, context: Context) -> None:
        """Ask for the figures of this moment."""
        self.set_class(self.size.width < _WIDE or self.size.height < _HIGH, "-small")
        super().fill(context)

    def selection(self) -> PathSelection:
        """The vNIC, the pattern, and the width of the strip."""
        return PathSelection(self.tap, self.pattern, self.query_one("#strip").size.width - 2)

    def paint(self, content: PathContent) -> None:
        """Show them."""
        for direction, shown in content.legs.items():
            way = "guest → wire" if direction is Direction.TX else "wire → guest"
            title = ((f" {direction.name} ", "title"), (f"{way}   ", "dim"), (content.span, "dim"))
            self.query_one(f"#{direction.id}", Table).show(shown.rows, title, shown.empty)
        self.query_one("#strip", Lines).show(content.strip)
        key = (("  i", "key"),) if content.verdict.findings else ()
        self.query_one("#verdict", Lines).show([(*findings.line(content.verdict), *key)])
        self._paint_threads(content.threads, content.span)

    def _paint_threads(self, shown: ThreadsContent, span: str) -> None:
        unknown = "no VM is known to own this device"
        for name, title, rows, empty in (
            ("workers", " vhost workers", shown.workers, "no vhost workers are visible"),
            ("vcpus", " vCPUs", shown.vcpus, "no vCPUs are visible"),
        ):
            head = ((title, "title"), (f"   {span}", "dim"))
            table = self.query_one(f"#{name}", Table)
            table.show(rows, head, empty if shown.known else unknown)
        self.query_one("#threads-caption", Lines).show([((shown.surroundings, "dim"),)])
        self.query_one("#halt", Table).show(
            shown.halts,
            ((" halt polling", "title"), (f"   {span}", "dim")),
            "KVM's counters are not visible (debugfs needs root)",
        )
        lines = [((text, "dim"),) for text in shown.halting]
        self.query_one("#halt-caption", Lines).show(lines)

    def sheets(self) -> list[Sheet]:
        """The tables, and the findings."""
        found = self.content.verdict.findings if self.content else ()
        return [*super().sheets(), Sheet("findings", findings.export_columns(found), found)]

    # ---- keys ---------------------------------------------------------------------------------

    def action_page(self, page: str) -> None:
        """Go to a pane; where there is no room for all, it takes the room."""
        for name in _PAGES:
            self.set_class(name == page, f"-{name}")
        target = {"legs": "#tx"}.get(page, f"#{page}")
        self.call_after_refresh(lambda: self.query_one(target, Table).focus())
        self.call_after_refresh(self.refill)

    def action_other(self) -> None:
        """The other direction."""
        rx = self.query_one("#rx", Table)
        (self.query_one("#tx", Table) if rx.has_focus else rx).focus()

    def action_mark(self) -> None:
        """Figures since this moment."""
        self.request(messages.MarkMoment())

    def action_measure(self) -> None:
        """Stop measuring, or measure this vNIC."""
        context = self.context
        now = context.newest
        if context.live and now.measuring is None and now.phase is not Phase.ATTACHING:
            self.request(messages.Watch((self.tap,)))
        else:
            self.action_release()

    def action_direction(self) -> None:
        """TX and RX, then each alone."""
        self.request(messages.NextDirection())

    def action_next_vnic(self, by: int) -> None:
        """Another vNIC that is measured."""
        names = window.vnics(self.context.place)
        if self.tap in names and len(names) > 1:
            self.tap = names[(names.index(self.tap) + by) % len(names)]
            self.refill()
        else:
            self.request(messages.Tell("no other vNIC is measured"))

    def action_flows(self) -> None:
        """Its flows."""
        self.request(messages.OpenFlows(self.tap))

    def action_packets(self) -> None:
        """Its slowest packets."""
        self.request(messages.OpenPackets(self.tap))

    def action_placement(self) -> None:
        """Where its VM runs."""
        domain = self._domain(self.context.place)
        if domain is None:
            self.request(messages.Tell("no VM is known to own this device"))
        else:
            self.request(messages.OpenPlacement(domain))

    def action_findings(self) -> None:
        """What explains the time."""
        self.request(messages.OpenFindings(self.tap))

    def action_compare(self) -> None:
        """All that are measured."""
        self.request(messages.OpenCompare())

    @on(Table.Chosen, "#tx")
    @on(Table.Chosen, "#rx")
    def chosen(self, event: Table.Chosen) -> None:
        """Drill down into the leg."""
        row = event.table.selected
        if isinstance(row, LegRow):
            self.request(messages.OpenLeg(row.key))

    @on(Table.Chosen, "#workers")
    @on(Table.Chosen, "#vcpus")
    @on(Table.Chosen, "#halt")
    def chosen_thread(self, event: Table.Chosen) -> None:
        """Drill down into the thread; halt polling is of all vCPUs."""
        row, content = event.table.selected, self.content
        if content is None:
            return
        if isinstance(row, ThreadRow):
            what = "vhost " if event.table.id == "workers" else ""
            self.request(messages.OpenThread(content.tap, f"{what}{row.title}", row.key))
        elif row is not None:
            self.request(messages.OpenThread(content.tap, "all vCPUs", None))
