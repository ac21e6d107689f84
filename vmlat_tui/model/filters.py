"""The filter line, ``tcp and host 10.0.0.9 and port 443``, as filters of the model.

The words are tcpdump's and, with or without dashes, those of the options of ``vmlat trace``
(``src-ip``, ``dst-port``, ``protocol``).  ``and`` may be left out; ``or`` separates alternatives.
A ``host`` or ``port`` without ``src`` or ``dst`` means either side, and so does a filter of
protocols alone; ``src`` and ``dst`` fix the direction.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional, TypeVar

from vmlat_tui.errors import UsageError, quoted
from vmlat_tui.model import checks
from vmlat_tui.model.flows import Address, Filter, Flow, Protocol

#: Words of ``vmlat trace`` -> what they mean here.
_SYNONYMS = {
    "src-ip": ("src", "host"),
    "dst-ip": ("dst", "host"),
    "src-port": ("src", "port"),
    "dst-port": ("dst", "port"),
    "source": ("src",),
    "dest": ("dst",),
    "destination": ("dst",),
    "ip": ("host",),
    "&&": ("and",),
    "||": ("or",),
}
_Value = TypeVar("_Value")

_EXAMPLE = "for example: tcp and host 10.0.0.9 and port 443"


@dataclass(frozen=True)
class _Term:
    """What one alternative asks for so far; ``hosts`` and ``ports`` are of either side."""

    protocol: Optional[Protocol] = None
    src: Optional[Address] = None
    dst: Optional[Address] = None
    src_port: Optional[int] = None
    dst_port: Optional[int] = None
    hosts: tuple[Address, ...] = ()
    ports: tuple[int, ...] = ()

    @property
    def empty(self) -> bool:
        return self == _Term()


def parse(line: str) -> tuple[Filter, ...]:
    """The filters that together select what the line says; empty for an empty line.

    Raises :class:`UsageError` with one line that names the wrong word and what to write instead.
    """
    words = [meaning for word in line.replace("=", " ").split() for meaning in _meaning(word)]
    if not words:
        return ()
    filters: list[Filter] = []
    for alternative in _split(words):
        filters += _filters(_term(alternative))
    return tuple(dict.fromkeys(filters))


def _meaning(word: str) -> tuple[str, ...]:
    plain = word.lower().lstrip("-")
    return _SYNONYMS.get(plain, (plain,))


def _split(words: Sequence[str]) -> Iterator[list[str]]:
    alternative: list[str] = []
    for word in [*words, "or"]:
        if word != "or":
            alternative.append(word)
        elif alternative:
            yield alternative
            alternative = []
        else:
            raise UsageError("an alternative is empty", "`or` needs a filter on both sides")


def _term(words: Sequence[str]) -> _Term:
    term, side = _Term(), ""
    rest = iter(words)
    for word in rest:
        if word == "and":
            continue
        if word in ("src", "dst"):
            side = word
            continue
        if word in ("host", "port", "protocol", "proto"):
            value = next(rest, "")
            if value in ("", "and"):
                raise UsageError(f"{word} is followed by nothing", "", _EXAMPLE)
        else:
            word, value = ("protocol", word) if _is_protocol(word) else ("host", word)
            if word == "host" and not side and not _looks_like_address(value):
                raise UsageError(f"{quoted(value)} is not a word of a filter", "", _EXAMPLE)
        term = _with(term, side, word, value)
        side = ""
    if side:
        raise UsageError(f"{side} is followed by nothing", "", _EXAMPLE)
    if term.empty:
        raise UsageError("the filter is empty", "", _EXAMPLE)
    return term


def _with(term: _Term, side: str, word: str, value: str) -> _Term:
    if word in ("protocol", "proto"):
        if not _is_protocol(value):
            raise UsageError(
                f"protocol {quoted(value)} is not measured", "", "choose tcp, udp or icmp"
            )
        protocol = Protocol(value)
        if term.protocol not in (None, protocol):
            raise UsageError(
                f"a packet cannot be {value} and another protocol at once", "", "use `or`"
            )
        return replace(term, protocol=protocol)
    if word == "port":
        port = _port(value)
        if side:
            return _fixed(term, f"{side}_port", port)
        return replace(term, ports=_either(term.ports, port, "ports"))
    found = address(value)
    if side:
        return _fixed(term, side, found)
    return replace(term, hosts=_either(term.hosts, found, "hosts"))


def _fixed(term: _Term, field: str, value: Any) -> _Term:
    if getattr(term, field) not in (None, value):
        raise UsageError(f"{field.replace('_', ' ')} is given twice", "", "use `or`")
    return replace(term, **{field: value})


def _either(before: tuple[_Value, ...], value: _Value, what: str) -> tuple[_Value, ...]:
    found = tuple(dict.fromkeys((*before, value)))
    if len(found) > 2:
        raise UsageError(f"a packet has two {what}, not three", "", "use `or`")
    return found


def _is_protocol(word: str) -> bool:
    return word in {p.value for p in Protocol}


def _looks_like_address(word: str) -> bool:
    return word[:1].isdigit() or ":" in word


def address(text: str, option: str = "") -> Address:
    """An IPv4 or IPv6 address; raises :class:`UsageError`, which names the option if it is one."""
    try:
        checks.address(text)
    except ValueError:
        named = f"{option} {quoted(text)}" if option else quoted(text)
        raise UsageError(
            f"{named} is not an address",
            "",
            "give IPv4 (10.0.0.9) or IPv6 (fd00::9), without a zone",
        ) from None
    return ipaddress.ip_address(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= 65535):
        raise UsageError(f"port {quoted(text)} is wrong", "", "give a number from 1 to 65535")
    return int(text)


def _filters(term: _Term) -> list[Filter]:
    """Each way to put the sideless hosts and ports on the sides that are free.

    Without any fixed side a filter also takes the mirrored packet, which halves the number.
    """
    if term.protocol is Protocol.ICMP and (term.ports or term.src_port or term.dst_port):
        raise UsageError("ICMP echo has no ports", "", "leave out icmp or the port")
    fixed = any(v is not None for v in (term.src, term.dst, term.src_port, term.dst_port))
    pairs = [
        (hosts, ports)
        for hosts in _sides((term.src, term.dst), term.hosts)
        for ports in _sides((term.src_port, term.dst_port), term.ports)
    ]
    if not pairs:
        raise UsageError("too many hosts or ports for one packet", "", "use `or`")
    found: list[Filter] = []
    for (src, dst), (src_port, dst_port) in pairs:
        try:
            one = Filter(src, dst, src_port, dst_port, term.protocol, either=not fixed)
        except ValueError as error:
            raise UsageError("the addresses contradict each other", str(error)) from None
        mirrored = Filter(dst, src, dst_port, src_port, term.protocol, either=not fixed)
        if fixed or mirrored not in found:
            found.append(one)
    return found


def _sides(
    fixed: tuple[Optional[_Value], Optional[_Value]], free: tuple[_Value, ...]
) -> list[tuple[Optional[_Value], Optional[_Value]]]:
    ways = [fixed]
    for value in free:
        ways = [
            way
            for src, dst in ways
            for way in (
                *([(value, dst)] if src is None else []),
                *([(src, value)] if dst is None else []),
            )
        ]
    return list(dict.fromkeys(ways))


def of_flow(flow: Flow) -> Filter:
    """The filter that selects one flow and its answers; a protocol by number is left out."""
    protocol = Protocol(flow.protocol) if _is_protocol(flow.protocol) else None
    src, dst = ipaddress.ip_address(flow.src), ipaddress.ip_address(flow.dst)
    # Of an echo both ports hold the id, and so do those of its answer.
    return Filter(src, dst, flow.src_port, flow.dst_port, protocol, either=True)


def words(filters: Sequence[Filter]) -> str:
    """One line for people, in the words that :func:`parse` knows."""
    return " or ".join(dict.fromkeys(_words(f) for f in filters)) or "all"


def _words(one: Filter) -> str:
    parts = [one.protocol.value] if one.protocol else []
    pairs = (("host", one.src_ip, one.dst_ip), ("port", one.src_port, one.dst_port))
    for word, src, dst in pairs:
        if word == "port" and one.protocol is Protocol.ICMP:
            continue
        for side, value in (("src", src), ("dst", dst)):
            if value is not None:
                parts.append(f"{word} {value}" if one.either else f"{side} {word} {value}")
    return " and ".join(parts) or "all"
