"""The hypervisors of one lab: one, or two that are joined by cables."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Callable

from vmlat_tui.errors import VmlatError
from vmlat_tui.lab import emulator, process
from vmlat_tui.lab.machine import LINKS, Boot, Machine, ssh_command
from vmlat_tui.lab.scenarios import Scenario
from vmlat_tui.programs import inherited

PROGRAMS = ("ssh", "ssh-keygen")

#: How long one hypervisor may take to boot; two share the processors.
BOOT_SECONDS = 300.0


class Machines:
    """They start and end together; commands run in the first.

    The lab's directory holds the keys, and what :class:`.machine.Machine` says.
    """

    def __init__(self, directory: Path, scenario: Scenario) -> None:
        self._directory = directory
        names = scenario.hypervisors if scenario.paired else ("",)
        self._all = [Machine(directory, number, name) for number, name in enumerate(names)]

    @property
    def port(self) -> int:
        """The port at which the first one's ssh is reached."""
        return self._all[0].port

    def processes(self) -> dict[str, tuple[int, int]]:
        """Name -> process id and start time of each QEMU that runs."""
        found = {}
        for each in self._all:
            started = process.start_time(each.pid)
            if started is not None:
                found[each.name or "lab"] = each.pid, started
        return found

    def start(self, boot: Boot) -> None:
        """Start them, with everything they need in the lab's directory."""
        process.require(*PROGRAMS)
        _write_keys(self._directory)
        program = emulator.unpack(boot.image.emulator, self._directory / "emulator")
        if not boot.scenario.paired:
            self._all[0].start(boot, program)
        else:
            cables = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(LINKS)]
            for each, ends in zip(self._all, zip(*cables)):
                each.start(boot, program, [end.fileno() for end in ends])
            for end in (end for cable in cables for end in cable):
                end.close()
        kind, key = (self._directory / "host_key.pub").read_text().split()[:2]
        (self._directory / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")

    def wait(self, step: str, say: Callable[[str], None]) -> None:
        """Wait until all of them report a step (see :func:`wait`)."""
        wait(self._all, step, say, BOOT_SECONDS * len(self._all))

    def ssh(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs a program inside (see lab-exec for its environment)."""
        return ssh_command(self._directory, self.port, command)

    def running(self) -> bool:
        """Tell whether all are alive."""
        return all(each.running() for each in self._all)

    def ended(self, within_s: float) -> bool:
        """Tell whether one ends by itself in this time; a crash first cuts the connection."""
        end = time.monotonic() + within_s
        while self.running() and time.monotonic() < end:
            time.sleep(0.1)
        return not self.running()

    def failure(self) -> VmlatError:
        """Return the error for one that ended by itself."""
        return next(each for each in self._all if not each.running()).failure()

    def stop(self) -> None:
        """Switch all of them off at once."""
        for each in self._all:
            each.stop()


def wait(
    machines: Sequence[Machine], step: str, say: Callable[[str], None], seconds: float
) -> None:
    """Wait until all machines report a step, and say those before it.

    Raises :class:`VmlatError` for the first that fails, ends, or takes longer than ``seconds``.
    """
    left = list(machines)
    while True:
        left = [each for each in left if not each.reached(step, say, seconds)]
        if not left:
            return
        for each in machines:
            if each not in left and not each.running():
                raise each.failure()
        time.sleep(0.05)


def _write_keys(directory: Path) -> None:
    for name in ("key", "host_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "vmlat-lab",
             "-f", str(directory / name)],
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=inherited(),
        )  # fmt: skip
