"""Compiles a BPF source with BCC in a process of its own, and keeps the result.

A process of its own because libbcc and clang take 100 MB that would stay for the whole measurement,
write to file descriptor 2, and may exit.  The result is kept in a cache under everything it
depends on (sources, macros with the kernel's offsets, BCC), so the second start on a host needs
no compiler at all.

The object is position independent: an instruction that loads a map names it by its index.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import hashlib
import importlib.util
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, Union

from vmlat_tui import programs
from vmlat_tui.errors import VmlatError
from vmlat_tui.probes import cache
from vmlat_tui.probes.compilers import compile_all
from vmlat_tui.sources import bpf_directory

_log = logging.getLogger(__name__)

#: Raised when the format of a kept object changes.
_FORMAT = 1
#: A source is compiled in parts at the same time; each has some of the functions, or none.
_PARTS = (1, 2, 3)
_LOAD_IMMEDIATE_64, _PSEUDO_MAP_FD = 0x18, 1


@dataclass(frozen=True)
class MapSpec:
    """How to create one map."""

    name: str
    kind: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int


@dataclass(frozen=True)
class Object:
    """Maps and functions of one compiled source."""

    maps: tuple[MapSpec, ...]
    functions: Mapping[str, bytes]

    def to_json(self) -> dict[str, Any]:
        """For the pipe and the cache."""
        return {
            "format": _FORMAT,
            "maps": [list(vars(spec).values()) for spec in self.maps],
            "functions": {n: base64.b64encode(c).decode() for n, c in self.functions.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Object:
        """Raises ``ValueError``, ``KeyError`` or ``TypeError`` for anything else."""
        if value["format"] != _FORMAT:
            raise ValueError("another format")
        functions = {
            str(n): base64.b64decode(c, validate=True) for n, c in value["functions"].items()
        }
        if any(len(code) % 8 for code in functions.values()):
            raise ValueError("no instructions")
        return cls(tuple(MapSpec(*row) for row in value["maps"]), functions)


def bcc_version() -> str:
    """Of the installed BCC, without loading it; raises :class:`VmlatError` if there is none."""
    spec = importlib.util.find_spec("bcc")
    if spec is None or spec.origin is None:
        raise VmlatError("BCC is missing", "no module bcc", "install the package python3-bpfcc")
    version = Path(spec.origin).with_name("version.py")
    try:
        return version.read_text().split("'")[1]
    except (OSError, IndexError):
        return "unknown"


def compiled(source: str, macros: Mapping[str, int]) -> Object:
    """The object of ``source`` (a file of :func:`bpf_directory`), from the cache if it is there.

    Raises :class:`VmlatError` with the compiler's first complaint.
    """
    directory = bpf_directory()
    digest = hashlib.sha256(json.dumps([_FORMAT, source, sorted(macros.items())]).encode())
    digest.update(bcc_version().encode())
    for path in sorted(p for p in directory.rglob("*") if p.suffix in (".c", ".h")):
        digest.update(path.read_bytes())
    request = {"source": source, "macros": dict(macros)}
    parts = [{**request, "macros": {**macros, "PART": part}} for part in _PARTS]
    return _through_cache(digest.hexdigest(), parts, source, Object.from_json, _joined)


def _joined(answers: list[Any]) -> Any:
    """One object of the parts of a source: they declare the same maps."""
    objects = [Object.from_json(answer) for answer in answers]
    if len({made.maps for made in objects}) != 1:
        raise VmlatError("the parts of a BPF source declare different maps")
    functions = {name: code for made in objects for name, code in made.functions.items()}
    if not functions:
        raise ValueError("no functions")
    return Object(objects[0].maps, functions).to_json()


def header_layout(text: str) -> dict[str, int]:
    """Member -> length of the arrays in the value of the map ``places`` of ``text``.

    ``text`` is compiled against the kernel's installed headers; no program is loaded.
    """
    digest = hashlib.sha256(json.dumps([_FORMAT, text, os.uname().release]).encode())

    def read(value: Mapping[str, Any]) -> dict[str, int]:
        return {str(name): int(length) for name, length in value["lengths"].items()}

    return _through_cache(
        digest.hexdigest(), [{"text": text}], "the kernel headers", read, lambda answers: answers[0]
    )


_Made = TypeVar("_Made")


def _through_cache(
    digest: str,
    requests: list[dict[str, Any]],
    what: str,
    read: Callable[[Any], _Made],
    join: Callable[[list[Any]], Any],
) -> _Made:
    kept = cache.load(digest)
    if kept is not None:
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            found = read(json.loads(kept))
            _log.info("%s: taken from the cache, %s", what, digest[:8])
            return found
    begin = time.monotonic()
    answers = compile_all(requests, what)
    took_s = time.monotonic() - begin
    _log.info("%s: compiled in %.2f s by %d processes, %s", what, took_s, len(requests), digest[:8])
    try:
        answer = join(answers)
        made = read(answer)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise VmlatError(f"{what} could not be compiled", f"the compiler gave {error!r}") from None
    cache.store(digest, json.dumps(answer).encode())
    return made


# ---- in the compiler's own process ---------------------------------------------------------


def _compile(source: str, macros: Mapping[str, int]) -> Object:
    directory = bpf_directory()
    os.environ["BCC_KERNEL_SOURCE"] = str(directory)
    import bcc

    flags = [f"-D{name}={value}" for name, value in macros.items()]
    program = bcc.BPF(text=whole_text(directory / source), cflags=flags)
    library, module = bcc.lib, program.module
    library.bpf_function_start.restype = ctypes.c_void_p
    library.bpf_function_size.restype = ctypes.c_size_t
    library.bpf_function_name.restype = ctypes.c_char_p
    library.bpf_table_name.restype = ctypes.c_char_p
    specs, by_descriptor = [], {}
    for table in range(library.bpf_num_tables(module)):
        by_descriptor[library.bpf_table_fd_id(module, table)] = table
        specs.append(
            MapSpec(
                library.bpf_table_name(module, table).decode(),
                library.bpf_table_type_id(module, table),
                library.bpf_table_key_size_id(module, table),
                library.bpf_table_leaf_size_id(module, table),
                library.bpf_table_max_entries_id(module, table),
                library.bpf_table_flags_id(module, table),
            )
        )
    functions = {}
    for number in range(library.bpf_num_functions(module)):
        name = library.bpf_function_name(module, number)
        start = library.bpf_function_start(module, name)
        code = bytearray(ctypes.string_at(start, library.bpf_function_size(module, name)))
        for at in map_loads(code):
            descriptor = int.from_bytes(code[at + 4 : at + 8], "little")
            code[at + 4 : at + 8] = by_descriptor[descriptor].to_bytes(4, "little")
        functions[name.decode()] = bytes(code)
    return Object(tuple(specs), functions)


def whole_text(path: Path) -> str:
    """A source with the files it includes by name in quotes put in their places.

    BCC rewrites map operations only in the main file, so to it there is no other.
    """
    lines = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith('#include "'):
            part = path.parent / line.split('"')[1]
            lines += [
                f'#line 1 "{part.name}"',
                whole_text(part),
                f'#line {number + 1} "{path.name}"',
            ]
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def map_loads(code: Union[bytes, bytearray]) -> list[int]:
    """Positions of the instructions that load a map."""
    found, at = [], 0
    while at < len(code):
        wide = code[at] == _LOAD_IMMEDIATE_64
        if wide and code[at + 1] >> 4 == _PSEUDO_MAP_FD:
            found.append(at)
        at += 16 if wide else 8
    return found


def _lengths(text: str) -> dict[str, int]:
    import bcc

    os.environ.pop("BCC_KERNEL_SOURCE", None)
    program = bcc.BPF(text=text)
    bcc.lib.bpf_table_leaf_desc.restype = ctypes.c_char_p
    _, fields = json.loads(bcc.lib.bpf_table_leaf_desc(program.module, b"places"))[:2]
    return {field[0]: field[2][0] for field in fields}


def main() -> int:
    """Read a request on standard input, write the object on standard output."""
    request = json.load(sys.stdin)
    programs.end_with(request["parent"])  # then nobody reads the answer
    output = os.dup(1)
    os.dup2(2, 1)
    if "text" in request:
        answer: dict[str, Any] = {"lengths": _lengths(request["text"])}
    else:
        answer = _compile(request["source"], request["macros"]).to_json()
    with os.fdopen(output, "w") as file:
        json.dump(answer, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
