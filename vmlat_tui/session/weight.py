"""About how much memory a moment of the history takes that no other moment has a part in.

Not to the byte: it is what bounds the history, whatever a host sends.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from vmlat_tui.model.rates import Rates
from vmlat_tui.session.snapshot import Snapshot, Stats

#: Of an entry with its key, beside the bytes that it holds.
_ENTRY = 200
#: A row of a dozen fields.
_ROW = 500
#: A name, a number, a list or an object.
_NODE = 100


def weight(moment: Snapshot) -> int:
    """Bytes of the figures of a moment."""
    return (_stats(moment.stats) if moment.stats else 0) + (
        _rates(moment.rates) if moment.rates else 0
    )


def _stats(stats: Stats) -> int:
    samples = sum(map(len, stats.samples.values())) + _ENTRY * len(stats.samples)
    entries = len(stats.absences) + len(stats.hits) + len(stats.legs) // 4
    woken = sum(
        _ROW + len(one.idle) + len(one.queued) + _NODE * (len(one.ahead_ns) + len(one.idle_states))
        for one in stats.wakeups.values()
    )
    return samples + _ENTRY * entries + _ROW * len(stats.drops) + woken


def _rates(rates: Rates) -> int:
    rows = len(rates.threads) + len(rates.halt) + sum(map(len, rates.neighbours.values()))
    named = (*rates.interfaces.values(), *rates.idle.values())
    return _ROW * rows + _ENTRY * len(named) + _NODE * sum(map(len, named))


def weight_of(value: Any) -> int:
    """Bytes of what is kept of a frame: of its names, numbers and texts."""
    if isinstance(value, str):
        return _NODE + len(value)
    if isinstance(value, (tuple, list)):
        return _NODE + sum(map(weight_of, value))
    if isinstance(value, Mapping):
        return _NODE * (1 + len(value)) + sum(map(weight_of, value.values()))
    if dataclasses.is_dataclass(value):
        return weight_of(vars(value))
    return _NODE
