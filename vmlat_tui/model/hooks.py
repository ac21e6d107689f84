"""All hooks: those of the points, and those beside them."""

from __future__ import annotations

from vmlat_tui.model.points import FUNCTION, POINTS, STEPS, Hook, Step, tracepoint

#: Of the points.  A hook's place in this table is its number in the BPF programs (macro HOOK_<ID>).
HOOKS: tuple[Hook, ...] = tuple(hook for point in POINTS.values() for hook in point.hooks)

#: What hooks of points need beside them, each once.
JOINS: tuple[Hook, ...] = tuple(
    dict.fromkeys(hook for point in POINTS.values() for hook in point.beside)
)

#: What no point needs: without it a figure beside the path stays unknown.
EXTRAS: tuple[Hook, ...] = (
    # The window in which KVM polls for a halted vCPU.
    tracepoint("kvm", "kvm_halt_poll_ns", joined=True),
)

#: Tracepoints that close packets rather than stamp a point.
ENDINGS: tuple[Hook, ...] = (tracepoint("skb", "kfree_skb"), tracepoint("skb", "consume_skb"))

#: Length of the per-hook counters in the kernel; a power of two.
HOOK_ROOM = 64

BY_ID: dict[str, Hook] = {hook.id: hook for hook in HOOKS + JOINS + ENDINGS}
NUMBER: dict[str, int] = {hook.id: number for number, hook in enumerate(HOOKS)}


def function_symbols() -> list[str]:
    """Every kernel function that a hook uses, once."""
    return sorted({hook.symbol for hook in HOOKS + JOINS if hook.kind == FUNCTION})


def steps_of(hook: Hook) -> tuple[Step, ...]:
    """The steps that a hook stamps, in both directions."""
    return tuple(step for step in STEPS if hook in step.point.hooks)
