"""One measurement in the agent: the engine, the interfaces it watches, what it sends."""

from __future__ import annotations

import contextlib
import logging
import resource
import time
from typing import Callable, Optional

from vmlat_tui.agent.encode import Encoder, point_hooks
from vmlat_tui.agent.looks import all_seen
from vmlat_tui.discover.links.interfaces import (
    Link,
    Selection,
    default_uplinks,
    default_vnets,
    read_links,
    require,
    require_taps,
    select_links,
)
from vmlat_tui.discover.vms.emulators import Emulators
from vmlat_tui.discover.vms.vcpus import read_vcpus
from vmlat_tui.errors import UsageError, VmlatError, listed
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.points import BOTH
from vmlat_tui.model.requested import Requested
from vmlat_tui.probes import ladder
from vmlat_tui.probes.engine import Limits, PathEngine, Settings, precompile
from vmlat_tui.probes.symbols import DropReasons, Symbols
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.protocol.session import LinksFrame, MeasuringFrame, NoticeFrame, WatchedInterface

_log = logging.getLogger(__name__)

#: vCPUs are plugged while nothing happens to interfaces.
_VCPUS_S = 10.0


def prepare(requested: Requested) -> None:
    """Do beforehand, in any thread, what takes long in :class:`Measurement`; never raises."""
    with contextlib.suppress(VmlatError):  # it will be raised again, to who can answer
        precompile(ladder.inspect(), **_kind(requested))


def _kind(requested: Requested) -> dict[str, bool]:
    return {
        "functions": requested.rung == ladder.FULL,
        "headers": requested.offsets == "headers",
    }


