"""What threads, vCPUs, interfaces and CPUs did per second of an interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Optional


class ThreadRate(NamedTuple):
    """What a thread did: shares of one CPU's time, switches a second.

    ``stopped`` is the share of readings that found it stopped.
    """

    cpu: Optional[int]
    run_share: float
    waited_share: Optional[float]
    voluntary: Optional[float]
    involuntary: Optional[float]
    stopped: float = 0.0


class NeighbourRate(NamedTuple):
    """Another task on the CPU of a watched thread and the share of one CPU that it took."""

    tid: int
    name: str
    run_share: float


@dataclass(frozen=True)
class HaltRate:
    """KVM's halt polling of one VM.

    Counts are per second, ``poll_share`` and ``wait_share`` are of one CPU's time (all vCPUs
    added), means are per poll or wait of the interval and None if there was none.
    """

    attempted: float
    successful: float
    failed: float
    invalid: float
    wakeups: float
    poll_share: float
    wait_share: float
    mean_success_ns: Optional[float]
    mean_fail_ns: Optional[float]
    mean_wait_ns: Optional[float]

    @property
    def success_share(self) -> Optional[float]:
        """Of the attempted polls; None if there was none."""
        return self.successful / self.attempted if self.attempted else None


@dataclass(frozen=True)
class Rates:
    """Everything of one interval; ``interfaces`` is per second under the kernel's names."""

    t_ns: int
    seconds: float
    threads: Mapping[int, ThreadRate]
    neighbours: Mapping[int, tuple[NeighbourRate, ...]]
    halt: Mapping[str, HaltRate]
    interfaces: Mapping[str, Mapping[str, float]]
    idle: Mapping[str, Mapping[str, float]]
