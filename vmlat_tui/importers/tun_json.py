"""The JSON list that ``tun_tx_to_kvm_irq -o`` writes: one object per stage, read one at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Optional

from vmlat_tui.importers.lines import LONGEST, decoded
from vmlat_tui.importers.parser import ECHO, packet_of
from vmlat_tui.importers.result import ImportResult, Trouble
from vmlat_tui.importers.tun_irq import PacketStages, TunIrq

#: The tool's objects have no others inside.  In a text there may be braces: names of tasks.
_OBJECT = re.compile(r"""\{[^{}"]*(?:"[^"\\]*(?:\\.[^"\\]*)*"[^{}"]*)*\}""")
#: Around them.
_VOID = "\ufeff \t\r\n,[]"
_ICMP = ("1", "58", "ICMP", "ICMPV6")


def recognised(head: str) -> bool:
    """Whether a file that begins so is such a list."""
    return head.lstrip("\ufeff \t\r\n").startswith("[") and '"stage_name"' in head


def read(result: ImportResult) -> None:
    """Read the file of the result's source."""
    parser = TunIrq(result)
    for event in _objects(result):
        result.source.text.lines += 1
        try:
            _take(parser, event)
        except (TypeError, ValueError, OverflowError):
            result.source.trouble(Trouble.DAMAGED, json.dumps(event))
    parser.end()


def _take(parser: TunIrq, event: dict[str, Any]) -> None:
    number, queue = int(event["stage"]), str(event.get("queue_key"))
    line = f"{queue} stage {number} at {event.get('timestamp')}"
    if number == 1:
        parser.settle()
        parser.begin(queue, _chain(event, line))
        return
    delay = event.get("delay_ns")
    parser.event(
        queue,
        number,
        str(event.get("stage_name")),
        int(delay) if delay is not None else None,
        str(event.get("eventfd_ctx")),
        line,
    )


def _chain(event: dict[str, Any], line: str) -> PacketStages:
    chain = PacketStages(line)
    protocol = str(event.get("protocol", "")).upper()
    if protocol in _ICMP:
        kind = event.get("icmp_type")
        chain.echo = None if kind is None else ECHO.get(int(kind), -1)
        chain.packet = packet_of(
            *(str(event[name]) if event.get(name) is not None else None
              for name in ("icmp_id", "icmp_seq"))
        )  # fmt: skip
    chain.other = chain.echo == -1 or protocol not in ("", "0", "NONE", *_ICMP)
    return chain


def _objects(result: ImportResult) -> Iterator[dict[str, Any]]:
    source, rest = result.source, ""
    with source.text.open() as file:
        for piece in decoded(source.text, file, None):
            rest += piece
            position = 0
            for found in _OBJECT.finditer(rest):
                _between(result, rest[position : found.start()])
                position = found.end()
                event = _event(found[0])
                if event is None:
                    source.trouble(Trouble.DAMAGED, found[0][:200])
                elif "stage" in event:
                    yield event
                else:
                    source.trouble(Trouble.FOREIGN, found[0][:200])
            rest = rest[position:]
            if len(rest) > LONGEST:
                # What is so long is none; another may begin in it.
                begin = rest.rfind("{", -LONGEST)
                position = begin if begin > 0 else len(rest)
                _between(result, rest[:position])
                rest = rest[position:]
    if rest.strip(_VOID):
        source.trouble(Trouble.INCOMPLETE, rest[:200])


def _event(text: str) -> Optional[dict[str, Any]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _between(result: ImportResult, text: str) -> None:
    if text.strip(_VOID):
        result.source.trouble(Trouble.DAMAGED, text[:200])
