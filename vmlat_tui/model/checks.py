"""What data from outside is checked with: each check takes a value and raises if it is another.

The pieces of :mod:`.shapes` (frames), :mod:`.commands` (what an agent is asked to do) and of files
that people write.  A check raises ``ValueError`` with a few words that show what was met, cut
short.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Optional

from vmlat_tui.errors import quoted
from vmlat_tui.model.histogram import BUCKETS

#: Raises ``ValueError`` for a value of another shape (``TypeError`` if it cannot even be asked).
Check = Callable[[Any], object]

#: Characters of a text; what is longer is neither a name nor a message.
LONGEST = 8192


#: Check -> the same for many values in one go.
_MANY: dict[Check, Check] = {}


def many(check: Check) -> Check:
    """What checks a column of values: faster than one by one, as there may be a hundred thousand.

    It raises as ``check`` does.
    """
    found = _MANY.get(check)
    if found is not None:
        return found

    def distinct(values: Sequence[Any]) -> None:
        # Texts repeat themselves; a truth value equals a number.
        for value in set(values) if set(map(type, values)) <= {str} else values:
            check(value)

    return distinct


def exactly(*kinds: type) -> Check:
    """A value of just these types: a truth value is not a number."""

    def check(value: Any) -> None:
        if type(value) not in kinds:
            raise ValueError(f"{quoted(value)} is not a {' or '.join(k.__name__ for k in kinds)}")

    return check


def number(low: int, high: int) -> Check:
    """A whole number from ``low`` up to, and without, ``high``."""

    def check(value: Any) -> None:
        if type(value) is not int or not low <= value < high:
            raise ValueError(f"{quoted(value)} is not a number from {low} up to {high}")

    def column(values: Sequence[Any]) -> None:
        if set(map(type, values)) != {int} or min(values) < low or max(values) >= high:
            for value in values:
                check(value)

    _MANY[check] = column
    return check


def amount(low: float, high: float) -> Check:
    """A number, whole or not, from ``low`` to ``high``; neither NaN nor infinite."""

    def check(value: Any) -> None:
        if type(value) not in (int, float) or not low <= value <= high:
            raise ValueError(f"{quoted(value)} is not a number from {low:g} to {high:g}")

    return check


def word(pattern: str) -> Check:
    """A text of this form."""
    matches = re.compile(pattern, re.ASCII).fullmatch
    # Few words come by, again and again; long ones are not worth their room.
    matched = lru_cache(4096)(matches)

    def check(value: Any) -> None:
        if type(value) is not str or not (matched if len(value) <= 200 else matches)(value):
            raise ValueError(f"{quoted(value)} is not of the form {pattern}")

    return check


def text(value: Any) -> None:
    """Any text that is not endless."""
    if type(value) is not str or len(value) > LONGEST:
        raise ValueError(f"{quoted(value)} is not a text of at most {LONGEST} characters")


def or_none(inner: Check) -> Check:
    """This, or null."""

    def check(value: Any) -> None:
        if value is not None:
            inner(value)

    rest = many(inner)
    _MANY[check] = lambda values: rest([value for value in values if value is not None])
    return check


def each(inner: Check, least: int = 0, most: int = 1 << 17) -> Check:
    """A list of these."""

    def check(value: Any) -> None:
        if type(value) is not list or not least <= len(value) <= most:
            raise ValueError(f"{quoted(value)} is not a list of {least} to {most}")
        for item in value:
            inner(item)

    return check


def named(inner: Check, name: Check, most: int = 1 << 12) -> Check:
    """An object whose fields are all of one kind."""

    def check(value: Any) -> None:
        if type(value) is not dict or len(value) > most:
            raise ValueError(f"{quoted(value)} is not an object of at most {most}")
        for key, item in value.items():
            name(key)
            inner(item)

    return check


def fields(required: Mapping[str, Check], possible: Optional[Mapping[str, Check]] = None) -> Check:
    """An object with the required fields, perhaps the possible ones, and others: later versions
    have more, and who does not know them does not look at them."""
    both = [*((n, c, True) for n, c in required.items()),
            *((n, c, False) for n, c in (possible or {}).items())]  # fmt: skip

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise ValueError(f"{quoted(value)} is not an object")
        name = ""
        try:
            for name, inner, needed in both:
                if needed or name in value:
                    inner(value[name])
        except KeyError:
            raise ValueError(f"{name} is missing") from None
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    return check


def pair(first: Check, second: Check) -> Check:
    """A list of two."""

    def check(value: Any) -> None:
        if type(value) is not list or len(value) != 2:
            raise ValueError(f"{quoted(value)} is not a pair")
        first(value[0])
        second(value[1])

    return check


flag = exactly(bool)
#: What one thing can count: two of them, or a rate of them, are no trouble.
count = number(0, 1 << 48)
total = number(0, 1 << 64)
#: Whatever the kernel may print.
whole = number(-(1 << 63), 1 << 63)
#: Nanoseconds of a clock; two of them together are still a date.
time = number(0, 1 << 62)
#: 16 bits, as in a header.
port = number(0, 1 << 16)
#: Names of the kernel's and of ours; shown as they are.
name = word(r"[\w.:>+/ -]{1,200}")
direction = word("tx|rx")


def address(value: Any) -> None:
    """An IPv4 or IPv6 address, without a zone."""
    if type(value) is not str:
        raise ValueError(f"{quoted(value)} is not an address")
    _version(value)


def ends(first: Any, second: Any) -> None:
    """Two addresses of one version: who sends a packet, and who gets it."""
    address(first)
    address(second)
    one_version(first, second)


def one_version(first: str, second: str) -> None:
    """The same of two addresses."""
    if _version(first) != _version(second):
        raise ValueError(f"{first} and {second} are not of one IP version")


@lru_cache(4096)
def _version(text: str) -> int:
    """Few addresses come by, in each packet and each row."""
    if len(text) > 45 or "%" in text:
        raise ValueError(f"{quoted(text)} is not an address")
    try:
        return ipaddress.ip_address(text).version
    except ValueError:
        raise ValueError(f"{quoted(text)} is not an address") from None


def buckets(value: Any) -> None:
    """Pairs of a bucket in use, each once, and its count; thousands a second come by here."""
    if type(value) is not list:
        raise ValueError("these are not buckets")
    flat = list(itertools.chain.from_iterable(value))
    if not flat:
        if value:
            raise ValueError("these are not buckets")
        return
    numbers, counts = flat[::2], flat[1::2]
    if (
        set(map(type, flat)) != {int}
        or set(map(len, value)) != {2}
        or not 0 <= min(numbers) <= max(numbers) < BUCKETS
        or len(set(numbers)) != len(numbers)
        or not 1 <= min(counts) <= max(counts) < 1 << 48
    ):
        raise ValueError("these are not buckets")
