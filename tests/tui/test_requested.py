"""What the user asks to be measured, what the agent says it measures, and what is shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from textual.pilot import Pilot

from tests.support.frames import error_object
from tests.tui.driving import drive, press, screen_text
from tests.tui.sources import Frames
from tests.tui.streams import Stream
from tests.tui.test_screens import until
from vmlat_tui.errors import UsageError
from vmlat_tui.model.requested import Requested
from vmlat_tui.protocol.commands import Measure, Release
from vmlat_tui.session.snapshot import Phase
from vmlat_tui.tui.app import VmlatApp


class Agent(Frames):
    """Obeys like an agent, once it is let to: it refuses filters of TCP."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream.looking(), endless=True)
        self.stream = stream
        self.measured: list[Requested] = []
        self._answered = 0

    def answer(self) -> None:
        """Carry out, or refuse, all that it was told since the last time."""
        told, self._answered = self.sent[self._answered :], len(self.sent)
        for command in told:
            if isinstance(command, Release):
                self.measured.clear()
                self.give([self.stream.released()])
            else:
                self._measure(command)

    def _measure(self, command: Measure) -> None:
        requested = command.requested
        if "tcp" in requested.words:
            self.give([error_object(UsageError("no TCP here"), id=command.id)])
            return
        if not self.measured:
            self.give([self.stream.measuring(), self.stream.links()])
        self.measured.append(requested)
        self.give([self.stream.acknowledged(requested, command.id), self.stream.stats()])


def driven(act: Callable[[VmlatApp, Pilot[None], Agent], Awaitable[None]]) -> None:
    """Run the screens on an agent that was told to measure one VM, and has not answered."""
    agent = Agent(Stream(watched=["vnet0"]))

    async def begin(app: VmlatApp, pilot: Pilot[None]) -> None:
        await press(pilot, "j", "j", "enter")
        await until(pilot, lambda: agent.sent)
        await act(app, pilot, agent)

    drive((), begin, source=agent, live=True)


async def answered(app: VmlatApp, pilot: Pilot[None], agent: Agent, sent: int) -> str:
    """The top line when all that was sent, so many commands, is answered and shown."""
    await until(pilot, lambda: len(agent.sent) == sent)
    agent.answer()
    await until(pilot, lambda: app.moments[-1].answered == agent.sent[-1].id)
    await pilot.pause(0.05)
    return top(app)


def top(app: VmlatApp) -> str:
    return screen_text(app).splitlines()[0]


def test_what_is_set_while_the_probes_are_attached_is_sent_and_pending_until_it_is_measured() -> (
    None
):
    async def act(app: VmlatApp, pilot: Pilot[None], agent: Agent) -> None:
        agent.give([{"type": "attaching", "t_ns": agent.stream.t_ns}])
        await until(pilot, lambda: app.moments[-1].phase is Phase.ATTACHING)
        app.control.want_filter("udp")
        app.control.next_direction()
        app.control.want(threshold_ns=5_000)
        await pilot.pause()
        assert "pending: udp, TX only, packets from 5 µs" in top(app)
        line = await answered(app, pilot, agent, 4)
        assert "udp, TX only, packets from 5 µs" in line and "pending" not in line
        assert agent.measured[-1] == app.control.requested
        assert agent.measured[-1].vm_interfaces == ("vnet0",)

    driven(act)


def test_a_refusal_restores_what_the_agent_acknowledged_last_and_no_older_wish() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None], agent: Agent) -> None:
        app.control.want_filter("udp")
        await answered(app, pilot, agent, 2)
        app.control.want_filter("tcp")
        app.control.next_direction()
        await until(pilot, lambda: len(agent.sent) == 4)
        assert "udp" in top(app) and "pending: tcp, TX only" in top(app)
        line = await answered(app, pilot, agent, 4)
        assert "udp" in line and "tcp" not in line and "TX" not in line and "pending" not in line
        assert app.control.requested == agent.measured[-1]
        app.control.next_direction()
        line = await answered(app, pilot, agent, 5)
        assert "udp, TX only" in line

    driven(act)


def test_a_refusal_of_what_was_requested_earlier_leaves_what_was_requested_since() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None], agent: Agent) -> None:
        await answered(app, pilot, agent, 1)
        app.control.want_filter("tcp")
        await until(pilot, lambda: len(agent.sent) == 2)
        agent.answer()
        app.control.want_filter("udp")
        await until(pilot, lambda: app.moments[-1].refusal)
        assert "pending: udp" in top(app)
        assert "udp" in await answered(app, pilot, agent, 3)

    driven(act)


def test_a_refused_beginning_forgets_what_nobody_acknowledged() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None], agent: Agent) -> None:
        app.control.want_filter("tcp")
        await until(pilot, lambda: len(agent.sent) == 2)
        del agent.sent[0]
        await answered(app, pilot, agent, 1)
        assert app.moments[-1].measuring is None and app.control.requested.filters == ()
        app.control.next_direction()
        await pilot.pause(0.05)
        assert len(agent.sent) == 1, "nothing is measured: it is kept for when it is"
        assert "pending: TX only" in top(app)
        app.control.measure(("vnet0",))
        assert "TX only" in await answered(app, pilot, agent, 2)

    driven(act)


def test_what_is_set_after_a_release_is_for_the_next_measurement() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None], agent: Agent) -> None:
        app.control.want_filter("udp")
        await answered(app, pilot, agent, 2)
        app.control.release()
        app.control.next_direction()
        await until(pilot, lambda: len(agent.sent) == 3)
        agent.answer()
        await until(pilot, lambda: app.moments[-1].measuring is None)
        await pilot.pause(0.1)
        assert len(agent.sent) == 3 and "pending: udp, TX only" in top(app)
        app.control.measure(("vnet0",))
        assert "udp, TX only" in await answered(app, pilot, agent, 4)

    driven(act)


def test_a_moment_of_the_past_is_shown_with_what_was_measured_then() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None], agent: Agent) -> None:
        await answered(app, pilot, agent, 1)
        app.control.want_filter("udp")
        assert "udp" in await answered(app, pilot, agent, 2)
        await press(pilot, "t", "t")
        assert "frozen" in top(app) and "udp" not in top(app)

    driven(act)


def test_an_agent_that_makes_up_what_it_measures_breaks_nothing() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None], agent: Agent) -> None:
        made_up = Requested(("\x1b[2J",), directions=())
        agent.give([agent.stream.measuring(), agent.stream.acknowledged(made_up, 1 << 60)])
        await until(pilot, lambda: app.control.requested == made_up)
        await press(pilot, "D")
        assert "\x1b" not in screen_text(app)

    driven(act)
