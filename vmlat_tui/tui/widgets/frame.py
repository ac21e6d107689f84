"""The lines around every screen: where one is, how far to trust the figures, what keys do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from vmlat_tui.session.snapshot import Phase, Snapshot
from vmlat_tui.tui.context import Context
from vmlat_tui.tui.paint import Line, StyledText
from vmlat_tui.tui.widgets.lines import Lines
from vmlat_tui.words import clean, wall_clock, width

_PHASES = {
    Phase.CONNECTING: ("○ connecting", "dim"),
    Phase.WATCHING: ("● live", "good"),
    Phase.ATTACHING: ("○ attaching", "dim"),
    Phase.MEASURING: ("● measuring", "good"),
    Phase.LOST: ("▲ connection lost", "bad"),
    Phase.ENDED: ("■ ended", "dim"),
    Phase.FAILED: ("▲ failed", "bad"),
}

#: While probes are put in place: a kernel that vmlat does not know yet is compiled for first.
ATTACHING_WORDS = "attaching the probes, compiling first"


def spread(left: Sequence[StyledText], right: Sequence[StyledText], cells: int) -> Line:
    """One line with something at both ends."""
    used = sum(width(text) for text, _ in (*left, *right))
    return (*left, (" " * max(1, cells - used), ""), *right)


class Crumb(Lines):
    """Where one is, what is measured, and which moment is shown."""

    DEFAULT_CSS = """
    Crumb { height: 1; padding: 0 1; background: $panel; }
    """

    def tell(self, names: Sequence[str], context: Context) -> None:
        """Show it; ``names`` are those of the screens, outermost first."""
        now, pending, playing = context.now, context.pending, context.playing
        known = now.topology or now.hello
        host = known.host if known else None
        parts: list[StyledText] = [("vmlat", "title")]
        for name in ([str(host)] if host else []) + list(names):
            parts += [(" ▸ ", "faint"), (clean(name), "")]
        parts[-1] = (parts[-1][0], "strong")
        measured = now.acknowledged.words if now.acknowledged else ""
        right: list[StyledText] = [(f"{measured}  ", "accent")] if measured else []
        if pending:
            right.append((f"○ pending: {pending}  ", "warn"))
        if now.recording:
            right.append(("● recording  ", "warn"))
        if playing and now.phase is not Phase.FAILED:
            right.append((f"{playing}  ", "accent"))
        elif context.frozen:
            behind = (context.place.moments[-1].t_ns - now.t_ns) / 1e9
            right.append((f"⏸ frozen {behind:.0f} s ago ", "accent"))
        else:
            right.append((f"{_PHASES[now.phase][0]} ", _PHASES[now.phase][1]))
        if now.t_ns and now.wall_offset_ns:
            right.append((wall_clock(now.wall_ns)[11:19], "dim"))
        self.show([spread(parts, right, self.size.width)])


class TrustLine(Lines):
    """How far the figures can be relied on; always visible."""

    DEFAULT_CSS = """
    TrustLine { height: 1; padding: 0 1; background: $panel; }
    """


def trust_line(now: Snapshot) -> Line:
    """The trust line: a warning has a glyph, a word and a style."""
    if now.problem is not None:
        return (("▲ ", "bad"), (clean(str(now.problem)), "bad"))
    trust = now.stats.trust if now.stats else None
    if trust is None:
        return ((_why_nothing(now), "dim"),)
    parts: list[StyledText] = []

    def say(name: str, value: str, wrong: bool, role: str = "warn") -> None:
        if parts:
            parts.append(("  ", ""))
        parts.append((f"▲ {name} " if wrong else f"{name} ", role if wrong else "dim"))
        parts.append((value, role if wrong else ""))

    if trust.matched is None:
        say("matched", "–", False)
    else:
        say("matched", _share(trust.matched), trust.matched < 0.99)
    if not trust.balanced:
        say("bins", "do not add up", True, "bad")
    say("lost", str(trust.lost), trust.lost > 0)
    say("not shown", str(trust.suppressed), False)
    say("late", str(trust.late), trust.late > 0)
    if trust.missed_runs:
        say("missed", str(trust.missed_runs), True)
    if trust.flows_evicted:
        say("flows evicted", str(trust.flows_evicted), True)
    if trust.left_out:
        say("left out", str(trust.left_out), True)
    if trust.own_cpu is not None:
        say("own CPU", f"{100 * trust.own_cpu:.1f} %", trust.own_cpu > 0.05)
    if now.measuring is not None:
        say("rung", now.measuring.rung, now.measuring.rung != "full")
    return tuple(parts)


def _share(share: float) -> str:
    """Two decimals, but never 100 % of what is not all."""
    shown = f"{100 * share:.2f}"
    return "99.99 %" if shown == "100.00" and share < 1 else f"{shown} %"


def _why_nothing(now: Snapshot) -> str:
    if now.phase is Phase.CONNECTING:
        return "waiting for the agent"
    if now.refusal is not None:
        return f"not measured: {clean(str(now.refusal.error))}"
    if now.phase is Phase.ATTACHING:
        return ATTACHING_WORDS
    if now.phase is Phase.MEASURING:
        return "the probes are in place; waiting for the first figures"
    return "not measured: choose a VM"


class Hints(Lines):
    """The most useful keys of the screen."""

    DEFAULT_CSS = """
    Hints { height: 1; padding: 0 1; }
    """

    def tell(self, hints: Sequence[tuple[str, str]], message: Optional[StyledText] = None) -> None:
        """Show keys and words, or a message instead."""
        if message is not None:
            self.show([(message,)])
            return
        parts: list[StyledText] = []
        for key, word in hints:
            parts += [(key, "key"), (f" {word}  ", "dim")]
        self.show([tuple(parts)])
