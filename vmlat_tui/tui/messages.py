"""What screens ask the application to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from textual.message import Message

from vmlat_tui.model.flows import Filter
from vmlat_tui.model.packets import SeenPacket
from vmlat_tui.model.topology import Domain
from vmlat_tui.session.sample import LegKey
from vmlat_tui.tui.computing import Failure

# ---- what is shown ------------------------------------------------------------------------------


@dataclass
class Tell(Message):
    """Show a short message; never markup.  ``severity`` is information, warning or error."""

    text: str
    severity: str = "information"


@dataclass
class Failed(Message):
    """Say, and keep for a report, that something could not be computed."""

    failure: Failure


class NextSpan(Message):
    """Show figures of the next span."""


class MarkMoment(Message):
    """Show figures since the moment that is shown."""


@dataclass
class Switch(Message):
    """Replay a recording; None goes back to what was live."""

    path: Optional[Path]


# ---- what is measured ---------------------------------------------------------------------------


@dataclass
class Watch(Message):
    """Measure these vNICs."""

    taps: tuple[str, ...]


class StopMeasuring(Message):
    """Measure nothing."""


@dataclass
class Change(Message):
    """Measure other packets; what is None stays as it is."""

    filters: Optional[tuple[Filter, ...]] = None
    threshold_ns: Optional[int] = None


class NextDirection(Message):
    """Measure TX and RX, TX only, RX only, in turn."""


class AskHost(Message):
    """Find out what the host can measure, unless a measurement shows it."""


# ---- other screens ------------------------------------------------------------------------------


class Open(Message):
    """Open a screen."""


@dataclass
class OpenPath(Open):
    """The path of a vNIC, which is measured, with the others of ``taps``, if it is not already."""

    tap: str
    taps: tuple[str, ...]


class OpenCompare(Open):
    """Several vNICs in one table."""


@dataclass
class OpenFindings(Open):
    """What explains the time of a vNIC."""

    tap: str


@dataclass
class OpenFlows(Open):
    """Flows of a vNIC."""

    tap: str


@dataclass
class OpenPackets(Open):
    """Slowest packets of a vNIC."""

    tap: str


@dataclass
class OpenPacket(Open):
    """One packet."""

    frame: SeenPacket


@dataclass
class OpenPlacement(Open):
    """Where a VM runs."""

    domain: Domain


@dataclass
class OpenLeg(Open):
    """One leg."""

    key: LegKey


@dataclass
class OpenThread(Open):
    """A worker or vCPU of the VM that owns a vNIC; without ``tid`` all its vCPUs."""

    tap: str
    title: str
    tid: Optional[int]
