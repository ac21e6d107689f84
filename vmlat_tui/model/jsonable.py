"""Dataclasses and named tuples to JSON and back, by the types of their fields.

A field is a number, a text, a truth value, an enum (by its value), another such class, a tuple or a
mapping of these, a pair, or one of several plain types; each may be optional.  ``Annotated`` says
what of a type makes sense, beside the field: a check of :mod:`.checks` for a value that is in JSON
as it is in Python, :class:`Size` for a tuple or a mapping, :data:`INLINE` for an object whose
fields are among those of the outer one.  A field that has a default may be missing, as in what an
older version wrote; :func:`possible` and :data:`ABSENT` make one that is not written then.  Other
fields than those of the class are not looked at: later versions have more.

Texts and lists have an end in any case: what is longer is cut off by who writes, and refused by who
reads.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import operator
import sys
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Callable, NamedTuple, Optional, TypeVar, Union

from vmlat_tui.errors import quoted
from vmlat_tui.model import checks
from vmlat_tui.model.checks import LONGEST, Check

_Self = TypeVar("_Self", bound="Jsonable")
#: From so many rows on they are read column by column.
_MANY = 64
_Change = Callable[[Any], Any]


@dataclass(frozen=True)
class Size:
    """How many elements a tuple or a mapping may have."""

    least: int = 0
    most: int = 1 << 17


#: In ``Annotated``: the fields of this object are fields of the outer one.
INLINE = "inline"


class Absent(enum.Enum):
    """What a field holds that was not there, where null means something else."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT


def possible() -> Any:
    """A field that may be missing, then it is None, and that is never null."""
    return dataclasses.field(default=None, metadata={"null": False})


class Jsonable:
    """Base of a dataclass that is a frame or a command, or a part of one."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready form; :meth:`from_json` reads it back unchanged."""
        kind: Any = type(self)
        result = _object(kind).write(self)
        assert isinstance(result, dict)
        return result

    @classmethod
    def from_json(cls: type[_Self], value: Mapping[str, Any]) -> _Self:
        """Inverse of :meth:`to_json`; raises ``ValueError`` for anything else."""
        kind: Any = cls
        try:
            result = _object(kind).read(value)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no {cls.__name__.lower()}: {error}") from None
        assert isinstance(result, cls)
        return result


def to_json(value: Any) -> Any:
    """JSON-ready form of a value of any class that is read and written here."""
    kind: Any = type(value)
    write = _codec(kind).write
    return value if write is None else write(value)


class _Codec(NamedTuple):
    """How values of a type are read and written.

    Either ``check`` looks at what stays as it is, or ``read`` makes something of it.
    """

    check: Optional[Check] = None
    read: Optional[_Change] = None
    write: Optional[_Change] = None
    #: Reads many objects in one go.
    rows: Optional[Callable[[list[Any]], list[Any]]] = None


class _ObjectCodec(NamedTuple):
    read: _Change
    write: _Change
    rows: Callable[[list[Any]], list[Any]]


class Part(NamedTuple):
    """A field of an object."""

    name: str
    hint: Any
    codec: _Codec
    #: ``dataclasses.MISSING`` if it must be there.
    default: Any
    null: bool
    inline: bool

    def take(self, value: Mapping[str, Any]) -> Any:
        """What it is in an object; raises ``ValueError`` with its name."""
        if not self.inline and self.name not in value:
            if self.default is dataclasses.MISSING:
                raise ValueError(f"{self.name} is missing")
            return self.default
        item = value if self.inline else value[self.name]
        try:
            if item is None and not self.null:
                raise ValueError("null is not a value")
            if self.codec.check is not None:
                self.codec.check(item)
            return self.codec.read(item) if self.codec.read is not None else item
        except ValueError as error:
            raise error if self.inline else ValueError(f"{self.name}: {error}") from None


