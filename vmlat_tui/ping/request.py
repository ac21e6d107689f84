"""What a ping is asked for: its two ends, how often, for how long."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from vmlat_tui.errors import UsageError
from vmlat_tui.model.flows import Address
from vmlat_tui.model.segments import Observer
from vmlat_tui.transport import hosts
from vmlat_tui.transport.hosts import Host


@dataclass(frozen=True)
class End:
    """A VM, and where it runs.  ``guest`` is how to get into it; None: not at all."""

    word: str
    host: Host
    vm: str
    guest: Optional[Host]
    ip: Optional[Address]
    uplinks: tuple[str, ...]


@dataclass(frozen=True)
class PingRequest:
    """What to measure, checked, and where the capture goes."""

    sender: End
    receiver: End
    #: Where to start the ping; None: one runs already.
    pinging: Optional[str]
    count: Optional[int]
    interval_s: float
    size: int
    duration_s: Optional[float]
    timeout_ns: int
    output: Optional[Path]
    force: bool

    @property
    def name(self) -> str:
        """Of the measurement."""
        return f"{self.sender.vm} -> {self.receiver.vm}"

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Who is asked, in the order in which a request passes them."""
        asked = {Observer.SENDER_HOST, Observer.RECEIVER_HOST}
        asked |= {Observer.SENDER_GUEST} if self.sender.guest else set()
        asked |= {Observer.RECEIVER_GUEST} if self.receiver.guest else set()
        return tuple(observer for observer in Observer if observer in asked)

    def ping_argv(self, target: Address) -> Optional[tuple[str, ...]]:
        """What makes the sender's guest ping."""
        if self.pinging is None:
            return None
        command = ["ping", "-n", "-i", f"{self.interval_s:g}", "-s", str(self.size)]
        command += ["-c", str(self.count)] if self.count else []
        return hosts.command_at(self.pinging, [*command, str(target)], "--sender-guest")


def check_ends(sender: End, receiver: End) -> None:
    """Raise :class:`UsageError` for ends between which there is no ping."""
    if sender.host.name == receiver.host.name and sender.vm == receiver.vm:
        raise UsageError(
            "--sender and --receiver are the same VM", "a ping needs two", "name another VM"
        )
    for end in (sender, receiver):
        if end.ip and (end.ip.is_multicast or end.ip.is_unspecified or end.ip.is_loopback):
            raise UsageError(
                f"--{end.word}-ip {end.ip} is not an address of one VM", "", "give that of its vNIC"
            )
    if sender.ip and receiver.ip:
        _check_pair(sender.ip, receiver.ip)


def _check_pair(sender: Address, receiver: Address) -> None:
    if sender == receiver:
        raise UsageError(
            "--sender-ip and --receiver-ip are the same address", str(sender), "correct one of them"
        )
    if sender.version != receiver.version:
        raise UsageError("--sender-ip and --receiver-ip are not of one IP version")


def addresses(
    sender: tuple[End, frozenset[str]], receiver: tuple[End, frozenset[str]]
) -> tuple[Address, Address]:
    """Of who pings and who is pinged: as given, else the only one of a version that is known.

    Each end comes with the addresses that its host knows of it.  Raises :class:`UsageError`, which
    names the option that would tell.
    """
    ends = (sender, receiver)
    choices = [(end, (end.ip,) if end.ip else _usable(known)) for end, known in ends]
    for version in (4, 6):
        pair = [[ip for ip in found if ip.version == version] for _, found in choices]
        if all(len(found) == 1 for found in pair):
            _check_pair(pair[0][0], pair[1][0])
            return pair[0][0], pair[1][0]
    # Both are known if both were given.
    asked = [(end, found) for end, found in choices if end.ip is None]
    end, found = next((one for one in asked if len(one[1]) != 1), asked[0])
    what = ", ".join(map(str, found)) or "its host knows none"
    raise UsageError(
        f"the address of {end.vm} is not certain", what, f"name it with --{end.word}-ip"
    )


def _usable(texts: frozenset[str]) -> tuple[Address, ...]:
    """They are another host's words."""
    found = []
    for text in sorted(texts):
        try:
            found.append(ipaddress.ip_address(text))
        except ValueError:
            continue
    return tuple(ip for ip in found if not ip.is_link_local)
