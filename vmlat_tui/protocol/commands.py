"""The commands of an agent: one JSON object a line, and what each command must look like.

Commands come from the session that started the agent; they are looked at here, once, so that what
carries them out relies on every field.  Fields that a command does not have are not looked at, and
one that is absent has its default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Optional, Union

from vmlat_tui.errors import UsageError, quoted
from vmlat_tui.model.checks import amount, number, whole, word
from vmlat_tui.model.jsonable import INLINE, Jsonable
from vmlat_tui.model.requested import Requested
from vmlat_tui.protocol import wire

#: Of this host, and over no transport but a socket: ``+ssh`` and ``+ext`` start programs.
_LIBVIRT = re.compile(r"[a-z]{1,16}(\+unix)?:///[\w./-]{0,256}(\?(socket|mode)=[\w./-]{0,256})?")


def _libvirt(value: object) -> None:
    """libvirt's URI, which it obeys with what the agent may."""
    if value != "" and not (isinstance(value, str) and _LIBVIRT.fullmatch(value)):
        raise ValueError("it names no libvirt of this host, such as qemu:///system")


_DEFAULT = Requested()
#: Repeated in ``ack`` and ``error``.
Number = Annotated[int, whole]


@dataclass(frozen=True)
class Configure(Jsonable):
    """Begins the session, first and once; brings ``hello``.

    With ``measure`` false no probe is attached before the command of that name, else those of
    ``requested``.  ``discover`` brings ``topology`` and ``vitals``.  ``guest``: this is a guest,
    whose pings are measured; one is given up after ``timeout_ns``.
    """

    discover: bool = False
    measure: bool = True
    #: Between two ``stats`` and two ``vitals``; at least 0.05.
    interval_s: Annotated[float, amount(0, 86_400)] = 1.0
    #: libvirt's URI; empty or None: its default.
    connect: Optional[Annotated[str, _libvirt]] = None
    guest: bool = False
    timeout_ns: Annotated[int, number(1, 1 << 62)] = 1_000_000_000
    requested: Annotated[Requested, INLINE] = _DEFAULT
    id: Optional[Number] = None


@dataclass(frozen=True)
class Measure(Jsonable):
    """Measures what is requested, whatever was before.

    Given while probes are being put in place, it is carried out after that.  Refused, it changes
    nothing.
    """

    requested: Annotated[Requested, INLINE]
    id: Optional[Number] = None


@dataclass(frozen=True)
class Release(Jsonable):
    """Removes the probes; ``measure`` may follow again."""

    id: Optional[Number] = None


@dataclass(frozen=True)
class Read(Jsonable):
    """Sends ``stats`` now."""

    id: Optional[Number] = None


@dataclass(frozen=True)
class Describe(Jsonable):
    """Brings ``host``; as the first command it is the only one."""

    id: Optional[Number] = None


@dataclass(frozen=True)
class Log(Jsonable):
    """Has log lines of this level or above written to standard error from now on.

    It may come before the first command, and is not acknowledged.
    """

    level: Annotated[str, word("debug|info|warning|error")] = "info"
    id: Optional[Number] = None


@dataclass(frozen=True)
class Stop(Jsonable):
    """Ends the session."""

    id: Optional[Number] = None


Command = Union[Configure, Measure, Release, Read, Describe, Log, Stop]

#: Name -> what it is.
COMMANDS: Mapping[str, type[Command]] = {
    "configure": Configure,
    "measure": Measure,
    "release": Release,
    "read": Read,
    "describe": Describe,
    "log": Log,
    "stop": Stop,
}
_NAMES = {kind: name for name, kind in COMMANDS.items()}


class Refused(UsageError):
    """A command that makes no sense; ``number`` is its id, if it has one."""

    def __init__(self, title: str, cause: str, command: object = None) -> None:
        """Of the command as far as it could be read."""
        super().__init__(title, cause)
        found = command.get("id") if isinstance(command, dict) else None
        self.number = found if type(found) is int and -(1 << 63) <= found < 1 << 63 else None


def name_of(command: Command) -> str:
    """The name by which JSON knows it."""
    return _NAMES[type(command)]


def encode(command: Command) -> bytes:
    """One line."""
    value = {"command": name_of(command), **command.to_json()}
    return wire.line(value)


def decode(line: bytes) -> Command:
    """The command of one line; raises :class:`Refused`."""
    try:
        found = wire.value_of(line)
    except ValueError as error:
        raise Refused("a command is not JSON", str(error)) from None
    if not isinstance(found, dict):
        raise Refused("a command is not a JSON object", quoted(found))
    name = found.get("command")
    kind = COMMANDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise Refused("there is no such command", quoted(name), found)
    try:
        return kind.from_json(found)
    except ValueError as error:
        raise Refused(f"command {name!r} is wrong", str(error), found) from None
