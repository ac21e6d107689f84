"""``tun_tx_to_kvm_irq``: a packet from tun to the guest's interrupt, one line per stage.

The tool counts the delay of stage 4 from stage 2, so stage 2 to 3 is twice in the total that it
prints.  Both are kept: the true total and the printed one.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Optional

from vmlat_tui.importers.parser import ECHO, Parser, packet_of
from vmlat_tui.importers.result import ImportResult, Side, Trouble, nanoseconds
from vmlat_tui.model.readings import Packet

_LINE = re.compile(
    r"TUN(?:_IRQ| TX(?: INTERRUPT)?) \[([^\]]*)\] Stage (\d)(?: \[([^\]]*)\])?:? (.*)"
)
_DELAY = re.compile(r"\bDelay=\s*(-?[\d.]+)ms(?=\s|$)")
_EVENTFD = re.compile(r"EventFD(?:\(\w+\))?=(0x[0-9a-f]+)")
_ICMP = re.compile(
    r"ICMP \S+ ?-> ?\S+(?: type=(\d+))?(?: code=\d+)?(?: id=(\d+))?(?: seq=(\d+))?(?=\s|$)"
)
_OTHER = re.compile(r" (?:TCP|UDP|IP) \S+ ?-> ?\S+")
_TOTAL = re.compile(r"(?:-> Total\(S1->S5\)|Total Delay\(S1->S5\)):\s*(-?[\d.]+) ?ms")
_STEP = re.compile(r"Stage(\d)->Stage(\d):\s*(-?[\d.]+) ?ms")
_MS = 1_000_000
#: Chains that are open at a time; more are of packets whose end was lost.
_OPEN = 4096


@dataclass
class PacketStages:
    """The stages of one packet; ``delays_ns`` by the number of the stage that they end at."""

    line: str
    echo: Optional[int] = None
    packet: Optional[Packet] = None
    other: bool = False
    last: int = 5
    delays_ns: dict[int, int] = field(default_factory=dict)
    printed_ns: Optional[int] = None
    eventfd: Optional[str] = None

    def intervals(self, segment: str) -> dict[str, int]:
        """By quantity of segment E or L."""
        d = self.delays_ns
        found: dict[str, int] = {}
        for number, stage in ((2, "s1_s2"), (3, "s2_s3"), (5, "s4_s5")):
            if number in d and number <= self.last:
                found[f"{segment}.{stage}"] = d[number]
        if self.last == 5:
            if 4 in d:
                found[f"{segment}.s3_s4_printed"] = d[4]
            if 3 in d and 4 in d:
                found[f"{segment}.s3_s4"] = d[4] - d[3]
            if {2, 4, 5} <= set(d):
                found[segment] = d[2] + d[4] + d[5]
                printed = self.printed_ns
                if printed is None and 3 in d:
                    printed = found[segment] + d[3]
                if printed is not None:
                    found[f"{segment}_printed"] = printed
        return found


def number_of(text: str) -> Optional[int]:
    """Nanoseconds of printed milliseconds."""
    return nanoseconds(text, _MS)


class TunIrq(Parser):
    """A request goes to the receiver's guest, a reply to the sender's: the echo type says which."""

    name = "tun_tx_to_kvm_irq"
    words = ("TUN", "TUN_IRQ", "->", "Total", *(f"Stage{n}->Stage{n + 1}:" for n in range(1, 5)))

    def __init__(self, result: ImportResult) -> None:
        """Waits for the first stage."""
        super().__init__(result)
        self._chains: OrderedDict[str, PacketStages] = OrderedDict()
        # Complete but for the total that may follow.
        self._ready: Optional[PacketStages] = None
        self._block: Optional[PacketStages] = None

    def take(self, line: str) -> bool:
        """One line."""
        if line.startswith("TUN"):
            return self._stage(line)
        if line.startswith("->"):
            total = _TOTAL.match(line)
            if not total or self._ready is None:
                return self.damaged(line)
            self._ready.printed_ns = number_of(total[1])
            self.settle()
            return True
        if line.startswith("Total"):
            total = _TOTAL.match(line)
            if not total:
                return self.damaged(line) if line.startswith("Total Delay(S1") else False
            self._end_block()
            self._block = PacketStages(line, printed_ns=number_of(total[1]))
            return True
        step = _STEP.match(line)
        value = number_of(step[3]) if step else None
        if step is None or value is None or self._block is None:
            return self.damaged(line)
        self._block.delays_ns[int(step[2])] = value
        return True

    def end(self) -> None:
        """What is open has no end."""
        self.settle()
        self._end_block()
        for chain in self._chains.values():
            self.source.trouble(Trouble.INCOMPLETE, chain.line)
        self._chains.clear()

    def _end_block(self) -> None:
        if self._block is not None:
            self._ready, self._block = self._block, None
            self.settle()

    def _stage(self, line: str) -> bool:
        self.settle()
        found = _LINE.match(line)
        if not found:
            return self.damaged(line)
        queue, number, stage, rest = found[1], int(found[2]), found[3], found[4]
        if number == 1:
            self._begin(queue, line, rest)
            return True
        delay = _DELAY.search(rest)
        if "Delay=" in rest and not delay:
            return self.damaged(line)
        eventfd = _EVENTFD.search(rest)
        self.event(
            queue, number, stage, delay and number_of(delay[1]), eventfd and eventfd[1], line
        )
        return True

    def _begin(self, queue: str, line: str, rest: str) -> None:
        chain = PacketStages(line, last=3 if line.startswith("TUN_IRQ") else 5)
        icmp = _ICMP.search(rest)
        if icmp:
            chain.echo = ECHO.get(int(icmp[1][:9]), -1) if icmp[1] else None
            chain.packet = packet_of(icmp[2], icmp[3])
            chain.other = chain.echo == -1
        else:
            chain.other = _OTHER.search(rest) is not None
        self.begin(queue, chain)

    def begin(self, queue: str, chain: PacketStages) -> None:
        """A packet enters tun: what was open on this queue has no end."""
        earlier = self._chains.pop(queue, None)
        if earlier is None and len(self._chains) >= _OPEN:
            earlier = self._chains.popitem(last=False)[1]
        if earlier is not None:
            self.source.trouble(Trouble.INCOMPLETE, earlier.line)
        self._chains[queue] = chain

    def event(
        self,
        queue: str,
        number: int,
        stage: Optional[str],
        delay_ns: Optional[int],
        eventfd: Optional[str],
        line: str,
    ) -> None:
        """A later stage of the packet that is open on this queue."""
        self.settle()
        chain = self._chains.get(queue)
        if chain is None and queue.startswith("unknown") and eventfd:
            # The queue of a later stage may be unknown; its eventfd is that of stage 2.
            same = [q for q, c in self._chains.items() if c.eventfd == eventfd]
            if len(same) == 1:
                queue, chain = same[0], self._chains[same[0]]
        if chain is None or number in chain.delays_ns:
            self.source.trouble(Trouble.INCOMPLETE, line)
            return
        if number == 2:
            chain.eventfd = eventfd
        if stage == "irqfd_wakeup" and number == 3:
            chain.last = 3
        if delay_ns is not None:
            chain.delays_ns[number] = delay_ns
        if number >= chain.last:
            self._ready = self._chains.pop(queue)

    def settle(self) -> None:
        """Give the packet that was waiting for its total."""
        chain, self._ready = self._ready, None
        if chain is None:
            return
        self.result.tool(self.name)
        if chain.other:
            self.source.trouble(Trouble.OTHER, chain.line)
            return
        side = {8: Side.RECEIVER, 0: Side.SENDER, None: self.source.side}[chain.echo]
        if side is None:
            self.source.trouble(Trouble.SIDELESS, chain.line)
            return
        segment = "E" if side is Side.RECEIVER else "L"
        intervals = chain.intervals(segment)
        if chain.last != 5:
            self.source.note("this version of the tool stops at irqfd_wakeup: no total")
        elif 2 not in chain.delays_ns:
            self.source.note("this version of the tool has no delay of stage 2: no total")
        elif segment not in intervals:
            self.source.trouble(Trouble.INCOMPLETE, chain.line)
        self.result.add(chain.packet, intervals)
