"""What this kernel allows, and the hook that each point gets.

Three rungs (docs/probes.md): *full* has kprobes and tracepoints, *tracepoints* only the latter,
*none* no BPF at all.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from vmlat_tui.discover.capabilities import known, lacking
from vmlat_tui.model.capabilities import BPF, Capability
from vmlat_tui.model.hooks import ENDINGS, HOOKS, JOINS, function_symbols
from vmlat_tui.model.points import FUNCTION, POINTS, STEPS, Direction, Hook, path
from vmlat_tui.probes.btf import Btf, BtfError
from vmlat_tui.probes.offsets import headers_directory, kernel_btf
from vmlat_tui.probes.syscalls import can_create_ring_buffer, kprobe_pmu

FULL, TRACEPOINTS, NONE = "full", "tracepoints", "none"


def tracepoint_symbols() -> list[str]:
    """Every tracepoint of the kernel itself that a hook uses, once."""
    hooks = HOOKS + JOINS + ENDINGS
    return sorted({h.symbol for h in hooks if h.kind != FUNCTION and h.module is None})


@dataclass(frozen=True)
class Kernel:
    """What the running kernel offers to this process.

    ``lacking`` are the capabilities that it would need to measure anything.
    """

    release: str
    lacking: tuple[Capability, ...]
    btf: Optional[Btf]
    btf_problem: str
    headers: bool
    kprobes: bool
    ring_buffer: bool

    @property
    def rung(self) -> str:
        """The best rung that can be reached."""
        if not self.ring_buffer or not (self.btf or self.headers):
            return NONE
        return FULL if self.kprobes else TRACEPOINTS


def inspect(btf_path: Optional[Path] = None) -> Kernel:
    """Look at the running kernel; needs no privilege, but without them knows less."""
    btf, problem = None, ""
    try:
        btf = kernel_btf(tracepoint_symbols(), function_symbols(), btf_path)
    except BtfError as error:
        problem = str(error)
    missing = lacking()
    return Kernel(
        os.uname().release,
        missing,
        btf,
        problem,
        headers_directory() is not None,
        kprobe_pmu() is not None,
        # Both came with 5.8.
        known(BPF) if missing else can_create_ring_buffer(),
    )


@dataclass
class PointState:
    """The hooks that a point got (or would get), or why it has none.

    ``kinds`` says of a hook's id how it was attached.
    """

    point: str
    directions: tuple[Direction, ...]
    hooks: list[Hook] = field(default_factory=list)
    reason: str = ""
    kinds: dict[str, str] = field(default_factory=dict)


def symbols_of_kernel() -> dict[str, str]:
    """Function name -> module (empty for the kernel itself) of what /proc/kallsyms lists."""
    found = {}
    wanted = set(function_symbols())
    try:
        with open("/proc/kallsyms") as file:
            for line in file:
                fields = line.split()
                name = fields[2].split(".")[0]
                if name in wanted and fields[1] in "tT":
                    found[name] = fields[3].strip("[]") if len(fields) > 3 else ""
    except OSError:
        pass
    return found


def why_missing(hook: Hook) -> str:
    """Why a hook that is not there cannot be attached on a kernel that has kprobes."""
    if hook.module and not Path("/sys/module", hook.module).exists():
        return f"{hook.symbol}: module {hook.module} is not loaded"
    if hook.kind != FUNCTION:
        return f"{hook.symbol}: this kernel has no such tracepoint"
    return f"{hook.symbol}: this kernel has no such function, or inlined it"


def plan(kernel: Kernel) -> list[PointState]:
    """What each measured point would get, judged from the outside (for ``vmlat doctor``)."""
    symbols = symbols_of_kernel() if kernel.rung == FULL else {}
    states = []
    for point, directions in points_in_order():
        state = PointState(point, directions)
        reasons = []
        for hook in POINTS[point].hooks:
            needed = (*POINTS[point].beside, hook)
            problem = next(filter(None, (_problem(h, kernel, symbols) for h in needed)), "")
            if problem:
                reasons.append(problem)
            elif not state.hooks or hook.parallel:
                state.hooks.append(hook)
        if not state.hooks:
            state.reason = reasons[0] if reasons else "no hook is known"
        states.append(state)
    return states


def _problem(hook: Hook, kernel: Kernel, symbols: dict[str, str]) -> str:
    if kernel.rung == NONE:
        return "no BPF ring buffer" if not kernel.ring_buffer else "neither BTF nor kernel headers"
    if hook.full and kernel.rung != FULL:
        return "this kernel has no kprobes"
    if hook.kind == FUNCTION:
        return "" if hook.symbol in symbols else why_missing(hook)
    if hook.module:
        return "" if Path("/sys/module", hook.module).exists() else why_missing(hook)
    if kernel.btf:
        try:
            kernel.btf.tracepoint(hook.symbol)
        except BtfError as error:
            return str(error)
    return ""


def points_in_order() -> list[tuple[str, tuple[Direction, ...]]]:
    """The points in path order, each with the directions that pass it."""
    points: dict[str, list[Direction]] = {}
    for step in STEPS:
        points.setdefault(step.point.id, []).extend(step.directions)
    return [(point, tuple(directions)) for point, directions in points.items()]


def missing_main_points(attached: list[str], directions: list[Direction]) -> list[str]:
    """Points without which a direction cannot be measured and which are not attached."""
    wanted = [s.point.id for d in directions for s in path(d) if d in s.required]
    return [point for point in wanted if point not in attached]
