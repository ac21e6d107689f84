"""The application: one feed, one moment that is shown, one state that is requested."""

from __future__ import annotations

import asyncio
import os
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union, cast

from textual import on
from textual.app import App, SystemCommand
from textual.driver import Driver
from textual.message import Message
from textual.screen import Screen
from textual.scrollbar import ScrollBar, ScrollBarRender

from vmlat_tui.errors import VmlatError
from vmlat_tui.export import sheets
from vmlat_tui.recording.replay import Recording
from vmlat_tui.session.feed import Feed
from vmlat_tui.session.snapshot import Moments, Phase, Place
from vmlat_tui.session.window import Span
from vmlat_tui.transport.source import Order, Source
from vmlat_tui.tui import files, keys, messages, navigation
from vmlat_tui.tui.computing import Computing
from vmlat_tui.tui.context import Application, Context
from vmlat_tui.tui.control import Control
from vmlat_tui.tui.driver import TerminalDriver
from vmlat_tui.tui.paint import DARK, LIGHT, AsciiScrollBar, Painter, ascii_only
from vmlat_tui.tui.player import Player
from vmlat_tui.tui.screen import VmlatScreen, crumbs
from vmlat_tui.tui.widgets.prompt import Prompt
from vmlat_tui.words import clean

#: Between two messages of the host.
_PAUSE_S = 0.5


class SnapshotTaken(Message):
    """The feed knows more; a later one takes the place of an earlier one that still waits."""

    def __init__(self, feed: int, moments: Moments) -> None:
        """``moments`` is the whole bounded history of the feed with this number."""
        super().__init__()
        self.feed = feed
        self.moments = moments

    def can_replace(self, message: Message) -> bool:
        """Only the newest counts."""
        return isinstance(message, SnapshotTaken)


def _state_directory() -> Path:
    """Where programs keep what outlives them: ``XDG_STATE_HOME``, or the user's."""
    base = os.environ.get("XDG_STATE_HOME")
    return Path(base) if base else Path.home() / ".local" / "state"


