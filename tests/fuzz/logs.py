"""Logs, captures and averages that `analyze` and `compare` read: files that others wrote."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from functools import cache
from random import Random
from typing import Any

from tests.fuzz.recordings import directory, recording
from tests.fuzz.support import BYTES, Target, command, made, mutated, shaken, to_line
from tests.support import pings

_NAMES = ("host-send", "host-recv", "guest-send", "vhost-recv-reply", "vhost-recv-request", "x")
#: Between the files of one input: the name of the next, and how many bytes it has.
_HEAD = re.compile(rb"@@ ([\w.-]+) (\d+)\n")
_COMMANDS = (
    ("analyze", "{}"),
    ("analyze", "{}", "--json"),
    ("analyze", "{}", "--format", "markdown", "--slow", "100"),
    ("compare", "{}", str(pings.PINGS / "kernel-4.19")),
    ("compare", str(pings.PINGS / "kernel-5.10.json"), "{}", "--json"),
    ("compare", "{}", "{}", "--statistic", "p99"),
)


@cache
def texts() -> tuple[bytes, ...]:
    """A log of each tool, and one of all together."""
    found = [path.read_bytes() for path in sorted(pings.PINGS.rglob("*.log"))]
    made_up = pings.logs(pings.pings(40))
    found += ["\n".join(lines).encode() for lines in made_up.values()]
    return tuple(found)


@cache
def averages() -> tuple[Any, ...]:
    """Files that were published."""
    return tuple(json.loads(path.read_bytes()) for path in sorted(pings.PINGS.glob("*.json")))


@cache
def stages() -> tuple[Any, ...]:
    """What tun_tx_to_kvm_irq writes as JSON."""
    delays = {1: None, 2: 98_000, 3: 8_000, 4: 10_000, 5: 2_000}
    return tuple(
        {"timestamp": "1970-01-01", "stage": n, "stage_name": f"s{n}", "queue_key": "vnet2:q2",
         "comm": "vhost-1", "eventfd_ctx": 7, "delay_ns": delay, "protocol": 1, "icmp_type": 8,
         "icmp_id": 5, "icmp_seq": sequence}
        for sequence in range(1, 9) for n, delay in delays.items()
    )  # fmt: skip


def _log(random: Random) -> bytes:
    lines = random.choice(texts()).split(b"\n")
    size = random.choice((20, 100, 400))
    at = random.randrange(max(1, len(lines) - size))
    lines = lines[: random.choice((0, 5, 30))] + lines[at : at + size]
    for _ in range(random.choice((1, 2, 5, 20))):
        _change_line(random, lines, random.randrange(len(lines)))
    data = b"\n".join(lines)[:3_000_000]
    how = random.randrange(30)
    if how == 0:
        return data.decode(errors="replace").encode("utf-16")
    return shaken(random, data) if how == 1 else data


def _change_line(random: Random, lines: list[bytes], at: int) -> None:
    line, how = lines[at], random.randrange(7)
    if how == 0 and len(lines) > 1:
        del lines[at]
    elif how == 1:
        lines.insert(at, random.choice(lines))
    elif how == 2:
        cut = random.randrange(len(line) + 1)
        lines[at] = line[:cut] + random.choice(BYTES) + line[random.randrange(len(line) + 1) :]
    elif how == 3:
        lines[at] = random.choice(random.choice(texts()).split(b"\n"))
    elif how == 4:
        lines[at : at + 3] = [b"".join(lines[at : at + 3])]
    elif how == 5:
        lines[at] = (line * random.choice((2, 100)))[:200_000]
    else:
        numbers = list(re.finditer(rb"\d+(\.\d+)?", line))
        if numbers:
            found = random.choice(numbers)
            lines[at] = line[: found.start()] + random.choice(BYTES) + line[found.end() :]


def _capture(random: Random) -> bytes:
    intervals = {"rtt": 250_000, "B": 13_000, "D": 12_000, "E": 35_000}
    whole: list[Any] = [{"type": "capture", "schema": 1, "name": "x"}]
    whole += [{"type": "reading", "id": 7, "seq": n, "ns": intervals} for n in range(30)]
    whole.append({"type": "loss", "id": 7, "seq": 99, "outcome": "outside"})
    for _ in range(random.randrange(1, 6)):
        at = random.randrange(len(whole))
        whole[at] = mutated(random, whole[at]) if isinstance(whole[at], dict) else {}
    return b"\n".join(to_line(random, value) for value in whole)


def _stages(random: Random) -> bytes:
    data = to_line(random, mutated(random, list(stages())))
    return shaken(random, data) if random.randrange(3) == 0 else data


def _published(random: Random) -> bytes:
    return to_line(random, mutated(random, random.choice(averages())))


_KINDS = (
    (_log, ".log"), (_log, ".log"), (_log, ".log"), (_published, ".json"), (_capture, ".json"),
    (_stages, ".json"), (recording, ".vmlat"),
)  # fmt: skip


def _files(random: Random) -> bytes:
    """How they are read, then some files of one measurement."""
    found = b"%d\n" % random.randrange(len(_COMMANDS))
    for number in range(random.choice((1, 1, 2, 4))):
        make, suffix = random.choice(_KINDS)
        data = make(random)
        if random.randrange(10) == 0:
            data, suffix = gzip.compress(data, 1, mtime=0), suffix + ".gz"
            data = data[: random.choice((200, len(data)))]
        name = f"{random.choice(_NAMES)}{number}{suffix}"
        found += b"@@ %s %d\n" % (name.encode(), len(data)) + data
    return found


def _import(data: bytes) -> None:
    where = directory() / "logs"
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir()
    first, _, rest = data.partition(b"\n")
    while rest:
        head = _HEAD.match(rest)
        assert head, "no input of this target"
        size = int(head[2])
        content, rest = rest[head.end() : head.end() + size], rest[head.end() + size :]
        (where / head[1].decode()).write_bytes(content)
    command(*(word.format(where) for word in _COMMANDS[int(first)]))


TARGETS = (Target("logs", made(_files), _import, 40),)
