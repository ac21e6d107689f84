"""``vm_network_latency_details`` and ``vm_network_performance_metrics``: one packet through a host.

Both call a packet that leaves the VM "RX" (received from vnet).
"""

from __future__ import annotations

import re
from typing import Optional

from vmlat_tui.importers.parser import ECHO, HOST_LEGS, Parser, packet_of
from vmlat_tui.importers.result import ImportResult, Trouble, nanoseconds
from vmlat_tui.model.readings import Packet

_ICMP = re.compile(r"ICMP: \S+ -> \S+ \(id=(\d+), seq=(\d+), type=(\d+)\)")
_TOTAL = re.compile(r"Total (RX|TX) Latency:\s*(-?[\d.]+) us$")
_FLOW = re.compile(r"FLOW: \S+ -> \S+ \((\w+)(?: id=(\d+) seq=(\d+) type=(\d+))?")
_DURATION = re.compile(r"TOTAL DURATION: (-?[\d.]+) ?us$")


class HostPath(Parser):
    """Which segment it is, the echo type and the direction say together."""

    words: tuple[str, ...] = ()

    def __init__(self, result: ImportResult) -> None:
        """Waits for the first block."""
        super().__init__(result)
        self._open = False
        self._packet: Optional[Packet] = None
        self._echo: Optional[int] = None
        self._line = ""

    def body(self, line: str) -> bool:
        """Whatever else a block holds."""
        return self._open and line[0] in " \t"

    def end(self) -> None:
        """A block without its total is not complete."""
        if self._line:
            self.source.trouble(Trouble.INCOMPLETE, self._line)
        self._open, self._packet, self._echo, self._line = False, None, None, ""

    def _start(self, line: str) -> bool:
        self.end()
        self._open, self._line = True, line
        return True

    def _finish(self, leaves: bool, value_ns: Optional[int]) -> bool:
        line, self._line = self._line, ""
        self.result.tool(self.name)
        if self._packet is None or self._echo is None:
            self.source.trouble(Trouble.OTHER, line)
            return True
        _, segment = HOST_LEGS[leaves, self._echo]
        self.result.add(self._packet, {} if value_ns is None else {segment: value_ns})
        return True


class Details(HostPath):
    """The echo's id and sequence are printed with their bytes exchanged."""

    name = "vm_network_latency_details"
    words = ("===", "Flow:", "TCP:", "UDP:", "ICMP:", "VM", "Physical", "RX", "TX", "[", "Total")

    def take(self, line: str) -> bool:
        """One line."""
        if line.startswith("=== VM Network Latency Trace"):
            return self._start(line)
        if not self._open:
            return False
        if line.startswith("==="):
            self.end()
            return line.startswith("======")
        if line.startswith("ICMP:"):
            found = _ICMP.match(line)
            if not found:
                return self.damaged(line)
            self._packet = packet_of(_swapped(found[1]), _swapped(found[2]))
            self._echo = ECHO.get(int(found[3][:9]))
        elif line.startswith("Total"):
            total = _TOTAL.match(line)
            if not total or not self._line:
                return self.damaged(line)
            return self._finish(total[1] == "RX", nanoseconds(total[2]))
        return True


class Metrics(HostPath):
    """Times of this tool are of the host's monotonic clock."""

    name = "vm_network_performance_metrics"
    words = ("[", "FLOW:", "5-TUPLE:", "Stage", "SKB:", "DEV:", "TOTAL", "PACKET:", "PROCESS:",
             "QDISC:", "VNET_QDISC:", "CT:", "FINAL_STAGE:")  # fmt: skip
    _leaves: Optional[bool] = None

    def take(self, line: str) -> bool:
        """One line."""
        if line[0] == "[":
            if "=== FLOW COMPLETE" not in line:
                return False
            self._leaves = None
            return self._start(line)
        if not self._open:
            return False
        if line.startswith("FLOW:"):
            found = _FLOW.match(line)
            if not found:
                return self.damaged(line)
            if found[4]:
                self._packet = packet_of(found[2], found[3])
                self._echo = ECHO.get(int(found[4][:9]))
        elif line.startswith("5-TUPLE:"):
            self._leaves = "DIR=VNET_RX" in line
        elif line.startswith("TOTAL"):
            duration = _DURATION.match(line)
            if not duration or self._leaves is None or not self._line:
                return self.damaged(line)
            return self._finish(self._leaves, nanoseconds(duration[1]))
        return True


def _swapped(number: str) -> Optional[str]:
    value = int(number[:9])
    return str((value & 0xFF) << 8 | value >> 8) if value <= 0xFFFF else None
