"""The four agents of a ping that is made up, and the ping: ``python -m tests.support.observers``.

Each is a process: ``DIRECTORY ROLE`` is an agent, ``DIRECTORY ping ARGUMENTS`` what pings.  They
share a directory: ``sent`` holds how many pings there were, ``faults.json`` what is wrong with
whom.  Every observer has a clock of its own.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.chains import Row, packet
from tests.support.echoes import stats
from tests.support.frames import encoded, error_object
from tests.support.pings import USUAL, Ping
from tests.tui.streams import Stream
from vmlat_tui.errors import UsageError
from vmlat_tui.model.flows import Echo
from vmlat_tui.model.guest import RoundTrip
from vmlat_tui.model.points import Direction
from vmlat_tui.model.readings import Packet
from vmlat_tui.model.segments import Observer
from vmlat_tui.protocol import frames
from vmlat_tui.protocol.echo import EchoFrame
from vmlat_tui.protocol.migrations import Raw

#: Who is where: the sender's and the receiver's host and guest.
PLACES = ("hv1", "hv2", "vm-a", "vm-b")
VMS = {"hv1": ("vm-a", "vm-x"), "hv2": ("vm-x", "vm-b")}
ENDS = ("10.0.0.10", "10.0.0.11")
ID = 77
TX, RX = Direction.TX, Direction.RX
_POLL_S = 0.01


def ping_of(sequence: int) -> Ping:
    """The times of one: every fifth waits for the receiver's guest."""
    late = 400 if sequence % 5 == 0 else sequence % 3
    return Ping(sequence, ID, {**USUAL, "U2": USUAL["U2"] + late})


def _fault(directory: Path, place: str) -> str:
    faults: dict[str, str] = json.loads((directory / "faults.json").read_text())
    return faults.get(place, "")


def sent(directory: Path) -> int:
    """How many pings there were."""
    try:
        return int((directory / "sent").read_text() or 0)
    except FileNotFoundError:
        return 0


def send(directory: Path, count: int) -> None:
    """There were so many."""
    new = directory / "sent.new"
    new.write_text(str(count))
    new.replace(directory / "sent")


# ---- frames --------------------------------------------------------------------------------------


class _Way:
    """Points with the times between them, in µs."""

    def __init__(self, start_us: float) -> None:
        self._t_us = start_us
        self.rows: list[Row] = []

    def at(self, point: str, hook: str, after_us: float = 0) -> _Way:
        self._t_us += after_us
        self.rows.append((point, hook, round(self._t_us * 1000), 1, None))
        return self


def _sent(start_us: float, kick_us: float, host_us: float) -> list[Row]:
    return (
        _Way(start_us)
        .at("guest_kick", "ioeventfd_write")
        .at("vhost_tx", "handle_tx_kick", kick_us / 2)
        .at("tun_in", "tun_sendmsg", kick_us / 4)
        .at("vnet_rx", "netif_receive_skb", kick_us / 4)
        .at("phy_queue", "net_dev_queue", host_us)
        .at("phy_xmit", "net_dev_start_xmit", 1)
    ).rows


def _received(start_us: float, host_us: float, irq_us: float, entry_us: float) -> list[Row]:
    return (
        _Way(start_us)
        .at("phy_rx", "netif_receive_skb")
        .at("tun_out", "tun_net_xmit", host_us)
        .at("vhost_signal", "vhost_add_used_and_signal_n", irq_us / 2)
        .at("eventfd", "eventfd_signal", irq_us / 4)
        .at("irqfd", "irqfd_wakeup", irq_us / 8)
        .at("irq_accept", "kvm_apic_accept_irq", irq_us / 8)
        .at("guest_entry", "kvm_entry", entry_us)
    ).rows


def _packet(direction: Direction, request: bool, rows: list[Row], sequence: int) -> Raw:
    frame = packet(direction, rows)
    ends = ENDS if request else ENDS[::-1]
    frame["flow"].update(zip(("src", "dst"), ends), src_port=ID, dst_port=ID)
    return {**frame, "icmp": Echo(ID, sequence, request).to_json()}


def host_frames(place: str, ping: Ping) -> list[Raw]:
    """What a hypervisor tells of one ping: the request, then the reply."""
    us, start_us = ping.us, 1e6 * ping.sequence
    if place == "hv1":
        out = _sent(start_us, us["U1"], us["B"])
        back = _received(start_us + us["U1"] + us["B"] + ping.external, us["K"], us["L"], us["U4"])
        return [_packet(TX, True, out, ping.sequence), _packet(RX, False, back, ping.sequence)]
    into = _received(start_us, us["D"], us["E"], us["U2"])
    inside = ping.sum(("D", "E", "U2", "F", "G", "H"))
    out = _sent(start_us + inside, us["U3"], us["I"])
    return [_packet(RX, True, into, ping.sequence), _packet(TX, False, out, ping.sequence)]


def guest_frame(place: str, ping: Ping, comm: str = "ping") -> Raw:
    """What a guest tells of one ping."""
    us, start = ping.us, 1e6 * ping.sequence
    if place == "vm-a":
        side, rest = Observer.SENDER_GUEST, ping.rtt - us["A"] - us["M"]
        names = ("send", "request_xmit", "reply_receive", "read")
        after = (0, us["A"], rest, us["M"])
    else:
        side = Observer.RECEIVER_GUEST
        names = ("request_receive", "icmp", "reply", "reply_xmit")
        after = (0, us["F"], us["G"], us["H"])
    times = {n: round(1000 * (start + sum(after[: k + 1]))) for k, n in enumerate(names)}
    trip = RoundTrip(Packet(ID, ping.sequence), ENDS, side, "eth0", 900, comm, times)
    return frames.to_json(EchoFrame.of(trip))


