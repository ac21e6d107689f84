"""An agent that does not behave ends in one clear error, never in a hang."""

from __future__ import annotations

import sys
import time

import pytest

from tests.support.frames import decoded, encoded, error_object, next_object, typed
from tests.tui.streams import Stream
from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.protocol import frames, migrations
from vmlat_tui.transport import process
from vmlat_tui.transport.hosts import Host
from vmlat_tui.transport.process import AgentDied, AgentProcess

_IMPORTS = "import sys, time, os, signal\n"


def agent(program: str) -> AgentProcess:
    """A stand-in for the far side of the pipe."""
    return AgentProcess(Host("a test", (sys.executable, "-c", _IMPORTS + program)))


def failure(source: AgentProcess) -> VmlatError:
    """What the next frame fails with."""
    with pytest.raises(VmlatError) as caught:
        source.next(10)
    return caught.value


def test_frames_come_whole_however_they_are_cut() -> None:
    program = (
        'for part in (\'{"type":"no\', \'tice","text":"a"}\\n{"type":\', \'"ack"}\\n\'):\n'
        "    sys.stdout.write(part); sys.stdout.flush(); time.sleep(0.05)\n"
        "sys.stdin.read()"
    )
    with agent(program) as source:
        assert next_object(source, 10) == {"type": "notice", "text": "a"}
        assert next_object(source, 10) == {"type": "ack", "id": None, "command": None}
        assert source.next(0.05) is None


def test_a_killed_agent_is_said_to_be_killed() -> None:
    with agent("os.kill(os.getpid(), signal.SIGKILL)") as source, pytest.raises(AgentDied) as died:
        source.next(10)
    assert "SIGKILL" in str(died.value) and died.value.exit_status == 1


def test_the_last_words_of_an_agent_are_passed_on() -> None:
    with agent("sys.exit('no such thing')") as source, pytest.raises(AgentDied, match="no such"):
        source.next(10)


def test_an_error_frame_is_that_error() -> None:
    line = encoded(error_object(UsageError("title", "cause", "remedy"))).decode().strip()
    with agent(f"print('{line}', flush=True); sys.stdin.read()") as source:
        caught = failure(source)
        assert str(caught) == "title: cause; remedy"
    assert caught.exit_status == 2


@pytest.mark.parametrize("line", ["nonsense", "[1]", '{"type":"unknown"}', "{"])
def test_garbage_is_no_frame(line: str) -> None:
    with agent(f"print({line!r}, flush=True); sys.stdin.read()") as source:
        assert isinstance(failure(source), frames.FrameError)


def test_an_agent_that_floods_is_ended_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_PATIENCE_S", 1.0)
    with agent('while True: print(\'{"type":"ack"}\' * 1)') as source:
        assert source.next(10)
        begin = time.monotonic()
    assert time.monotonic() - begin < 8


def test_only_hello_of_the_same_schema_is_accepted() -> None:
    hello = Stream().hello()
    assert frames.as_hello(typed(hello)).schema == migrations.SCHEMA
    for frame in (Stream().stats(), {**hello, "schema": 99}, {"type": "hello", "schema": 99}):
        with pytest.raises(frames.FrameError):
            frames.as_hello(typed(frame))


def test_a_frame_is_ascii_whatever_names_it_carries() -> None:
    line = encoded({"type": "notice", "text": "\x1b[31m \u202e é"})
    assert line.isascii() and b"\x1b" not in line
    assert decoded(line)["text"] == "\x1b[31m \u202e é"


def test_a_line_without_end_is_refused_before_memory_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_LINE", 1 << 20)
    monkeypatch.setattr(process, "_PATIENCE_S", 0.5)
    with agent("while True: sys.stdout.write('x' * 65536)") as source:
        assert "a line without end" in str(failure(source))
        assert len(source._buffer) < 2 << 20


def test_who_talks_without_end_on_standard_error_neither_blocks_nor_fills_memory() -> None:
    program = "sys.stderr.write('x' * (8 << 20) + '\\nlast'); sys.exit(3)"
    with agent(program) as source, pytest.raises(AgentDied, match="exit status 3, last"):
        source.next(20)
    assert len(source._words) <= 4096


def test_a_frame_of_the_session_itself_is_not_taken_from_an_agent() -> None:
    line = '{"type":"lost","title":"x","cause":"","attempt":1,"wait_s":1}'
    with agent(f"print('{line}', flush=True); sys.stdin.read()") as source:
        assert "not its own" in str(failure(source))


def test_what_a_login_prints_before_the_first_frame_is_passed_over() -> None:
    program = "print('Welcome to\\nhv1'); print('{\"type\":\"ack\"}'); print('bye', flush=True)"
    argv = (sys.executable, "-c", f"{_IMPORTS}{program}; sys.stdin.read()")
    with AgentProcess(Host("far", argv, far=True)) as source:
        assert next_object(source, 10) == {"type": "ack", "id": None, "command": None}
        assert "bye" in str(failure(source)), "later it is no greeting"


def test_a_login_that_greets_without_end_is_refused() -> None:
    host = Host("far", (sys.executable, "-c", "while True: print('Welcome')"), far=True)
    with AgentProcess(host) as source:
        assert isinstance(failure(source), frames.FrameError)
