"""What the frame of one packet tells of its points: who ran where, and why some are absent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Optional

from vmlat_tui.model.absences import ABSENCE
from vmlat_tui.model.jsonable import ABSENT, Absent
from vmlat_tui.model.packets import SeenPacket, Stage
from vmlat_tui.model.points import STEPS, Direction, path
from vmlat_tui.words import clean


@dataclass(frozen=True)
class Task:
    """A thread at a point.  ``comm`` is cleaned; ``pid`` and ``cpu`` None where not known."""

    tid: int
    comm: str
    pid: Optional[int] = None
    cpu: Optional[int] = None

    def __str__(self) -> str:
        """``PID=301 TID=309 COMM=vhost-301 CPU=2``, without what is not known."""
        parts = (("PID", self.pid), ("TID", self.tid), ("COMM", self.comm), ("CPU", self.cpu))
        return " ".join(f"{name}={value}" for name, value in parts if value is not None)

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {"pid": self.pid, "tid": self.tid, "comm": self.comm, "cpu": self.cpu}


@dataclass(frozen=True)
class Gap:
    """Points that a packet left out, in the order of the path, and why."""

    reason: str
    points: tuple[str, ...]
    words: str

    @property
    def span(self) -> str:
        """The points in a few words: ``eventfd … guest_entry``."""
        if len(self.points) <= 2:
            return ", ".join(self.points)
        return f"{self.points[0]} … {self.points[-1]}"


def task_of(frame: SeenPacket, stage: Stage) -> Optional[Task]:
    """The thread that ran at one of its stages, None where it is not known.

    Frames of sessions recorded before threads were name only the one of the first stage.
    """
    process, tid, comm = frame.process, stage.tid, stage.comm
    if tid is ABSENT and stage is frame.stages[0]:
        tid, comm = process.tid, process.comm
    if tid is None or isinstance(tid, Absent):
        return None
    name = None if isinstance(comm, Absent) else comm
    pid = process.pid if tid == process.tid else None
    return Task(tid, clean(name), pid, stage.cpu)


def reason_words(reason: str) -> str:
    """Why, in words; a later version may know more reasons."""
    absence = ABSENCE.get(reason)
    return absence.words if absence else clean(reason)


def gaps(frame: SeenPacket, of: Optional[Iterable[str]] = None) -> list[Gap]:
    """What the packet left out, for each reason; only points among ``of`` if given."""
    passed = {stage.point for stage in frame.stages}
    wanted = None if of is None else set(of)
    order = {step.point.id: step.number for step in path(Direction[frame.direction.upper()])}
    found = []
    for row in frame.absent or ():
        points = sorted(
            (p for p in row.points if p not in passed and (wanted is None or p in wanted)),
            key=lambda point: order.get(point, len(STEPS)),
        )
        if points:
            found.append(Gap(row.reason, tuple(points), reason_words(row.reason)))
    return found
