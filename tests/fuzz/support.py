"""What the fuzzed parsers have in common: targets, mutations of good input, limits.

A :class:`Target` takes bytes, whatever it parses, so that each input that once failed can be kept
as a file.  Mutations know the structure of what they change: most of what they make comes past the
first check.  They take their choices from a :class:`random.Random` that Hypothesis gives, which
makes an input that failed smaller.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any, Optional

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from vmlat_tui import cli
from vmlat_tui.errors import VmlatError

CORPUS = Path(__file__).parent / "corpus"
#: Of the processor's time, for one input.
LIMIT_S = 2.0
#: Of the clock's: something waits that should not.
_HANG_S = 60
#: Characters of an error.
_LONGEST_ERROR = 7000
#: What a terminal would obey, or that turns round what it shows.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


class Failure(AssertionError):
    """An input did what none may."""


@dataclass
class Figures:
    """Of one target, so far."""

    inputs: int = 0
    refused: int = 0
    slowest_s: float = 0.0


@dataclass(frozen=True)
class Target:
    """One parser, or what is done with what it gives.

    ``run`` raises one of ``refusals`` for what it refuses; any other exception is a failure.
    ``examples`` are tried in `make check`.
    """

    name: str
    inputs: SearchStrategy[bytes]
    run: Callable[[bytes], None]
    examples: int
    refusals: tuple[type[Exception], ...] = (VmlatError,)
    figures: Figures = field(default_factory=Figures)

    @property
    def corpus(self) -> list[Path]:
        """Inputs that once failed."""
        return sorted((CORPUS / self.name).glob("*"))

    def attempt(self, data: bytes) -> None:
        """One input; raises what must not happen."""
        figures = self.figures
        figures.inputs += 1
        begin = time.process_time()
        with _no_hang():
            try:
                self.run(data)
            except self.refusals as error:
                figures.refused += 1
                if len(str(error)) > _LONGEST_ERROR:
                    raise Failure(f"an error of {len(str(error))} characters") from None
        took_s = time.process_time() - begin
        figures.slowest_s = max(figures.slowest_s, took_s)
        if took_s > LIMIT_S:
            raise Failure(f"an input of {len(data)} bytes took {took_s:.1f} s")


@contextlib.contextmanager
def _no_hang() -> Iterator[None]:
    def ring(number: int, frame: Optional[FrameType]) -> None:
        raise Failure(f"it waits for more than {_HANG_S} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(_HANG_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def peak_mb() -> int:
    """The most memory that this process has had; getrusage begins with that of its parent."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) >> 10


def harmless(text: str) -> None:
    """Raise :class:`Failure` for what a terminal would obey."""
    found = _CONTROL.search(text)
    if found:
        raise Failure(f"a control character is shown: {found[0]!r}")


def command(*arguments: str) -> str:
    """What a command prints, which must be harmless; its refusal is an error of ours."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        cli.main(arguments)
    for stream in (out, err):
        harmless(stream.getvalue())
    if "Traceback" in err.getvalue():
        raise Failure(err.getvalue())
    return out.getvalue()


# ---- mutations ----------------------------------------------------------------------------------

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1 << 31, 1 << 48, (1 << 62) - 1, 1 << 62, 1 << 63, (1 << 64) - 1,
    1 << 64, 1 << 200, -(1 << 63), 0.5, 1e308, -1e308, 1e-320, "", "x", "\x1b[2J\x1b]0;x\x07",
    "[red]x[/red]", "\ud800", "\udcff\udc80", "\u202e", "a" * 8192, "a" * 9000, "\0", "\n",
    "0.0.0.0", "::", ":", "...", "1.2.3", "10.0.0.1", "fe80::1", "fe80::1%eth0", "1:2:3",
    "9" * 5000, [], {}, [[]], [None], {"": None}, [1, 2], [[0, 0]], [[1, 1 << 47]], [[5000, 1]],
    "tx", "rx", "tun_in", "icmp", "tcp", "47", "nan", "worker", "vcpu", "final", "vnet0",
    "vnet0 -> eth0", ">", "a>b", "tx:tun_in>vnet_rx", "rx:total", " ", "us", "A",
)  # fmt: skip
#: Not what Python writes.
RAW = (
    b"NaN", b"Infinity", b"1e400", b"-1e999", b"9" * 4400, b"1E5", b"-0", b'"\\ud83d"', b"1e-320",
    b"[" * 900 + b"]" * 900, b'{"a":' * 300 + b"1" + b"}" * 300, b"[" * 3000,
)  # fmt: skip
#: Bytes that mean something to one or another parser.
BYTES = (
    b"\0", b"\xff", b"\x1b[2J", b"9" * 400, b"-1", b"1e309", b"nan", b"N/A", b" " * 50, b"(" * 500,
    b"\r", b"\n", b"=" * 300, b"us", b"\xe2\x80\xae", b"{", b"}", b"[", b"]", b'"', b",", b"null",
    b"0.0000000001", b"-0.0", b"99999999999999999999", b"ID=", b"ID=70000", b"->", b"\xef\xbb\xbf",
    b"\xc2\xb2", b"\xd9\xa3", b"1_000", b"0x10", b"+5", b"\\u0000", b"\\ud800", b"e5", b".5",
    b"NaN", b"-", b"<", b"&amp;", b"\xfe\xff",
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each part of a JSON value but itself; of a long list, to its first parts."""
    inner = list(value.items()) if isinstance(value, dict) else []
    if isinstance(value, list):
        inner = list(enumerate(value[:40]))
    for key, part in inner:
        yield (*path, key)
        yield from places(part, (*path, key))


