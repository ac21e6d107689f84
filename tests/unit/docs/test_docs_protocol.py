"""docs/protocol.md lists every frame, command, object and field of the code, and no other."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Optional, Union

import pytest

from vmlat_tui.model import checks, flows, guest, topology
from vmlat_tui.model.flows import Filter
from vmlat_tui.model.jsonable import INLINE, Size
from vmlat_tui.model.requested import NULLABLE, Requested
from vmlat_tui.protocol import commands, frames, shapes

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


def parts_of(check: Any) -> Mapping[str, Any]:
    """What a check of :mod:`vmlat_tui.model.checks` was made of."""
    return inspect.getclosurevars(check).nonlocals if inspect.isfunction(check) else {}


def element(check: Any) -> Any:
    """Of a list, what each of its elements is checked with."""
    return parts_of(check)["inner"]


def names(check: Any) -> frozenset[str]:
    """The fields of an object."""
    return frozenset(name for name, _, _ in parts_of(check).get("both", ()))


OBJECTS = {
    "flow": shapes._FLOW,
    "filter": flows._FILTER,
    "stage": element(shapes._STAGES),
    "point": element(shapes._POINTS),
    "capability": element(shapes._CAPABILITIES),
    "drop": shapes._DROP,
    "histogram": checks.fields(shapes._HISTOGRAM),
    "halts": shapes._HALTS,
}
_NAMED = {names(check): name for name, check in OBJECTS.items()}


def kind_of(check: Any) -> Optional[str]:
    """The object that a check is of."""
    if check is shapes._flow:
        return "flow"
    if getattr(check, "__func__", None) is flows.Filter.from_json.__func__:  # type: ignore[attr-defined]
        return "filter"
    return _NAMED.get(names(check))


def walked(
    check: Any, path: str = "", optional: bool = False, nullable: bool = False
) -> Iterator[tuple[str, Field]]:
    """Every leaf: a plain value, or an object that has a section of its own."""
    kind, parts = kind_of(check) if path else None, parts_of(check)
    if kind is not None:
        yield path, Field(optional, nullable, kind)
    elif "both" in parts:
        for name, inner, required in parts["both"]:
            where = f"{path}.{name}" if path else name
            yield from walked(inner, where, optional or not required)
    elif "least" in parts:
        yield from walked(parts["inner"], f"{path}[]", optional, nullable)
    elif "name" in parts and "inner" in parts:
        yield from walked(parts["inner"], f"{path}.*", optional)
    elif "inner" in parts:
        yield from walked(parts["inner"], path, optional, True)
    else:
        yield path, Field(optional, nullable, None)


OF_TYPES: Mapping[Any, str] = {Filter: "filter"}


def typed(
    kind: Any, path: str = "", optional: bool = False, nullable: bool = False
) -> Iterator[tuple[str, Field]]:
    """The same of a type that :mod:`vmlat_tui.model.jsonable` reads."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in OF_TYPES and path:
        yield path, Field(optional, nullable, OF_TYPES[kind])
    elif origin is Annotated and not isinstance(arguments[1], Size):
        yield path, Field(optional, nullable, None)
    elif origin is Annotated:
        yield from typed(arguments[0], path, optional, nullable)
    elif origin is Union and type(None) in arguments:
        yield from typed(Union[tuple(set(arguments) - {type(None)})], path, optional, True)
    elif origin is tuple and arguments[1:] == (...,):
        yield from typed(arguments[0], f"{path}[]", optional, nullable)
    elif origin is not None and issubclass(origin, Mapping):
        yield from typed(arguments[1], f"{path}.*", optional)
    elif dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        for field in dataclasses.fields(kind):
            hint, missing = hints[field.name], field.default is not dataclasses.MISSING
            if INLINE in typing.get_args(hint):
                yield from typed(typing.get_args(hint)[0], path, optional)
                continue
            where = f"{path}.{field.name}" if path else field.name
            null = kind is Requested and field.name in NULLABLE
            yield from typed(hint, where, optional or missing, null)
    else:
        yield path, Field(optional, nullable, None)


#: Checked elsewhere (the schema: :func:`frames.migration`), or only for people.
ELSEWHERE = {
    ("hello", "schema"): Field(False, False, None),
    ("ack", "took_ns"): Field(True, False, None),
}


def fields_of_frame(kind: str, said: Mapping[str, Field]) -> dict[str, Field]:
    """Those of a frame; what any frame may have counts only where the page lists it here."""
    check = shapes._FRAMES[kind]
    anywhere = {
        path
        for name, inner, required in parts_of(check)["both"]
        if not required and inner is shapes._ANYWHERE.get(name)
        for path, _ in walked(inner, name)
    }
    found = {p: f for p, f in walked(check) if p not in anywhere or p in said}
    return {**found, **{path: f for (of, path), f in ELSEWHERE.items() if of == kind}}


# ---- both --------------------------------------------------------------------------------------


def test_every_frame_has_a_section_and_no_other_does() -> None:
    assert set(sections("Frame")) == frames.TYPES


def test_every_command_has_a_section_and_no_other_does() -> None:
    assert set(sections("Command")) == set(commands.COMMANDS)


def test_every_object_has_a_section_and_no_other_does() -> None:
    assert set(sections("Object")) == set(OBJECTS)


@pytest.mark.parametrize("kind", sorted(frames.TYPES - {"topology", "vitals"}))
def test_the_fields_of_a_frame_are_listed(kind: str) -> None:
    said = listed(sections("Frame")[kind])
    assert said == fields_of_frame(kind, said)


@pytest.mark.parametrize("name", sorted(commands.COMMANDS))
def test_the_fields_of_a_command_are_listed(name: str) -> None:
    assert listed(sections("Command")[name]) == dict(typed(commands.COMMANDS[name]))


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_the_fields_of_an_object_are_listed(name: str) -> None:
    assert listed(sections("Object")[name]) == dict(walked(OBJECTS[name]))


def test_what_any_frame_may_have_is_listed() -> None:
    page = PAGE.read_text(encoding="utf-8")
    table = page.partition("\n## Frames\n")[2].partition("\n### ")[0]
    spans = re.findall(r"^\| `(\w+)(?:\[\])?` \|", table, re.MULTILINE)
    assert set(spans) == set(shapes._ANYWHERE)


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
