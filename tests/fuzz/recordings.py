"""Recorded sessions: everything that is done with one without the screens."""

from __future__ import annotations

import atexit
import gzip
import json
import re
import shutil
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from random import Random

from tests.fuzz.support import Target, command, made, mutated, shaken, to_line
from tests.support.frames import encoded
from tests.tui import host
from tests.tui.wakeful import Wakeful
from vmlat_tui.errors import VmlatError
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.recording.outline import outline
from vmlat_tui.recording.shipped import SHIPPED, shipped

#: What comes first, and tells of the host.
_HEAD = ("hello", "topology", "vitals", "measuring", "links", "ack")
_LOST: Raw = {"type": "lost", "title": "t", "cause": "c", "attempt": 1, "wait_s": 1}


@cache
def directory() -> Path:
    """Of this process, until it ends."""
    made_one = Path(tempfile.mkdtemp(prefix="vmlat-fuzz-"))
    atexit.register(shutil.rmtree, made_one, ignore_errors=True)
    return made_one


_Session = dict[str, list[bytes]]


@cache
def sessions() -> tuple[_Session, ...]:
    """The lines of two recorded ones, and of one made up that has what those have not, by type."""
    found = []
    for name in SHIPPED:
        with shipped(name) as path, gzip.open(path) as file:
            found.append(_by_type(file))
    made_up = Wakeful(host.NAMES[:2], ahead="x", flows=3).whole(6)
    return (*found, _by_type(map(encoded, made_up)))


def _by_type(lines: Iterable[bytes]) -> _Session:
    found: _Session = {}
    for line in lines:
        kind = re.match(rb'{"type":"(\w+)"', line)
        assert kind
        found.setdefault(kind[1].decode(), []).append(line)
    return found


def session(random: Random) -> list[Raw]:
    """A short one: the head, and what came at some time later."""
    whole = random.choice(sessions())
    chosen = [whole[kind][0] for kind in _HEAD if kind in whole]
    stats, vitals = whole["stats"], whole["vitals"]
    begin = random.randrange(len(stats))
    for at in range(begin, begin + random.choice((2, 3, 5))):
        chosen += [lines[at] for lines in (vitals, stats) if at < len(lines)]
    for _ in range(random.randrange(6)):
        packets = whole[random.choice([k for k in ("packet", "drop") if k in whole])]
        chosen.insert(random.randrange(len(_HEAD), len(chosen) + 1), random.choice(packets))
    return [json.loads(line) for line in chosen]


def recording(random: Random) -> bytes:
    """One in which a few frames are wrong, twice there, or elsewhere."""
    found = session(random)
    for _ in range(random.choice((1, 1, 1, 2))):
        at = random.randrange(len(found))
        how = random.randrange(12)
        if how == 0:
            found.insert(random.randrange(len(found)), found[at])
        elif how == 1:
            del found[at]
        elif how == 2:
            found.insert(at, {"type": "released", "t_ns": random.choice((0, 10**12))})
        elif how == 3:
            found.insert(
                at, {"type": "lost", "title": "t", "cause": "c", "attempt": 1, "wait_s": 1}
            )
        elif found[at].get("type") != "hello" or random.randrange(4) == 0:
            found[at] = mutated(random, found[at], (1, 1, 2))
        if not found:
            break
    return b"".join(to_line(random, frame) + b"\n" for frame in found)


def _packed(random: Random) -> bytes:
    """The bytes of a file, as gzip has them or not: cut off, or some of them others."""
    data = recording(random)
    if random.randrange(2):
        data = gzip.compress(data, 1, mtime=0)
    if random.randrange(2):
        return data[: random.randrange(len(data) + 1)]
    return shaken(random, data)


def _replay(data: bytes) -> None:
    """Each reader meets the same fault, or none does."""
    name = "x.vmlat.gz" if data[:2] == b"\x1f\x8b" else "x.vmlat"
    path = directory() / name
    path.write_bytes(data)
    refused = None
    for arguments in (
        ("replay", str(path)),
        ("replay", str(path), "--at", "-1"),
        ("doctor", "--live", "--replay", str(path)),
        ("doctor", "--live", "--json", "--replay", str(path)),
        ("analyze", str(path)),
    ):
        try:
            command(*arguments)
        except VmlatError as error:
            refused = error
    outline(path)
    if refused is not None:
        raise refused


TARGETS = (
    Target("recording", made(recording), _replay, 25),
    Target("recording-bytes", made(_packed), _replay, 25),
)
