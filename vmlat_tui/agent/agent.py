"""The agent: reads commands on standard input, writes frames on standard output.

Before it reads any, it gives up the privileges that it does not need (:mod:`.privileges`).

One thread, one loop; discovery has threads of its own and hands its frames to that loop.  The agent
ends on ``stop``, when its standard input ends (its parent died or the ssh connection broke), or
on SIGTERM or SIGHUP, at once if it is only preparing (:mod:`.orphan`); all probes live in its
descriptors, so however it ends, none is left in the kernel.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import os
import platform
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, Optional, Union

from vmlat_tui import __version__, log
from vmlat_tui.agent.background import BackgroundJob
from vmlat_tui.agent.describe import host_frame
from vmlat_tui.agent.guest import GuestMeasurement
from vmlat_tui.agent.line import line_of
from vmlat_tui.agent.measurement import Measurement, prepare
from vmlat_tui.agent.orphan import OrphanGuard
from vmlat_tui.agent.privileges import Privileges, drop
from vmlat_tui.discover.capabilities import lacking, names, needed
from vmlat_tui.discover.links.interfaces import LinkMonitor
from vmlat_tui.discover.watch import Watch
from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.probes import cache
from vmlat_tui.protocol import commands, frames, migrations
from vmlat_tui.protocol.commands import (
    Command,
    Configure,
    Describe,
    Log,
    Measure,
    Read,
    Refused,
    Release,
    Stop,
)
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.protocol.session import (
    AckFrame,
    AttachingFrame,
    Clock,
    ErrorFrame,
    HelloFrame,
    NoticeFrame,
    ReleasedFrame,
)

_log = logging.getLogger(__name__)

#: ``M_MMAP_THRESHOLD`` of malloc.h, and its initial value, which stays when it is set.
_MMAP_THRESHOLD, _LARGE = -3, 128 << 10

#: How often single packets are fetched, and how often expiry and readings run.
_POLL_S = 0.02
_SWEEP_S = 1.0


class Agent:
    """One session on this host: a measurement, discovery, or both."""

    def __init__(
        self, orders: int, output: int, guard: OrphanGuard, privileges: Privileges
    ) -> None:
        """``orders`` and ``output`` are descriptors; the output must be nobody else's."""
        self._orders = orders
        self._output = output
        self._guard = guard
        self._privileges = privileges
        self._buffer = b""
        self._ended = False
        self._interval_s = 1.0
        self._monitor: Optional[LinkMonitor] = None
        self._measurement: Union[Measurement, GuestMeasurement, None] = None
        self._watch: Optional[Watch] = None
        #: What takes long, by the command that wants it.
        self._jobs: dict[str, BackgroundJob[Any]] = {}
        #: Commands ``measure`` that wait for the one of that name.
        self._requests: list[Measure] = []

    def run(self) -> int:
        """Until asked to end; returns the exit status."""
        if _log.isEnabledFor(logging.INFO):
            self._log_start()
        try:
            first = self._next_command(wait=True)
            if first is None:
                _log.info("the input ended before the first command")
                return 0
            if isinstance(first, Describe):
                with self._guard.busy():
                    self._send(host_frame(self._privileges))
                return 0
            self._open(first)
            self._loop()
            if self._measurement:
                self._measurement.finish()
        except VmlatError as error:
            self._send(ErrorFrame.of(error))
            return error.exit_status
        except BrokenPipeError:
            _log.info("ending: nobody reads the frames any more")
            return 1
        finally:
            for part in (self._measurement, self._watch, self._monitor):
                if part:
                    part.close()
            _log.info("everything is detached and closed")
        return 0

    def end(self) -> None:
        """Ask the loop to finish; may be called from a signal handler."""
        self._ended = True

    # ---- frames and commands ----------------------------------------------------------------

    def _send(self, frame: Frame) -> None:
        if isinstance(frame, (NoticeFrame, ErrorFrame)):
            _log.warning("sent: %s", frame)
        data = line_of(frame)
        while data:
            data = data[os.write(self._output, data) :]

    def _next_command(self, wait: bool) -> Optional[Command]:
        """The next one that is there; raises :class:`.commands.Refused` for a wrong one.

        ``log`` is carried out here: it has no answer, and may come before ``configure``.
        """
        while True:
            line = self._next_line(wait)
            if line is None:
                return None
            command = commands.decode(line)
            if not isinstance(command, Log):
                _log.info("command %s, id %s", commands.name_of(command), command.id)
                _log.debug("%s", line)
                return command
            log.to_standard_error(command.level)
            self._log_start()

    def _next_line(self, wait: bool) -> Optional[bytes]:
        line = b""
        while not line.strip():  # an empty line only says that somebody is there
            while b"\n" not in self._buffer:
                if not wait and not select.select([self._orders], [], [], 0)[0]:
                    return None
                chunk = os.read(self._orders, 65536)
                if not chunk:
                    _log.info("the input ended")
                    self._ended = True
                    return None
                self._buffer += chunk
                if len(self._buffer) > frames.MAX_LINE:
                    raise UsageError("a command is too long")
            line, self._buffer = self._buffer.split(b"\n", 1)
        return line

    def _log_start(self) -> None:
        """What this process is, for somebody who only has its log."""
        _log.info(
            "agent %d of vmlat %s, Python %s, Linux %s, user %d",
            *(os.getpid(), __version__, platform.python_version(), platform.release()),
            os.geteuid(),
        )
        _log.debug("%s at %s", sys.version, sys.executable)
        for one in self._privileges.report():
            _log.info("capability %s: %s", one.name, one.state.value)

    def _obey(self, command: Command, prepared: bool = False) -> None:
        begin = time.monotonic_ns()
        try:
            if isinstance(command, Measure) and self._measurement is None and not prepared:
                self._prepare(command)
                return
            self._carry_out(command)
        except VmlatError as error:
            self._refuse(command.id, error)
        else:
            took, name = time.monotonic_ns() - begin, commands.name_of(command)
            _log.info("%s took %.1f ms", name, took / 1e6)
            measured = self._measuring().requested if isinstance(command, Measure) else None
            self._send(AckFrame(command.id, name, took, measured))

    def _carry_out(self, command: Command) -> None:
        if isinstance(command, Stop):
            self._ended = True
        elif isinstance(command, Measure) and self._measurement is None:
            self._measure(command)
        elif isinstance(command, Measure):
            self._measuring().change(command.requested)
        elif isinstance(command, Release):
            self._release()
        elif isinstance(command, Describe):
            self._describe()
        elif isinstance(command, Read):
            self._measuring().send_stats(final=False)
        else:
            raise UsageError("the agent is configured already", "`configure` comes first")

    def _measuring(self) -> Measurement:
        if self._measurement is None:
            raise UsageError("nothing is measured yet", "", "give the command `measure` first")
        if isinstance(self._measurement, GuestMeasurement):
            raise UsageError("a measurement in a guest cannot be changed")
        return self._measurement

    def _refuse(self, number: Optional[int], error: VmlatError) -> None:
        self._send(ErrorFrame.of(error, number))

    # ---- start ----------------------------------------------------------------------------

    def _open(self, command: Command) -> None:
        if not isinstance(command, Configure):
            raise UsageError("the first command must be configure or describe")
        self._interval_s = max(0.05, command.interval_s)
        self._monitor = LinkMonitor()
        if command.discover:
            self._watch = Watch(command.connect or None, self._interval_s)
        measurement = self._attach(command) if command.measure else None
        what = measurement.description() if measurement else None
        self._send(
            HelloFrame(
                schema=migrations.SCHEMA,
                kernel=platform.release(),
                host=socket.gethostname(),
                clock=Clock(time.monotonic_ns(), time.time_ns()),
                version=__version__,
                boot=_boot(),
                agent=os.getpid(),
                capabilities=self._privileges.report(),
                rung=what.rung if what else None,
                offsets=what.offsets if what else None,
                points=what.points if what else (),
            )
        )
        if measurement:
            self._begin(measurement)

    def _attach(self, command: Union[Configure, Measure]) -> Union[Measurement, GuestMeasurement]:
        missing = lacking()
        if missing:
            raise UsageError(
                f"measuring needs {names(needed())}",
                f"user {os.geteuid()} has no {names(missing)} here",
                "run as root, or with --sudo",
            )
        with self._guard.busy():
            if isinstance(command, Configure) and command.guest:
                self._measurement = GuestMeasurement(command, self._send)
            else:
                self._measurement = Measurement(command.requested, self._send)
        return self._measurement

    def _tell_missing(self) -> None:
        """Say that a measurement on this host sees less than it could, if it does."""
        missing = self._privileges.missing
        if missing and isinstance(self._measurement, Measurement):
            text = f"without {names(missing)} less is seen; `vmlat doctor` says what"
            self._send(NoticeFrame(text))

    def _describe(self) -> None:
        """Look at what can be measured here, in another thread: who may attaches every probe."""
        if "describe" not in self._jobs:
            look = functools.partial(host_frame, self._privileges)
            self._jobs["describe"] = BackgroundJob("describe", look, self._send)

    def _prepare(self, command: Measure) -> None:
        """Compile in another thread; the loop goes on with discovery, and then measures.

        What is requested meanwhile is carried out after that.
        """
        self._requests.append(command)
        if "measure" not in self._jobs:
            self._send(AttachingFrame(time.monotonic_ns()))
            compile_it = functools.partial(prepare, command.requested)
            then = self._obey_requests
            self._jobs["measure"] = BackgroundJob("compiling", compile_it, lambda _: then())

    def _obey_requests(self) -> None:
        requests, self._requests = self._requests, []
        for command in requests:
            self._obey(command, prepared=True)

    def _measure(self, command: Measure) -> None:
        """Begin to measure in an agent that only discovered so far."""
        measurement = self._attach(command)
        self._send(measurement.description())
        self._begin(measurement)

    def _begin(self, measurement: Union[Measurement, GuestMeasurement]) -> None:
        self._tell_missing()
        measurement.start()
        problem = cache.take_problem()
        if problem is not None:
            self._send(NoticeFrame(problem))

    def _release(self) -> None:
        """Stop measuring, or beginning to; discovery goes on."""
        self._requests.clear()
        if self._jobs.pop("measure", None) is None:
            measurement = self._measuring()
            self._measurement = None
            try:
                measurement.finish()
            finally:
                measurement.close()
        self._send(ReleasedFrame(time.monotonic_ns()))

    # ---- the loop ---------------------------------------------------------------------------

    def _loop(self) -> None:
        assert self._monitor
        next_sweep = next_stats = time.monotonic()
        while not self._ended:
            try:
                select.select([self._orders, self._monitor], [], [], _POLL_S)
            except InterruptedError:
                continue
            if self._monitor.changed():
                if self._measurement:
                    self._measurement.apply_links()
                if self._watch:
                    self._watch.poke()
            while not self._ended:
                try:
                    command = self._next_command(wait=False)
                except Refused as error:
                    self._refuse(error.number, error)
                    continue
                if command is None:
                    break
                self._obey(command)
            for frame in self._watch.frames() if self._watch else ():
                self._send(frame)
            for name in [name for name, job in self._jobs.items() if job.over]:
                self._jobs.pop(name).finish()
            now = time.monotonic()
            if self._measurement is None:
                continue
            self._measurement.send_packets()
            if now >= next_sweep:
                next_sweep = now + _SWEEP_S
                self._measurement.send_expired()
            if now >= next_stats:
                next_stats = now + self._interval_s
                self._measurement.send_stats(final=False)


def _boot() -> str:
    """Which boot of this host: times of another one are of another clock."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _return_memory() -> None:
    """Have what a reading needed for a moment go back to the kernel.

    By itself glibc takes large blocks from the heap once it has seen one freed; each reading then
    leaves other holes there, and the agent grows by megabytes for nothing.
    """
    with contextlib.suppress(AttributeError):  # another C library does not do so
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)


def main() -> int:
    """Run the agent on standard input and output; everything else goes to standard error."""
    _return_memory()
    privileges = drop()
    # libbcc and clang write wherever they like; the frames get a descriptor of their own.
    output = os.dup(1)
    os.dup2(2, 1)
    agent = Agent(0, output, OrphanGuard(0), privileges)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: agent.end())
    # The terminal's Ctrl-C reaches the whole group; the parent decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return agent.run()
