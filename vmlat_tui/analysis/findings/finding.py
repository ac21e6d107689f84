"""What a finding is: a cause with the numbers it rests on, and the time that it explains."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional, Union

from vmlat_tui.model.points import Direction

Numbers = Mapping[str, Union[int, float, str]]


class Severity(enum.IntEnum):
    """How much a finding matters."""

    NOTE = 0
    SUSPECT = 1
    WRONG = 2


class Sureness(enum.IntEnum):
    """How sure it is that the cause is behind the time.

    MEASURED: the time itself was seen to be spent on this.  LIKELY: the time was measured, and this
    explains it best, by what was counted beside it.  POSSIBLE: the time was measured, and this may
    be behind some of it: what is said to be explained is the most that it can be.
    """

    POSSIBLE = 0
    LIKELY = 1
    MEASURED = 2


@dataclass(frozen=True)
class Explained:
    """Time of one direction's packets that a cause stands for.

    ``p50_ns`` and ``p99_ns``: the median and the 99th percentile, over all packets of the direction
    that went the whole way (``packets``), of the time that each spent on this; a packet that spent
    none counts as 0.  They are never more than ``total_p50_ns`` and ``total_p99_ns``, those of the
    whole way.  The parts of a quantile need not add up to it: a packet that is slow here need not
    be slow there.  ``share`` is of the time that all packets spent on the whole way, which does add
    up.  ``lost`` is the share of packets that were dropped for this cause: these have no time.
    Two findings may explain the same time, as one cause may be behind another.
    """

    direction: Direction
    packets: int
    p50_ns: int
    p99_ns: int
    total_p50_ns: int
    total_p99_ns: int
    mean_ns: float
    share: float
    lost: float = 0.0


@dataclass(frozen=True)
class Kind:
    """What is the same of all findings with one id.

    ``severity`` is that of one that is sure.  ``remedy`` says what to check or change, with the
    numbers of the finding in braces; vmlat itself changes nothing.
    """

    id: str
    word: str
    severity: Severity
    meaning: str
    remedy: str


@dataclass(frozen=True)
class Finding:
    """One cause, with its evidence.

    ``word`` is for a list, ``sentence`` has the numbers.  Names in texts come from outside and may
    hold anything.  ``explained`` is None where nothing was measured: what stands out from placement
    and settings alone.  ``legs`` are the ids of the legs that it rests on, the main one first.
    """

    id: str
    word: str
    severity: Severity
    sureness: Sureness
    sentence: str
    meaning: str
    remedy: str
    numbers: Numbers
    explained: Optional[Explained] = None
    legs: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, Optional[Direction], str]:
        """Identity: the numbers change, this does not."""
        subject = str(self.numbers.get("interface", ""))
        return (self.id, self.explained.direction if self.explained else None, subject)


def found(
    kind: Kind,
    sentence: str,
    sureness: Sureness,
    numbers: Numbers,
    explained: Optional[Explained] = None,
    legs: tuple[str, ...] = (),
    severity: Optional[Severity] = None,
) -> Finding:
    """A finding of a kind; what was measured but is only possible is never WRONG."""
    weight = kind.severity if severity is None else severity
    if explained is not None and sureness is Sureness.POSSIBLE:
        weight = min(weight, Severity.SUSPECT)
    remedy = kind.remedy.format_map(_Given(numbers))
    return Finding(
        kind.id,
        kind.word,
        weight,
        sureness,
        sentence,
        kind.meaning,
        remedy,
        numbers,
        explained,
        legs,
    )


class _Given(dict[str, object]):
    """Numbers by their names; one that is not given stays what it is called, as in a manual."""

    def __missing__(self, name: str) -> str:
        return name.upper()
