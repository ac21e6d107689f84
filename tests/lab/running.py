"""One running agent for many measurements: its start takes longer than most of them.

Each begins anew: what the agent had counted before is taken off.  In between it measures nothing,
and follows the interfaces of one scenario after the other.  An agent under which a test failed is
not used again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Callable, Optional

from tests.lab.measure import Raw, Result, Session
from tests.lab.tables import on_the_way
from tests.support.frames import wakeups_object, wakeups_of
from vmlat_tui.lab import inside
from vmlat_tui.model.requested import Requested
from vmlat_tui.protocol.commands import Command, Measure, Read, name_of
from vmlat_tui.session import wakes

#: The fixture of conftest.py: filters and settings of one measurement.
Measuring = Callable[..., AbstractContextManager[Session]]

#: Rows of each table by what they are about.
_Rows = dict[str, dict[str, Raw]]
_TABLES = ("legs", "flows", "drops", "absences")
#: What a row counts, and what it knows besides; the rest is what it is about.
_COUNTS = ("packets", "bytes", "count", "sum_ns")
_BESIDES = ("max_ns", "buckets", "first_ns", "last_ns")
_NUMBERS = ("bins", "hooks", "counters", "cost")
#: Longer than a packet that is lost from sight is waited for.
_REST_S = 30.0


class Anew(Result):
    """What an agent measured after ``before``."""

    def __init__(self, before: Optional[Anew] = None) -> None:
        super().__init__()
        self._base: Raw = before._newest if before else {}
        self._newest: Raw = self._base
        self._base_rows: _Rows = before._rows if before else {table: {} for table in _TABLES}
        #: A frame has only the flows with traffic since the one before.
        self._rows: _Rows = {table: dict(rows) for table, rows in self._base_rows.items()}
        self.readings = 0
        if before:
            self.hello, self.links = before.hello, before.links[-1:]
            self.take(self._newest)

    def take(self, frame: Raw) -> None:
        if frame["type"] == "stats":
            self.readings += 1
            self._newest = frame
            for table in _TABLES:
                self._rows[table].update((_about(row), row) for row in frame[table])
            frame = {
                **frame,
                **{part: _grown(self._base.get(part, {}), frame[part]) for part in _NUMBERS},
                **{table: list(self._grown_rows(table)) for table in _TABLES},
                "wakeups": list(self._woken()),
            }
        super().take(frame)

    def _grown_rows(self, table: str) -> Iterator[Raw]:
        for about, row in self._rows[table].items():
            counts = {name: row[name] for name in _COUNTS if name in row}
            grown = _grown(self._base_rows[table].get(about, {}), counts)
            if any(grown.values()):
                yield {**row, **grown}

    def _woken(self) -> Iterator[Raw]:
        before = {row["tid"]: wakeups_of(row) for row in self._base.get("wakeups", ())}
        for row in self._newest["wakeups"]:
            woken = wakes.without(wakeups_of(row), before.get(row["tid"]))
            if woken and woken.events:
                yield wakeups_object(woken)


def _present(result: Result) -> set[Optional[str]]:
    return {vnic["name"] for vnic in result.links[-1]["vm_interfaces"] if vnic["ifindex"]}


def _about(row: Raw) -> str:
    return json.dumps([value for name, value in row.items() if name not in _COUNTS + _BESIDES])


def _grown(before: Raw, now: Raw) -> Raw:
    return {
        name: _grown(before.get(name, {}), value)
        if isinstance(value, dict)
        else value - before.get(name, 0)
        for name, value in now.items()
    }


class Running(Session):
    """An agent that measures when asked to."""

    result: Anew

    def __init__(self) -> None:
        super().__init__(directions=[])
        self.result = Anew()
        self._requested = Requested(directions=())

    def begin(self, **wanted: Any) -> None:
        """Measure what the filters and settings say, and nothing that was before."""
        taps = {vm.vnet for vm in inside.lab().vms.values()}
        self.wait(lambda result: taps <= _present(result), 30, "the taps of this scenario")
        asked = Requested.from_json(wanted)
        self._request(replace(asked, directions=()))
        self._order(Read())
        self.result = Anew(self.result)
        self._request(asked)

    def finish(self) -> Result:
        """Measure nothing any more, and return the result when everything has come to its end."""
        self._request(replace(self._requested, directions=()))
        self.wait(lambda _: not on_the_way(self.agent.pid), _REST_S, "the packets on the way")
        # The reading that runs now may miss some.
        enough = self.result.readings + 2
        self.wait(lambda _: self.result.readings >= enough, 60, "two more readings")
        for direction in ("tx", "rx"):
            assert self.result.bins(direction)["in_flight"] == 0, self.result.stats
        return self.result

    def _request(self, requested: Requested) -> None:
        self._requested = requested
        self._order(Measure(requested))

    def _order(self, command: Command) -> None:
        done = len(self.result.acks) + 1
        self.agent.send(command)
        self.wait(lambda result: len(result.acks) >= done, 60, f"the end of {name_of(command)}")


class SharedAgent:
    """Keeps the agent from one test to the next."""

    def __init__(self) -> None:
        self._session: Optional[Running] = None

    def end(self) -> None:
        """End the agent if there is one."""
        if self._session:
            self._session.agent.close()
        self._session = None

    @contextlib.contextmanager
    def measuring(self, **wanted: Any) -> Iterator[Session]:
        """Measure the body: yields the session, whose result is complete after the body."""
        try:
            if self._session is None:
                self._session = Running()
                self._session.__enter__()
            self._session.begin(**wanted)
            yield self._session
            self._session.pump(0.3)
            self._session.finish()
        except BaseException:
            self.end()
            raise
