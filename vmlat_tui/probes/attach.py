"""Loads and attaches the hooks of every point, best first."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Sequence
from typing import Optional

from vmlat_tui.errors import VmlatError
from vmlat_tui.model.capabilities import SYS_ADMIN
from vmlat_tui.model.hooks import ENDINGS, EXTRAS, HOOKS, JOINS
from vmlat_tui.model.points import FUNCTION, POINTS, TRACEPOINT, Hook
from vmlat_tui.probes import ladder, opener, syscalls, tracefs
from vmlat_tui.probes.fentry import Fentry
from vmlat_tui.probes.ladder import Kernel, PointState
from vmlat_tui.probes.program import Program

_log = logging.getLogger(__name__)

_FENTRY, _KPROBE = "fentry", "kprobe"


class Attached:
    """Everything that holds probes in the kernel; closing it detaches all of them."""

    def __init__(self, program: Program, kernel: Kernel, fentry: Fentry) -> None:
        """Nothing is attached yet."""
        self.points: list[PointState] = []
        self._program, self._kernel, self._fentry = program, kernel, fentry
        self.programs: dict[str, int] = {}
        self._kinds: dict[str, str] = {}
        self.links: dict[str, int] = {}
        self._missed = 0

    def kind(self, hook: Hook) -> str:
        """How an attached hook was: ``tracepoint``, ``fentry`` or ``kprobe``."""
        return self._kinds[hook.program]

    def hooks(self) -> list[Hook]:
        """The attached hooks of all points."""
        return [hook for state in self.points for hook in state.hooks]

    def misses(self) -> int:
        """Runs that the kernel skipped because a program was already running there."""
        now = sum(syscalls.program_misses(fd) for fd in self.programs.values())
        return self._missed + now

    def close(self) -> None:
        """Detach; the maps stay readable."""
        begin, count = time.monotonic(), len(self.links)
        self._missed = self.misses()
        for descriptor in (*self.links.values(), *self.programs.values()):
            os.close(descriptor)
        self.links.clear()
        self.programs.clear()
        if count:
            took_ms = (time.monotonic() - begin) * 1e3
            _log.info("%d probes detached in %.1f ms", count, took_ms)

    def unarmed(self) -> list[Hook]:
        """Hooks whose fentry program the kernel took and does not call.

        Linux 6.12 does so to ``irqfd_wakeup``: a link, and no call in the function.  The kernel's
        list of calls tells; without tracefs nothing does.
        """
        listed = tracefs.read("enabled_functions")
        if not listed:
            return []
        armed = tracefs.with_fentry(listed)
        return [
            hook
            for hook in HOOKS + JOINS
            if self._kinds.get(hook.program) == _FENTRY and hook.symbol not in armed
        ]

    def detach(self, hook: Hook) -> None:
        """Detach one hook."""
        self._missed += syscalls.program_misses(self.programs[hook.program])
        os.close(self.links.pop(hook.program))
        os.close(self.programs.pop(hook.program))
        del self._kinds[hook.program]

    def attach(self, hook: Hook) -> str:
        """Attach one hook; returns why it cannot be, empty when it is."""
        if hook.program in self.programs:
            return ""
        problem = self._attach(hook)
        if problem:
            _log.info("%s: not attached: %s", hook.id, problem)
        else:
            _log.debug("%s: attached, %s", hook.id, self._kinds[hook.program])
        return problem

    def _attach(self, hook: Hook) -> str:
        try:
            self._load(hook)
        except syscalls.VerifierError as error:
            lines = [line for line in error.log.splitlines() if line.strip()]
            for line in lines:
                _log.debug("%s: verifier: %s", hook.id, line)
            return f"{hook.symbol}: the kernel refused the program: {' / '.join(lines[-2:])}"
        except OSError as error:
            if error.errno == 2 and hook.full:
                return ladder.why_missing(hook)
            if error.errno == errno.EACCES and hook.kind == FUNCTION:
                return f"{hook.symbol}: kprobes need {SYS_ADMIN.name} on this kernel"
            return f"{hook.symbol}: {error.strerror}"
        return ""

    def _load(self, hook: Hook) -> None:
        load, btf = self._program.load, self._kernel.btf
        target = self._fentry.target(hook.symbol)
        name: Optional[str] = None
        if hook.kind == FUNCTION and target:
            kind = _FENTRY
            descriptor = load(
                hook.program,
                syscalls.PROG_TYPE_TRACING,
                target.type_id,
                syscalls.ATTACH_TRACE_FENTRY,
                target.btf,
            )
        elif hook.kind == FUNCTION:
            kind = _KPROBE
            descriptor = load(hook.program, syscalls.PROG_TYPE_KPROBE)
        elif btf and hook.module is None:
            kind = TRACEPOINT
            descriptor = load(
                hook.program, syscalls.PROG_TYPE_TRACING, btf.tracepoint(hook.symbol)[0]
            )
        else:
            kind, name = TRACEPOINT, hook.symbol
            descriptor = load(hook.program, syscalls.PROG_TYPE_RAW_TRACEPOINT)
        try:
            if kind == _KPROBE:
                link = opener.attach_kprobe(hook.symbol, descriptor)
            else:
                link = syscalls.open_raw_tracepoint(name, descriptor)
        except OSError:
            os.close(descriptor)
            raise
        self.links[hook.program] = link
        self.programs[hook.program] = descriptor
        self._kinds[hook.program] = kind


def has_drop_reason(kernel: Kernel) -> bool:
    """Whether the tracepoint ``kfree_skb`` tells a reason (5.17 and later)."""
    if kernel.btf:
        return kernel.btf.tracepoint("kfree_skb")[1] >= 3
    return "reason" in tracefs.read("events/skb/kfree_skb/format")


def attach_all(program: Program, kernel: Kernel, fentry: Fentry, functions: bool) -> Attached:
    """Attach what this kernel has.

    Raises :class:`VmlatError` when a packet's end could not be seen, because then nothing would add
    up; a point without a hook is only noted with its reason.
    """
    begin = time.monotonic()
    attached = Attached(program, kernel, fentry)
    try:
        for ending in ENDINGS:
            problem = attached.attach(ending)
            if problem:
                raise VmlatError(
                    "the end of packets cannot be observed", problem, "run `vmlat doctor`"
                )
        for point, directions in ladder.points_in_order():
            state = PointState(point, directions)
            attached.points.append(state)
            _attach_point(attached, kernel, state, functions)
        for extra in EXTRAS if functions else ():
            attached.attach(extra)
    except BaseException:
        attached.close()
        raise
    took_ms = (time.monotonic() - begin) * 1e3
    _log.info("%d probes attached in %.1f ms", len(attached.links), took_ms)
    for state in attached.points:
        if not state.hooks:
            _log.warning("point %s cannot be observed: %s", state.point, state.reason)
    return attached


def _attach_point(attached: Attached, kernel: Kernel, state: PointState, functions: bool) -> None:
    reasons = []
    point = POINTS[state.point]
    for hook in point.hooks:
        if state.hooks and not hook.parallel:
            continue
        problem = ""
        for needed in (*point.beside, hook):
            if needed.full and not functions:
                problem = (
                    "kprobes are switched off" if kernel.kprobes else "this kernel has no kprobes"
                )
            problem = problem or attached.attach(needed)
        if problem:
            reasons.append(problem)
        else:
            _give(attached, state, hook)
    if not state.hooks:
        state.reason = reasons[0] if reasons else "no hook is known"


def _give(attached: Attached, state: PointState, hook: Hook) -> None:
    state.hooks.append(hook)
    state.kinds[hook.id] = attached.kind(hook)


def attach_again(attached: Attached, hooks: Sequence[Hook]) -> None:
    """Attach these hooks anew, as their program or what the kernel takes has changed."""
    for hook in hooks:
        attached.detach(hook)
        problem = attached.attach(hook)
        for state in attached.points:
            if hook not in state.hooks:
                continue
            state.hooks.remove(hook)
            if not problem:
                _give(attached, state, hook)
            elif not state.hooks:
                state.reason = problem


def replace_hook(attached: Attached, silent: Hook) -> str:
    """Take a silent hook out of its points and attach the next alternative; returns its name."""
    name = ""
    for state in attached.points:
        if silent not in state.hooks:
            continue
        state.hooks.remove(silent)
        candidates = POINTS[state.point].hooks
        for hook in candidates[candidates.index(silent) + 1 :]:
            if hook not in state.hooks and not attached.attach(hook):
                _give(attached, state, hook)
                name = hook.symbol
                break
        if not state.hooks:
            state.reason = f"{silent.symbol}: never fires, this kernel inlined it"
    return name
