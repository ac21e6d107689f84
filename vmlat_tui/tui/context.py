"""What screens know of the program: one immutable value, taken anew for each paint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Protocol

from vmlat_tui.errors import VmlatError
from vmlat_tui.model.requested import Requested
from vmlat_tui.session import window
from vmlat_tui.session.snapshot import Place, Snapshot
from vmlat_tui.session.window import Span
from vmlat_tui.tui.computing import Computing


@dataclass(frozen=True)
class Context:
    """The moment that is shown, what figures are of, and what is requested; for any thread."""

    place: Place
    #: The newest moment of the feed, which is not the one shown while figures are frozen.
    newest: Snapshot
    span: Span
    mark_ns: Optional[int]
    #: Whether time stands still on the screen.
    frozen: bool
    #: Whether there is an agent that obeys.
    live: bool
    #: Whether one can go back from a recording to the host.
    can_go_live: bool
    #: Where recordings are kept.
    directory: Path
    requested: Requested
    #: What is requested but not measured yet, in words.
    pending: str
    #: Where a replay is, in words; empty without one.
    playing: str
    #: How often time on the screen was frozen, released, stepped or sought.
    jumps: int

    @property
    def now(self) -> Snapshot:
        """The moment that is shown."""
        return self.place.now

    @property
    def chosen(self) -> tuple[object, ...]:
        """What of the history was chosen; it stays the same while time goes on."""
        return self.jumps, self.span, self.mark_ns

    @property
    def span_words(self) -> str:
        """What the figures are of, for a title."""
        return window.words(self.place, self.span, self.mark_ns)

    def only_live(self) -> None:
        """Raise :class:`VmlatError` where there is no agent to request anything of."""
        only_live(self.live)


def only_live(live: bool) -> None:
    """Raise :class:`VmlatError` unless ``live``."""
    if not live:
        raise VmlatError("this is a recording", "what it measured cannot be changed")


class Application(Protocol):
    """What a screen may ask of what it runs in; all else are messages."""

    @property
    def context(self) -> Context:
        """As it is now."""

    @property
    def computing(self) -> Computing:
        """The thread that computes what is shown."""
