"""How what older versions wrote becomes what this one reads: one step for each schema.

A step takes the object of a frame (``hello`` among them), as it was in JSON, and gives that of the
next schema.  ``tests/unit/protocol/schemas`` has a short recording of each schema.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

from vmlat_tui.errors import VmlatError

#: Raised by one when a reader of the old version would misread the new one.
SCHEMA = 1

Raw = dict[str, Any]
Migration = Callable[[Raw], Raw]

#: Schema -> what makes a frame of the next schema of one of this schema; one for each schema that
#: some version wrote.
MIGRATIONS: dict[int, Migration] = {}


class FrameError(VmlatError):
    """The stream holds something that is not a frame."""


def migration(hello: Raw) -> Optional[Migration]:
    """What makes frames of :data:`SCHEMA` of those that follow this ``hello``; None: they are.

    Raises :class:`FrameError` for a schema that is newer, or that nothing leads on from.
    """
    schema = hello.get("schema")
    if type(schema) is not int:
        raise FrameError(
            f"schema {schema!r:.20} is not a number", f"this program reads {_readable()}"
        )
    if schema > SCHEMA:
        raise FrameError(
            "a newer version of vmlat wrote this",
            f"schema {schema!s:.20}, this program reads up to {SCHEMA}",
            f"use vmlat {str(hello.get('version'))[:20]} or later",
        )
    if schema < _oldest():
        raise FrameError(
            f"schema {schema!s:.20} cannot be read", f"this program reads {_readable()}"
        )
    if schema == SCHEMA:
        return None
    chain = [MIGRATIONS[old] for old in range(schema, SCHEMA)]

    def migrate(frame: Raw) -> Raw:
        for step in chain:
            frame = step(frame)
        if frame.get("type") == "hello":
            frame["schema"] = SCHEMA
        return frame

    return migrate


def _oldest() -> int:
    oldest = SCHEMA
    while oldest - 1 in MIGRATIONS:
        oldest -= 1
    return oldest


def _readable() -> str:
    oldest = _oldest()
    return str(SCHEMA) if oldest == SCHEMA else f"{oldest} to {SCHEMA}"
