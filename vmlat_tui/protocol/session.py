"""The frames that say how a session goes on: who the agent is, what it does, what went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple, Optional, Union

from vmlat_tui.errors import VmlatError
from vmlat_tui.model.capabilities import CapabilityState
from vmlat_tui.model.checks import amount, count, direction, flag, name, text, time, whole
from vmlat_tui.model.jsonable import ABSENT, Absent, Jsonable, Size, possible
from vmlat_tui.model.requested import Requested
from vmlat_tui.protocol.commands import Number

#: Nanoseconds of the host's CLOCK_MONOTONIC, or of its wall clock.
Time = Annotated[int, time]
#: A name of the kernel's or of ours; shown as it is.
Name = Annotated[str, name]
DirectionId = Annotated[str, direction]
_Text = Annotated[str, text]
_Flag = Annotated[bool, flag]


class AttachedHook(NamedTuple):
    """What observes a point: a kernel function or tracepoint, and how it is hooked."""

    function: Name
    kind: Name


class PointHooks(NamedTuple):
    """A point with its hooks, or with the ``reason`` why it has none."""

    point: Name
    directions: tuple[DirectionId, ...]
    hooks: tuple[AttachedHook, ...]
    reason: _Text


class AgentCapability(NamedTuple):
    """What the agent has of a capability; see :mod:`vmlat_tui.model.capabilities`."""

    name: Name
    state: CapabilityState
    needed: _Flag
    purpose: _Text
    loss: _Text


Capabilities = Annotated[tuple[AgentCapability, ...], Size(0, 64)]


class Clock(NamedTuple):
    """The same moment on both clocks."""

    mono_ns: Time
    wall_ns: Time


@dataclass(frozen=True)
class HelloFrame(Jsonable):
    """First of every stream; once more after ``lost``.

    ``boot`` is the boot's id, ``agent`` its process.  ``rung`` and ``offsets`` are None and
    ``points`` is empty while nothing is measured.
    """

    schema: Annotated[int, whole]
    kernel: str
    host: str
    clock: Clock
    version: Optional[str] = possible()
    boot: Optional[str] = possible()
    agent: Optional[Annotated[int, whole]] = possible()
    capabilities: Capabilities = ()
    rung: Optional[Name] = None
    offsets: Optional[Name] = None
    points: tuple[PointHooks, ...] = ()

    @property
    def wall_offset_ns(self) -> int:
        """What leads from its monotonic clock to its wall clock."""
        return self.clock.wall_ns - self.clock.mono_ns


@dataclass(frozen=True)
class AttachingFrame(Jsonable):
    """Probes are being put in place, which takes seconds when they must be compiled."""

    t_ns: Time


@dataclass(frozen=True)
class MeasuringFrame(Jsonable):
    """A measurement began after ``hello``."""

    t_ns: Time
    rung: Name
    offsets: Name
    points: tuple[PointHooks, ...]


@dataclass(frozen=True)
class ReleasedFrame(Jsonable):
    """Nothing is measured any more; the final ``stats`` came before."""

    t_ns: Time


class WatchedInterface(NamedTuple):
    """A tap that is measured; ``ifindex`` is None while it is absent."""

    name: _Text
    ifindex: Optional[Annotated[int, whole]]


@dataclass(frozen=True)
class LinksFrame(Jsonable):
    """The interfaces that are measured; ``leaves`` carry the packets of ``uplinks`` to the wire."""

    t_ns: Time
    vm_interfaces: tuple[WatchedInterface, ...]
    uplinks: tuple[str, ...]
    leaves: tuple[str, ...]


@dataclass(frozen=True)
class NoticeFrame(Jsonable):
    """Something that the user should know."""

    text: str


@dataclass(frozen=True)
class AckFrame(Jsonable):
    """A command was carried out; ``requested`` is what is measured since a ``measure``."""

    id: Optional[Number] = None
    command: Optional[str] = None
    took_ns: Optional[Annotated[int, whole]] = possible()
    requested: Optional[Requested] = possible()


@dataclass(frozen=True)
class ErrorFrame(Jsonable):
    """Something failed; fatal unless it has an ``id``: then it refuses that command."""

    title: str
    cause: str = ""
    remedy: str = ""
    exit_status: Annotated[int, whole] = 1
    id: Union[Number, Absent, None] = ABSENT

    @property
    def fatal(self) -> bool:
        """The session ends with it."""
        return self.id is ABSENT

    @property
    def number(self) -> Optional[int]:
        """The command that it refuses, if that has a number."""
        return None if isinstance(self.id, Absent) else self.id

    @classmethod
    def of(cls, error: VmlatError, id: Union[int, Absent, None] = ABSENT) -> ErrorFrame:
        """Of an exception."""
        return cls(error.title, error.cause, error.remedy, error.exit_status, id)

    @property
    def exception(self) -> VmlatError:
        """Inverse of :meth:`of`."""
        error = VmlatError(self.title, self.cause, self.remedy)
        error.exit_status = 2 if self.exit_status == 2 else 1
        return error


@dataclass(frozen=True)
class LostFrame(Jsonable):
    """The connection broke; ``hello`` follows if it can be made again.

    Said by the session itself, never by an agent.  ``wait_s`` is until attempt ``attempt``.
    """

    title: str
    cause: str
    attempt: Annotated[int, count]
    wait_s: Annotated[float, amount(0, 1e9)]


class Btf(NamedTuple):
    """Whether the kernel has BTF, and why not."""

    present: _Flag
    problem: _Text


class Bcc(NamedTuple):
    """Which BCC there is, or why there is none."""

    version: Optional[_Text]
    problem: _Text


@dataclass(frozen=True)
class HostFrame(Jsonable):
    """What a host can measure (``vmlat doctor``): the answer to ``describe``."""

    kernel: str
    machine: str
    rung: Name
    btf: Btf
    headers: bool
    kprobes: bool
    ring_buffer: bool
    bcc: Bcc
    lockdown: str
    problem: str
    points: tuple[PointHooks, ...]
    missing: tuple[Name, ...]
    measurable: bool
    vm_interfaces: tuple[str, ...]
    uplinks: tuple[str, ...]
    user: Optional[Annotated[int, count]] = possible()
    capabilities: Capabilities = ()
