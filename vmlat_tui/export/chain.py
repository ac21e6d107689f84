"""The parts of the path on the guest's side of the tap, as ``irq`` and ``kick`` print them.

A *chain* is a run of consecutive points of one direction.  Some of them, its *marks*, are stages
with a name of their own; the time between two marks that a packet passed one after the other is
a *stretch*, and the points in between divide it into parts.  Parts add up to their stretch and
stretches to the total because each is a difference of two of the packet's times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.model.packets import DropFrame, SeenPacket, Stage
from vmlat_tui.model.points import Direction, path
from vmlat_tui.tables.passage import Task, task_of


@dataclass(frozen=True)
class StageMark:
    """A stage: the name in brackets, the one in the line, and the point that it is."""

    name: str
    label: str
    point: str


@dataclass(frozen=True)
class Chain:
    """Which points, and what they are called.

    ``totals`` are pairs of names of marks.  ``workers`` and ``vcpus`` are the points whose task is
    the packet's vhost worker, or its vCPU, best first.
    """

    title: str
    direction: Direction
    marks: tuple[StageMark, ...]
    totals: tuple[tuple[str, str], ...]
    workers: tuple[str, ...]
    vcpus: tuple[str, ...]

    @property
    def points(self) -> tuple[str, ...]:
        """All points from the first mark to the last."""
        ids = [step.point.id for step in path(self.direction)]
        return tuple(ids[ids.index(self.marks[0].point) : ids.index(self.marks[-1].point) + 1])

    def mark(self, point: str) -> StageMark:
        """The mark of a point; one that has none stands under its own name."""
        return next((m for m in self.marks if m.point == point), StageMark(point, point, point))

    def point(self, name: str) -> str:
        """The point of a mark."""
        return next(m.point for m in self.marks if m.name == name)


IRQ = Chain(
    "Interrupt",
    Direction.RX,
    (
        StageMark("S1", "STAGE_1", "tun_out"),
        StageMark("S2", "STAGE_2", "vhost_signal"),
        StageMark("S3", "STAGE_3", "eventfd"),
        StageMark("S4", "STAGE_4", "irqfd"),
        StageMark("S5", "STAGE_5", "irq_accept"),
        StageMark("guest_entry", "guest_entry", "guest_entry"),
    ),
    (("S1", "S5"), ("S1", "guest_entry")),
    ("vhost_signal", "vhost_take", "vhost_on_cpu"),
    ("guest_entry", "vcpu_on_cpu"),
)
KICK = Chain(
    "Kick",
    Direction.TX,
    (
        StageMark("exit", "exit", "guest_exit"),
        StageMark("kick", "kick", "guest_kick"),
        StageMark("worker", "worker", "vhost_tx"),
        StageMark("tap", "tap", "tun_in"),
        StageMark("stack", "stack", "vnet_rx"),
    ),
    (("kick", "stack"), ("exit", "stack")),
    ("vhost_tx", "tun_in", "vnet_rx"),
    ("guest_exit", "guest_kick"),
)


@dataclass(frozen=True)
class Stretch:
    """From one mark to the next that the packet passed, both among ``stages``."""

    start: StageMark
    end: StageMark
    stages: tuple[Stage, ...]

    @property
    def name(self) -> str:
        """``S1->S2``."""
        return f"{self.start.name}->{self.end.name}"

    @property
    def ns(self) -> int:
        """How long it took."""
        return int(self.stages[-1].t_ns) - int(self.stages[0].t_ns)

    @property
    def parts(self) -> list[tuple[Stage, Stage, int]]:
        """(from, to, ns) between the points in it; they add up to :attr:`ns`."""
        return [(a, b, b.t_ns - a.t_ns) for a, b in zip(self.stages, self.stages[1:])]


@dataclass(frozen=True)
class Passed:
    """What of a chain a packet passed: ``stages`` in order, perhaps none."""

    chain: Chain
    frame: SeenPacket
    stages: tuple[Stage, ...]

    @classmethod
    def of(cls, chain: Chain, frame: SeenPacket) -> Passed:
        """Of a ``packet`` or ``drop`` frame; nothing if it went the other way."""
        points = chain.points if frame.direction == chain.direction.id else ()
        return cls(chain, frame, tuple(s for s in frame.stages if s.point in points))

    @property
    def worth(self) -> bool:
        """There is a leg, or the packet ended at the only point."""
        if isinstance(self.frame, DropFrame) and self.stages:
            return len(self.stages) > 1 or self.stages[0].point == self.frame.drop.point
        return len(self.stages) > 1

    @property
    def stretches(self) -> list[Stretch]:
        """From the first point that it passed to the last."""
        marked = {mark.point for mark in self.chain.marks}
        last = len(self.stages) - 1
        cuts = [n for n, s in enumerate(self.stages) if s.point in marked or n in (0, last)]
        return [self._stretch(self.stages[a : b + 1]) for a, b in zip(cuts, cuts[1:])]

    @property
    def totals(self) -> list[Stretch]:
        """Those of the chain that it passed; the last one is in any case all that it passed."""
        at = {stage.point: n for n, stage in enumerate(self.stages)}
        found = []
        for names in self.chain.totals:
            start, end = map(self.chain.point, names)
            if start in at and end in at:
                found.append(self._stretch(self.stages[at[start] : at[end] + 1]))
        if len(self.stages) > 1 and (not found or found[-1].stages != self.stages):
            found.append(self._stretch(self.stages))
        return found

    @property
    def total_ns(self) -> int:
        """The whole of what it passed."""
        return self._stretch(self.stages).ns if self.stages else 0

    def _stretch(self, stages: Sequence[Stage]) -> Stretch:
        first, last = (self.chain.mark(stages[n].point) for n in (0, -1))
        return Stretch(first, last, tuple(stages))

    @property
    def worker(self) -> Optional[Task]:
        """The vhost worker that carried it, or QEMU's thread in its place."""
        return self._task(self.chain.workers)

    @property
    def vcpu(self) -> Optional[Task]:
        """The vCPU that kicked or was interrupted, as far as it is known."""
        return self._task(self.chain.vcpus)

    def _task(self, points: Sequence[str]) -> Optional[Task]:
        stages = {stage.point: stage for stage in self.stages}
        tasks = (task_of(self.frame, stages[point]) for point in points if point in stages)
        return next(filter(None, tasks), None)
