"""The agent: reads commands on standard input, writes frames on standard output.

One thread, one loop; discovery has threads of its own and hands its frames to that loop.  The agent
ends when told to, when its standard input ends (its parent died or the ssh connection broke), or
on SIGTERM or SIGHUP, at once if it is only preparing (:mod:`.watchman`); all probes live in its
descriptors, so however it ends, none is left in the kernel.
"""

from __future__ import annotations

import json
import os
import platform
import select
import signal
import socket
import time
from pathlib import Path
from typing import Any, Optional, Union

from vmlat_tui import __version__
from vmlat_tui.agent.describe import host_frame
from vmlat_tui.agent.errand import Errand
from vmlat_tui.agent.guest import GuestMeasurement
from vmlat_tui.agent.line import line_of
from vmlat_tui.agent.measurement import Measurement, prepare
from vmlat_tui.agent.watchman import Watchman
from vmlat_tui.discover.links import LinkMonitor
from vmlat_tui.discover.watch import Watch
from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.model import frames
from vmlat_tui.model.frames import Frame

#: How often single packets are fetched, and how often expiry and readings run.
_POLL_S = 0.02
_SWEEP_S = 1.0

#: What a command that makes no sense raises.
_WRONG = (ValueError, TypeError, KeyError)


class Agent:
    """One session on this host: a measurement, discovery, or both."""

    def __init__(self, commands: int, output: int, watchman: Watchman) -> None:
        """``commands`` and ``output`` are descriptors; the output must be nobody else's."""
        self._commands = commands
        self._output = output
        self._watchman = watchman
        self._buffer = b""
        self._ended = False
        self._interval_s = 1.0
        self._monitor: Optional[LinkMonitor] = None
        self._measurement: Union[Measurement, GuestMeasurement, None] = None
        self._watch: Optional[Watch] = None
        #: What takes long, by the command that wants it.
        self._errands: dict[str, Errand[Any]] = {}

    def run(self) -> int:
        """Until told to end; returns the exit status."""
        try:
            first = self._next_command(wait=True)
            if first is None:
                return 0
            if first.get("command") == "describe":
                with self._watchman.busy():
                    self._send(host_frame())
                return 0
            self._open(first)
            self._loop()
            if self._measurement:
                self._measurement.finish()
        except VmlatError as error:
            self._send(frames.error_frame(error))
            return error.exit_status
        except BrokenPipeError:
            return 1
        finally:
            for part in (self._measurement, self._watch, self._monitor):
                if part:
                    part.close()
        return 0

    def end(self) -> None:
        """Ask the loop to finish; may be called from a signal handler."""
        self._ended = True

    # ---- frames and commands ----------------------------------------------------------------

    def _send(self, frame: Frame) -> None:
        data = line_of(frame)
        while data:
            data = data[os.write(self._output, data) :]

    def _next_command(self, wait: bool) -> Optional[dict[str, Any]]:
        line = b""
        while not line.strip():  # an empty line only says that somebody is there
            while b"\n" not in self._buffer:
                if not wait and not select.select([self._commands], [], [], 0)[0]:
                    return None
                chunk = os.read(self._commands, 65536)
                if not chunk:
                    self._ended = True
                    return None
                self._buffer += chunk
                if len(self._buffer) > frames.MAX_LINE:
                    raise UsageError("a command is too long")
            line, self._buffer = self._buffer.split(b"\n", 1)
        try:
            command = json.loads(line)
        except ValueError as error:
            raise UsageError("a command is no JSON", str(error)) from None
        if not isinstance(command, dict):
            raise UsageError("a command is no JSON object", repr(line[:60]))
        return command

    def _obey(self, command: dict[str, Any], prepared: bool = False) -> None:
        begin = time.monotonic_ns()
        name = command.get("command")
        try:
            if name == "measure" and not prepared:
                self._prepare(command)
                return
            self._carry_out(name, command)
        except _WRONG as error:
            self._refuse(command, UsageError(f"command {name!r} is wrong", str(error)))
        except VmlatError as error:
            self._refuse(command, error)
        else:
            took = time.monotonic_ns() - begin
            self._send({"type": "ack", "id": command.get("id"), "command": name, "took_ns": took})

    def _carry_out(self, name: object, command: dict[str, Any]) -> None:
        if name == "stop":
            self._ended = True
        elif name == "measure":
            self._measure(command)
        elif name == "release":
            self._release()
        elif name in ("filter", "settings"):
            measurement = self._measuring()
            change = measurement.set_filters if name == "filter" else measurement.set_settings
            change(command)
            # So that who reads knows what was counted before: the ack comes after it.
            measurement.send_stats(final=False)
        elif name == "watch":
            self._measuring().watch(command)
        elif name == "describe":
            self._describe()
        elif name == "read":
            self._measuring().send_stats(final=False)
        else:
            raise UsageError(f"there is no command {name!r}")

    def _measuring(self) -> Measurement:
        if self._measurement is None:
            raise UsageError("nothing is measured yet", "", "give the command `measure` first")
        if isinstance(self._measurement, GuestMeasurement):
            raise UsageError("a measurement in a guest cannot be changed")
        return self._measurement

    def _refuse(self, command: dict[str, Any], error: VmlatError) -> None:
        self._send({**frames.error_frame(error), "id": command.get("id")})

    # ---- start ----------------------------------------------------------------------------

    def _open(self, command: dict[str, Any]) -> None:
        if command.get("command") != "configure":
            raise UsageError("the first command must be configure or describe")
        try:
            self._interval_s = max(0.05, float(command.get("interval_s", 1.0)))
            self._monitor = LinkMonitor()
            if command.get("discover", False):
                uri = command.get("connect")
                self._watch = Watch(str(uri) if uri else None, self._interval_s)
            measurement = self._attach(command) if command.get("measure", True) else None
        except _WRONG as error:
            raise UsageError("the measurement cannot be configured", str(error)) from None
        self._send(
            {
                "type": "hello",
                "schema": frames.SCHEMA,
                "version": __version__,
                "kernel": platform.release(),
                "host": socket.gethostname(),
                "boot": _boot(),
                "agent": os.getpid(),
                "clock": {"mono_ns": time.monotonic_ns(), "wall_ns": time.time_ns()},
                "rung": None,
                "offsets": None,
                "points": [],
                **(measurement.description() if measurement else {}),
            }
        )
        if measurement:
            measurement.start()

    def _attach(self, command: dict[str, Any]) -> Union[Measurement, GuestMeasurement]:
        if os.geteuid() != 0:
            raise UsageError(
                "measuring needs root",
                "BPF programs and perf events",
                "run as root (with --host: --sudo)",
            )
        kind = GuestMeasurement if command.get("guest", False) else Measurement
        with self._watchman.busy():
            self._measurement = kind(command, self._send)
        return self._measurement

    def _describe(self) -> None:
        """Look at what can be measured here, in another thread: as root it attaches every probe."""
        if "describe" not in self._errands:
            self._errands["describe"] = Errand(host_frame, self._send)

    def _prepare(self, command: dict[str, Any]) -> None:
        """Compile in another thread; the loop goes on with discovery, and then measures."""
        if self._measurement or "measure" in self._errands:
            raise UsageError(
                "this agent measures already", "", "change it with watch, filter and settings"
            )
        self._send({"type": "attaching", "t_ns": time.monotonic_ns()})
        self._errands["measure"] = Errand(
            lambda: prepare(command), lambda _: self._obey(command, prepared=True)
        )

    def _measure(self, command: dict[str, Any]) -> None:
        """Begin to measure in an agent that only discovered so far."""
        measurement = self._attach(command)
        self._send({"type": "measuring", "t_ns": time.monotonic_ns(), **measurement.description()})
        measurement.start()

    def _release(self) -> None:
        """Stop measuring, or beginning to; discovery goes on."""
        if self._errands.pop("measure", None) is None:
            measurement = self._measuring()
            self._measurement = None
            try:
                measurement.finish()
            finally:
                measurement.close()
        self._send({"type": "released", "t_ns": time.monotonic_ns()})

    # ---- the loop ---------------------------------------------------------------------------

    def _loop(self) -> None:
        assert self._monitor
        next_sweep = next_stats = time.monotonic()
        while not self._ended:
            try:
                select.select([self._commands, self._monitor], [], [], _POLL_S)
            except InterruptedError:
                continue
            if self._monitor.changed():
                if self._measurement:
                    self._measurement.apply_links()
                if self._watch:
                    self._watch.poke()
            while not self._ended:
                command = self._next_command(wait=False)
                if command is None:
                    break
                self._obey(command)
            for frame in self._watch.frames() if self._watch else ():
                self._send(frame)
            for name in [name for name, errand in self._errands.items() if errand.over]:
                self._errands.pop(name).finish()
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


def main() -> int:
    """Run the agent on standard input and output; everything else goes to standard error."""
    # libbcc and clang write wherever they like; the frames get a descriptor of their own.
    output = os.dup(1)
    os.dup2(2, 1)
    agent = Agent(0, output, Watchman(0))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: agent.end())
    # The terminal's Ctrl-C reaches the whole group; the parent decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return agent.run()
