"""What the readers of one tool's lines have in common."""

from __future__ import annotations

from typing import Optional

from vmlat_tui.importers.result import ImportResult, Side, Trouble
from vmlat_tui.model.readings import Packet

#: (leaves the VM, echo type) -> (side, segment): what a host sees of one packet.
HOST_LEGS = {
    (True, 8): (Side.SENDER, "B"),
    (False, 8): (Side.RECEIVER, "D"),
    (True, 0): (Side.RECEIVER, "I"),
    (False, 0): (Side.SENDER, "K"),
}
#: ICMPv6 echo as ICMP echo.
ECHO = {8: 8, 0: 0, 128: 8, 129: 0}


class Parser:
    """Takes the lines of one tool out of all lines of a file.  For one thread."""

    #: Title of the tool, for people.
    name = ""
    #: First words of its lines; ``[`` stands for a bracket, ``#`` for a date.
    words: tuple[str, ...] = ()

    def __init__(self, result: ImportResult) -> None:
        """Gives what it reads to ``result``."""
        self.result = result
        self.source = result.source

    def take(self, line: str) -> bool:
        """Take a stripped line that begins with one of ``words``; false if it is another tool's."""
        raise NotImplementedError

    def body(self, line: str) -> bool:
        """Take an unstripped line that begins with any other word, right after one of its own."""
        return False

    def end(self) -> None:
        """The file is over."""

    def damaged(self, line: str) -> bool:
        """Count a line that is its own and cannot be read; returns true, for it is taken."""
        self.source.trouble(Trouble.DAMAGED, line)
        return True


def packet_of(number: Optional[str], sequence: Optional[str]) -> Optional[Packet]:
    """The packet of two printed numbers; None if one is missing or has more than 16 bits."""
    if not number or not sequence or len(number) > 5 or len(sequence) > 5:
        return None
    found = Packet(int(number), int(sequence))
    return found if found.id <= 0xFFFF and found.sequence <= 0xFFFF else None
