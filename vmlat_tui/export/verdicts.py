"""What explains the time of each VM's packets: the findings as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from vmlat_tui.session.snapshot import Place
from vmlat_tui.tables import findings
from vmlat_tui.tables.findings import Verdict
from vmlat_tui.words import clean


def _owner(place: Place, tap: str) -> str:
    domain = place.now.topology.domain_of(tap) if place.now.topology else None
    return domain.name if domain else ""


def text(place: Place, judged: Mapping[str, Verdict]) -> Iterator[str]:
    """Lines for people; ``judged`` by tap."""
    for tap, verdict in judged.items():
        packets = ", ".join(f"{n} packets {way.upper()}" for way, n in verdict.packets.items())
        yield f"{clean(_owner(place, tap))} {clean(tap)}: {packets or 'nothing measured'}"
        for line in findings.text_lines(verdict):
            yield f"  {line}"
        yield ""


def json_lines(place: Place, judged: Mapping[str, Verdict]) -> Iterator[str]:
    """One object a line: each finding, then the verdict on its vNIC."""
    for tap, verdict in judged.items():
        where: dict[str, Any] = {"vm": _owner(place, tap) or None, "vm_interface": tap}
        for finding in verdict.findings:
            yield json.dumps({"type": "finding", **where, **findings.as_json(finding)})
        yield json.dumps(
            {
                "type": "verdict",
                **where,
                "judged": verdict.judged,
                "packets": verdict.packets,
                "findings": len(verdict.findings),
                "reason": verdict.reason or None,
            }
        )
