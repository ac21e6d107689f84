"""Recordings that would exhaust or hang a reader: it ends soon, in a line and in little memory."""

from __future__ import annotations

import functools
import gzip
import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Optional

import pytest

from vmlat_tui.recording import read as reading

ROOT = Path(__file__).resolve().parents[2]
#: What a terminal would obey.
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
MOST_MB = 200
#: By itself each takes less than 2 s; the machine may be busy.
LIMIT_S = 20.0

#: Prints, last on standard error, how long the command took and the most memory it had.
PROGRAM = """
import sys, time
begin = time.process_time()
try:
    if sys.argv[1] == "outline":
        from pathlib import Path
        from vmlat_tui.errors import VmlatError
        from vmlat_tui.recording.outline import outline
        try:
            outline(Path(sys.argv[2]))
            status = 0
        except VmlatError as error:
            print(f"vmlat: {error}", file=sys.stderr)
            status = error.exit_status
    else:
        from vmlat_tui.cli import main
        status = main(sys.argv[1:])
finally:
    with open("/proc/self/status") as file:
        peak = next(line.split()[1] for line in file if line.startswith("VmHWM"))
    print(int(peak) >> 10, time.process_time() - begin, file=sys.stderr)
sys.exit(status)
"""
COMMANDS = {
    "replay": ("replay",),
    "live": ("doctor", "--live", "--replay"),
    "analyze": ("analyze",),
    "outline": ("outline",),
}


@functools.lru_cache(1)
def recorded() -> list[bytes]:
    with gzip.open(ROOT / "vmlat_tui" / "recordings" / "two-vms.vmlat.gz") as file:
        return file.read().splitlines(True)


def hello(**fields: object) -> bytes:
    return json.dumps({**json.loads(recorded()[0]), **fields}).encode() + b"\n"


def topology(kind: str, count: int) -> bytes:
    """So many VMs or interfaces."""
    frame = json.loads(recorded()[1])
    assert frame["type"] == "topology"
    number = "ifindex" if kind == "interfaces" else "pid"
    one = json.dumps({**frame[kind][0], "name": "@", number: -9}).replace("-9", "@")
    frame[kind] = ["@many@"]
    many = ",".join(one.replace("@", str(n)) for n in range(count))
    line = json.dumps(frame).replace('"@many@"', many)
    return recorded()[0] + line.encode() + b"\n" + b"".join(recorded()[2:12])


def packed(parts: Callable[[], Iterable[bytes]]) -> Callable[[Path], Path]:
    def make(directory: Path) -> Path:
        path = directory / "bomb.vmlat.gz"
        with gzip.open(path, "wb", 1) as file:
            for part in parts():
                file.write(part)
        assert path.stat().st_size < 2 << 20, "a small file"
        return path

    return make


def plain(content: Callable[[], bytes], name: str = "bomb.vmlat") -> Callable[[Path], Path]:
    def make(directory: Path) -> Path:
        path = directory / name
        path.write_bytes(content())
        return path

    return make


def fifo(directory: Path) -> Path:
    os.mkfifo(directory / "pipe.vmlat")
    return directory / "pipe.vmlat"


def linked(path: Path, target: str) -> Path:
    path.symlink_to(target)
    return path


def around(part: bytes) -> Callable[[], bytes]:
    """A notice whose text is a list of such parts."""
    count = (15 << 20) // len(part)
    return lambda: b"".join(
        (recorded()[0], b'{"type":"notice","text":[', part * count, b"0]}\n", *recorded()[1:20])
    )


