"""Loads and attaches the hooks of every point, best first."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from vmlat_tui.errors import VmlatError
from vmlat_tui.model.hooks import ENDINGS, FUNCTION, Hook, hooks_of, joins_of
from vmlat_tui.probes import ladder, syscalls
from vmlat_tui.probes.ladder import Kernel, PointState
from vmlat_tui.probes.program import Program


@dataclass
class Attached:
    """Everything that holds probes in the kernel; closing it detaches all of them."""

    points: list[PointState] = field(default_factory=list)
    programs: dict[str, int] = field(default_factory=dict)
    links: list[int] = field(default_factory=list)
    _missed: int = 0

    def hooks(self) -> list[Hook]:
        """The attached hooks of all points."""
        return [hook for state in self.points for hook in state.hooks]

    def misses(self) -> int:
        """Runs that the kernel skipped because a program was already running there."""
        now = sum(syscalls.program_misses(fd) for fd in self.programs.values())
        return self._missed + now

    def close(self) -> None:
        """Detach; the maps stay readable."""
        self._missed = self.misses()
        for descriptor in self.links + list(self.programs.values()):
            os.close(descriptor)
        self.links.clear()
        self.programs.clear()


def has_drop_reason(kernel: Kernel) -> bool:
    """Whether the tracepoint ``kfree_skb`` tells a reason (5.17 and later)."""
    if kernel.btf:
        return kernel.btf.tracepoint("kfree_skb")[1] >= 3
    for root in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"):
        try:
            return "reason" in Path(root, "events/skb/kfree_skb/format").read_text()
        except OSError:
            continue
    return False


def attach_all(program: Program, kernel: Kernel, functions: bool) -> Attached:
    """Attach what this kernel has.

    Raises :class:`VmlatError` when a packet's end could not be seen, because then nothing would add
    up; a point without a hook is only noted with its reason.
    """
    attached = Attached()
    try:
        for ending in ENDINGS:
            problem = _attach(attached, program, kernel, ending)
            if problem:
                raise VmlatError(
                    "the end of packets cannot be observed", problem, "run `vmlat doctor`"
                )
        for point, directions in ladder.points_in_order():
            attached.points.append(
                _attach_point(attached, program, kernel, PointState(point, directions), functions)
            )
    except BaseException:
        attached.close()
        raise
    return attached


def _attach_point(
    attached: Attached, program: Program, kernel: Kernel, state: PointState, functions: bool
) -> PointState:
    reasons = []
    for hook in hooks_of(state.point):
        if state.hooks and not hook.parallel:
            continue
        problem = ""
        for needed in (*joins_of(state.point), hook):
            if needed.full and not functions:
                problem = (
                    "kprobes are switched off" if kernel.kprobes else "this kernel has no kprobes"
                )
            problem = problem or _attach(attached, program, kernel, needed)
        if problem:
            reasons.append(problem)
        else:
            state.hooks.append(hook)
    if not state.hooks:
        state.reason = reasons[0] if reasons else "no hook is known"
    return state


def replace_hook(program: Program, kernel: Kernel, attached: Attached, deaf: Hook) -> str:
    """Take a deaf hook out of its points and attach the next alternative; returns its name."""
    name = ""
    for state in attached.points:
        if deaf not in state.hooks:
            continue
        state.hooks.remove(deaf)
        candidates = hooks_of(state.point)
        for hook in candidates[candidates.index(deaf) + 1 :]:
            if hook not in state.hooks and not _attach(attached, program, kernel, hook):
                state.hooks.append(hook)
                name = hook.symbol
                break
        if not state.hooks:
            state.reason = f"{deaf.symbol}: never fires, this kernel inlined it"
    return name


def _attach(attached: Attached, program: Program, kernel: Kernel, hook: Hook) -> str:
    """Attach one hook; returns why it cannot be, empty when it is."""
    if hook.program in attached.programs:
        return ""
    descriptor: Optional[int] = None
    try:
        if hook.kind == FUNCTION:
            descriptor = program.load(hook.program, syscalls.PROG_TYPE_KPROBE)
            attached.links.append(syscalls.open_kprobe(hook.symbol, descriptor))
        elif kernel.btf and hook.module is None:
            type_id, _ = kernel.btf.tracepoint(hook.symbol)
            descriptor = program.load(hook.program, syscalls.PROG_TYPE_TRACING, type_id)
            attached.links.append(syscalls.open_raw_tracepoint(None, descriptor))
        else:
            descriptor = program.load(hook.program, syscalls.PROG_TYPE_RAW_TRACEPOINT)
            attached.links.append(syscalls.open_raw_tracepoint(hook.symbol, descriptor))
    except syscalls.VerifierError as error:
        lines = [line for line in error.log.splitlines() if line.strip()]
        return f"{hook.symbol}: the kernel refused the program: {' / '.join(lines[-2:])}"
    except OSError as error:
        if descriptor is not None:
            os.close(descriptor)
        if error.errno == 2 and hook.full:
            return ladder.why_missing(hook)
        return f"{hook.symbol}: {error.strerror}"
    attached.programs[hook.program] = descriptor
    return ""
