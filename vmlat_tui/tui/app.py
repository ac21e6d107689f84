"""The application: one feed, one moment that is shown, one state that is requested."""

from __future__ import annotations

import asyncio
import os
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional, Union, cast

from textual.app import App, SystemCommand
from textual.driver import Driver
from textual.message import Message
from textual.screen import Screen
from textual.scrollbar import ScrollBar, ScrollBarRender

from vmlat_tui.errors import VmlatError
from vmlat_tui.model.packets import SeenPacket
from vmlat_tui.model.topology import Domain
from vmlat_tui.recording.replay import Recording
from vmlat_tui.session import window
from vmlat_tui.session.feed import Feed
from vmlat_tui.session.sample import LegKey
from vmlat_tui.session.snapshot import Moments, Phase, Place
from vmlat_tui.session.window import Span
from vmlat_tui.transport.source import Source
from vmlat_tui.tui import files, keys
from vmlat_tui.tui.control import Control
from vmlat_tui.tui.driver import TerminalDriver
from vmlat_tui.tui.paint import DARK, LIGHT, AsciiScrollBar, Painter, ascii_only
from vmlat_tui.tui.player import Player
from vmlat_tui.tui.screen import VmlatScreen
from vmlat_tui.tui.screens.compare import CompareScreen
from vmlat_tui.tui.screens.doctor import DoctorScreen
from vmlat_tui.tui.screens.domains import DomainsScreen
from vmlat_tui.tui.screens.findings import VerdictScreen
from vmlat_tui.tui.screens.flows import FlowsScreen
from vmlat_tui.tui.screens.help import HelpScreen
from vmlat_tui.tui.screens.leg import LegScreen
from vmlat_tui.tui.screens.packets import PacketScreen, PacketsScreen
from vmlat_tui.tui.screens.path import PathScreen
from vmlat_tui.tui.screens.placement import PlacementScreen
from vmlat_tui.tui.screens.sessions import SessionsScreen
from vmlat_tui.tui.screens.thread import ThreadScreen
from vmlat_tui.tui.widgets.prompt import Prompt
from vmlat_tui.tui.widgets.table import Table
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
        first: Callable[[], VmlatScreen] = DomainsScreen,
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
        self.control = Control(self)
        self._refusals = 0
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
        self.push_screen(self._first())
        self._begin()

    def _begin(self) -> None:
        self.feed.start()
        if self.player is not None:
            self.run_worker(self.player.begin(), group="player", exclusive=True)

    def on_unmount(self) -> None:
        """Begin to end the feed; the terminal need not wait for it."""
        if self.player is not None:
            self.player.close()
        self.feed.end()

    def close(self) -> None:
        """After the screens: returns when nothing of the feed is left."""
        self.feed.close()

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

    def on_snapshot_taken(self, message: SnapshotTaken) -> None:
        """Show it, unless the figures are frozen, or another feed has taken over."""
        if message.feed != self._feeds:
            return
        now = message.moments[-1]
        if self.player is not None and self.player.under_way:
            if not self.player.reaches(now):
                return
            self._frozen = None
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
        return [s.crumb for s in self.screen_stack if isinstance(s, VmlatScreen)]

    def refill(self) -> None:
        """Have the screen in front show the moment again."""
        if isinstance(self.screen, VmlatScreen):
            self.screen.refill()

    def tell(self, text: str, severity: str = "information") -> None:
        """A short message; never markup."""
        text = ascii_only(text) if self._ascii else text
        self.notify(text, severity=cast(Any, severity), markup=False, timeout=6)

    @property
    def span_words(self) -> str:
        """What the figures are of, for a title."""
        return window.words(self.place, self.span, self.mark_ns)

    def next_span(self) -> None:
        """The next span; that of the mark only if there is one."""
        order = [s for s in Span if s is not Span.MARK or self.mark_ns is not None]
        self.span = order[(order.index(self.span) + 1) % len(order)]
        self.refill()

    def mark_moment(self) -> None:
        """From now on the figures can be those since this moment."""
        self.mark_ns = self.place.now.t_ns
        self.span = Span.MARK
        self.tell("figures since this moment; w goes to other spans")
        self.refill()

    def show(self, place: Optional[Place]) -> None:
        """Freeze what is shown at a place; None shows the newest moment again."""
        self._frozen = place
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

    def look_at(self, tap: str, taps: tuple[str, ...]) -> None:
        """Show a vNIC, measuring it (with others) if it is not measured already."""
        if not {tap, *taps} <= set(self.place.now.watched):
            self.control.measure(taps)
        self.push_screen(PathScreen(tap))

    # ---- places -------------------------------------------------------------------------------

    def compare(self) -> None:
        """Several vNICs in one table."""
        self.push_screen(CompareScreen())

    def findings(self, tap: str) -> None:
        """What explains the time of a vNIC."""
        self.push_screen(VerdictScreen(tap))

    def flows(self, tap: str) -> None:
        """Flows of a vNIC."""
        self.push_screen(FlowsScreen(tap))

    def packets(self, tap: str) -> None:
        """Slowest packets of a vNIC."""
        self.push_screen(PacketsScreen(tap))

    def packet(self, frame: SeenPacket) -> None:
        """One packet."""
        self.push_screen(PacketScreen(frame))

    def placement(self, domain: Domain) -> None:
        """Where a VM runs."""
        self.push_screen(PlacementScreen(domain))

    def leg(self, key: LegKey) -> None:
        """One leg."""
        self.push_screen(LegScreen(key))

    def thread(self, tap: str, title: str, tid: Optional[int]) -> None:
        """A worker or vCPU of the VM that owns a vNIC, or all its vCPUs."""
        self.push_screen(ThreadScreen(tap, title, tid))

    def action_visit(self, name: str) -> None:
        """A place that can be reached from everywhere; not twice on top of each other."""
        screen = {"doctor": DoctorScreen, "sessions": SessionsScreen}[name]
        if not isinstance(self.screen, screen):
            self.push_screen(screen())

    def action_help(self) -> None:
        """The keys of the screen in front."""
        screen = self.screen
        if isinstance(screen, VmlatScreen) and not isinstance(screen, HelpScreen):
            columns = {c.id: c for table in screen.query(Table) for c in table.columns}
            scopes = (screen.scope, *(("recording",) if self.player else ()))
            self.push_screen(HelpScreen(scopes, list(columns.values())))

    # ---- sessions and files -------------------------------------------------------------------

    @property
    def can_go_live(self) -> bool:
        """There is a live source to go back to."""
        return self._connect_live is not None and not self.live

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
        self.control, self._refusals = Control(self), 0
        if not await self._close_feed():
            return
        self.moments = Place().moments
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
            files.ask_time(self, self.screen)

    def _replays(self) -> bool:
        if self.player is None:
            self.tell("this is no recording")
        return self.player is not None

    def action_record(self) -> None:
        """Begin a recording, or end it."""
        files.record(self)

    def action_filter(self) -> None:
        """Filter the rows of the screen in front."""
        if isinstance(self.screen, VmlatScreen):
            self.screen.filter_rows()

    def action_copy(self) -> None:
        """Copy the row under the cursor."""
        files.copy(self)

    def action_export(self) -> None:
        """Write what is shown."""
        files.ask_export(self)

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


__all__ = ["SnapshotTaken", "VmlatApp"]
