"""An agent that is driven without screens: what is waited for, for how long, and how it ends."""

from __future__ import annotations

import ast
import time
from pathlib import Path
from typing import Any, Optional, Union

import pytest

from tests.support.frames import error_object, typed
from tests.tui.streams import Stream
from vmlat_tui.ending import ENDING
from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.model.requested import Requested
from vmlat_tui.protocol.commands import Configure, Measure, Stop
from vmlat_tui.protocol.frames import Frame, type_of
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.session import limits
from vmlat_tui.session.headless import Headless, Remembering
from vmlat_tui.transport.process import AgentDied, AgentSilent
from vmlat_tui.transport.source import Order

ROOT = Path(__file__).resolve().parents[3]
STREAM = Stream(("web-1", "db-1"), flows=1)
LOOK = Configure(discover=True, measure=False)
DEATH = AgentDied("the agent died")


class Said:
    """A source that has said everything already; an error is raised in its place."""

    def __init__(self, *frames: Union[Raw, VmlatError]) -> None:
        self.frames = list(frames)
        self.sent: list[Order] = []
        self.closed = 0

    def send(self, order: Order) -> None:
        self.sent.append(order)

    def next(self, timeout_s: float) -> Optional[Frame]:
        if not self.frames:
            time.sleep(min(timeout_s, 0.01))
            return None
        frame = self.frames.pop(0)
        if isinstance(frame, VmlatError):
            raise frame
        return typed(frame)

    def close(self) -> None:
        self.closed += 1


class Running(Headless):
    """Counts what it is given."""

    def __init__(self, *frames: Union[Raw, VmlatError], duration_s: Optional[float] = None) -> None:
        super().__init__(duration_s=duration_s)
        self.said = Said(*frames)
        self.taken: list[str] = []
        self.ends: list[str] = []
        self.most = 1000

    def connect(self) -> Said:
        return self.said

    def take(self, frame: Frame) -> None:
        self.taken.append(type_of(frame))

    def enough(self) -> bool:
        return self.taken.count("stats") >= self.most

    def end(self, interrupted: str) -> None:
        self.ends.append(interrupted)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in vars(limits):
        if name.endswith("_S"):
            monkeypatch.setattr(limits, name, 0.05)


def final() -> Raw:
    return STREAM.stats(final=True)


def test_the_first_frame_is_hello_and_is_waited_for() -> None:
    with Running(STREAM.hello()) as running:
        assert running.start(LOOK).host == "hv1"
        assert running.said.sent == [LOOK] and running.wall_offset_ns
    assert running.said.closed == 1


def test_another_first_frame_is_no_agent() -> None:
    words = "does not begin with hello: but with topology"
    with Running(STREAM.topology()) as running, pytest.raises(VmlatError, match=words):
        running.start(LOOK)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("wait", "words"),
    [
        (lambda one: one.start(LOOK), "the agent did not start: no frame in 0 s"),
        (lambda one: one.look(), "the agent did not say which VMs there are: nothing in 0 s"),
        (lambda one: one.taps(["x"]), "the agent did not say which VMs there are: nothing in 0 s"),
        (lambda one: one.measure(Requested()), "the agent did not start: no probes in 0 s"),
        (lambda one: one.complete(), "the agent did not end: no final statistics in 0 s"),
    ],
)
def test_what_does_not_come_is_said_with_its_limit(wait: Any, words: str) -> None:
    with Running(duration_s=0.01) as running, pytest.raises(AgentSilent) as caught:
        wait(running)
    assert str(caught.value) == words and caught.value.exit_status == 1
    assert running.said.closed == 1


def test_it_looks_and_then_measures() -> None:
    frames = [STREAM.hello(), STREAM.topology(), STREAM.vitals(), STREAM.measuring()]
    with Running(*frames) as running:
        running.start(LOOK)
        assert running.taps(["db-1"]) == ("vnet1",)
        requested = Requested(("vnet1",))
        assert running.measure(requested).points
    assert running.said.sent == [LOOK, Measure(requested)]
    assert running.taken == ["hello", "topology", "vitals", "measuring"]
    assert running.look() is running.topology, "it is there already"


@pytest.mark.usefixtures("short")
def test_a_vm_that_is_not_there_is_the_users_mistake() -> None:
    with Running(STREAM.hello(), STREAM.topology()) as running:
        running.start(LOOK)
        with pytest.raises(UsageError, match="there is no VM 'web-9': on this host: web-1, db-1"):
            running.taps(["web-9"])


def test_what_the_agent_refuses_is_raised(capsys: pytest.CaptureFixture[str]) -> None:
    refusal = error_object(UsageError("vnet9 cannot be watched"), id=1)
    frames = [STREAM.hello(), {"type": "notice", "text": "\x1b[2Jless is seen"}, refusal]
    with Running(*frames) as running:
        running.start(LOOK)
        with pytest.raises(VmlatError, match="vnet9 cannot be watched") as caught:
            running.measure(Requested(("vnet9",)))
    assert caught.value.exit_status == 2
    said = capsys.readouterr().err
    assert said.startswith("vmlat: ") and "[2Jless is seen" in said and "\x1b" not in said


def test_it_watches_until_there_are_enough_and_takes_the_final_statistics() -> None:
    stats = [STREAM.stats() for _ in range(5)]
    with Running(STREAM.hello(), *stats, STREAM.vitals(), final()) as running:
        running.start(LOOK)
        running.most = 3
        running.complete()
    assert running.taken.count("stats") == 6 and running.over
    assert running.said.sent == [LOOK, Stop()] and running.ends == [""]


def test_it_watches_for_as_long_as_was_asked() -> None:
    with Running(STREAM.hello(), duration_s=0.1) as running:
        running.start(LOOK)
        begin = time.monotonic()
        running.watch()
        assert 0.1 <= time.monotonic() - begin < 1.0


def test_whoever_is_asked_to_end_takes_the_final_statistics() -> None:
    with Running(STREAM.hello(), STREAM.stats(), final()) as running:
        running.start(LOOK)
        ENDING.begin()
        try:
            running.complete()
        finally:
            ENDING.forget()
    assert running.said.sent == [LOOK, Stop()] and running.ends == [""]


@pytest.mark.parametrize("frames", [[], [STREAM.stats()]])
def test_of_an_agent_that_dies_what_it_sent_is_used(frames: list[Raw]) -> None:
    with Running(STREAM.hello(), *frames, DEATH) as running:
        running.start(LOOK)
        with pytest.raises(AgentDied, match="the agent died"):
            running.complete()
    assert running.ends == ["the agent died"] and running.said.closed == 1


def test_what_is_wrong_before_it_measures_ends_nothing() -> None:
    with Running(STREAM.hello(), DEATH) as running:
        running.start(LOOK)
        with pytest.raises(AgentDied):
            running.look()
    assert not running.ends


def test_a_history_is_kept() -> None:
    class Kept(Remembering):
        def connect(self) -> Said:
            return Said(STREAM.hello(), STREAM.topology())

    with Kept() as kept:
        kept.start(LOOK)
        kept.look()
    assert kept.now.topology is kept.topology and kept.now.hello is kept.hello


def test_only_these_start_an_agent() -> None:
    """What drives one without screens is :class:`Headless`; the others serve the screens."""
    makers = set()
    for path in (ROOT / "vmlat_tui").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "AgentProcess":
                makers.add(str(path.relative_to(ROOT / "vmlat_tui")))
    assert makers == {"session/headless.py", "transport/persistent.py", "commands/targets.py"}
