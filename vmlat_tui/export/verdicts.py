"""What explains the time of each VM's packets: the findings, without screens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vmlat_tui.export.exporter import Part
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.session.snapshot import Place
from vmlat_tui.tables import findings
from vmlat_tui.tables.findings import Verdict
from vmlat_tui.words import clean


@dataclass(frozen=True)
class Verdicts(Part):
    """What ``vmlat doctor --live`` prints; ``judged`` by tap."""

    place: Place
    judged: Mapping[str, Verdict]

    def _owner(self, tap: str) -> str:
        topology = self.place.now.topology
        domain = topology.domain_of(tap) if topology else None
        return domain.name if domain else ""

    def text(self) -> Iterator[str]:
        """For each vNIC what was measured, and its findings."""
        for tap, verdict in self.judged.items():
            packets = ", ".join(f"{n} packets {way.upper()}" for way, n in verdict.packets.items())
            yield f"{clean(self._owner(tap))} {clean(tap)}: {packets or 'nothing measured'}"
            for line in findings.text_lines(verdict):
                yield f"  {line}"
            yield ""

    def values(self) -> Iterator[Raw]:
        """Each finding, then the verdict on its vNIC."""
        for tap, verdict in self.judged.items():
            where: Raw = {"vm": self._owner(tap) or None, "vm_interface": tap}
            for finding in verdict.findings:
                yield {"type": "finding", **where, **findings.as_json(finding)}
            yield {
                "type": "verdict",
                **where,
                "judged": verdict.judged,
                "packets": verdict.packets,
                "findings": len(verdict.findings),
                "reason": verdict.reason or None,
            }