class Measurement:
    """Probes on this host, from :meth:`start` to :meth:`close`."""

    def __init__(self, requested: Requested, send: Callable[[Frame], None]) -> None:
        """Compile and attach what is requested.

        Raises :class:`VmlatError` if that is impossible; then nothing is left attached.
        """
        self._send = send
        self._shown: Optional[tuple[object, ...]] = None
        self._vcpus_due = 0.0
        self._left_out: list[str] = []
        self._emulators = Emulators()
        self._reported: tuple[str, ...] = ()
        self._engine: Optional[PathEngine] = None
        self._requested = requested
        self._vnets, self._uplinks = requested.interfaces
        _log.info("measuring %s", requested)
        # Wrong names are found before the second that compiling takes.
        self._select(read_links(), strict=True)
        kernel = ladder.inspect()
        self._engine = engine = PathEngine(
            kernel,
            Limits.of(len(self._vnets)),
            **_kind(requested),
        )
        try:
            self._encoder = Encoder(Symbols(), DropReasons(kernel.btf))
            engine.set_filters(requested.filters)
            self._require_main_points(engine)
        except BaseException:
            engine.close()
            raise

    def _require_main_points(self, engine: PathEngine) -> None:
        missing = ladder.missing_main_points(
            [state.point for state in engine.attached.points if state.hooks],
            list(_settings(self._requested).directions),
        )
        if missing:
            reasons = {s.point: s.reason for s in engine.attached.points}
            raise VmlatError(
                f"point {missing[0]} cannot be observed", reasons[missing[0]], "run `vmlat doctor`"
            )

    @property
    def engine(self) -> PathEngine:
        """The running engine."""
        assert self._engine
        return self._engine

    def description(self) -> MeasuringFrame:
        """What is attached."""
        engine = self.engine
        return MeasuringFrame(
            time.monotonic_ns(),
            ladder.FULL if engine.functions else ladder.TRACEPOINTS,
            engine.offsets.source,
            point_hooks(engine.attached.points),
        )

    def start(self) -> None:
        """Begin to count."""
        self.apply_links()
        self.engine.configure(_settings(self._requested))
        self._find_vcpus()

    @property
    def requested(self) -> Requested:
        """What is measured."""
        return self._requested

    def change(self, requested: Requested) -> None:
        """Measure this from now on; a vNIC that takes the place of another one begins at zero.

        Raises :class:`UsageError`, and changes nothing, for other probes than those that there
        are, and for more vNICs or filters than there is room for.
        """
        _log.info("measuring %s from now on", requested)
        before = self._requested
        if not requested.same_probes(before):
            raise UsageError(
                "the probes of a measurement stay what they are",
                f"this one has rung {before.rung} and offsets {before.offsets}",
                "release it, and begin another one",
            )
        if len(requested.vm_interfaces) > self.engine.capacity:
            raise UsageError(
                f"{len(requested.vm_interfaces)} VM interfaces are too many",
                f"this measurement has room for {self.engine.capacity}",
                "begin another one",
            )
        if requested.filters != before.filters:
            self.engine.set_filters(requested.filters)
        if _settings(requested) != _settings(before):
            self.engine.configure(_settings(requested))
        if requested.interfaces == before.interfaces:
            self._requested = requested
        else:
            self._watch(requested)
        if not requested.same_packets(before):
            # So that who reads knows what was counted before: the ack comes after it.
            self.send_stats(final=False)

    # ---- interfaces -------------------------------------------------------------------------

    def _watch(self, requested: Requested) -> None:
        before = self._vnets
        self._requested = requested
        self._vnets, self._uplinks = requested.interfaces
        self.apply_links()
        for slot, name in enumerate(before):
            if self._vnets[slot : slot + 1] != (name,):
                self.engine.forget(slot)

    def _select(self, links: dict[str, Link], strict: bool) -> Selection:
        if strict:
            require(links, self._requested.vm_interfaces, "--vm-interface")
            require_taps(links, self._vnets)
            require(links, self._requested.uplinks, "--phy-interface")
        if not self._requested.vm_interfaces:
            self._admit(links)
            if strict and not self._vnets:
                raise UsageError(
                    "this host has no tap interface", "no VM is running", "start one, or name it"
                )
        if not self._requested.uplinks:
            self._uplinks = default_uplinks(links, self._vnets)
            if strict and not self._uplinks:
                raise UsageError(
                    f"no uplink is known for {listed(self._vnets)}",
                    "it shares a switch with no other interface",
                    "name it with --phy-interface",
                )
        return select_links(links, self._vnets, self._uplinks)

    def _admit(self, links: dict[str, Link]) -> None:
        """Give new taps a slot: one of their own, or that of a vNIC that is gone.

        A vNIC that vanished keeps its slot as long as there are others, so that its counts stay.
        Taps for which there is none are left out, and named.
        """
        vnets = list(self._vnets)
        gone = [slot for slot, name in enumerate(vnets) if name not in links]
        left_out = []
        for name in default_vnets(links):
            if name in vnets:
                continue
            if not self._engine or len(vnets) < self._engine.capacity:
                vnets.append(name)
            elif gone:
                slot = gone.pop(0)
                self._engine.forget(slot)
                vnets[slot] = name
            else:
                left_out.append(name)
        self._vnets = tuple(vnets)
        if left_out and not self._left_out:
            self._send(
                NoticeFrame(
                    f"{listed(left_out)} came too late to be measured:"
                    f" there is room for {len(vnets)} VM interfaces; begin another measurement"
                )
            )
        self._left_out = left_out

    def apply_links(self) -> None:
        """Follow what happened to the interfaces; say so if the watched ones changed."""
        links = read_links()
        try:
            selection = self._select(links, strict=False)
            self.engine.set_links(selection, links)
        except UsageError as error:
            self._send(NoticeFrame(str(error)))
            return
        self._encoder.interfaces.update({link.ifindex: link.name for link in links.values()})
        self._encoder.vnets = selection.vnets
        present = {name: links[name].ifindex if name in links else None for name in selection.vnets}
        shown = (tuple(present.items()), selection.leaves)
        if shown != self._shown:
            if self._shown:
                self._find_vcpus()
            self._shown = shown
            _log.info(
                "interfaces by index: %s; uplinks %s, by %s",
                *(present, self._uplinks, selection.leaves),
            )
            self._send(
                LinksFrame(
                    time.monotonic_ns(),
                    tuple(WatchedInterface(*item) for item in present.items()),
                    tuple(self._uplinks),
                    tuple(selection.leaves),
                )
            )

    def _find_vcpus(self) -> None:
        """Tell the probes which threads run the vCPUs of the watched VMs."""
        self._vcpus_due = time.monotonic() + _VCPUS_S
        vnets = self._encoder.vnets
        found = read_vcpus(vnets, self._emulators)
        threads = {slot: found.threads[n] for slot, n in enumerate(vnets) if n in found.threads}
        _log.debug("vCPU threads by slot: %s", threads)
        self.engine.set_vcpus(threads)
        for text in found.notes:
            if text not in self._reported:
                self._send(NoticeFrame(text))
        self._reported = found.notes

    # ---- what was measured --------------------------------------------------------------------

    def send_packets(self) -> bool:
        """Send the single packets that came since the last time; say whether there were any."""
        records = self.engine.packets()
        for record in records:
            self._send(self._encoder.packet_frame(record))
        return bool(records)

    def send_expired(self) -> None:
        """Give up packets that will not go on."""
        if time.monotonic() >= self._vcpus_due:
            self._find_vcpus()
        for record in self.engine.sweep():
            if self._requested.emit:
                self._send(self._encoder.packet_frame(record, Bin.EXPIRED))

    def send_stats(self, final: bool) -> None:
        """Send everything counted since the start.

        Packets that were over by its ``t_ns`` go before it: a ping whose reply is not among them
        is not late because this agent was.
        """
        usage = resource.getrusage(resource.RUSAGE_SELF)
        cost = {
            "cpu_ns": int((usage.ru_utime + usage.ru_stime) * 1e9),
            "memory_bytes": usage.ru_maxrss * 1024,
            "missed_runs": self.engine.attached.misses(),
        }
        reading = self.engine.read(exact=final)
        reading.counters["vnics_left_out"] = len(self._left_out)
        if not final:
            for text in self.engine.replace_silent(reading):
                self._send(NoticeFrame(text))
        wakeups = self.engine.wakeups()
        now_ns = time.monotonic_ns()
        all_seen(self.send_packets)
        self._send(self._encoder.stats_frame(reading, wakeups, now_ns, cost, final))

    def finish(self) -> None:
        """Stop counting and send what is left, last the final statistics.

        Detaching takes seconds where there are many probes, and nobody waits for that.
        """
        _log.info("settling")
        self.engine.settle()
        while self.send_packets():
            pass
        self.send_stats(final=True)

    def close(self) -> None:
        """Remove the probes."""
        self.engine.close()


def _settings(requested: Requested) -> Settings:
    """What the engine can change while packets run."""
    return Settings(
        tuple(d for d in BOTH if d.id in requested.directions),
        requested.detail,
        requested.emit,
        requested.sample,
        requested.max_rate,
        requested.threshold_ns,
    )
