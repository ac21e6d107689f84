"""The JSON list that ``tun_tx_to_kvm_irq -o`` writes: one object per stage, read one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from vmlat_tui.importers.intake import Intake, Trouble
from vmlat_tui.importers.lines import LONGEST, decoded
from vmlat_tui.importers.parser import ECHO, packet_of
from vmlat_tui.importers.tun_irq import Chain, TunIrq

_ICMP = ("1", "58", "ICMP", "ICMPV6")


def recognised(head: str) -> bool:
    """Whether a file that begins so is such a list."""
    return head.lstrip("\ufeff \t\r\n").startswith("[") and '"stage_name"' in head


def read(intake: Intake) -> None:
    """Read the file of the intake's source."""
    parser = TunIrq(intake)
    for event in _objects(intake):
        intake.source.text.lines += 1
        try:
            _take(parser, event)
        except (TypeError, ValueError, OverflowError):
            intake.source.trouble(Trouble.DAMAGED, json.dumps(event))
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


def _chain(event: dict[str, Any], line: str) -> Chain:
    chain = Chain(line)
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


def _objects(intake: Intake) -> Iterator[dict[str, Any]]:
    decoder = json.JSONDecoder()
    buffer = ""
    with intake.source.text.open() as file:
        for piece in decoded(intake.source.text, file, None):
            buffer += piece
            position = 0
            while True:
                begin = buffer.find("{", position)
                if begin < 0:
                    position = len(buffer)
                    break
                try:
                    found, position = decoder.raw_decode(buffer, begin)
                except (ValueError, RecursionError):
                    if len(buffer) - begin <= LONGEST:
                        # It may go on in the next piece.
                        position = begin
                        break
                    intake.source.trouble(Trouble.DAMAGED, buffer[begin : begin + 200])
                    position = begin + 1
                    continue
                if "stage" in found:
                    yield found
                else:
                    intake.source.trouble(Trouble.FOREIGN, json.dumps(found)[:200])
            buffer = buffer[position:]
    if buffer.strip(" \t\r\n,]"):
        intake.source.trouble(Trouble.INCOMPLETE, buffer[:200])