@functools.cache
def _codec(kind: Any) -> _Codec:
    """Of any type; made once for each, as values come every second."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _of_annotated(*arguments)
    if origin is Union:
        return _of_union(tuple(k for k in arguments if k is not Absent))
    if origin is tuple:
        return _of_tuple(arguments, Size())
    if origin is not None and issubclass(origin, Mapping):
        return _of_mapping(arguments, Size())
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _of_enum(kind)
    if "from_json" in vars(kind):
        return _Codec(None, kind.from_json, kind.to_json)
    if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
        return _Codec(None, *_object(kind))
    if kind is int:
        return _Codec(_INTEGER)
    if kind is str:
        return _Codec(checks.text, None, _cut)
    return _Codec(checks.exactly(kind))


#: Without an annotation: what a counter of the kernel holds, signed or not.
_INTEGER = checks.number(-(1 << 63), 1 << 64)


def _cut(value: str) -> str:
    return value[:LONGEST]


def _of_annotated(kind: Any, said: Any) -> _Codec:
    arguments = typing.get_args(kind)
    if not isinstance(said, Size):
        return _codec(kind) if said is INLINE else _Codec(said)
    if typing.get_origin(kind) is tuple:
        return _of_tuple(arguments, said)
    return _of_mapping(arguments, said)


def _of_union(kinds: tuple[Any, ...]) -> _Codec:
    others = [kind for kind in kinds if kind is not type(None)]
    if len(others) > 1:
        check = checks.exactly(*others)
        by_type = {other: _codec(other) for other in others}
        assert all(codec.read is None for codec in by_type.values()), kinds

        def check_one(value: Any) -> None:
            check(value)
            inner = by_type[type(value)].check
            if inner is not None:
                inner(value)

        def write_one(value: Any) -> Any:
            write = by_type[type(value)].write
            return value if write is None else write(value)

        return _Codec(check_one, None, write_one)
    codec = _codec(others[0])
    return _Codec(
        checks.or_none(codec.check) if codec.check is not None else None,
        _or_none(codec.read),
        _or_none(codec.write),
    )


def _or_none(change: Optional[_Change]) -> Optional[_Change]:
    if change is None:
        return None
    changed: _Change = change
    return lambda value: None if value is None else changed(value)


def _of_tuple(kinds: tuple[Any, ...], size: Size) -> _Codec:
    if len(kinds) == 2 and kinds[1] is not Ellipsis:
        return _of_pair(_codec(kinds[0]), _codec(kinds[1]))
    check, change, write, rows = _codec(kinds[0])

    def read(value: Any) -> Any:
        if type(value) is not list or not size.least <= len(value) <= size.most:
            raise ValueError(f"{quoted(value)} is not a list of {size.least} to {size.most}")
        if rows is not None and len(value) >= _MANY:
            return tuple(rows(value))
        if check is not None:
            for item in value:
                check(item)
        return tuple(value if change is None else map(change, value))

    if write is None:
        return _Codec(None, read, list)
    written: _Change = write
    return _Codec(None, read, lambda value: list(map(written, value)))


def _of_pair(first: _Codec, second: _Codec) -> _Codec:
    assert first.check and second.check, "a pair is of plain values"
    check = checks.pair(first.check, second.check)

    def read(value: Any) -> Any:
        check(value)
        return tuple(value)

    return _Codec(None, read, list)


def _of_mapping(kinds: tuple[Any, ...], size: Size) -> _Codec:
    check_key = _codec(kinds[0]).check
    assert check_key is not None, "a name is a plain value"
    check, change, write, _ = _codec(kinds[1])

    def read(value: Any) -> Any:
        if type(value) is not dict or not size.least <= len(value) <= size.most:
            raise ValueError(f"{quoted(value)} is not an object of {size.least} to {size.most}")
        for key, item in value.items():
            check_key(key)
            if check is not None:
                check(item)
        if change is None:
            return value
        return {key: change(item) for key, item in value.items()}

    def write_all(value: Mapping[Any, Any]) -> Any:
        return {
            _cut(str(key)): item if write is None else write(item) for key, item in value.items()
        }

    return _Codec(None, read, write_all)


def _of_enum(kind: type[enum.Enum]) -> _Codec:
    members = {member.value: member for member in kind}

    def read(value: Any) -> Any:
        if type(value) is not str or value not in members:
            raise ValueError(f"{quoted(value)} is not a {kind.__name__}")
        return members[value]

    return _Codec(None, read, operator.attrgetter("value"))


@functools.cache
def _object(kind: Any) -> _ObjectCodec:
    """Of a dataclass or a named tuple; ``validate`` of one raises if its fields do not fit."""
    found = parts(kind)
    names = tuple(part.name for part in found)
    make = getattr(kind, "_make", None) or (lambda values: kind(*values))
    validate = getattr(kind, "validate", None)

    #: Those that are always there come first, and are taken in one go.
    needed = [p for p in found if p.default is dataclasses.MISSING and not p.inline]
    rest = found[len(needed) :]
    if needed != found[: len(needed)]:
        needed, rest = [], found
    needs = dataclasses.MISSING
    others = [(part.name, needs if part.inline else part.default, part.take) for part in rest]
    taken = _all(operator.itemgetter, tuple(part.name for part in needed))
    plain = [(at, part.codec.check) for at, part in enumerate(needed) if part.codec.check]
    changed = [(at, part.codec.read) for at, part in enumerate(needed) if part.codec.read]

    def read_values(value: dict[str, Any]) -> list[Any]:
        try:
            values = list(taken(value))
            for at, check in plain:
                check(values[at])
            for at, change in changed:
                values[at] = change(values[at])
        except (KeyError, ValueError):
            values = [part.take(value) for part in needed]
        for name, default, take in others:
            values.append(default if default is not needs and name not in value else take(value))
        return values

    def read(value: Any) -> Any:
        if type(value) is not dict:
            raise ValueError(f"{quoted(value)} is not an object")
        result = make(read_values(value))
        if validate is not None:
            validate(result)
        return result

    def read_rows(rows: list[Any]) -> list[Any]:
        """The same of many: column by column, or, where that fails, one by one to say why."""
        try:
            made = list(map(make, zip(*(_column(part, rows) for part in found))))
            if validate is not None:
                for one in made:
                    validate(one)
            return made
        except (KeyError, ValueError, TypeError):
            return list(map(read, rows))

    got = tuple if hasattr(kind, "_fields") else _all(operator.attrgetter, names)
    written = [(part.name, part.codec.write) for part in found if part.codec.write is not None]
    left_out = [(p.name, p.default) for p in found if p.default is ABSENT or not p.null]
    inlined = [part.name for part in found if part.inline]

    def write(value: Any) -> Any:
        result = dict(zip(names, got(value)))
        for name, default in left_out:
            if result[name] is default:
                del result[name]
        for name, change in written:
            if name in result:
                result[name] = change(result[name])
        for name in inlined:
            result.update(result.pop(name))
        return result

    return _ObjectCodec(read, write, read_rows)


def _column(part: Part, rows: list[Any]) -> Sequence[Any]:
    """One field of many objects; raises if it is not in all of them, or in none."""
    if part.default is not dataclasses.MISSING and not any(part.name in row for row in rows):
        return [part.default] * len(rows)
    values = [row[part.name] for row in rows]
    if not part.null and None in values:
        raise ValueError("null is not a value")
    if part.codec.check is not None:
        checks.many(part.codec.check)(values)
    if part.codec.rows is not None:
        return part.codec.rows(values)
    return values if part.codec.read is None else list(map(part.codec.read, values))


def _all(getter: Callable[..., _Change], names: tuple[str, ...]) -> _Change:
    """What gives all of these as a tuple."""
    if len(names) > 1:
        return getter(*names)
    if not names:
        return lambda value: ()
    one = getter(names[0])
    return lambda value: (one(value),)


def parts(kind: Any) -> list[Part]:
    """The fields of a dataclass or a named tuple."""
    hints = typing.get_type_hints(kind, vars(sys.modules[kind.__module__]), include_extras=True)
    if dataclasses.is_dataclass(kind):
        fields = [
            (f.name, f.default, f.metadata.get("null", True)) for f in dataclasses.fields(kind)
        ]
    else:
        defaults = kind._field_defaults
        fields = [(name, defaults.get(name, dataclasses.MISSING), True) for name in kind._fields]
    return [
        Part(name, hints[name], _codec(hints[name]), default, null, _is_inline(hints[name]))
        for name, default, null in fields
    ]


def _is_inline(hint: Any) -> bool:
    return typing.get_origin(hint) is Annotated and INLINE in typing.get_args(hint)
