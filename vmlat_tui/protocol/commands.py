"""What an agent is told: one JSON object a line, and what each command must look like.

Commands come from the session that started the agent; they are looked at here, once, so that what
carries them out relies on every field.  Fields that a command does not have are not looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from vmlat_tui.errors import UsageError, quoted
from vmlat_tui.model import requested
from vmlat_tui.model.checks import Check, amount, fields, flag, number, or_none, whole

Command = dict[str, Any]

#: Of this host, and over no transport but a socket: ``+ssh`` and ``+ext`` start programs.
_LIBVIRT = re.compile(r"[a-z]{1,16}(\+unix)?:///[\w./-]{0,256}(\?(socket|mode)=[\w./-]{0,256})?")


def _libvirt(value: object) -> None:
    """libvirt's URI, which it obeys with what the agent may."""
    if value != "" and not (isinstance(value, str) and _LIBVIRT.fullmatch(value)):
        raise ValueError("it names no libvirt of this host, such as qemu:///system")


_ANY = {"id": or_none(whole)}
_SESSION = {
    "interval_s": amount(0, 86_400),
    "discover": flag,
    "connect": or_none(_libvirt),
    "measure": flag,
    "guest": flag,
    "timeout_ns": number(1, 1 << 62),
}
_COMMANDS: Mapping[str, Check] = {
    name: fields({}, {**_ANY, **possible})
    for name, possible in {
        "configure": {**_SESSION, **requested.FIELDS},
        "measure": requested.FIELDS,
        "release": {},
        "read": {},
        "describe": {},
        "stop": {},
    }.items()
}


class Refused(UsageError):
    """A command that makes no sense; ``number`` is its id, if it has one."""

    def __init__(self, title: str, cause: str, command: object = None) -> None:
        """Of the command as far as it could be read."""
        super().__init__(title, cause)
        found = command.get("id") if isinstance(command, dict) else None
        self.number = found if type(found) is int and -(1 << 63) <= found < 1 << 63 else None


def decode(line: bytes) -> Command:
    """The command of one line; raises :class:`Refused`."""
    try:
        found: Any = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Refused("a command is no JSON", str(error)) from None
    if not isinstance(found, dict):
        raise Refused("a command is no JSON object", quoted(found))
    name = found.get("command")
    check = _COMMANDS.get(name) if isinstance(name, str) else None
    if check is None:
        raise Refused("there is no such command", quoted(name), found)
    try:
        check(found)
    except ValueError as error:
        raise Refused(f"command {name!r} is wrong", str(error), found) from None
    return found


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no number")
