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
from typing import Any, Optional

from vmlat_tui.discover.files import number
from vmlat_tui.model.capabilities import DAC_OVERRIDE
from vmlat_tui.model.topology import Ovs, OvsBridge, OvsInterface, OvsPort

RUN = Path("/run/openvswitch")
_DATABASES = (Path("/etc/openvswitch/conf.db"), Path("/var/lib/openvswitch/conf.db"))
_LIMIT_S = 3.0

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


def _map(value: Any) -> dict[str, str]:
    return {str(k): str(v) for k, v in value[1]} if isinstance(value, list) else {}


def _by_uuid(rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {row["_uuid"][1]: row for row in rows}


def _members(references: Any, rows: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    found = [rows[uuid] for _, uuid in _set(references) if uuid in rows]
    return sorted(found, key=lambda row: str(row["name"]))


def decode(
    tables: Mapping[str, Sequence[Mapping[str, Any]]], state: str, notes: tuple[str, ...] = ()
) -> Switch:
    """The switch from the rows of its database."""
    roots = tables["Open_vSwitch"]
    ports, interfaces = _by_uuid(tables["Port"]), _by_uuid(tables["Interface"])
    bridges = _by_uuid(tables["Bridge"])
    ovs = Ovs(
        state,
        _one(roots[0]["ovs_version"]) if roots else None,
        tuple(
            OvsBridge(
                str(bridge["name"]),
                str(bridge["datapath_type"]) or "system",
                tuple(
                    _port(port, _members(port["interfaces"], interfaces))
                    for port in _members(bridge["ports"], ports)
                ),
            )
            for root in roots
            for bridge in _members(root["bridges"], bridges)
        ),
    )
    statuses = {str(row["name"]): _map(row["status"]) for row in tables["Interface"]}
    egress = {
        name: status["tunnel_egress_iface"]
        for name, status in statuses.items()
        if status.get("tunnel_egress_iface")
    }
    return Switch(ovs, egress, notes)


def _port(row: Mapping[str, Any], members: Sequence[Mapping[str, Any]]) -> OvsPort:
    active = str(_one(row["bond_active_slave"]) or "").lower()
    return OvsPort(
        name=str(row["name"]),
        tag=_one(row["tag"]),
        trunks=tuple(sorted(_set(row["trunks"]))),
        vlan_mode=_one(row["vlan_mode"]),
        bond_mode=_one(row["bond_mode"]),
        active_member=_active(active, members),
        interfaces=tuple(_interface(member) for member in members),
    )


def _active(mac: str, members: Sequence[Mapping[str, Any]]) -> Optional[str]:
    """A bond names its active member by hardware address."""
    same = [str(m["name"]) for m in members if mac and str(_one(m["mac_in_use"])).lower() == mac]
    return same[0] if len(same) == 1 else None


def _interface(row: Mapping[str, Any]) -> OvsInterface:
    options = _map(row["options"])
    return OvsInterface(
        name=str(row["name"]),
        kind=str(row["type"]) or "system",
        ofport=_one(row["ofport"]),
        peer=options.get("peer") if row["type"] == "patch" else None,
        options=options,
        external_ids=_map(row["external_ids"]),
    )
