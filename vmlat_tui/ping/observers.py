"""One observer of ``vmlat ping``: an agent on a host or in a guest, and what it tells of pings.

An observer never raises for what its agent does: it fails, says so once, and is over.  Several are
served by one thread, one after the other.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.errors import VmlatError
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.crossings import Crossing
from vmlat_tui.model.flows import Filter
from vmlat_tui.model.packets import DropFrame, PacketFrame
from vmlat_tui.model.pings import LOSSES, Outcome, Ping, PingJoiner
from vmlat_tui.model.readings import Packet
from vmlat_tui.model.requested import Requested
from vmlat_tui.model.segments import Observer
from vmlat_tui.ping.capture import missing, ping_json, trip_json
from vmlat_tui.protocol.commands import Configure, Measure, Stop
from vmlat_tui.protocol.echo import EchoFrame
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.protocol.session import HelloFrame, LinksFrame
from vmlat_tui.protocol.stats import StatsFrame
from vmlat_tui.session.headless import Headless, watching
from vmlat_tui.transport.hosts import Host
from vmlat_tui.transport.process import AgentProcess
from vmlat_tui.transport.source import Order
from vmlat_tui.words import clean, say

_log = logging.getLogger(__name__)

#: How long each is waited for that has no frame.
_POLL_S = 0.01
#: At most this many frames of one before the next: one that never rests does not starve the others.
_MOST_FRAMES = 1000
#: So many messages of an agent are shown.
_MOST_NOTICES = 20
#: This many ways of losing a ping are distinguished: an agent's names are in some.
_MOST_WORDS, _OTHERWISE = 20, "in other ways"


@dataclass(frozen=True)
class Observation:
    """What an observer says of one ping: intervals (ns), or in words how it was ``lost`` there.

    ``line`` is the capture's.
    """

    observer: Observer
    packet: Packet
    intervals_ns: Mapping[str, int]
    lost: str
    line: Raw


class PingObserver(Headless):
    """One observer, from :meth:`open` to :meth:`close`.

    What differs between a host and a guest is in the classes below.

    For one thread.
    """

    def __init__(self, role: Observer, host: Host) -> None:
        """Nothing is started yet."""
        super().__init__(host)
        self.role = role
        self._notices = 0
        self._stopped = False
        #: What the frames of this poll brought.
        self._observed: list[Observation] = []
        #: Pings of these addresses are reported; None: of none yet.
        self.wanted: Optional[Filter] = None
        self.error: Optional[VmlatError] = None
        #: Its agent measures.
        self.ready = False
        #: How many pings it reported since :meth:`begin`, and the lost ones by the words for it.
        self.reported = 0
        self.lost: Counter[str] = Counter()
        #: Packets that nobody looked at singly, by its own account.
        self._overlooked = 0

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.role.title} {clean(self.host.name)}"

    @property
    def serving(self) -> bool:
        """It has neither failed nor ended."""
        return self._source is not None and not self.over

    @property
    def unseen(self) -> int:
        """Packets that were lost from sight, there or here."""
        return self._overlooked

    @property
    def boot(self) -> str:
        """Which machine it is on, and which start of it; empty if that is not known."""
        return (self.hello.boot or "") if self.hello else ""

    # ---- its agent ----------------------------------------------------------------------------

    def open(self) -> None:
        """Start the agent, and have it look or measure."""
        try:
            super().open()
            self.send(self._configuration())
        except VmlatError as error:
            self.fail(error)

    def send(self, order: Order) -> None:
        """Give a command to the agent, if there is one."""
        if self._source is None:
            return
        try:
            super().send(order)
        except VmlatError as error:
            self.fail(error)

    def begin(self) -> None:
        """Count anew: all are there now."""
        self.reported = 0
        self.lost.clear()

    def stop(self) -> None:
        """Have the agent tell the rest, and end."""
        self._stopped = True
        self.send(Stop())

    def poll(self) -> list[Observation]:
        """What has come by now."""
        wait_s = _POLL_S
        for _ in range(_MOST_FRAMES):
            if not self.serving:
                break
            try:
                if self.step(wait_s) is None:
                    break
            except VmlatError as error:
                self.fail(error)
            wait_s = 0.0  # only what has come already
        found, self._observed = self._observed, []
        return found

    def fail(self, error: VmlatError) -> None:
        """It is over, and why."""
        if self.error is not None:
            return
        self.error = error
        _log.error("%s: %s", self.title, error)
        how = f"is gone after {self.reported} pings" if self.ready else "does not measure"
        say(f"the {self.title} {how}: {clean(str(error))}; going on without it")
        self.close()

    def hang_up(self) -> None:
        """Let the agent end; :meth:`close` must follow."""
        if isinstance(self._source, AgentProcess):
            self._source.hang_up()

    # ---- frames -------------------------------------------------------------------------------

    def _configuration(self) -> Configure:
        raise NotImplementedError

    def _pings(self, frame: Frame) -> Iterable[Observation]:
        """What a frame says of pings."""
        raise NotImplementedError

    def _learn(self, frame: Frame) -> None:
        """Take what else a frame says."""
        raise NotImplementedError

    def take(self, frame: Frame) -> None:
        """Learn from it, and keep what it tells of pings."""
        self._learn(frame)
        for one in self._pings(frame) if self.wanted is not None else ():
            self._observed.append(one)
            self.reported += 1
            if one.lost:
                known = one.lost in self.lost or len(self.lost) < _MOST_WORDS
                self.lost[one.lost if known else _OTHERWISE] += 1
        if self.over and not self._stopped:
            self.fail(VmlatError("its agent ended by itself"))

    def notice(self, text: str) -> None:
        """Show the first ones."""
        self._notices += 1
        if self._notices <= _MOST_NOTICES:
            say(f"{self.title}: {clean(text)}")
        elif self._notices == _MOST_NOTICES + 1:
            say(f"{self.title}: further messages of it are not shown")

    def _is_ready(self, words: str) -> None:
        if not self.ready:
            self.ready = True
            say(f"the {self.title} is ready: {words}")


class HostObserver(PingObserver):
    """A hypervisor; the pings of one VM of it."""

    def __init__(self, role: Observer, host: Host, timeout_ns: int) -> None:
        """A ping without a reply is lost after ``timeout_ns``."""
        super().__init__(role, host)
        self._joiner = PingJoiner(timeout_ns)

    @property
    def unseen(self) -> int:
        """And those that were given up here, because too many waited for their other half."""
        return self._overlooked + self._joiner.given_up

    def addresses(self, vm: str) -> frozenset[str]:
        """Of a VM, as far as its host knows them."""
        domains = self.topology.domains if self.topology else ()
        vnics = (v for domain in domains if domain.name == vm for v in domain.vnics)
        return frozenset(address.ip for vnic in vnics for address in vnic.addresses)

    def observe(self, wanted: Filter, taps: Sequence[str], uplinks: Sequence[str]) -> None:
        """Begin with the packets of these pings, both ways, every one."""
        self.wanted = wanted
        requested = Requested(tuple(taps), tuple(uplinks), (wanted,), detail=False)
        self.send(Measure(requested))

    def _configuration(self) -> Configure:
        return Configure(discover=True, measure=False)

    def _pings(self, frame: Frame) -> Iterable[Observation]:
        final: Sequence[Ping] = ()
        if isinstance(frame, (PacketFrame, DropFrame)):
            crossing = Crossing.of(frame)
            if crossing and self.wanted and self.wanted.admits(crossing.ends):
                ping = self._joiner.add(crossing)
                final = [ping] if ping else []
        elif isinstance(frame, StatsFrame):
            final = self._joiner.settle(
                frame.t_ns, frame.final, frame.ended(Bin.IN_FLIGHT), frame.unseen
            )
        # Seen from the other end, or between two VMs of this host, it is another ping.
        return [self._tell(ping) for ping in final if ping.observer is self.role]

    def _tell(self, ping: Ping) -> Observation:
        whole = ping.outcome is Outcome.COMPLETE
        lost = "" if whole else LOSSES.get(ping.outcome, "not known where")
        intervals = ping.intervals_ns if whole else {}
        line = ping_json(ping, self.wall_offset_ns)
        return Observation(self.role, ping.packet, intervals, lost, line)

    def _learn(self, frame: Frame) -> None:
        if isinstance(frame, LinksFrame) and self.measuring is not None:
            self._is_ready(watching(frame, self.measuring.points))
        elif isinstance(frame, StatsFrame):
            self._overlooked = frame.unseen


class GuestObserver(PingObserver):
    """A guest; the pings that it sends, or those that it answers."""

    def __init__(self, role: Observer, host: Host, timeout_ns: int) -> None:
        """A ping is given up after ``timeout_ns``."""
        super().__init__(role, host)
        self._timeout_ns = timeout_ns

    def _configuration(self) -> Configure:
        return Configure(guest=True, timeout_ns=self._timeout_ns)

    def _pings(self, frame: Frame) -> Iterable[Observation]:
        if isinstance(frame, EchoFrame):
            trip = frame.trip
            if trip.observer is self.role and self.wanted and self.wanted.admits(trip.ends):
                lost = "" if trip.complete else missing(trip)
                intervals = {} if lost else trip.intervals_ns
                line = trip_json(trip, self.wall_offset_ns)
                return [Observation(self.role, trip.packet, intervals, lost, line)]
        return ()

    def _learn(self, frame: Frame) -> None:
        if isinstance(frame, HelloFrame):
            self._is_ready("watching its pings")
        elif isinstance(frame, StatsFrame):
            counters = frame.counters
            self._overlooked = counters.get("lost", 0) + counters.get("given_up", 0)