A, Z = b"a" * (1 << 20), b"\0" * (1 << 20)
ACK = b'{"type":"ack","id":1,"command":"x"}\n'
#: What it is -> how it is made, and what is said of it; None: it is shown, or nothing is in it.
BOMBS: dict[str, tuple[Callable[[Path], Path], Optional[str]]] = {
    "a first line without end": (packed(lambda: (A for _ in range(300))), "a line is too large"),
    "a line without end": (
        packed(lambda: (recorded()[0], b'{"type":"notice","text":"', *(A for _ in range(300)))),
        "a line is too large",
    ),
    "nothing but NULs": (packed(lambda: (Z for _ in range(300))), "a line is too large"),
    "answers to nobody": (packed(lambda: (recorded()[0], *(ACK * 1000 for _ in range(50)))), None),
    "schema -2^40": (plain(lambda: hello(schema=-(1 << 40))), "cannot be read"),
    "schema true": (plain(lambda: hello(schema=True)), "is not a number"),
    "schema 1.0": (plain(lambda: hello(schema=1.0)), "is not a number"),
    "schema 10^4000": (plain(lambda: hello(schema=10**4000)), "newer version"),
    "brackets": (
        plain(
            lambda: (
                b'%s{"type":"notice","text":%s%s}\n' % (recorded()[0], b"[" * 10**6, b"]" * 10**6)
            )
        ),
        "not a recording",
    ),
    "100,000 interfaces": (plain(lambda: topology("interfaces", 100_000)), "a line is too large"),
    "20,000 VMs": (plain(lambda: topology("domains", 20_000)), "a line is too large"),
    "lists": (plain(around(b"[],")), "a line is too large"),
    "objects": (plain(around(b'{"":0},')), "a line is too large"),
    "numbers": (plain(around(b"1.5,")), "a line is too large"),
    "texts": (plain(around(b'"ab",')), "a line is too large"),
    "cut off": (
        plain(lambda: gzip.compress(b"".join(recorded()))[:200_000], "cut.vmlat.gz"),
        None,
    ),
    "garbage behind": (
        plain(lambda: gzip.compress(b"".join(recorded()[:99])) + b"garbage", "x.vmlat.gz"),
        "Not a gzipped file",
    ),
    "no gzip": (plain(lambda: b"".join(recorded()[:99]), "x.vmlat.gz"), "Not a gzipped file"),
    "empty": (plain(bytes), "empty"),
    "empty gzip": (plain(bytes, "x.vmlat.gz"), "empty"),
    "a pipe": (fifo, "is not a regular file"),
    "a directory": (lambda directory: directory, "is not a regular file"),
    "/dev/zero": (lambda _: Path("/dev/zero"), "is not a regular file"),
    "a link to /dev/zero": (
        lambda directory: linked(directory / "x", "/dev/zero"),
        "is not a regular file",
    ),
    "/proc/kmsg": (lambda _: Path("/proc/kmsg"), "empty"),
}


#: Those that begin like a recording.
LATER = frozenset(
    ("a line without end", "brackets", "100,000 interfaces", "20,000 VMs", "lists", "objects",
     "numbers", "texts", "garbage behind")
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_ends_in_a_line(bomb: str, command: str, tmp_path: Path) -> None:
    make, words = BOMBS[bomb]
    path = make(tmp_path)
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *COMMANDS[command], str(path)],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    *said, used = done.stderr.splitlines()
    peak_mb, took_s = used.split()
    print(bomb, command, done.returncode, peak_mb, took_s, round(time.monotonic() - begin, 1), said)
    assert "Traceback" not in done.stderr and not CONTROL.search(done.stdout + done.stderr)
    assert all(len(line) < 500 for line in said), said
    assert int(peak_mb) < MOST_MB, peak_mb
    assert float(took_s) < 4, took_s
    if words is not None and command == "replay" and bomb in LATER:
        assert words in done.stdout, "it is read as far as it goes"
    elif words is not None and command != "analyze":
        assert done.returncode == 2 and len(said) == 1 and words in said[0], said


def heavy(parts: Callable[[int], bytes], begin: bytes, end: bytes) -> bytes:
    """A notice with as much in it as is taken."""
    each = [parts(n) for n in range(1_000_000)]
    weights = itertools.accumulate(reading._weight(part) for part in each)
    count = sum(1 for weight in weights if weight < reading._HEAVIEST - 10_000)
    return b'%s{"type":"notice","text":%s%s%s}\n' % (
        recorded()[0], begin, b"".join(each[:count]), end
    )  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        lambda: heavy(lambda n: b"[],", b"[", b"0]"),
        lambda: heavy(lambda n: b'{"%x":0},' % n, b"[", b"0]"),
        lambda: heavy(lambda n: b"%d.5," % n, b"[", b"0]"),
        lambda: heavy(lambda n: b'"%x",' % n, b"[", b"0]"),
        lambda: heavy(lambda n: b'"%x":0,' % n, b"{", b'"a":0}'),
        lambda: b'%s{"type":"notice","text":"\xf0\x9f\x98\x80%s"}\n' % (recorded()[0], A * 15),
    ],
    ids=["lists", "objects", "numbers", "texts", "fields", "wide characters"],
)
def test_the_largest_frame_that_is_taken_is_no_bomb(
    content: Callable[[], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "a.vmlat"
    path.write_bytes(content())
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "outline", str(path)],
        cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    said, used = done.stderr.splitlines()
    peak_mb, took_s = used.split()
    assert "too large" not in said and "text: " in said, "it was decoded, and is not a text"
    assert int(peak_mb) < MOST_MB and float(took_s) < 4, used


def test_what_is_no_bomb_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.vmlat"
    path.write_bytes(topology("domains", 500))
    done: Any = subprocess.run(
        [sys.executable, "-c", PROGRAM, "replay", str(path)],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    assert done.returncode == 0 and re.search("^499 ", done.stdout, re.M), done.stderr