# ---- the agent -----------------------------------------------------------------------------------


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


class _Agent:
    def __init__(self, directory: Path, place: str) -> None:
        self._directory, self._place = directory, place
        self._fault, _, after = _fault(directory, place).partition(":")
        self._after = int(after or 0)
        self._stream = Stream(VMS.get(place, ("vm-a",)))
        self._measures = self._ended = False
        self._told = 0
        self._log = (directory / f"{place}.commands").open("w")

    def run(self) -> None:
        if self._fault == "refused":
            print(f"{self._place}: Permission denied (publickey).\x1b[2J", file=sys.stderr)
            sys.exit(255)
        if self._fault == "mute":
            time.sleep(3600)
        pending = b""
        while not self._ended:
            if select.select([0], [], [], _POLL_S)[0]:
                data = os.read(0, 65536)
                if not data:
                    return
                *lines, pending = (pending + data).split(b"\n")
                for line in filter(None, lines):
                    self._obey(json.loads(line))
            if self._measures and not self._ended:
                self._tell()

    def _give(self, *given: Raw) -> None:
        for frame in given:
            _write(encoded(frame))

    def _obey(self, command: dict[str, Any]) -> None:
        print(json.dumps(command), file=self._log, flush=True)
        name = command["command"]
        if name == "configure" and self._fault == "early":
            self._give(guest_frame(self._place, ping_of(1)))
        if name == "configure":
            boot = "one" if self._fault == "same" else self._place
            self._give({**self._stream.hello(), "boot": boot})
            self._measures = command.get("guest", False)
            if not self._measures:
                self._give(self._stream.topology())
        elif name == "measure" and self._fault == "refuses":
            error = UsageError("measuring needs root", "\x1b[31mBPF")
            self._give(error_object(error, id=None))
        elif name == "measure":
            self._measures = True
            self._give(self._stream.measuring(), self._stream.links())
        elif name == "stop" and self._fault != "deaf":
            self._tell()
            self._stats(final=True)
            self._ended = True

    def _tell(self) -> None:
        for number in range(self._told + 1, sent(self._directory) + 1):
            if self._fault and self._told >= self._after:
                self._misbehave()
            self._told = number
            self._give(*self._frames(ping_of(number)))
        if self._fault != "unsettled":
            self._stats(final=False)

    def _frames(self, ping: Ping) -> Iterator[Raw]:
        if self._fault == "blind" and ping.sequence % 4 == 0:
            return
        if self._place in VMS:
            found = host_frames(self._place, ping)
            if self._fault in ("unanswered", "unsettled"):
                del found[1]
            yield from found
        else:
            comm = "\x1b[2Jping" if self._fault == "escapes" else "ping"
            yield guest_frame(self._place, ping, comm)
        if self._fault == "escapes":
            yield {"type": "notice", "text": "\x1b]0;evil\x07"}
        if self._fault == "twice":
            yield guest_frame(self._place, ping)
            yield self._stream.hello()

    def _stats(self, final: bool) -> None:
        guest = {"bins": {}, "counters": {"lost": 0, "waiting": 0}}
        t_ns = int(1e9 * sent(self._directory)) + 500_000_000
        if self._fault == "unanswered":
            t_ns += 60_000_000_000
        self._give({**stats(t_ns, final), **({} if self._place in VMS else guest)})

    def _misbehave(self) -> None:
        if self._fault == "dies":
            sys.exit("killed\x1b[2J")
        if self._fault == "garbage":
            _write(b'\x1b[2J{"type": "packet"\n')
        if self._fault == "shapeless":
            _write(b'{"type": "packet", "direction": "tx", "stages": "\\u001b[2J"}\n')
        if self._fault == "endless":
            while True:
                _write(b"\x1b[2J" * 65536)
        if self._fault == "floods":
            while True:
                self._give({"type": "notice", "text": "\x1b[2Jmore"})
        if self._fault == "leaves":
            self._stats(final=True)
            sys.exit()


# ---- the ping ------------------------------------------------------------------------------------


def _ping(directory: Path, arguments: list[str]) -> None:
    (directory / "ping").write_text("\0".join(arguments))
    if _fault(directory, "ping"):
        print("ping: connect: Network is unreachable\x1b[2J")
        sys.exit(2)
    options = dict(zip(arguments[:-1], arguments[1:]))
    number, end = sent(directory), int(options.get("-c", 1 << 30))
    for _ in range(end):
        number += 1
        send(directory, number)
        print(f"64 bytes from {ENDS[1]}: icmp_seq={number} ttl=64 time=0.3 ms", flush=True)
        if select.select([0], [], [], float(options["-i"]))[0]:
            return  # nobody is there any more
    print(f"{number} packets transmitted, {number} received\x1b[2J", flush=True)


def main() -> None:
    """As the arguments say."""
    directory, place, *arguments = sys.argv[1:]
    if place == "ping":
        _ping(Path(directory), arguments)
    else:
        _Agent(Path(directory), place).run()


if __name__ == "__main__":
    main()
