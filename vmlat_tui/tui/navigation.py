"""Which screen each message opens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vmlat_tui.tui import messages
from vmlat_tui.tui.screen import VmlatScreen
from vmlat_tui.tui.screens.compare import CompareScreen
from vmlat_tui.tui.screens.doctor import DoctorScreen
from vmlat_tui.tui.screens.domains import DomainsScreen
from vmlat_tui.tui.screens.findings import VerdictScreen
from vmlat_tui.tui.screens.flows import FlowsScreen
from vmlat_tui.tui.screens.help import HelpScreen
from vmlat_tui.tui.screens.leg import LegScreen
from vmlat_tui.tui.screens.packets import PacketScreen, PacketsScreen
from vmlat_tui.tui.screens.path import PathScreen
from vmlat_tui.tui.screens.placement import PlacementScreen
from vmlat_tui.tui.screens.sessions import SessionsScreen
from vmlat_tui.tui.screens.thread import ThreadScreen
from vmlat_tui.tui.widgets.table import Table

#: The screen that the program opens with.
FIRST: Callable[[], VmlatScreen] = DomainsScreen
#: Those that can be reached from everywhere.
VISITED: dict[str, type[VmlatScreen]] = {"doctor": DoctorScreen, "sessions": SessionsScreen}
_OPENED: dict[type[messages.Open], Callable[[Any], VmlatScreen]] = {
    messages.OpenPath: lambda m: PathScreen(m.tap),
    messages.OpenCompare: lambda m: CompareScreen(),
    messages.OpenFindings: lambda m: VerdictScreen(m.tap),
    messages.OpenFlows: lambda m: FlowsScreen(m.tap),
    messages.OpenPackets: lambda m: PacketsScreen(m.tap),
    messages.OpenPacket: lambda m: PacketScreen(m.frame),
    messages.OpenPlacement: lambda m: PlacementScreen(m.domain),
    messages.OpenLeg: lambda m: LegScreen(m.key),
    messages.OpenThread: lambda m: ThreadScreen(m.tap, m.title, m.tid),
}


def opened(message: messages.Open) -> VmlatScreen:
    """A screen that was asked for."""
    return _OPENED[type(message)](message)


def help_on(screen: VmlatScreen, replayed: bool) -> HelpScreen:
    """The keys and columns of a screen; ``replayed`` adds the keys of a replay."""
    columns = {c.id: c for table in screen.query(Table) for c in table.columns}
    scopes = (screen.scope, *(("recording",) if replayed else ()))
    return HelpScreen(scopes, list(columns.values()))
