"""A packet as the agent tells of it: the frames ``packet`` and ``drop``, values of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple, Optional, Union

from vmlat_tui.model import checks
from vmlat_tui.model.checks import text
from vmlat_tui.model.flows import Echo, Flow
from vmlat_tui.model.jsonable import ABSENT, Absent, Jsonable, Size, possible
from vmlat_tui.model.points import BOTH, path

_Name = Annotated[str, checks.name]
_Number = Annotated[int, checks.whole]
_Text = Annotated[str, text]


class Stage(NamedTuple):
    """A point that a packet passed.

    ``stage`` is the number that text output prints.  ``tid`` and ``comm`` are of the thread that
    ran there: None where it is not known, :data:`.ABSENT` in sessions recorded before it was told.
    """

    stage: Optional[Annotated[int, checks.count]]
    point: _Name
    function: _Name
    t_ns: Annotated[int, checks.time]
    cpu: _Number
    tid: Union[_Number, Absent, None] = ABSENT
    comm: Union[_Text, Absent, None] = ABSENT


class Process(NamedTuple):
    """In whose context a packet was seen first."""

    pid: _Number
    tid: _Number
    comm: _Text


class LeftOut(NamedTuple):
    """Why points are not among the stages: an id of :mod:`.absences`, and which."""

    reason: _Name
    points: Annotated[tuple[_Name, ...], Size(0, 64)]


class PacketDrop(NamedTuple):
    """The last point that a packet passed, the kernel's reason, and the function that freed it."""

    point: _Name
    reason: Optional[_Text]
    function: Optional[_Text]


#: Direction -> point -> where it is on the path.
_ORDER = {d.id: {step.point.id: n for n, step in enumerate(path(d))} for d in BOTH}


@dataclass(frozen=True)
class _Seen(Jsonable):
    direction: Annotated[str, checks.direction]
    flow: Flow
    #: None: its name is not known.
    vm_interface: Optional[_Text]
    phy_interface: Optional[_Text]
    process: Process
    bytes: Annotated[int, checks.count]
    #: In the order of the path, each point once at most; at least one.
    stages: Annotated[tuple[Stage, ...], Size(1, 64)]
    #: From the first stage to the last.
    total_ns: Annotated[int, checks.total]

    def validate(self) -> None:
        """Raises ``ValueError`` if the stages are not in the order of the path.

        Points that a later version has may be between any two.
        """
        order = _ORDER[self.direction]
        passed = [order[stage.point] for stage in self.stages if stage.point in order]
        if any(before >= after for before, after in zip(passed, passed[1:])):
            raise ValueError("the stages are not in the order of the path")


@dataclass(frozen=True)
class PacketFrame(_Seen):
    """One packet that went the whole way."""

    absent: Optional[Annotated[tuple[LeftOut, ...], Size(0, 16)]] = possible()
    #: Of an echo packet, ICMPv6 too.
    icmp: Optional[Echo] = possible()


@dataclass(frozen=True)
class DropFrame(_Seen):
    """One packet that ended elsewhere: in which bin, and where."""

    bin: _Name
    drop: PacketDrop
    absent: Optional[Annotated[tuple[LeftOut, ...], Size(0, 16)]] = possible()
    icmp: Optional[Echo] = possible()


SeenPacket = Union[PacketFrame, DropFrame]
