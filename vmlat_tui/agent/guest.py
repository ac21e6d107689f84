"""The measurement inside a guest: round trips of pings, one frame each."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable

from vmlat_tui.agent.looks import all_seen
from vmlat_tui.model.guest import RoundTripJoiner
from vmlat_tui.probes import ladder
from vmlat_tui.probes.guest import GuestEngine
from vmlat_tui.protocol.commands import Configure
from vmlat_tui.protocol.echo import EchoFrame
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.protocol.session import MeasuringFrame, NoticeFrame
from vmlat_tui.protocol.stats import StatsFrame


class GuestMeasurement:
    """Probes in this guest, from the beginning to :meth:`close`."""

    def __init__(self, command: Configure, send: Callable[[Frame], None]) -> None:
        """Attach as a ``configure`` command says; raises as :class:`.measurement.Measurement`."""
        self._send = send
        self._joiner = RoundTripJoiner(command.timeout_ns)
        self._engine = GuestEngine(ladder.inspect())
        self._interfaces: dict[int, str] = {}

    def description(self) -> MeasuringFrame:
        """What is attached."""
        rung = ladder.TRACEPOINTS if self._engine.undivided else ladder.FULL
        return MeasuringFrame(time.monotonic_ns(), rung, "btf", ())

    def start(self) -> None:
        """Say what cannot be seen."""
        self.apply_links()
        if self._engine.undivided:
            text = f"F, G and H are measured as one: {self._engine.undivided}"
            self._send(NoticeFrame(text))

    def apply_links(self) -> None:
        """Learn the names of the interfaces."""
        self._interfaces.update(socket.if_nameindex())

    def send_packets(self) -> bool:
        """Send the round trips that are over; say whether anything was seen."""
        seen = self._engine.sightings(self._interfaces)
        for one in seen:
            trip = self._joiner.add(one)
            if trip is not None:
                self._send(EchoFrame.of(trip))
        return bool(seen)

    def send_expired(self) -> None:
        """Send those that nothing came of; on a busy machine it may have come, and wait here."""
        now_ns = time.monotonic_ns()
        if not all_seen(self.send_packets):
            return
        for trip in self._joiner.give_up(now_ns):
            self._send(EchoFrame.of(trip))

    def send_stats(self, final: bool) -> None:
        """There are no statistics but those of the round trips."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self._send(
            StatsFrame(
                final=final,
                t_ns=time.monotonic_ns(),
                bins={},
                legs=(),
                flows=(),
                drops=(),
                hooks={},
                counters={
                    "lost": self._engine.lost,
                    "waiting": self._joiner.waiting,
                    "given_up": self._joiner.given_up,
                },
                cost={"cpu_ns": int((usage.ru_utime + usage.ru_stime) * 1e9)},
            )
        )

    def finish(self) -> None:
        """Send what is left, last the final statistics."""
        while self.send_packets():
            pass
        self.send_expired()
        self.send_stats(final=True)

    def close(self) -> None:
        """Remove the probes."""
        self._engine.close()
