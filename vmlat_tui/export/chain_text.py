"""One packet's passage through a chain: text in the requirement's style, and JSON."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Optional

from vmlat_tui.export.chain import Chain, Passed, Stretch
from vmlat_tui.export.packet_text import drop_line
from vmlat_tui.model.packets import DropFrame, SeenPacket, Stage
from vmlat_tui.model.topology import Topology
from vmlat_tui.protocol.frames import type_of
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.tables.passage import Task, gaps, task_of
from vmlat_tui.words import clean, microseconds, wall_clock


@dataclass(frozen=True)
class Whereabouts:
    """Whose packet it was; what is not known is None, no queue an empty text."""

    worker: Optional[Task]
    vcpu: Optional[Task]
    queue: str


def whereabouts(passed: Passed, topology: Optional[Topology]) -> Whereabouts:
    """What the frame knows, with what discovery found about those threads.

    The queue is that of the worker, where it is certain which one that serves.
    """
    worker, vcpu, queue = passed.worker, passed.vcpu, ""
    vnic = passed.frame.vm_interface
    domain = topology.domain_of(vnic) if topology and vnic else None
    if domain is None:
        return Whereabouts(worker, vcpu, queue)
    found = next((w for w in domain.workers if worker and w.thread.tid == worker.tid), None)
    if worker and found:
        worker = replace(worker, pid=worker.tid if found.kernel_thread else domain.pid)
        queue = ", ".join(q for q in found.queues if q.startswith(f"{vnic}/"))
    if vcpu and any(v.thread and v.thread.tid == vcpu.tid for v in domain.vcpus):
        vcpu = replace(vcpu, pid=domain.pid)
    return Whereabouts(worker, vcpu, queue)


def packet_text(passed: Passed, wall_offset_ns: int, topology: Optional[Topology]) -> str:
    """One block.  ``wall_offset_ns`` turns the clock of the frame into wall time."""
    frame, chain = passed.frame, passed.chain
    what = f"Packet {frame.bin.capitalize()}" if isinstance(frame, DropFrame) else "Trace"
    when = wall_clock(passed.stages[0].t_ns + wall_offset_ns)
    place = whereabouts(passed, topology)
    lines = [
        f"=== VM {chain.title} {what}: {when} ({chain.direction.name}) ===",
        f"Flow: {frame.flow}",
        f"VM Device: {clean(frame.vm_interface)}",
    ]
    if place.queue:
        lines.append(f"Queue: {clean(place.queue)}")
    lines += [f"{name}: {t}" for name, t in (("Worker", place.worker), ("vCPU", place.vcpu)) if t]
    if passed.stretches:
        lines += ["", "Latencies (us):"]
    for stretch in passed.stretches:
        lines += _stretch_lines(frame, stretch)
    absent = gaps(frame, chain.points)
    if absent:
        lines += ["", "Absent:", *(f"  {', '.join(gap.points)}: {gap.words}" for gap in absent)]
    if isinstance(frame, DropFrame):
        lines += ["", drop_line(frame.bin, frame.drop)]
    totals = [f"Total({total.name}): {microseconds(total.ns)} us" for total in passed.totals]
    lines += ["", *totals] if totals else []
    return "\n".join([*lines, ""])


def _stretch_lines(frame: SeenPacket, stretch: Stretch) -> list[str]:
    first, last = stretch.stages[0], stretch.stages[-1]
    lines = [
        f"  [{stretch.name}] {stretch.start.label} ({first.function}) -> "
        f"{stretch.end.label} ({last.function}): {microseconds(stretch.ns)} us"
        + _cpus(frame, first, last)
    ]
    if len(stretch.stages) > 2:
        lines += [
            f"      {start.point} -> {end.point} ({end.function}): {microseconds(ns)} us"
            + _cpus(frame, start, end)
            for start, end, ns in stretch.parts
        ]
    return lines


def _cpus(frame: SeenPacket, start: Stage, end: Stage) -> str:
    """Said where it went on elsewhere."""
    before, after = start.cpu, end.cpu
    if before == after:
        return ""
    return f" (CPU {before} -> {after})"


def packet_json(passed: Passed, wall_offset_ns: int, topology: Optional[Topology]) -> Raw:
    """The same as one object; every time is in integer nanoseconds."""
    frame, chain = passed.frame, passed.chain
    place = whereabouts(passed, topology)
    value: Raw = {
        "type": type_of(frame),
        "chain": chain.title.lower(),
        "direction": frame.direction,
        "wall_ns": passed.stages[0].t_ns + wall_offset_ns,
        "flow": frame.flow.to_json(),
        "bytes": frame.bytes,
        "vm_interface": frame.vm_interface,
        "queue": place.queue or None,
        "worker": place.worker.to_json() if place.worker else None,
        "vcpu": place.vcpu.to_json() if place.vcpu else None,
        "stages": [_stage_json(chain, frame, stage) for stage in passed.stages],
        "legs": [
            {
                **_ends(stretch),
                "parts": [
                    {"from": start.point, "to": end.point, "ns": ns}
                    for start, end, ns in stretch.parts
                ],
            }
            for stretch in passed.stretches
        ],
        "absent": [
            {"reason": gap.reason, "words": gap.words, "points": list(gap.points)}
            for gap in gaps(frame, chain.points)
        ],
        "totals": [_ends(total) for total in passed.totals],
        "total_ns": passed.total_ns,
    }
    if isinstance(frame, DropFrame):
        value.update(bin=frame.bin, drop=frame.drop._asdict())
    return value


def _ends(stretch: Stretch) -> dict[str, Any]:
    return {"from": stretch.start.name, "to": stretch.end.name, "ns": stretch.ns}


def _stage_json(chain: Chain, frame: SeenPacket, stage: Stage) -> dict[str, Any]:
    """``stage`` is null for a point between stages."""
    point, task = stage.point, task_of(frame, stage)
    marked = any(mark.point == point for mark in chain.marks)
    return {
        "stage": chain.mark(point).name if marked else None,
        "point": point,
        "function": stage.function,
        "t_ns": stage.t_ns,
        "cpu": stage.cpu,
        "tid": task.tid if task else None,
        "comm": task.comm if task else None,
    }