class VmlatApp(App[None]):
    """Shows a recording, or what ``connect`` makes on the feed's thread: a source of frames."""

    TITLE = "vmlat"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS = keys.bindings("app", "recording")
    CSS = """
    Screen { background: $background; color: $foreground; }
    * {
        scrollbar-background: $background; scrollbar-background-hover: $background;
        scrollbar-background-active: $background; scrollbar-color: $border-blurred;
        scrollbar-color-hover: $border-blurred; scrollbar-color-active: $primary;
    }
    ToastRack { margin-bottom: 2; }
    Toast.-information, Toast.-warning, Toast.-error {
        border: none; padding: 0 1; margin-top: 0; background: $panel;
    }
    Toast.-warning { color: $warning; }
    Toast.-error { color: $error; }
    CommandPalette #--input { border: none; padding: 1 1 0 1; }
    CommandPalette #--results { border: none; }
    SearchIcon { display: none; }
    Input > .input--cursor { text-style: $cursor-style; }
    CommandList > .option-list--option-highlighted { text-style: $cursor-style; }
    .-ascii * { border-top: none; }
    """

    def __init__(
        self,
        shown: Union[Recording, Callable[[], Source]],
        *,
        live: bool = True,
        ascii: bool = False,
        colourless: bool = False,
        directory: Optional[Path] = None,
        first: Callable[[], VmlatScreen] = navigation.FIRST,
    ) -> None:
        """``live``: the source obeys.  ``directory`` is where recordings and exports go.

        ``first`` makes the screen that it opens with.
        """
        self._first = first
        self._ascii, self._colourless = ascii, colourless
        super().__init__(ansi_color=True if colourless else None)
        #: Traceback of a defect that ended the program.
        self.fault: Optional[str] = None
        #: Of the recording that is replayed, if one is.
        self.player: Optional[Player] = None
        if isinstance(shown, Recording):
            self.player = Player(self, shown)
            connect: Callable[[], Source] = self.player.source
        else:
            connect = shown
        self.live = live and self.player is None
        self._connect_live = connect if self.live else None
        self.directory = directory or _state_directory() / "vmlat" / "sessions"
        self._feeds = 0
        self.feed = self._new_feed(connect)
        self.moments: Moments = Place().moments
        self._frozen: Optional[Place] = None
        self.span = Span.RECENT
        self.mark_ns: Optional[int] = None
        self.control = self._new_control()
        self._refusals = 0
        self._jumps = 0
        self.computing = Computing(self.call_later)
        #: Tracebacks of what screens could not compute.
        self.defects: list[str] = []
        self._quiet_until_s: dict[str, float] = {}
        self._painter: Optional[Painter] = None
        ScrollBar.renderer = AsciiScrollBar if ascii else ScrollBarRender
        for theme in (DARK, LIGHT):
            self.register_theme(theme)
        self.theme = "ansi-dark" if colourless else DARK.name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """How rules and cursors are drawn."""
        return {
            "rule": "ascii" if self._ascii else "solid",
            "cursor-style": "reverse" if self._colourless else "none",
        }

    # ---- life ---------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Begin."""
        self.theme_changed_signal.subscribe(self, lambda _: self._repainted())
        self.computing.start()
        self.push_screen(self._first())
        self._begin()

    def _begin(self) -> None:
        self.feed.start()
        if self.player is not None:
            self.run_worker(self.player.begin(), group="player", exclusive=True)

    def on_unmount(self) -> None:
        """Begin to end the threads; the terminal need not wait for them."""
        if self.player is not None:
            self.player.close()
        self.feed.end()
        self.computing.end()

    def close(self) -> None:
        """After the screens: returns when no thread of theirs is left."""
        self.feed.close()
        self.computing.close()

    def get_driver_class(self) -> type[Driver]:
        """Ours."""
        return TerminalDriver

    def _fatal_error(self) -> None:
        # Textual would print a traceback with all variables over the restored terminal, and has no
        # public way to prevent it: `panic` is asked only for exceptions that draw themselves.
        if self.fault is None:
            self.fault = traceback.format_exc()
        self._close_messages_no_wait()

    def _new_feed(self, connect: Callable[[], Source]) -> Feed:
        self._feeds += 1
        number = self._feeds

        def arrived(moments: Moments) -> None:
            self.post_message(SnapshotTaken(number, moments))

        return Feed(connect, arrived, at_once=self.player is not None)

    def _new_control(self) -> Control:
        return Control(self.send, self.live, self.refill)

    def send(self, order: Order) -> None:
        """Give the source an order."""
        self.feed.send(order)

    def on_snapshot_taken(self, message: SnapshotTaken) -> None:
        """Show it, unless the figures are frozen, or another feed has taken over."""
        if message.feed != self._feeds:
            return
        now = message.moments[-1]
        if self.player is not None and self.player.under_way:
            if not self.player.reaches(now):
                return
            self._frozen = None
            self._jumps += 1
        before, self.moments = self.moments[-1], message.moments
        if self.mark_ns is not None and before.boot != now.boot:
            self.mark_ns += before.wall_offset_ns - now.wall_offset_ns
        if (
            (self.live or now.phase is Phase.ENDED)
            and now.notices
            and now.notices != before.notices
        ):
            self._pass_on(clean(now.notices[-1]))
        self.control.learn(now)
        refusal = now.refusal
        if refusal is not None and refusal.number > self._refusals:
            self._refusals = refusal.number
            self._pass_on(clean(str(refusal.error)), "warning")
        self.refill()

    def _pass_on(self, text: str, severity: str = "information") -> None:
        """Tell what the host says, unless it talks without end: each message stays for a while."""
        now = time.monotonic()
        if now >= self._quiet_until_s.get(severity, 0.0):
            self._quiet_until_s[severity] = now + _PAUSE_S
            self.tell(text, severity)

    @property
    def painter(self) -> Painter:
        """In the colours of the theme."""
        if self._painter is None:
            variables = {**self.theme_variables, **self.current_theme.variables}
            self._painter = Painter(variables, self._ascii, self._colourless)
        return self._painter

    def _repainted(self) -> None:
        self._painter = None
        self.refresh(layout=True)
        for screen in self.screen_stack:
            for widget in screen.query("LineView"):
                widget.refresh()

    # ---- what is shown --------------------------------------------------------------------------

    @property
    def place(self) -> Place:
        """The moment that is shown."""
        return self._frozen or Place(self.moments, len(self.moments) - 1)

    @property
    def frozen(self) -> bool:
        """Whether time stands still on the screen."""
        return self._frozen is not None

    @property
    def crumbs(self) -> list[str]:
        """Names of the screens, outermost first."""
        return crumbs(self.screen_stack)

    @property
    def context(self) -> Context:
        """What screens know of all this."""
        place, player = self.place, self.player
        return Context(
            place,
            newest=self.moments[-1],
            span=self.span,
            mark_ns=self.mark_ns,
            frozen=self.frozen,
            live=self.live,
            can_go_live=self._connect_live is not None and not self.live,
            directory=self.directory,
            requested=self.control.requested,
            pending=self.control.pending,
            playing=player.words(place.now) if player else "",
            jumps=self._jumps,
        )

    def refill(self) -> None:
        """Have the screen in front show the moment again."""
        if isinstance(self.screen, VmlatScreen):
            self.screen.refill()

    def tell(self, text: str, severity: str = "information") -> None:
        """A short message; never markup."""
        text = ascii_only(text) if self._ascii else text
        self.notify(text, severity=cast(Any, severity), markup=False, timeout=6)

    @on(messages.Tell)
    def _told(self, message: messages.Tell) -> None:
        self.tell(message.text, message.severity)

    @on(messages.Failed)
    def _failed(self, message: messages.Failed) -> None:
        words, trace = f"not computed: {message.failure.words}", message.failure.trace
        if trace and trace not in self.defects:
            self.defects.append(trace)
            try:
                words += f"; report it with {files.keep_defect(self.directory, trace)}"
            except VmlatError:
                words += "; report it"
        self.tell(words, "error")

    @on(messages.NextSpan)
    def next_span(self) -> None:
        """The next span; that of the mark only if there is one."""
        order = [s for s in Span if s is not Span.MARK or self.mark_ns is not None]
        self.span = order[(order.index(self.span) + 1) % len(order)]
        self.refill()

    @on(messages.MarkMoment)
    def mark_moment(self) -> None:
        """From now on the figures can be those since this moment."""
        self.mark_ns = self.place.now.t_ns
        self.span = Span.MARK
        self.tell("figures since this moment; w goes to other spans")
        self.refill()

    def show(self, place: Optional[Place]) -> None:
        """Freeze what is shown at a place; None shows the newest moment again."""
        self._frozen = place
        self._jumps += 1
        self.refill()

    async def action_freeze(self) -> None:
        """Stop or go on; the feed goes on anyway, a replay stops."""
        if self.player is not None:
            await self.player.toggle()
        else:
            self.show(None if self.frozen else self.place)

    async def action_step(self, by: int) -> None:
        """So many moments back or forth, as far as there are any; freezes."""
        if self.player is not None:
            await self.player.step(by)
            return
        place = self.place
        at = max(0, min(place.index + by, len(place.moments) - 1))
        if at != place.index:
            self.show(replace(place, index=at))
        else:
            self.tell("nothing earlier is kept" if by < 0 else "this is the newest moment")

    # ---- what is measured -----------------------------------------------------------------------

    @on(messages.Watch)
    def _watch(self, message: messages.Watch) -> None:
        self.control.measure(message.taps)

    @on(messages.StopMeasuring)
    def _stop_measuring(self) -> None:
        self._attempt(self.control.release)

    @on(messages.Change)
    def _change(self, message: messages.Change) -> None:
        wanted = {"filters": message.filters, "threshold_ns": message.threshold_ns}
        changes = {name: value for name, value in wanted.items() if value is not None}
        self._attempt(lambda: self.control.want(**changes))

    @on(messages.NextDirection)
    def _next_direction(self) -> None:
        self._attempt(self.control.next_direction)

    @on(messages.AskHost)
    def _ask_host(self) -> None:
        self.control.describe()

    def _attempt(self, change: Callable[[], None]) -> None:
        """Why it cannot be is said."""
        try:
            change()
        except VmlatError as error:
            self.tell(str(error), "warning")

    # ---- screens --------------------------------------------------------------------------------

    @on(messages.Open)
    def _open(self, message: messages.Open) -> None:
        watched = set(self.place.now.watched)
        if isinstance(message, messages.OpenPath) and not {message.tap, *message.taps} <= watched:
            self.control.measure(message.taps)
        self.push_screen(navigation.opened(message))

    def action_visit(self, name: str) -> None:
        """A place that can be reached from everywhere; not twice on top of each other."""
        screen = navigation.VISITED[name]
        if not isinstance(self.screen, screen):
            self.push_screen(screen())

    def action_help(self) -> None:
        """The keys of the screen in front."""
        screen = self.screen
        if isinstance(screen, VmlatScreen) and screen.scope != "help":
            self.push_screen(navigation.help_on(screen, self.player is not None))

    # ---- sessions and files -------------------------------------------------------------------

    @on(messages.Switch)
    def _switch(self, message: messages.Switch) -> None:
        self.run_worker(self.switch(message.path))

    async def switch(self, path: Optional[Path]) -> None:
        """Replay a recording; None goes back to what was live."""
        player = None
        connect: Optional[Callable[[], Source]] = self._connect_live
        if path is not None:
            recording = Recording(path)
            try:
                recording.check()
            except VmlatError as error:
                self.tell(clean(str(error)), "error")
                return
            player = Player(self, recording)
            connect = player.source
        if connect is None:
            return
        if self.player is not None:
            self.player.close()
        self.live, self.player = player is None, player
        self._frozen = self.mark_ns = None
        self.control, self._refusals = self._new_control(), 0
        if not await self._close_feed():
            return
        self.moments = Place().moments
        self._jumps += 1
        self.feed = self._new_feed(connect)
        self._begin()
        while len(self.screen_stack) > 2:
            await self.pop_screen()
        self.refill()

    async def reopen(self, connect: Callable[[], Source]) -> None:
        """Read what is shown anew; what is on the screen stays until there is more."""
        if await self._close_feed():
            self.feed = self._new_feed(connect)
            self.feed.start()

    async def _close_feed(self) -> bool:
        """Whatever still comes from it is too late; False if another one took over meanwhile."""
        self._feeds += 1
        number = self._feeds
        await asyncio.to_thread(self.feed.close)
        return number == self._feeds

    def action_pace(self, by: int) -> None:
        """Replay faster or slower."""
        if self._replays():
            cast(Player, self.player).pace(by)

    async def action_seek_by(self, seconds: int) -> None:
        """Back or forth in a recording."""
        if self._replays():
            await cast(Player, self.player).seek_by(seconds)

    def action_seek(self) -> None:
        """Ask for a time of the recording."""
        if self._replays() and isinstance(self.screen, VmlatScreen):
            player = cast(Player, self.player)

            def take(answer: str) -> None:
                self.run_worker(player.seek(player.moment(answer)), group="seek")

            self.screen.query_one(Prompt).ask("go to", "", take)

    def _replays(self) -> bool:
        if self.player is None:
            self.tell("this is not a recording")
        return self.player is not None

    def action_record(self) -> None:
        """Begin a recording, or end it."""
        path = self.moments[-1].recording
        if path:
            self.tell(f"recorded to {path}")
            self.feed.record(None)
        elif not self.live:
            self.tell("this is a recording already")
        else:
            self.feed.record(files.recording_path(self.directory))

    def action_filter(self) -> None:
        """Filter the rows of the screen in front."""
        if isinstance(self.screen, VmlatScreen):
            self.screen.filter_rows()

    def action_copy(self) -> None:
        """Copy the row under the cursor."""
        line = files.selected_line(self.screen) if isinstance(self.screen, VmlatScreen) else None
        if line is None:
            self.tell("there is no row to copy")
            return
        self.copy_to_clipboard(line)
        self.tell("copied")

    def action_export(self) -> None:
        """Ask for a name, and write what is shown."""
        screen = self.screen
        if not isinstance(screen, VmlatScreen):
            return

        def take(answer: str) -> None:
            written = files.export(screen, self.crumbs, answer)
            self.tell("wrote " + ", ".join(str(path) for path in written))

        proposed = str(files.export_path(self.directory, screen))
        suffixes = " ".join(sheets.suffixes())
        screen.query_one(Prompt).ask(f"export to ({suffixes})", proposed, take)

    def action_next_theme(self) -> None:
        """The next of a few themes."""
        names = [DARK.name, LIGHT.name, "ansi-dark", "ansi-light", "nord", "gruvbox"]
        names = [name for name in names if name in self.available_themes]
        at = names.index(self.theme) if self.theme in names else -1
        self.theme = names[(at + 1) % len(names)]

    async def action_back(self) -> None:
        """Close the prompt, or leave the screen."""
        prompt = self.screen.query(Prompt)
        if prompt and prompt.first().open:
            prompt.first().cancel()
        elif len(self.screen_stack) > 2 or not isinstance(self.screen, VmlatScreen):
            self.pop_screen()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette has every key of this screen and of the program."""
        scopes = [screen.scope] if isinstance(screen, VmlatScreen) else []
        ours = ("recording", "app") if self.player else ("app",)
        for scope, target in [
            *((s, cast(Any, screen)) for s in scopes),
            *((s, self) for s in ours),
        ]:
            for key in keys.KEYS[scope]:
                if key.palette:
                    yield SystemCommand(
                        f"{key.words}  ({key.label})",
                        scope,
                        lambda action=key.action, target=target: self.run_worker(
                            target.run_action(action)
                        ),
                    )


if TYPE_CHECKING:
    _APPLICATION: type[Application] = VmlatApp

__all__ = ["SnapshotTaken", "VmlatApp"]
