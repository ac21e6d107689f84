"""Up to four observers of one ping, from their start to their end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence

from vmlat_tui.analysis.collection import Collection
from vmlat_tui.ending import ENDING
from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.model.flows import Address, Filter, Protocol
from vmlat_tui.model.readings import Reading
from vmlat_tui.model.segments import Observer
from vmlat_tui.ping.correlation import CorrelatedPing, Correlator
from vmlat_tui.ping.observers import GuestObserver, HostObserver, Observation, PingObserver
from vmlat_tui.ping.process import Pinging
from vmlat_tui.ping.request import End, PingRequest, addresses
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.session import limits
from vmlat_tui.session.vms import taps_of
from vmlat_tui.words import clean, say

#: A report of a ping arrives at most this long after the ping is over.
_LATE_S = 2.0
#: The frames of the last ping are on their way for so long at least.
_TRAVEL_S = 0.5
#: And when everything is to end, until so long after its beginning: then come the last figures.
_HASTE_S = 0.6
#: While there is nobody to listen to.
_IDLE_S = 0.01
#: A ping that had no reply to some, or to all.
_UNANSWERED = 1


class Audience:
    """Gets everything as it happens; override."""

    def write(self, line: Raw) -> None:
        """Take a line of the capture."""

    def show(self, ping: CorrelatedPing) -> None:
        """Take a ping that is over."""


class PingSide:
    """One end of the ping: its VM, its host, and the guest if that can be reached."""

    def __init__(self, end: End, host: Observer, guest: Observer, timeout_ns: int) -> None:
        """Nothing is started yet."""
        self.end = end
        self.host = HostObserver(host, end.host, timeout_ns)
        guests = [GuestObserver(guest, end.guest, timeout_ns)] if end.guest is not None else []
        #: The host is the first.
        self.observers: list[PingObserver] = [self.host, *guests]
        self.taps: list[str] = []


class PingRun:
    """One run.  For one thread."""

    def __init__(self, request: PingRequest, audience: Audience) -> None:
        """Nothing is started yet."""
        self._request = request
        self._audience = audience
        self._patience_s = request.timeout_ns / 1e9 + _LATE_S
        self.correlator = Correlator(self._patience_s)
        self.collection = Collection()
        rg, sg = Observer.RECEIVER_GUEST, Observer.SENDER_GUEST
        self._receiver = PingSide(request.receiver, Observer.RECEIVER_HOST, rg, request.timeout_ns)
        self._sender = PingSide(request.sender, Observer.SENDER_HOST, sg, request.timeout_ns)
        #: All that were asked for, receivers first.
        self.observers = [*self._receiver.observers, *self._sender.observers]

    def run(self) -> None:
        """From the agents' start to their end; raises :class:`VmlatError` if nobody is there."""
        with contextlib.ExitStack() as ends:
            for observer in self.observers:
                ends.callback(observer.close)
            for observer in self.observers:  # before any is waited for
                ends.callback(observer.hang_up)
            sides = (self._receiver, self._sender)
            self._open([side.host for side in sides])
            for side in sides:
                side.taps = self._taps(side)
            self._check_machines()
            sender, receiver = self._addresses()
            wanted = Filter(sender, receiver, protocol=Protocol.ICMP, either=True)
            self._open([guest for side in sides for guest in side.observers[1:]])
            self._measure(wanted)
            self._require_somebody()
            self.correlator.accepts = True
            for observer in self.observers:
                observer.begin()
            with ENDING.orderly():
                self._join(sender, receiver)
                for observer in self.observers:
                    observer.stop()
                self._serve(limits.END_S, lambda: [one for one in self.observers if one.serving])
                self._settle(frozenset())

    def _somebody_serves(self) -> bool:
        return any(observer.serving for observer in self.observers)

    # ---- frames -------------------------------------------------------------------------------

    def _poll_all(self) -> None:
        """Take what has come from every observer."""
        if not self._somebody_serves():
            time.sleep(_IDLE_S)
        for observer in self.observers:
            for seen in observer.poll():
                self._take(seen)

    def _take(self, seen: Observation) -> None:
        known = seen.intervals_ns
        now_s = time.monotonic()
        counts = self.correlator.take(seen.observer, seen.packet, known, seen.lost, now_s)
        if counts and known:
            self.collection.add(Reading(seen.packet, known))
        if counts and (known or seen.lost):
            self._audience.write(seen.line)

    def _settle(self, expected: frozenset[Observer]) -> None:
        """Show the pings that all of these have reported, and those that they had the time to."""
        for ping in self.correlator.settle(expected, time.monotonic()):
            self._audience.show(ping)

    def _serve(self, limit_s: float, waiting: Callable[[], Iterable[PingObserver]]) -> None:
        """Until nobody is waited for; who is still at the end has failed."""
        deadline = time.monotonic() + limit_s
        while left := list(waiting()):
            if time.monotonic() > deadline:
                for observer in left:
                    observer.fail(VmlatError("the agent does not answer", f"for {limit_s:.0f} s"))
            self._poll_all()

    def _require_somebody(self) -> None:
        if not self._somebody_serves():
            causes = (f"{observer.title}: {observer.error}" for observer in self.observers)
            raise UsageError("no observer is left", "; ".join(causes))

    # ---- before -------------------------------------------------------------------------------

    def _open(self, observers: Sequence[PingObserver]) -> None:
        if observers:
            say(f"starting {', '.join(observer.title for observer in observers)}")
        for observer in observers:
            observer.open()

    def _taps(self, side: PingSide) -> list[str]:
        """Of its VM; none if its host has failed."""
        host = side.host

        def step() -> None:
            self._poll_all()
            if host.error is not None:
                raise host.error

        try:
            where = host.host.name
            shown = f"vmlat topology{f' --host {where}' if host.host.far else ''}"
            return taps_of(
                host, step, [side.end.vm], where,
                f"correct --{side.end.word}; `{shown}` shows what is there",
            )  # fmt: skip
        except VmlatError as error:
            # A VM that is not there is the user's mistake, a host that is not is a hole.
            if host.error is None:
                if isinstance(error, UsageError):
                    raise
                host.fail(error)
            return []

    def _check_machines(self) -> None:
        boots = [side.host.boot for side in (self._receiver, self._sender)]
        if boots[0] and boots[0] == boots[1]:
            raise UsageError(
                "both VMs are on one host",
                "a ping between them crosses no network",
                "use `vmlat icmp` there",
            )

    def _addresses(self) -> tuple[Address, Address]:
        """Of who pings and who is pinged."""
        sender, receiver = self._sender, self._receiver
        deadline = time.monotonic() + limits.ADDRESS_S
        while True:
            try:
                return addresses(
                    (sender.end, sender.host.addresses(sender.end.vm)),
                    (receiver.end, receiver.host.addresses(receiver.end.vm)),
                )
            except UsageError:
                asking = sender.host.serving or receiver.host.serving
                if time.monotonic() > deadline or not asking:
                    raise
            self._poll_all()

    def _measure(self, wanted: Filter) -> None:
        """Have all measure, receivers first, and wait until they do."""
        for observer in self.observers:
            observer.wanted = wanted
        for side in (self._receiver, self._sender):
            side.host.observe(wanted, side.taps, side.end.uplinks)

        def waiting() -> list[PingObserver]:
            return [one for one in self.observers if one.serving and not one.ready]

        self._serve(limits.START_ALL_S, waiting)

    # ---- the ping -----------------------------------------------------------------------------

    def _join(self, sender: Address, receiver: Address) -> None:
        """Until all pings are over."""
        argv = self._request.ping_argv(receiver)
        if argv is None:
            say(f"waiting for pings {sender} -> {receiver}")
            self._watch(self._counted)
            self.correlator.accepts = False  # one that begins now is not seen by all
        else:
            say(f"{clean(self._request.sender.vm)} pings: {sender} -> {receiver}")
            self._ping(argv)

    def _counted(self) -> bool:
        return self._request.count is not None and self.correlator.over >= self._request.count

    def _watch(self, enough: Callable[[], bool]) -> None:
        """Until there is enough, the time is over, somebody interrupts, or nobody observes."""
        duration_s = self._request.duration_s
        deadline = None if duration_s is None else time.monotonic() + duration_s
        while not ENDING.asked and not enough() and self._somebody_serves():
            if deadline is not None and time.monotonic() > deadline:
                return
            self._step()

    def _step(self) -> None:
        self._poll_all()
        self._settle(frozenset(observer.role for observer in self.observers if observer.serving))

    def _ping(self, argv: tuple[str, ...]) -> None:
        """Have the guest ping, and wait until all of it was seen."""
        pinging = Pinging(argv)
        try:
            self._watch(lambda: pinging.status is not None)
            early = pinging.status is None
        finally:
            pinging.close()
        end = time.monotonic()
        while time.monotonic() < end + ENDING.left_s(_TRAVEL_S, _HASTE_S) or (
            self.correlator.waiting
            and not ENDING.asked
            and time.monotonic() < end + self._patience_s
        ):
            self._step()
        if early:
            return
        if pinging.status not in (0, _UNANSWERED):
            say(f"the ping failed: exit status {pinging.status}")
        for line in pinging.last_words:
            say(f"ping: {clean(line)}")
