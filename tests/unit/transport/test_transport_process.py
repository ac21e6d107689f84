"""An agent that does not behave ends in one clear error, never in a hang."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.frames import decoded, encoded, error_object, next_object, typed
from tests.tui.streams import Stream
from vmlat_tui import log
from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.protocol import frames, migrations
from vmlat_tui.protocol.commands import Stop
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
    assert len(source._words.words) <= 4096 and len(source._words._line) < 1 << 17


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


# ---- the log of an agent -------------------------------------------------------------------------

LINE = "2026-11-30T17:41:20.721Z {} vmlat_tui.agent.agent: {}"
ECHO = r"""
import json
for line in sys.stdin:
    print(json.dumps({"type": "notice", "text": line}), flush=True)
"""


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Path]:
    """A log of everything."""
    with log.written("debug", tmp_path / "log"):
        yield tmp_path / "log"


def says(*lines: str) -> str:
    """A program that says these on standard error."""
    return f"sys.stderr.write({''.join(line + chr(10) for line in lines)!r})\n"


def heard(source: AgentProcess) -> dict[str, object]:
    """The next command that an :data:`ECHO` got."""
    frame = next_object(source, 10)
    assert frame is not None
    found = json.loads(frame["text"])
    assert isinstance(found, dict)
    return found


def test_an_agent_is_told_to_log_before_anything_else(tmp_path: Path) -> None:
    with log.written("warning", tmp_path / "log"), agent(ECHO) as source:
        source.send(Stop())
        assert heard(source) == {"command": "log", "level": "warning", "id": None}
        assert heard(source) == {"command": "stop", "id": None}


def test_an_agent_is_told_nothing_of_a_log_that_there_is_not() -> None:
    with agent(ECHO) as source:
        source.send(Stop())
        assert heard(source) == {"command": "stop", "id": None}


def test_log_lines_of_an_agent_go_to_the_log_and_other_words_stay_words(written: Path) -> None:
    hostile = "\x1b[2J" + "x" * 9999
    lines = (LINE.format("INFO", "compiled"), "bad luck", LINE.format("ERROR", hostile))
    with agent(says(*lines) + "sys.exit(3)") as source:
        assert failure(source).cause == "exit status 3, bad luck"
    text = written.read_text()
    logged = [line for line in text.splitlines() if f"[a test, process {source.pid}] " in line]
    levels = [line.split(" ")[1] for line in logged]
    assert levels == ["INFO", "WARNING", "ERROR"]
    assert logged[0].endswith(lines[0]) and logged[1].endswith("says: bad luck")
    assert r"\x1b[2Jxxx" in logged[2] and len(logged[2]) < log.LONGEST + 10
    assert "\x1b" not in text


def test_log_lines_without_a_log_are_no_words_either() -> None:
    with agent(says("bad luck", LINE.format("ERROR", "compiled")) + "sys.exit(3)") as source:
        assert failure(source).cause == "exit status 3, bad luck"


def test_what_an_agent_logs_at_its_end_is_not_lost(written: Path) -> None:
    lines = [LINE.format("INFO", f"detached {n}") for n in range(500)]
    with agent("sys.stdin.read()\n" + says(*lines)):
        pass
    *_, end = found = written.read_text().splitlines()
    relayed = [line for line in found if "[a test, process " in line]
    assert len(relayed) == 500 and relayed[-1].endswith(" detached 499")
    assert end.endswith("ended: exit status 0")
