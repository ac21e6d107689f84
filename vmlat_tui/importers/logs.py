"""A text log of any tool, or of several at once: each line goes to the tool that knows it."""

from __future__ import annotations

from typing import Optional

from vmlat_tui.importers import lines
from vmlat_tui.importers.banners import Banners, Histograms
from vmlat_tui.importers.drop_detector import DropDetector
from vmlat_tui.importers.guest_rtt import GuestRtt
from vmlat_tui.importers.host_path import Details, Metrics
from vmlat_tui.importers.kick import Kick
from vmlat_tui.importers.parser import Parser
from vmlat_tui.importers.result import ImportResult, Trouble
from vmlat_tui.importers.tun_irq import TunIrq

_TOOLS = (GuestRtt, DropDetector, TunIrq, Kick, Details, Metrics, Histograms)


def read(result: ImportResult, limit: Optional[int] = None) -> None:
    """Read the file of the result's source, at most about ``limit`` bytes of it."""
    source = result.source
    parsers: list[Parser] = [tool(result) for tool in _TOOLS]
    banners = Banners(result)
    by_word: dict[str, list[Parser]] = {}
    for parser in parsers:
        for word in parser.words:
            by_word.setdefault(word, []).append(parser)
    brackets, dates, rules = by_word["["], by_word["#"], by_word["==="]
    active: Parser = banners
    for line in lines.read(source.text, limit):
        bare = line.strip()
        if not bare:
            continue
        first = bare[0]
        if first == "[":
            claims = brackets
        elif first == "=":
            claims = rules
        elif first.isdigit() and not bare.startswith("5-TUPLE"):
            claims = dates
        else:
            claims = by_word.get(bare.split(None, 1)[0], [])
        # Whose record is open is asked first: some words are of several tools.
        if active in claims and active.take(bare):
            continue
        for parser in claims:
            if parser is not active and parser.take(bare):
                active = parser
                break
        else:
            if not (active.body(line) or banners.take(bare)):
                source.trouble(Trouble.FOREIGN, bare)
    for parser in parsers:
        parser.end()
    if limit is None or source.text.size < limit:
        _notes(result)


def _notes(result: ImportResult) -> None:
    source, text = result.source, result.source.text
    if text.encoding.startswith("utf-16"):
        source.note("written in UTF-16")
    if text.undecodable:
        source.note(f"has bytes that are not {text.encoding.upper()}")
    if text.nuls:
        source.note(f"{text.nuls} NUL bytes left out")
    if text.overlong:
        source.note(f"{text.overlong} lines of more than {lines.LONGEST} characters cut off")
    if text.broken:
        source.note(f"ends early: {text.broken}")
