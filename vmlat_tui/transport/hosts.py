"""Where an agent runs: on this host, or on another one that the system's ssh reaches.

ssh has the user's configuration, keys and jump hosts.  It never asks anything (``BatchMode``):
behind the screens, and in the middle of a measurement, nobody could answer.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Optional

from vmlat_tui import programs
from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.programs import AGENT
from vmlat_tui.transport.bundle import COMMAND, agent_bundle

#: A dead connection is known after so many silent intervals.
_ALIVE_S, _ALIVE_COUNT = 5, 3
#: What stands for another value of the user's would break a connection that carries frames.
_OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "15",
    "ServerAliveInterval": str(_ALIVE_S),
    "ServerAliveCountMax": str(_ALIVE_COUNT),
    "ClearAllForwardings": "yes",
    "RemoteCommand": "none",
    "PermitLocalCommand": "no",
    # Its messages are what a failure is known by.
    "LogLevel": "INFO",
}
#: ``[user@]host`` or ``ssh://[user@]host[:port]``; no blank, quote or other word of a shell, to
#: which a ``ProxyCommand`` of the user's configuration may hand it.
_DESTINATION = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:/@%\[\]~+-]{0,254}")


def _nothing() -> None:
    """There is nothing to check."""


@dataclass(frozen=True)
class Host:
    """How to start an agent on a host, and what to call the host.

    ``environment`` is all that it is given.  ``preamble`` is what the program gets on standard
    input before the commands.  ``far``: there is a connection that can be lost.  ``check`` raises
    if the host itself is known to have ended.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=programs.inherited)
    preamble: Callable[[], bytes] = bytes
    far: bool = False
    check: Callable[[], None] = _nothing


def here() -> Host:
    """This host: the agent is this very program."""
    return Host("this host", programs.isolated(AGENT), programs.environment())


def raised_here() -> Host:
    """This host, for who is not root: the agent is root's by sudo.

    sudo may ask for the password on the terminal, now: behind the screens nobody could answer.
    Raises :class:`UsageError` where it refuses.
    """
    environment = programs.inherited()
    if sys.stdin.isatty() and subprocess.run(["sudo", "-v"], env=environment).returncode:
        raise UsageError("this host refuses sudo", "", "log in as root")
    return Host("this host", ("sudo", "-n", "--", *programs.isolated(AGENT)), environment)


def reached_by_ssh(destination: str, sudo: bool = False, option: str = "--host") -> Host:
    """Another host, which needs Python and BCC and nothing of ours.

    Raises :class:`UsageError` for a name that ssh or a shell would take for something else;
    ``option`` is where the user gave it.
    """
    command = ("sudo", "-n", *COMMAND) if sudo else COMMAND
    # Also without a safe path in the login there: env looks for the program in this one.
    safely = ("/usr/bin/env", f"PATH={programs.SYSTEM_PATH}", *command)
    line = _over_ssh(destination, safely, option)
    return Host(destination, line, preamble=agent_bundle, far=True)


def _over_ssh(destination: str, command: Sequence[str], option: str) -> tuple[str, ...]:
    if not _DESTINATION.fullmatch(destination):
        raise UsageError(f"{option} {destination!r} is not a host", "", "give [user@]host")
    options = (word for name, value in _OPTIONS.items() for word in ("-o", f"{name}={value}"))
    return ("ssh", "-T", *options, "--", destination, f"exec {shlex.join(command)}")


#: The name by which this host is given where another one could be.
LOCAL = "localhost"


def named(place: str, sudo: bool, option: str) -> Host:
    """This host or another one, by its name; raises :class:`UsageError`."""
    if place == LOCAL:
        return raised_here() if sudo and os.geteuid() != 0 else here()
    return reached_by_ssh(place, sudo, option)


#: Runs its arguments, and ends them with its standard input: sshd closes that when the connection
#: ends, but leaves alone what has no terminal and says nothing, as a ping without replies.  Both
#: are in a process group of their own.  It has no ``!``, which a login shell may take for another.
_LEASH = (
    'exec 3<&0; { read x <&3; kill 0; } & "$@" </dev/null 3<&-; s=$?; trap "" TERM; kill 0; exit $s'
)


def command_at(place: str, command: Sequence[str], option: str) -> tuple[str, ...]:
    """What runs a command at a place of :func:`named`, until the end of its standard input."""
    leashed = ("sh", "-c", _LEASH, "sh", *command)
    return leashed if place == LOCAL else _over_ssh(place, leashed, option)


# ---- why a connection ended ----------------------------------------------------------------------

#: ssh's own exit status; a program there has others.
SSH_FAILED = 255
#: A shell's, for a program that is not there or cannot be run.
_NOT_FOUND = (126, 127)

#: What ssh says -> what is wrong, and what to do.  Nobody tries these again: the answer would be
#: the same, and may lock the account.
_REFUSALS = (
    (
        re.compile(r"Permission denied \([\w,-]+\)|Too many authentication failures"),
        "does not let you in",
        "log in with `ssh {name}` first: it must work without a password (a key, an agent, or a "
        "shared connection)",
    ),
    (
        re.compile(r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED"),
        "is not known by its key, or has another one",
        "look at it with `ssh {name}`",
    ),
    (
        re.compile(r"Bad configuration option|terminating, \d+ bad configuration"),
        "cannot be reached: ssh's configuration is wrong",
        "correct it",
    ),
)  # fmt: skip


def refusal(host: Host, status: Optional[int], words: str) -> Optional[VmlatError]:
    """Why trying again is useless; None if it is not.  ``words`` are the last ones said there."""
    last = words.strip().splitlines()[-1] if words.strip() else ""
    if "sudo:" in last:
        return UsageError(
            f"{host.name} refuses sudo",
            last,
            "allow it without a password (NOPASSWD), or log in as root",
        )
    if not host.far:
        return None
    if status == SSH_FAILED:
        for pattern, wrong, remedy in _REFUSALS:
            if pattern.search(words):
                return UsageError(f"{host.name} {wrong}", last, remedy.format(name=host.name))
        return None
    if status in _NOT_FOUND:
        return UsageError(f"{host.name} cannot run the agent", last, "install python3 there")
    if "vmlat needs Python" in last:
        return UsageError(f"{host.name} cannot run the agent", last, "install a later python3")
    return None
