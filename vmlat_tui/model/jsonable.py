"""Frozen dataclasses to JSON and back, by the types of their fields.

A field is a number, a text, a truth value, an enum (by its value), another such dataclass, a tuple
or a mapping of these, or one of several plain types; each may be optional.  One that has a default
may be missing, as in what an older version wrote.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import sys
import typing
from collections.abc import Mapping
from typing import Any, Callable, TypeVar, Union

_Self = TypeVar("_Self", bound="Jsonable")
_Reader = Callable[[Any], Any]


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
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


@functools.cache
def _reader(kind: Any) -> _Reader:
    """What makes a value of a type; made once for each type, as values come every second."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Union:
        return _of_union(arguments)
    if origin is tuple:
        return _of_tuple(_reader(arguments[0]))
    if origin is not None and issubclass(origin, Mapping):
        return _of_mapping(_reader(arguments[1]))
    if dataclasses.is_dataclass(kind):
        return _of_dataclass(kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind
    return _of_plain((kind,))


def _of_union(kinds: tuple[Any, ...]) -> _Reader:
    some = tuple(kind for kind in kinds if kind is not type(None))
    read = _reader(some[0]) if len(some) == 1 else _of_plain(some)
    if len(some) == len(kinds):
        return read
    return lambda value: None if value is None else read(value)


def _of_tuple(read_item: _Reader) -> _Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError(f"{value!r:.60} is no list")
        return tuple(map(read_item, value))

    return read


def _of_mapping(read_item: _Reader) -> _Reader:
    return lambda value: {str(key): read_item(item) for key, item in value.items()}


def _of_dataclass(kind: Any) -> _Reader:
    hints = typing.get_type_hints(kind, vars(sys.modules[kind.__module__]))
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


def _of_plain(kinds: tuple[type, ...]) -> _Reader:
    def read(value: Any) -> Any:
        if type(value) not in kinds:
            raise ValueError(f"{value!r:.60} is no {' or '.join(k.__name__ for k in kinds)}")
        if type(value) is int and not -(1 << 63) <= value < 1 << 64:
            raise ValueError("a number is out of range")
        return value

    return read
