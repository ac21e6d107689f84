"""The table of single packets, and the timeline of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.model.packets import DropFrame, SeenPacket, Stage
from vmlat_tui.model.points import POINTS
from vmlat_tui.session.sample import LegKey
from vmlat_tui.session.snapshot import Place
from vmlat_tui.tables import passage
from vmlat_tui.tables.columns import BAR, COUNT, NAME, PERCENT, TEXT, TIME, Column
from vmlat_tui.words import clean, wall_clock


@dataclass(frozen=True)
class PacketRow:
    """One packet; ``value_ns`` is what the list is sorted by: its total, or one leg of it."""

    frame: SeenPacket
    value_ns: int
    wall_offset_ns: int

    @property
    def key(self) -> tuple[object, ...]:
        """Identity: where and when it began."""
        first = self.frame.stages[0]
        return (first.t_ns, self.frame.direction, self.total_ns)

    @property
    def total_ns(self) -> int:
        """From its first point to its last."""
        return self.frame.total_ns

    @property
    def dropped(self) -> bool:
        """It did not complete."""
        return isinstance(self.frame, DropFrame)

    @property
    def when(self) -> str:
        """Wall clock of its first point."""
        return wall_clock(self.frame.stages[0].t_ns + self.wall_offset_ns)[11:]

    @property
    def slowest(self) -> Optional[tuple[str, int]]:
        """Its slowest leg."""
        return max(_legs(self.frame), key=lambda leg: leg[1], default=None)


def _legs(frame: SeenPacket) -> Iterator[tuple[str, int]]:
    stages = frame.stages
    for start, end in zip(stages, stages[1:]):
        yield f"{start.point} → {end.point}", end.t_ns - start.t_ns


def slowest_rows(
    place: Place, vnic: Optional[str], leg: Optional[LegKey] = None
) -> list[PacketRow]:
    """The slowest single packets of a vNIC, or those whose leg was slowest."""
    now = place.now
    rows = []
    for frame in now.slowest:
        if vnic is not None and (frame.vm_interface or "") != vnic:
            continue
        value = _leg_ns(frame, leg[1]) if leg else frame.total_ns
        if value is not None and frame.stages:
            rows.append(PacketRow(frame, value, now.wall_offset_ns))
    return sorted(rows, key=lambda row: -row.value_ns)


def dropped_rows(place: Place, vnic: Optional[str]) -> list[PacketRow]:
    """The latest packets that did not complete."""
    now = place.now
    return [
        PacketRow(frame, frame.total_ns, now.wall_offset_ns)
        for frame in now.dropped
        if frame.stages and (vnic is None or (frame.vm_interface or "") == vnic)
    ]


def _leg_ns(frame: SeenPacket, leg_id: str) -> Optional[int]:
    direction, _, points = leg_id.partition(":")
    if frame.direction != direction:
        return None
    if points == "total":
        return frame.total_ns
    wanted = points.replace(">", " → ")
    return next((value for name, value in _legs(frame) if name == wanted), None)


def flow_text(frame: SeenPacket) -> str:
    """Its 5-tuple."""
    return str(frame.flow).replace("->", "→")


def drop_text(frame: SeenPacket) -> str:
    """Where and why it ended."""
    if not isinstance(frame, DropFrame):
        return ""
    drop = frame.drop
    if frame.bin != "dropped":
        return f"{frame.bin} after {drop.point}"
    reason = clean(drop.reason) if drop.reason else "no reason given"
    return f"after {drop.point}: {reason}, freed by {clean(drop.function)}"


def _slowest_name(row: PacketRow) -> Optional[str]:
    return row.slowest[0] if row.slowest else None


PACKET_COLUMNS: tuple[Column[PacketRow], ...] = (
    Column("when", "began", 12, TEXT, lambda r: r.when, 1),
    Column("direction", "dir", 3, TEXT, lambda r: r.frame.direction.upper(), 3),
    Column("value", "this leg", 8, TIME, lambda r: r.value_ns, 0, 11),
    Column("total", "total", 8, TIME, lambda r: r.total_ns, 2),
    Column("flow", "flow", 24, NAME, lambda r: flow_text(r.frame), 0, 48),
    Column("slowest", "its slowest leg", 26, TEXT, _slowest_name, 4, 28),
    Column("bytes", "bytes", 5, COUNT, lambda r: r.frame.bytes, 5),
)
DROP_COLUMNS: tuple[Column[PacketRow], ...] = (
    Column("when", "began", 12, TEXT, lambda r: r.when, 2),
    Column("direction", "dir", 3, TEXT, lambda r: r.frame.direction.upper(), 1),
    Column("where", "ended", 30, NAME, lambda r: drop_text(r.frame), 0, 60, lambda r: "warn"),
    Column("flow", "flow", 24, NAME, lambda r: flow_text(r.frame), 0, 48),
)


@dataclass(frozen=True)
class PointRow:
    """One point that a packet passed."""

    stage: Stage
    from_start_ns: int
    leg_ns: Optional[int]
    share: Optional[float]
    slowest: bool
    cpu: Optional[int]
    task: Optional[str]

    @property
    def key(self) -> int:
        """Identity: a packet passes a point at one time."""
        return self.stage.t_ns


def timeline(frame: SeenPacket) -> list[PointRow]:
    """The points of a packet in order."""
    stages = frame.stages
    times = [stage.t_ns for stage in stages]
    whole = max(1, times[-1] - times[0])
    legs = [None, *(b - a for a, b in zip(times, times[1:]))]
    worst = max((leg for leg in legs if leg is not None), default=None)
    rows = []
    for at, (stage, leg) in enumerate(zip(stages, legs)):
        task = passage.task_of(frame, stage)
        rows.append(
            PointRow(
                stage,
                times[at] - times[0],
                leg,
                leg / whole if leg is not None else None,
                leg is not None and leg == worst,
                stage.cpu,
                f"{task.tid} {task.comm}" if task else None,
            )
        )
    return rows


def _title(row: PointRow) -> str:
    point = POINTS.get(row.stage.point)
    return point.title if point else str(row.stage.point)


STAGE_COLUMNS: tuple[Column[PointRow], ...] = (
    Column("point", "point", 12, NAME, lambda r: r.stage.point, 0, 14),
    Column("at", "at", 8, TIME, lambda r: r.from_start_ns, 2, help="since the first point"),
    Column("leg", "leg", 8, TIME, lambda r: r.leg_ns, 0, help="since the point before"),
    Column("percent", "", 5, PERCENT, lambda r: r.share, 5),
    Column("share", "share", 8, BAR, lambda r: r.share, 3, 24,
           lambda r: "bad" if r.slowest else "bar"),
    Column("cpu", "CPU", 3, COUNT, lambda r: r.cpu, 1),
    Column("task", "task", 17, TEXT, lambda r: r.task, 1, 24),
    Column("title", "what happens", 22, TEXT, _title, 6, 28),
    Column("function", "hook", 20, NAME, lambda r: r.stage.function, 4, 28),
)  # fmt: skip


def stage_emphasis(row: PointRow) -> tuple[str, str]:
    """The slowest leg stands out."""
    return ("▲", "bad") if row.slowest else ("", "")
