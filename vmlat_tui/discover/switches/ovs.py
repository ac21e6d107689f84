"""Open vSwitch through its database, with the project's own Python library (of the distribution).

One transaction of selects gives a consistent picture and needs no schema file.  A switch that is
stopped or was never there is a state, not an error.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar

from vmlat_tui.discover.files import number
from vmlat_tui.model.capabilities import DAC_OVERRIDE
from vmlat_tui.model.topology import Ovs, OvsBridge, OvsInterface, OvsPort

RUN = Path("/run/openvswitch")
_DATABASES = (Path("/etc/openvswitch/conf.db"), Path("/var/lib/openvswitch/conf.db"))
_LIMIT_S = 3.0
#: A value that is longer is nothing that is shown.
_MOST_TEXT = 256
_Value = TypeVar("_Value")

_COLUMNS = {
    "Open_vSwitch": ["ovs_version", "bridges"],
    "Bridge": ["_uuid", "name", "datapath_type", "ports"],
    "Port": ["_uuid", "name", "tag", "trunks", "vlan_mode", "bond_mode", "bond_active_slave",
             "interfaces"],
    "Interface": ["_uuid", "name", "type", "ofport", "options", "external_ids", "mac_in_use",
                  "status"],
}  # fmt: skip


@dataclass(frozen=True)
class Switch:
    """The switch; ``egress`` is, by tunnel interface, the device its packets leave by."""

    ovs: Ovs
    egress: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class OvsError(Exception):
    """The database did not answer as it should."""


def read_switch(
    run: Path = RUN, databases: Sequence[Path] = _DATABASES, proc: Path = Path("/proc")
) -> Switch:
    """The switch of this host.  Takes three seconds at most."""
    if not (run / "db.sock").exists():
        installed = run.exists() or any(path.exists() for path in databases)
        return Switch(Ovs("stopped" if installed else "absent", None, ()))
    pid = number(run / "ovs-vswitchd.pid")
    state = "running" if pid is not None and (proc / str(pid)).exists() else "stopped"
    try:
        tables = _select(f"unix:{run / 'db.sock'}")
    except ImportError:
        note = "Open vSwitch: its Python library is not installed (python3-openvswitch)"
    except PermissionError:
        note = (
            f"Open vSwitch: its database may not be read without {DAC_OVERRIDE.name}; "
            "start vmlat again, as root"
        )
    except (OvsError, OSError) as error:
        note = f"Open vSwitch: its database cannot be read ({error})"
    else:
        note = "Open vSwitch: ovs-vswitchd does not run; the bridges are as it would set them up"
        return decode(tables, state, () if state == "running" else (note,))
    return Switch(Ovs(state, None, ()), notes=(note,))


def _select(remote: str) -> dict[str, list[dict[str, Any]]]:
    from ovs import jsonrpc
    from ovs.stream import Stream

    deadline = time.monotonic() + _LIMIT_S
    failure, stream = Stream.open_block(Stream.open(remote), int(_LIMIT_S * 1000))
    if failure:
        raise OSError(failure, errno.errorcode.get(failure, "unknown"))
    connection = jsonrpc.Connection(stream)
    try:
        selects = [
            {"op": "select", "table": table, "where": [], "columns": columns}
            for table, columns in _COLUMNS.items()
        ]
        request = jsonrpc.Message.create_request("transact", ["Open_vSwitch", *selects])
        failure = connection.send(request)
        if failure:
            raise OSError(failure, errno.errorcode.get(failure, "unknown"))
        reply = _receive(connection, request.id, deadline)
    finally:
        connection.close()
    if reply.error is not None or not isinstance(reply.result, list):
        raise OvsError(str(reply.error))
    answers = reply.result[: len(_COLUMNS)]
    for answer in answers:
        if "rows" not in answer:
            raise OvsError(f"{answer.get('error')}: {answer.get('details')}")
    return {table: answer["rows"] for table, answer in zip(_COLUMNS, answers)}


def _receive(connection: Any, wanted: Any, deadline: float) -> Any:
    from ovs.poller import Poller

    while True:
        connection.run()
        failure, message = connection.recv()
        if failure == errno.EAGAIN:
            left = deadline - time.monotonic()
            if left <= 0:
                raise OvsError(f"no answer within {_LIMIT_S:.0f} s")
            poller = Poller()
            connection.wait(poller)
            connection.recv_wait(poller)
            poller.timer_wait(int(left * 1000) + 1)
            poller.block()
        elif failure:
            raise OvsError("it closed the connection")
        elif message.id == wanted:
            return message


# ---- rows to values: a set is an atom or ["set", [...]], a map ["map", [[key, value], ...]] -----


def _set(value: Any) -> list[Any]:
    if isinstance(value, list) and len(value) == 2 and value[0] == "set":
        return list(value[1])
    return [value]


def _one(value: Any) -> Any:
    return next(iter(_set(value)), None)


def _integer(value: Any) -> Optional[int]:
    """Of an optional column; raises ``ValueError`` for what is none."""
    found = _one(value)
    if found is not None and (type(found) is not int or not -(1 << 31) <= found < 1 << 32):
        raise ValueError(f"{found!r:.24} is not a number")
    return found


def _text(value: Any) -> Optional[str]:
    found = _one(value)
    if found is not None and not isinstance(found, str):
        raise ValueError(f"{found!r:.24} is not a text")
    return found[:_MOST_TEXT] if found else found


def _map(value: Any) -> dict[str, str]:
    pairs = value[1] if isinstance(value, list) else ()
    return {str(k)[:_MOST_TEXT]: str(v)[:_MOST_TEXT] for k, v in pairs}


class _Rows:
    """The tables of a database.  What a row says oddly is that row's, and is named."""

    def __init__(self, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        self.notes: list[str] = []
        self._tables = {name: self._by_uuid(rows) for name, rows in tables.items()}

    def _by_uuid(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
        return {str(row["_uuid"][1]): row for row in rows if "_uuid" in row}

    def each(self, table: str, make: Callable[[Mapping[str, Any]], _Value]) -> list[_Value]:
        """What all rows of a table make."""
        return self._made(table, list(self._tables[table].values()), make)

    def members(
        self, table: str, references: Any, make: Callable[[Mapping[str, Any]], _Value]
    ) -> tuple[_Value, ...]:
        """What the rows that are referred to make, by their names."""
        rows = self._tables[table]
        found = [rows[str(uuid)] for _, uuid in _set(references) if str(uuid) in rows]
        found.sort(key=lambda row: str(row.get("name")))
        return tuple(self._made(table, found, make))

    def rows(self, table: str, references: Any) -> list[Mapping[str, Any]]:
        """The rows that are referred to."""
        return list(self.members(table, references, lambda row: row))

    def _made(
        self,
        table: str,
        rows: Sequence[Mapping[str, Any]],
        make: Callable[[Mapping[str, Any]], _Value],
    ) -> list[_Value]:
        found = []
        for row in rows:
            try:
                found.append(make(row))
            except Exception as error:  # one row's oddity is no other's
                name = f"{row.get('name')}"[:_MOST_TEXT]
                why = f"{error}" if isinstance(error, ValueError) else type(error).__name__
                self.notes.append(
                    f"Open vSwitch: {name} in its table {table} cannot be read ({why})"
                )
        return found


def decode(
    tables: Mapping[str, Sequence[Mapping[str, Any]]], state: str, notes: tuple[str, ...] = ()
) -> Switch:
    """The switch from the rows of its database."""
    rows = _Rows({name: table for name, table in tables.items() if name != "Open_vSwitch"})

    def bridge(row: Mapping[str, Any]) -> OvsBridge:
        datapath = str(row["datapath_type"])[:_MOST_TEXT] or "system"
        return OvsBridge(_name(row), datapath, rows.members("Port", row["ports"], port))

    def port(row: Mapping[str, Any]) -> OvsPort:
        active = str(_one(row["bond_active_slave"]) or "").lower()
        return OvsPort(
            name=_name(row),
            tag=_integer(row["tag"]),
            trunks=tuple(sorted(n for n in map(_integer, _set(row["trunks"])) if n is not None)),
            vlan_mode=_text(row["vlan_mode"]),
            bond_mode=_text(row["bond_mode"]),
            active_member=_active(active, rows.rows("Interface", row["interfaces"])),
            interfaces=rows.members("Interface", row["interfaces"], _interface),
        )

    roots = tables["Open_vSwitch"]
    bridges = [b for root in roots for b in rows.members("Bridge", root["bridges"], bridge)]
    ovs = Ovs(state, _text(roots[0]["ovs_version"]) if roots else None, tuple(bridges))
    egress = dict(pair for pair in rows.each("Interface", _egress) if pair[1])
    return Switch(ovs, egress, (*notes, *dict.fromkeys(rows.notes)))


def _name(row: Mapping[str, Any]) -> str:
    return str(row["name"])[:_MOST_TEXT]


def _egress(row: Mapping[str, Any]) -> tuple[str, str]:
    return _name(row), _map(row["status"]).get("tunnel_egress_iface", "")


def _active(mac: str, members: Sequence[Mapping[str, Any]]) -> Optional[str]:
    """A bond names its active member by hardware address."""
    same = [_name(m) for m in members if mac and str(_one(m["mac_in_use"])).lower() == mac]
    return same[0] if len(same) == 1 else None


def _interface(row: Mapping[str, Any]) -> OvsInterface:
    options = _map(row["options"])
    return OvsInterface(
        name=_name(row),
        kind=str(row["type"])[:_MOST_TEXT] or "system",
        ofport=_integer(row["ofport"]),
        peer=options.get("peer") if row["type"] == "patch" else None,
        options=options,
        external_ids=_map(row["external_ids"]),
    )