def mutated(random: Random, value: Any, times: Sequence[int] = (1, 1, 1, 2, 3, 6)) -> Any:
    """A JSON value in which a few places are others."""
    value = copy.deepcopy(value)
    for _ in range(random.choice(times)):
        ways = list(places(value))
        if not ways:
            break
        *above, key = random.choice(ways)
        holder = value
        for step in above:
            holder = holder[step]
        _change(random, holder, key)
    return value


def _change(random: Random, holder: Any, key: Any) -> None:
    old = holder[key]
    many = isinstance(holder, list)
    number = isinstance(old, int) and not isinstance(old, bool)
    # Another number comes further than what is none.
    how = random.choice((2, 3)) if number and random.randrange(2) else random.randrange(8)
    if how == 0:
        del holder[key]
    elif how == 1 and many:
        holder.extend([copy.deepcopy(old)] * random.choice((1, 3, 200)))
    elif how == 1:
        fields = ("x", "\x1b[31m", "", "a" * 300, "icmp", "drop", "absent", "id", "t_ns", "stages")
        holder[random.choice(fields)] = copy.deepcopy(random.choice(ODD))
    elif how == 2 and number:
        holder[key] = old + random.choice((1, -1, 10**9, -(10**9), 10**15))
    elif how == 3 and number:
        bits = random.randrange(65)
        holder[key] = random.choice((old * 2, old // 2, 1 << bits, (1 << bits) - 1))
    elif how == 4 and isinstance(old, str):
        at = random.randrange(len(old) + 1)
        holder[key] = old[:at] + random.choice([odd for odd in ODD if isinstance(odd, str)])[:400]
    elif how == 5 and many and len(holder) > 1:
        holder[key] = copy.deepcopy(holder[random.randrange(len(holder))])
    else:
        holder[key] = copy.deepcopy(random.choice(ODD))


def to_line(random: Random, value: Any) -> bytes:
    """One line of JSON, sometimes not as Python would write it."""
    line = json.dumps(value, separators=(",", ":")).encode()
    if random.randrange(20) == 0:
        numbers = list(re.finditer(rb"(?<=[:,\[])-?\d+(?=[,\]}])", line))
        if numbers:
            found = random.choice(numbers)
            line = line[: found.start()] + random.choice(RAW) + line[found.end() :]
    return line


def shaken(random: Random, data: bytes) -> bytes:
    """Bytes of which some are others."""
    mixed = bytearray(data)
    for _ in range(random.choice((1, 3, 10, 40))):
        at = random.randrange(len(mixed) + 1)
        how = random.randrange(4)
        if how == 0 and at < len(mixed):
            mixed[at] = random.randrange(256)
        elif how == 1:
            del mixed[at : at + random.randrange(1, 20)]
        elif how == 2:
            mixed[at:at] = random.choice(BYTES)
        else:
            begin = random.randrange(len(mixed) + 1)
            mixed[at:at] = mixed[begin : begin + random.randrange(1, 60)]
    return bytes(mixed)


def randoms() -> SearchStrategy[Random]:
    """Choices of which a failing input needs few."""
    return st.randoms(use_true_random=False)


def made(make: Callable[[Random], bytes]) -> SearchStrategy[bytes]:
    """Inputs that a function makes of random choices."""
    return st.builds(make, randoms())
