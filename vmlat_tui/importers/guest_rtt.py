"""``kernel_icmp_rtt``: what the guests see of a ping, one block per packet."""

from __future__ import annotations

import re
from typing import Optional

from vmlat_tui.importers.parser import Parser, packet_of
from vmlat_tui.importers.result import ImportResult, Side, Trouble, adds_up, nanoseconds
from vmlat_tui.model.readings import Packet

_HEAD = re.compile(r"=== ICMP RTT Trace: [^(]*\((TX|RX)\b.* ===$")
_SESSION = re.compile(r"Session: .*\(ID: (\d+), Seq: (\d+)\)")
_VALUE = re.compile(
    r"(Total Path 1|Total Path 2|Total RTT[^:]*|Inter-Path Latency[^:]*):\s*(-?[\d.]+ us|N/A)"
)
#: Direction, printed name -> quantity.
_NAMES = {
    Side.SENDER: {"Path 1": "A", "Path 2": "M", "RTT": "rtt", "Inter": "sender_inter"},
    Side.RECEIVER: {"Path 1": "F", "Path 2": "H", "RTT": "receiver_rtt", "Inter": "G"},
}


class GuestRtt(Parser):
    """The end of its first path is ``dev_queue_xmit`` or ``net_dev_xmit``, by its version; ``vmlat
    guest`` prints the same lines, and ends at the kick (``virtio notify``) or, where a packet has
    none, at ``net_dev_start_xmit``."""

    name = "kernel_icmp_rtt"
    words = ("===", "Session:", "Path", "SKB", "Stage", "[", "Total", "Inter-Path", "Kernel")

    def __init__(self, result: ImportResult) -> None:
        """Waits for the first block."""
        super().__init__(result)
        self._side: Optional[Side] = None
        self._packet: Optional[Packet] = None
        self._values: dict[str, Optional[int]] = {}
        self._first = ""
        self._mixed = False

    def take(self, line: str) -> bool:
        """One line of a block."""
        if line.startswith("==="):
            return self._head(line)
        if self._side is None:
            return False
        if line[0] == "[" and line[2:4] != "->":
            return False
        if line.startswith(("[", "Stage")):
            if "virtio notify" in line:
                self.source.variants.add("virtio notify")
            elif "net_dev_start_xmit" in line:
                self.source.variants.add("net_dev_start_xmit")
            elif "net_dev_xmit" in line:
                self.source.variants.add("net_dev_xmit")
            elif "dev_queue_xmit" in line:
                self.source.variants.add("dev_queue_xmit")
            return True
        if line.startswith("Session:"):
            # A second one: two blocks were written into each other, and nobody can part them.
            self._mixed |= self._packet is not None
            found = _SESSION.match(line)
            self._packet = packet_of(found[1], found[2]) if found else None
            return True if self._packet else self.damaged(line)
        if line.startswith(("Total Path", "Total RTT", "Inter-Path")):
            return self._value(line)
        return not line.startswith("Total")

    def body(self, line: str) -> bool:
        """Kernel stacks."""
        return self._side is not None and line.startswith("    ")

    def end(self) -> None:
        """The last block may lack its end."""
        self._finish()

    def _head(self, line: str) -> bool:
        if line.startswith("======"):
            if self._values:
                self._finish()
                return True
            return self._side is not None
        if not line.startswith("=== ICMP RTT Trace"):
            # Another tool's block begins.
            self._finish()
            return False
        self._finish()
        found = _HEAD.match(line)
        if not found:
            return self.damaged(line)
        self._side = Side.SENDER if found[1] == "TX" else Side.RECEIVER
        self._first = line
        return True

    def _value(self, line: str) -> bool:
        found = _VALUE.match(line)
        if not found:
            return self.damaged(line)
        name = next(n for n in ("Path 1", "Path 2", "RTT", "Inter") if n in found[1])
        self._mixed |= name in self._values
        number = found[2].split()[0]
        value = nanoseconds(number)
        if value is None and number != "N/A":
            return self.damaged(line)
        self._values[name] = value
        return True

    def _finish(self) -> None:
        side, packet, values, first = self._side, self._packet, self._values, self._first
        mixed, self._mixed = self._mixed, False
        self._side, self._packet, self._values = None, None, {}
        if side is None:
            return
        self.result.tool(f"{self.name} {'TX' if side is Side.SENDER else 'RX'}")
        if packet is None or "RTT" not in values:
            self.source.trouble(Trouble.INCOMPLETE, first)
        parts = [values.get(name) for name in ("Path 1", "Inter", "Path 2")]
        if mixed or not adds_up(parts, values.get("RTT")):
            self.source.trouble(Trouble.CONTRADICTORY, first)
        elif packet is not None:
            names = _NAMES[side]
            self.result.add(
                packet, {names[name]: value for name, value in values.items() if value is not None}
            )
