"""Frozen dataclasses to JSON and back, by the types of their fields.

A field is a number, a text, a truth value, an enum (by its value), another such dataclass, a tuple
or a mapping of these, or one of several plain types; each may be optional.  One that has a default
may be missing, as in what an older version wrote.  ``Annotated[int, Within(...)]`` says which
numbers make sense; texts and lists have an end in any case: what is longer is cut off by who
writes, and refused by who reads.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import sys
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Callable, TypeVar, Union

from vmlat_tui.errors import quoted
from vmlat_tui.model.checks import LONGEST, text

_Self = TypeVar("_Self", bound="Jsonable")
_Reader = Callable[[Any], Any]
#: Rows of a list, or of a mapping.
_MOST = 1 << 17


@dataclass(frozen=True)
class Within:
    """The numbers of a field: from ``low`` up to, and without, ``high``."""

    low: int
    high: int


#: Without an annotation: what a counter of the kernel holds, signed or not.
_ANY = Within(-(1 << 63), 1 << 64)


class Jsonable:
    """Base of a dataclass that is a frame, or a part of one."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready form; :meth:`from_json` reads it back unchanged."""
        result = _plain(self)
        assert isinstance(result, dict)
        return result

    @classmethod
    def from_json(cls: type[_Self], value: Mapping[str, Any]) -> _Self:
        """Inverse of :meth:`to_json`; raises ``ValueError`` for anything else."""
        try:
            kind: Any = cls
            result = _reader(kind)(value)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no {cls.__name__.lower()}: {error}") from None
        assert isinstance(result, cls)
        return result


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, str):
        return value[:LONGEST]
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    return value


@functools.cache
def _reader(kind: Any) -> _Reader:
    """What makes a value of a type; made once for each type, as values come every second."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _of_number(arguments[1])
    if origin is Union:
        return _of_union(arguments)
    if origin is tuple:
        return _of_tuple(_reader(arguments[0]))
    if origin is not None and issubclass(origin, Mapping):
        return _of_mapping(_reader(arguments[1]))
    if dataclasses.is_dataclass(kind):
        return _of_dataclass(kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _of_enum(kind)
    if kind is int:
        return _of_number(_ANY)
    return _of_text if kind is str else _of_plain(kind)


def _of_union(kinds: tuple[Any, ...]) -> _Reader:
    by_type = {kind: _reader(kind) for kind in kinds if kind is not type(None)}
    if len(by_type) == 1:
        (read,) = by_type.values()
        return lambda value: None if value is None else read(value)
    names = " or ".join(kind.__name__ for kind in by_type)

    def read_one(value: Any) -> Any:
        reader = by_type.get(type(value))
        if reader is None:
            raise ValueError(f"{quoted(value)} is no {names}")
        return reader(value)

    return read_one


def _of_tuple(read_item: _Reader) -> _Reader:
    def read(value: Any) -> Any:
        if type(value) is not list or len(value) > _MOST:
            raise ValueError(f"{quoted(value)} is no list of at most {_MOST}")
        return tuple(map(read_item, value))

    return read


def _of_mapping(read_item: _Reader) -> _Reader:
    def read(value: Any) -> Any:
        if type(value) is not dict or len(value) > _MOST:
            raise ValueError(f"{quoted(value)} is no object of at most {_MOST}")
        return {_of_text(key): read_item(item) for key, item in value.items()}

    return read


def _of_dataclass(kind: Any) -> _Reader:
    hints = typing.get_type_hints(kind, vars(sys.modules[kind.__module__]), include_extras=True)
    fields = [
        (field.name, _reader(hints[field.name]), field.default)
        for field in dataclasses.fields(kind)
    ]
    return lambda value: kind(
        *[
            default if default is not dataclasses.MISSING and name not in value
            else read(value[name])
            for name, read, default in fields
        ]
    )  # fmt: skip


def _of_enum(kind: type[enum.Enum]) -> _Reader:
    members = {member.value: member for member in kind}

    def read(value: Any) -> Any:
        if type(value) is not str or value not in members:
            raise ValueError(f"{quoted(value)} is no {kind.__name__}")
        return members[value]

    return read


def _of_number(within: Within) -> _Reader:
    low, high = within.low, within.high

    def read(value: Any) -> Any:
        if type(value) is not int or not low <= value < high:
            raise ValueError(f"{quoted(value)} is no number from {low} up to {high}")
        return value

    return read


def _of_text(value: Any) -> Any:
    text(value)
    return value


def _of_plain(kind: type) -> _Reader:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"{quoted(value)} is no {kind.__name__}")
        return value

    return read
