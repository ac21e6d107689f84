"""docs/protocol.md lists every frame, command, object and field of the code, and no other."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Optional, Union

import pytest

from vmlat_tui.model import guest, jsonable, topology
from vmlat_tui.model.flows import Echo, Filter, Flow
from vmlat_tui.model.jsonable import Absent, Size
from vmlat_tui.model.packets import PacketDrop, Stage
from vmlat_tui.model.requested import NULLABLE, Requested
from vmlat_tui.protocol import commands, frames
from vmlat_tui.protocol.session import AgentCapability, PointHooks
from vmlat_tui.protocol.stats import HaltsRow, HistogramRow

PAGE = Path(__file__).resolve().parents[3] / "docs" / "protocol.md"


class Field(NamedTuple):
    """What the page says of a field, and what the code does."""

    optional: bool
    nullable: bool
    #: The object that it is, if it is one that has a section of its own.
    kind: Optional[str]


# ---- the page ----------------------------------------------------------------------------------

_SPAN = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(#object-(\w+)\)")


def sections(kind: str) -> dict[str, str]:
    """Name -> text of the sections ``### Kind `name```."""
    parts = re.split(r"^#{2,3} ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {}
    for part in parts:
        heading, _, text = part.partition("\n")
        match = re.fullmatch(rf"{kind} `(\w+)`", heading)
        if match:
            assert match.group(1) not in found
            found[match.group(1)] = text
    return found


def listed(text: str) -> dict[str, Field]:
    """Path -> field of the table of a section."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        match = _SPAN.fullmatch(cells[0])
        if match is None or len(cells) != 4:
            continue
        assert cells[2] in ("", "optional"), line
        link = _LINK.search(cells[1])
        nullable = cells[1].endswith("or null")
        assert match.group(1) not in found, line
        found[match.group(1)] = Field(
            cells[2] == "optional", nullable, link.group(1) if link else None
        )
    return found


# ---- the code ----------------------------------------------------------------------------------


TYPES: Mapping[str, Any] = {
    "flow": Flow,
    "filter": Filter,
    "stage": Stage,
    "histogram": HistogramRow,
    "halts": HaltsRow,
    "drop": PacketDrop,
    "point": PointHooks,
    "capability": AgentCapability,
}
_TYPED = {kind: name for name, kind in TYPES.items()}


def typed(
    kind: Any, path: str = "", optional: bool = False, nullable: bool = False
) -> Iterator[tuple[str, Field]]:
    """The same of a type that :mod:`vmlat_tui.model.jsonable` reads."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in _TYPED and path:
        yield path, Field(optional, nullable, _TYPED[kind])
    elif (kind is Requested and path) or (
        origin is Annotated and not isinstance(arguments[1], Size)
    ):
        yield path, Field(optional, nullable, None)
    elif kind is Filter:
        for name in (field.name for field in dataclasses.fields(Filter)):
            yield name, Field(True, name != "either", None)
    elif kind is Echo:
        for name in ("id", "seq", "kind"):
            yield f"{path}.{name}", Field(optional, False, None)
    elif origin is Annotated:
        yield from typed(arguments[0], path, optional, nullable)
    elif origin is Union:
        others = [kind for kind in arguments if kind not in (type(None), Absent)]
        yield from typed(Union[tuple(others)], path, optional, type(None) in arguments)
    elif origin is tuple and arguments[1:] == (...,):
        yield from typed(arguments[0], f"{path}[]", optional, nullable)
    elif origin is not None and issubclass(origin, Mapping):
        yield from typed(arguments[1], f"{path}.*", optional)
    elif dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
        for part in jsonable.parts(kind):
            if part.inline:
                yield from typed(typing.get_args(part.hint)[0], path, optional)
                continue
            where = f"{path}.{part.name}" if path else part.name
            missing = part.default is not dataclasses.MISSING
            for at, field in typed(part.hint, where, optional or missing):
                null = field.nullable and (part.null or at not in (where, f"{where}[]"))
                null |= kind is Requested and part.name in NULLABLE
                yield at, field._replace(nullable=null)
    else:
        yield path, Field(optional, nullable, None)


# ---- both --------------------------------------------------------------------------------------


def test_every_frame_has_a_section_and_no_other_does() -> None:
    assert set(sections("Frame")) == frames.TYPES


def test_every_command_has_a_section_and_no_other_does() -> None:
    assert set(sections("Command")) == set(commands.COMMANDS)


def test_every_object_has_a_section_and_no_other_does() -> None:
    assert set(sections("Object")) == set(TYPES)


@pytest.mark.parametrize("kind", sorted(frames.TYPES - {"topology", "vitals"}))
def test_the_fields_of_a_frame_are_listed(kind: str) -> None:
    assert listed(sections("Frame")[kind]) == dict(typed(frames.CLASSES[kind]))


@pytest.mark.parametrize("name", sorted(commands.COMMANDS))
def test_the_fields_of_a_command_are_listed(name: str) -> None:
    assert listed(sections("Command")[name]) == dict(typed(commands.COMMANDS[name]))


@pytest.mark.parametrize("name", sorted(TYPES))
def test_the_fields_of_an_object_are_listed(name: str) -> None:
    assert listed(sections("Object")[name]) == dict(typed(TYPES[name]))


def test_a_field_that_the_page_lists_for_any_frame_means_the_same_in_each_that_has_it() -> None:
    page = PAGE.read_text(encoding="utf-8")
    table = page.partition("\n## Frames\n")[2].partition("\n### ")[0]
    spans = re.findall(r"^\| `(\w+)(?:\[\])?` \|", table, re.MULTILINE)
    assert set(spans) == {"t_ns", "bin", "points", "stages", "drop"}
    for name in spans:
        parts = [p for kind in frames.CLASSES.values() for p in jsonable.parts(kind)]
        assert len({str(part.hint) for part in parts if part.name == name}) == 1


def test_the_times_of_a_ping_in_a_guest_are_listed() -> None:
    text = sections("Frame")["echo"].partition("The times:")[2]
    assert set(_SPAN.findall(text)) == guest.TIMES


def dataclasses_in(kind: Any, found: dict[str, set[str]]) -> dict[str, set[str]]:
    """All that a value of this type may contain: name -> fields."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        found[kind.__name__] = {field.name for field in dataclasses.fields(kind)}
        for hint in typing.get_type_hints(kind).values():
            dataclasses_in(hint, found)
    for inner in typing.get_args(kind):
        dataclasses_in(inner, found)
    return found


def test_the_objects_of_topology_and_vitals_are_listed() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("\n## Topology and vitals\n")[2]
    rows = [_SPAN.findall(line) for line in text.splitlines() if line.startswith("| `")]
    code = dataclasses_in(topology.Vitals, dataclasses_in(topology.Topology, {}))
    assert {name: set(rest) for name, *rest in rows} == code
