"""An agent as a child process of ours: itself, or the ssh that leads to it."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import subprocess
import time
from typing import Optional

from vmlat_tui import log
from vmlat_tui.ending import ANSWER_S, ENDING
from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.protocol import commands, frames
from vmlat_tui.protocol.commands import Log
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.protocol.session import ErrorFrame, HelloFrame, LostFrame
from vmlat_tui.transport import hosts, starter
from vmlat_tui.transport.hosts import Host
from vmlat_tui.transport.source import Order, Pace, Seek, Step
from vmlat_tui.transport.standard_error import StandardError

_log = logging.getLogger(__name__)

#: How long an agent may take to end after its input has: one that is well takes a second
#: (:mod:`vmlat_tui.agent.orphan`), also far away, where it ends with the connection.
_PATIENCE_S = 1.5
#: It is looked after so often meanwhile.
_GLANCE_S = 0.05
#: A killed one is gone at once, unless the kernel is still taking its probes apart.
_KILLED_S = 0.3
#: One that is far away hears of us this often; see :mod:`vmlat_tui.transport.bootstrap`.
_BEAT_S = 10.0
#: So many lines the login there may print before the first frame: not every profile is silent.
_GREETING = 200


class AgentDied(VmlatError):
    """The stream of frames ended although nobody asked for that; another try may succeed."""


class AgentSilent(AgentDied):
    """It is there, and does not do what it was asked to."""


class AgentProcess:
    """Starts the agent, gives commands and frames.  For one thread.

    Use as a context manager: leaving it ends the agent, by force if it does not obey.  How long
    anything waits, :data:`.ending.ENDING` limits.
    """

    def __init__(self, host: Optional[Host] = None) -> None:
        """``host`` is this one unless it says otherwise."""
        self._host = host or hosts.here()
        self._outgoing = bytearray(self._host.preamble())
        level = log.level()
        if level is not None:
            self._outgoing += commands.encode(Log(level))
        _log.debug("[%s] %s", self._host.name, self._host.argv)
        try:
            with ENDING.held():
                self._process = starter.start(
                    self._host.argv,
                    dict(self._host.environment),
                    here=not self._host.far,
                    # The terminal's Ctrl-C is for us, who then tell the agent to stop.
                    session=self._host.far,
                )
        except OSError as error:
            remedy = "install openssh-client" if self._host.far else ""
            cause = error.strerror or str(error)
            raise UsageError(f"{self._host.argv[0]} cannot be run", cause, remedy) from None
        process = self._process
        assert process.stdin and process.stdout and process.stderr
        self._input = process.stdin
        self._output, self._errors = process.stdout.fileno(), process.stderr.fileno()
        for descriptor in (self._input.fileno(), self._errors):
            os.set_blocking(descriptor, False)
        self._buffer = bytearray()
        self._searched = 0
        self._words = StandardError(f"{self._host.name}, process {self.pid}")
        self._heard, self._speaks = False, True
        self._greeting = _GREETING if self._host.far else 0
        self._next_beat = time.monotonic() + _BEAT_S
        self._closed = self._woken = False
        _log.info("[%s] process %d started for an agent", self._host.name, self.pid)
        #: Since its input has ended: until when it is waited for.
        self._patient_until: Optional[float] = None

    @property
    def pid(self) -> int:
        """Of the child: the agent, or ssh."""
        return self._process.pid

    def __enter__(self) -> AgentProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, order: Order) -> None:
        """Give one command; raises :class:`AgentDied` if nobody is there."""
        if isinstance(order, (Pace, Seek, Step)):
            return
        if self._closed:
            raise self._death()
        line = commands.encode(order)
        _log.debug("[%s] command %s", self._host.name, line)
        self._outgoing += line
        if not self._push():
            raise self._death()

    def next(self, timeout_s: float) -> Optional[Frame]:
        """The next frame, or None if none came in time, or if everything is to end since then.

        Raises :class:`AgentDied` at the end of the stream, :class:`AgentSilent` if the agent is
        not listened to any more, :class:`frames.FrameError` for garbage, and the agent's own error
        for a fatal ``error`` frame.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            if ENDING.over:
                raise AgentSilent("the agent did not end in time", "interrupted")
            at = self._buffer.find(b"\n", self._searched)
            if at >= 0:
                line = bytes(self._buffer[:at])
                del self._buffer[: at + 1]
                self._searched = 0
                if self._greeting and not line.startswith(b"{"):
                    self._greeting -= 1
                    continue
                frame = self._decoded(line)
                self._heard, self._greeting = True, 0
                return self._checked(frame)
            self._searched = len(self._buffer)
            if self._searched > frames.MAX_LINE:
                raise frames.FrameError("the agent sent an invalid frame", "a line without end")
            self._beat()
            now = time.monotonic()
            if now > deadline:
                return None
            if not self._wait(min(deadline, self._next_beat) - now):
                if self._woken:
                    return None
                continue
            chunk = os.read(self._output, 1 << 16)
            if not chunk:
                raise self._death()
            self._buffer += chunk

    def _decoded(self, line: bytes) -> Frame:
        try:
            frame = frames.decode(line)
        except frames.FrameError as error:
            _log.error("[%s] %s: %s", self._host.name, error, line[:200])
            raise
        if isinstance(frame, HelloFrame):
            _log.info(
                "[%s] agent %s of vmlat %s, schema %s, on %s, Linux %s",
                *(self._host.name, frame.agent, frame.version, frame.schema, frame.host),
                frame.kernel,
            )
        return frame

    @staticmethod
    def _checked(frame: Frame) -> Frame:
        if isinstance(frame, ErrorFrame) and frame.fatal:
            raise frame.exception
        if isinstance(frame, LostFrame):
            raise frames.FrameError("the agent sent a frame that is not its own", "lost")
        return frame

    # ---- the three pipes ----------------------------------------------------------------------

    def _wait(self, seconds: float) -> bool:
        """Move what can be moved; tell whether there is output to read."""
        writing = [self._input.fileno()] if self._outgoing else []
        reading = [self._output, self._errors] if self._speaks else [self._output]
        seconds = ENDING.left_s(seconds, ANSWER_S)
        ready, writable, _ = select.select([*reading, ENDING], writing, [], max(seconds, 0))
        self._woken = ENDING in ready
        if self._woken:
            ENDING.woken()
        if self._errors in ready:
            self._listen()
        if writable and not self._push():
            self._outgoing.clear()  # why nobody takes it, the end of the output will say
        return self._output in ready

    def _push(self) -> bool:
        """Write as much as the pipe takes; False if nobody reads it any more."""
        while self._outgoing:
            try:
                with memoryview(self._outgoing)[: 1 << 16] as part:
                    count = os.write(self._input.fileno(), part)
            except BlockingIOError:
                break
            except BrokenPipeError:
                return False
            del self._outgoing[:count]
        return True

    def _beat(self) -> None:
        if time.monotonic() < self._next_beat:
            return
        self._next_beat = time.monotonic() + _BEAT_S
        if self._host.far and not self._outgoing:
            self._outgoing += b"\n"

    def _listen(self) -> None:
        """Take what is said on standard error."""
        with contextlib.suppress(BlockingIOError):
            chunk = os.read(self._errors, 1 << 16)
            self._speaks = bool(chunk)
            self._words.take(chunk)

    def _hear_out(self) -> None:
        """Take what is in the pipe of standard error."""
        for _ in range(16):  # a pipe full
            if self._speaks:
                self._listen()

    # ---- the end ------------------------------------------------------------------------------

    def _death(self) -> VmlatError:
        """Why there will be no more frames."""
        try:
            status: Optional[int] = self._process.wait(ENDING.left_s(_PATIENCE_S))
        except subprocess.TimeoutExpired:
            status = None
        if not self._closed:
            self._hear_out()
        words = self._words.words
        _log.warning("[%s] no more frames: %s", self._host.name, _cause(status))
        # Who was let in, and heard the agent, was not refused.
        refused = None if self._heard else hosts.refusal(self._host, status, words)
        if refused is not None:
            return refused
        cause = "" if self._host.far and status == hosts.SSH_FAILED else _cause(status)
        last = next((line.strip() for line in reversed(words.splitlines()) if line.strip()), "")
        if last:
            cause = ", ".join(filter(None, (cause, last[:200])))
        if self._host.far:
            name = self._host.name
            reached = self._heard or status != hosts.SSH_FAILED
            never = f"{name} did not start the agent" if reached else f"{name} cannot be reached"
            lost = f"the connection to {name} was lost"
            if not self._heard and status == hosts.SSH_FAILED:
                return AgentDied(never, cause, f"`ssh {name}` must work")
            return AgentDied(lost if self._heard else never, cause)
        return AgentDied(
            "the agent died; its probes went with it",
            cause,
            "what it had sent is complete; start again",
        )

    def hang_up(self) -> None:
        """End its input, and so the agent; what it still says is lost.  :meth:`close` must follow.

        Of several agents none then waits for the end of another one.
        """
        if self._patient_until is None:
            self._patient_until = time.monotonic() + _PATIENCE_S
        with contextlib.suppress(OSError):
            self._input.close()

    def close(self) -> None:
        """End the agent; returns when it is gone."""
        if self._closed:
            return
        self._closed = True
        with ENDING.held():
            self.hang_up()
            # It may be writing into a full pipe: read on until it ends.
            output = [self._output, self._errors]
            while self._process.poll() is None and self._patience_s > 0:
                for descriptor in select.select(output, [], [], _GLANCE_S)[0]:
                    if descriptor == self._errors:
                        self._listen()
                        going_on = self._speaks
                    else:
                        going_on = bool(os.read(descriptor, 1 << 16))
                    if not going_on:
                        output.remove(descriptor)
            if self._process.poll() is None:
                # The sudo of a user is root's: it ends with its input, or later.
                with contextlib.suppress(subprocess.TimeoutExpired, PermissionError):
                    self._process.kill()
                    self._process.wait(_KILLED_S)
            self._hear_out()
            status = self._process.poll()
            _log.info("[%s] process %d ended: %s", self._host.name, self.pid, _cause(status))
            for pipe in (self._process.stdout, self._process.stderr):
                assert pipe
                pipe.close()

    @property
    def _patience_s(self) -> float:
        assert self._patient_until is not None
        return ENDING.left_s(self._patient_until - time.monotonic())


def _cause(status: Optional[int]) -> str:
    if status is None:
        return "it closed its output and hangs"
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"
