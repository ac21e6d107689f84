"""``icmp_drop_detector``, later ``icmp_path_tracer``: a host's view of a ping, and its losses."""

from __future__ import annotations

import re
from typing import Optional

from vmlat_tui.importers.parser import Parser, packet_of
from vmlat_tui.importers.result import ImportResult, Side, Trouble, adds_up, nanoseconds
from vmlat_tui.model.pings import LOSSES, Outcome
from vmlat_tui.model.readings import Packet
from vmlat_tui.model.segments import HOST_PARTS, HOST_VIEW, Observer

_EVENT = re.compile(r"\S+ \S+ (?:\[(\w+)\] )?ID=(\d+) Seq=(\d+)\s+ReqRX:")
_OTHER = re.compile(r"\S+ \S+ (?:\[\w+\])+ (?:seq=|IP_ID=)")
_VALUES = re.compile(r"(ReqInternal|External|RepInternal|Total)=\s*(-?[\d.]+|N/A)(?=\s|$)")
_INTERFACES = re.compile(r"(RX|TX) Interface\(s\): (.*)")
#: Devices to which a hypervisor connects guests, by the names that they usually get.
_TAP = re.compile(r"(vnet|tap|macvtap|tun|veth|vif|qvo|qvb|fe)[\d.-]")
_NAMES = {
    Side.SENDER: dict(zip(HOST_PARTS, HOST_VIEW[Observer.SENDER_HOST])),
    Side.RECEIVER: dict(zip(HOST_PARTS, HOST_VIEW[Observer.RECEIVER_HOST])),
}
#: ``vmlat icmp`` says on each line which end the host is of that ping.
_SIDE = re.compile(r" Side=(sender|receiver|both)\b")
_SIDES = {side.value: side for side in Side}
_PLACES = {
    "Request dropped INTERNALLY": LOSSES[Outcome.REQUEST_INSIDE],
    "EXTERNAL": LOSSES[Outcome.OUTSIDE],
    "Reply dropped INTERNALLY": LOSSES[Outcome.REPLY_INSIDE],
}


class DropDetector(Parser):
    """A zero is an end that is missing, not a latency."""

    name = "icmp_drop_detector"
    words = ("#", "Latency(us):", "Latency:", "===", "Flow:", "[", "Drop", "RX", "TX")

    def __init__(self, result: ImportResult) -> None:
        """Waits for the first event."""
        super().__init__(result)
        self._event: Optional[Packet] = None
        self._complete = False
        self._mixed = self._other = self._dropping = self._block = False
        self._said = ""
        self._line = ""
        self._facing: dict[str, bool] = {}

    def take(self, line: str) -> bool:
        """One line."""
        if line[0].isdigit():
            return self._begin(line)
        if line.startswith("Latency"):
            return self._latency(line)
        if line.startswith("==="):
            self._forget()
            self._dropping = line.startswith("=== ICMP Drop Detected")
            self._block = self._dropping or line.startswith("=== ICMP Flow Statistics")
            return self._block
        if line.startswith("Drop Location:"):
            self._dropping = False
            place = next((p for words, p in _PLACES.items() if words in line), None)
            if place is None:
                return self.damaged(line)
            self.source.drops[place] += 1
            return True
        if line.startswith(("Flow:", "[")):
            return self._dropping
        return self._interface(line)

    def body(self, line: str) -> bool:
        """The rest of a drop, and statistics."""
        return self._block

    def end(self) -> None:
        """An event without its latencies is not complete."""
        self._forget()

    def _begin(self, line: str) -> bool:
        found = _EVENT.match(line)
        if found:
            # Two events in a row are of two writers: whose latencies follow, nobody can say.
            self._mixed = self._event is not None
            self._forget()
            self._other = self._block = False
            self._say_side(line)
            self._event = packet_of(found[2], found[3])
            self._complete = found[1] in ("complete", None)
            self._line = line
            return True if self._event else self.damaged(line)
        if _OTHER.match(line):
            self._forget()
            self._other = True
            self.source.trouble(Trouble.OTHER, line)
            return True
        return self.damaged(line) if "ReqRX:" in line else False

    def _say_side(self, line: str) -> None:
        found = _SIDE.search(line)
        self._said = found[1] if found else ""
        if self._said in _SIDES:
            self.source.banner_side = self.source.banner_side or _SIDES[self._said]

    def _side(self) -> Optional[Side]:
        return _SIDES.get(self._said) if self._said else self.source.side

    def _forget(self) -> None:
        if self._event and self._complete:
            self.source.trouble(Trouble.INCOMPLETE, self._line)
        self._event = None

    def _latency(self, line: str) -> bool:
        if self._event is None:
            return True if self._other else self.damaged(line)
        values = {name: nanoseconds(number) for name, number in _VALUES.findall(line)}
        if len(values) < 4:
            return self.damaged(line)
        packet, self._event = self._event, None
        if not self._complete:
            return True
        self.result.tool(self.name)
        known = {name: value for name, value in values.items() if value}
        parts = [known.get(name) for name in ("ReqInternal", "External", "RepInternal")]
        total = known.get("Total")
        if self._mixed or not adds_up(parts, total):
            self.source.trouble(Trouble.CONTRADICTORY, self._line)
            return True
        if total is not None:
            count, summed = self.source.totals_ns
            self.source.totals_ns = (count + 1, summed + total)
        side = self._side()
        if side is None:
            self.source.trouble(Trouble.SIDELESS, self._line)
        else:
            names = _NAMES[side]
            self.result.add(packet, {names[name]: value for name, value in known.items()})
        return True

    def _interface(self, line: str) -> bool:
        found = _INTERFACES.match(line)
        if not found:
            return False
        taps = [bool(_TAP.match(name.strip())) for name in found[2].split(",")]
        self._facing[found[1]] = all(taps)
        if len(self._facing) == 2 and self._facing["RX"] != self._facing["TX"]:
            # The request is received from the guest on the sender's host.
            side = Side.SENDER if self._facing["RX"] else Side.RECEIVER
            self.source.banner_side = side
        return True
