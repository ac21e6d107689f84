"""Keeps a topology current: threads beside the agent's loop, which only takes what they found."""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import Any, Callable, Optional

from vmlat_tui.discover.threads import Neighbourhood
from vmlat_tui.discover.topology import Discovery
from vmlat_tui.discover.vitals import VitalsReader
from vmlat_tui.discover.vms.qemu import POOL
from vmlat_tui.model.topology import Topology
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.protocol.session import NoticeFrame

_log = logging.getLogger(__name__)

#: Without any event a look and a search every so often, each with this part of one CPU at most.
_POLL_S = 5.0
_SEARCH_S = 2.0
_SHARE = 0.04
#: After an event, so long until things have settled; and a limit for hosts where much happens.
_SETTLE_S = 0.2
_BUSY_SHARE = 0.2
#: That differ, and are said.
_MOST_PROBLEMS = 100

#: What changes all the time without anything being different.
_VOLATILE = frozenset(
    {"t_ns", "cpu", "usage", "time_us", "statistics", "drops", "requeues", "backlog_bytes",
     "backlog_packets"}
)  # fmt: skip


def steady(value: Any) -> Any:
    """A topology's JSON without what changes all the time: two of them compare as hosts do."""
    if isinstance(value, dict):
        kept = {k: steady(v) for k, v in value.items() if k not in _VOLATILE}
        if "emulator" in kept:
            kept["emulator"] = [t for t in kept["emulator"] if t["name"] != POOL]
        return kept
    if isinstance(value, list):
        return [steady(item) for item in value]
    return value


class Watch:
    """Three threads: looking at the host, searching who runs, and reading the fast counters."""

    def __init__(
        self,
        uri: Optional[str],
        interval_s: float,
        discovery: Callable[..., Discovery] = Discovery,
    ) -> None:
        self._frames: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self._interval_s = interval_s
        self._poked = threading.Event()
        self._ended = threading.Event()
        self._reader: Optional[VitalsReader] = None
        self._neighbourhood = Neighbourhood()
        self._discovery = discovery(uri, self.poke)
        self._sent: Any = None
        self._problems: set[str] = set()
        self._notes: tuple[str, ...] = ()
        for work in (self._look_on, self._search_on, self._read_on):
            threading.Thread(target=work, name=work.__name__, daemon=True).start()

    def poke(self) -> None:
        """Something changed: look again soon.  From any thread."""
        self._poked.set()

    def frames(self) -> list[Frame]:
        """What was found since the last call; never waits."""
        found = []
        while not self._frames.empty():
            found.append(self._frames.get())
        return found

    def close(self) -> None:
        """Let the threads end; what hangs in a library ends with the process."""
        self._ended.set()
        self._poked.set()

    def _attempt(self, work: Callable[[], None]) -> None:
        """A host may be in any state: what fails is said once, and tried again the next time."""
        try:
            work()
        except Exception as error:
            problem = f"{error!r:.200}"
            if problem not in self._problems and len(self._problems) < _MOST_PROBLEMS:
                self._problems.add(problem)
                _log.exception("discovery failed")
                self._frames.put(NoticeFrame(f"discovery failed: {problem}"))

    def _look_on(self) -> None:
        usual = False
        while not self._ended.is_set():
            self._poked.clear()
            begin = time.thread_time()
            self._attempt(self._look)
            # The first look imports libraries and fills caches: it says nothing of the next ones.
            took = time.thread_time() - begin if usual else 0.0
            usual = True
            self._ended.wait(max(_SETTLE_S, took / _BUSY_SHARE))
            self._poked.wait(max(_POLL_S, took / _SHARE))
            if self._poked.is_set():
                self._ended.wait(_SETTLE_S)

    def _look(self) -> None:
        begin = time.monotonic()
        topology = self._discovery.look()
        _log.debug(
            "a look took %.1f ms: %d domains, %d interfaces",
            *((time.monotonic() - begin) * 1e3, len(topology.domains), len(topology.interfaces)),
        )
        self._reader = VitalsReader(topology, self._neighbourhood)
        same = steady(topology.to_json())
        if same != self._sent:
            self._sent = same
            self._log_news(topology)
            self._frames.put(topology)

    def _log_news(self, topology: Topology) -> None:
        _log.info(
            "what was discovered has changed: domains %s",
            [(domain.name, domain.state.value, domain.pid) for domain in topology.domains],
        )
        for note in topology.notes:
            if note not in self._notes:
                _log.warning("discovery: %s", note)
        self._notes = topology.notes

    def _search_on(self) -> None:
        while not self._ended.is_set():
            begin = time.thread_time()
            self._attempt(self._neighbourhood.search)
            self._ended.wait(max(_SEARCH_S, (time.thread_time() - begin) / _SHARE))

    def _read_on(self) -> None:
        due = time.monotonic()
        while not self._ended.is_set():
            if self._reader is None:
                self._ended.wait(0.05)
                continue
            self._attempt(self._read)
            due = max(due + self._interval_s, time.monotonic())
            self._ended.wait(due - time.monotonic())

    def _read(self) -> None:
        assert self._reader
        self._frames.put(self._reader.read())
