"""A file of averages that were published without their packets.

One JSON object::

    {"vmlat": "averages", "name": "old platform", "unit": "us",
     "values": {"rtt": 226.8, "A": 18.2, "E.s1_s2": 22, "E_printed": 42},
     "count": 16,
     "published": {"rest": 0}}

``values`` are of the quantities of :mod:`vmlat_tui.model.segments`; ``unit`` is us (the default),
ms or ns; ``count`` (optional) is the number of packets, or an object with one for each quantity.
``published`` holds derived figures as the source states them, shown beside what follows from
``values``.  Where E or L is missing but its stages are there, it is computed from them: stage 3 to
4, in ``E.s3_s4_printed``, counted from stage 2 as the tool counts it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from vmlat_tui.errors import UsageError, quoted
from vmlat_tui.importers.result import ImportResult
from vmlat_tui.model import checks
from vmlat_tui.model.readings import Average
from vmlat_tui.model.segments import QUANTITIES

_UNITS_NS = {"us": 1000.0, "µs": 1000.0, "ms": 1e6, "ns": 1.0}
_LARGEST = 1 << 20
#: Nothing is measured more finely, and nothing lasts longer.
_LEAST_NS, _MOST_NS = 1e-3, 1e18
_FIELDS = {"vmlat", "name", "unit", "values", "count", "published"}


def recognised(head: str) -> bool:
    """Whether a file that begins so is one."""
    return head.lstrip("\ufeff \t\r\n").startswith("{") and '"averages"' in head[:4096]


def read(result: ImportResult) -> dict[str, float]:
    """Read the file of the result's source; returns what is published, in nanoseconds.

    Raises :class:`UsageError`: somebody wrote this file by hand, for us.
    """
    path = result.source.text.path
    try:
        with result.source.text.open() as file:
            raw = file.read(_LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path.name} is not a file of averages", str(error)) from None
    if len(raw) > _LARGEST:
        raise UsageError(f"{path.name} is not a file of averages", "it has more than 1 MiB")
    result.source.text.size, result.source.text.lines = len(raw), raw.count(b"\n")
    try:
        found = json.loads(raw.decode("utf-8-sig"))
        return _take(result, found)
    except (ValueError, RecursionError, UnicodeDecodeError) as error:
        raise UsageError(f"{path.name} is not a file of averages", str(error)) from None


def _take(result: ImportResult, found: Any) -> dict[str, float]:
    if not isinstance(found, dict) or found.get("vmlat") != "averages":
        raise ValueError('it has no "vmlat": "averages"')
    _FILE(found)
    unknown = sorted(set(found) - _FIELDS)
    if unknown:
        raise ValueError(f"there is no field {quoted(unknown[0])}")
    unit_ns = _UNITS_NS[found.get("unit", "us")]
    values = _nanoseconds(found["values"], unit_ns)
    published = _nanoseconds(found.get("published", {}), unit_ns)
    if not values:
        raise ValueError("it has no values")
    for segment in "EL":
        _complete(segment, values)
    counts = found.get("count")
    for quantity, value in values.items():
        count = counts.get(quantity) if isinstance(counts, dict) else counts
        result.state(quantity, Average(value, count))
    result.tool("averages")
    result.source.label = found.get("name")
    return published


def _nanoseconds(values: Mapping[str, float], unit_ns: float) -> dict[str, float]:
    found = {name: value * unit_ns for name, value in values.items()}
    for name, value in found.items():
        if not (value == 0 or _LEAST_NS <= abs(value) <= _MOST_NS):
            raise ValueError(f"{name} is out of range")
    return found


def _quantity(name: Any) -> None:
    if name not in QUANTITIES:
        raise ValueError(f"there is no quantity {quoted(name)}")


def _unit(value: Any) -> None:
    if not isinstance(value, str) or value not in _UNITS_NS:
        raise ValueError(f"there is no unit {quoted(value)}, but us, ms and ns")


def _count(value: Any) -> None:
    (checks.named(_COUNT, checks.text) if isinstance(value, dict) else _COUNT)(value)


_COUNT = checks.or_none(checks.number(1, 1 << 48))
_NUMBER = checks.amount(-_MOST_NS, _MOST_NS)
_FILE = checks.fields(
    {"values": checks.named(_NUMBER, _quantity)},
    {
        "unit": _unit,
        "published": checks.named(_NUMBER, checks.text),
        "count": _count,
        "name": checks.or_none(checks.text),
    },
)


def _complete(segment: str, values: dict[str, float]) -> None:
    def stage(name: str) -> Any:
        return values.get(f"{segment}.{name}")

    printed = stage("s3_s4_printed")
    if printed is not None and stage("s2_s3") is not None:
        values.setdefault(f"{segment}.s3_s4", printed - stage("s2_s3"))
    parts = [stage(name) for name in ("s1_s2", "s2_s3", "s3_s4", "s4_s5")]
    if printed is not None and parts[1] is None:
        parts = [parts[0], 0.0, printed, parts[3]]
    if all(part is not None for part in parts):
        values.setdefault(segment, sum(parts))
