"""Bring the hypervisor to a scenario: at boot, and on request from one to another."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable

from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.lab.hypervisor import domains, network, system
from vmlat_tui.lab.scenarios import (
    BRIDGE,
    REMOTE_IP4,
    REMOTE_IP6,
    REMOTE_NS,
    SCENARIOS,
    Domain,
    Scenario,
    scenario,
)

RUN = Path("/run/lab")
#: One NAME=value per line; sshd and lab-exec hand it to every command.
ENVIRONMENT = RUN / "environment"
_READY = RUN / "ready"
_CURRENT = RUN / "scenario"
_HANDED_OVER = Path("/lab")

_GUEST_SECONDS = 180.0
_GUEST_RESTARTS = 2


def main() -> int:
    """Boot: everything up to guests that answer."""
    system.report_to_console()
    try:
        wanted = scenario((_HANDED_OVER / "scenario").read_text())
        network.prepare()
        with _failures_of_threads() as start:
            start(lambda: network.set_up(wanted))
            system.say("libvirtd to answer")
            connection = domains.connect()
        _start_guests(connection, wanted)
        print("@lab ready", flush=True)
    except Exception as error:  # whoever waits must hear of it
        print("@lab failed", " ".join(str(error).split()) or repr(error), flush=True)
        return 1
    return 0


def change(connection: Any, wanted: Scenario) -> None:
    """Tear the current scenario down and set up another one."""
    before = current()
    _READY.unlink()
    domains.destroy_all(connection)
    network.tear_down(before)
    network.set_up(wanted)
    _start_guests(connection, wanted)


def start_again(connection: Any, name: str) -> None:
    """Start a stopped guest of the current scenario and wait until it answers."""
    here = current()
    guest = domain(name)
    handle = connection.lookupByName(name)
    if not handle.isActive():
        handle.create()
    _after_start(connection, here, guest)
    _wait_for_guests(connection, here, [guest])
    _write_environment(connection, here)


def current() -> Scenario:
    """Return the scenario that is set up (or was being set up last)."""
    return SCENARIOS[_CURRENT.read_text()]


def is_ready() -> bool:
    """Tell whether the current scenario came up."""
    return _READY.exists()


def kernel() -> str:
    """Return the kernel series this hypervisor was booted with, as the user names it."""
    return (_HANDED_OVER / "kernel").read_text()


def domain(name: str) -> Domain:
    """Return a domain of the current scenario."""
    for candidate in current().domains:
        if candidate.name == name:
            return candidate
    known = ", ".join(each.name for each in current().domains)
    raise UsageError("no such domain in this scenario", name, f"there are: {known}")


def read_environment() -> dict[str, str]:
    """Return the variables that commands in the lab get."""
    pairs = (line.partition("=") for line in ENVIRONMENT.read_text().splitlines())
    return {name: value for name, _, value in pairs}


def _start_guests(connection: Any, wanted: Scenario) -> None:
    _CURRENT.write_text(wanted.name)
    system.say(f"{' and '.join(each.name for each in wanted.domains)} to start")
    for each in wanted.domains:
        domains.start(connection, wanted, each)
        _after_start(connection, wanted, each)
    _write_environment(connection, wanted)
    _wait_for_guests(connection, wanted, list(wanted.domains))
    _write_environment(connection, wanted)
    _READY.write_text("")


def _after_start(connection: Any, here: Scenario, guest: Domain) -> None:
    tap = domains.tap(connection, guest.name)
    if tap is not None:
        network.double_tag(here, tap)


def _wait_for_guests(connection: Any, here: Scenario, guests: list[Domain]) -> None:
    for guest in guests:
        for address in (guest.ip4, guest.ip6):
            system.say(f"{guest.name} to answer ping at {address}")
            _wait_for_ping(connection, here, guest, address)


def _wait_for_ping(connection: Any, here: Scenario, guest: Domain, address: str) -> None:
    deadline = time.monotonic() + _GUEST_SECONDS
    # ping itself waits: it ends with the first answer, or early when there is no such neighbour.
    command = [
        "ip",
        "netns",
        "exec",
        REMOTE_NS,
        "ping",
        "-n",
        "-q",
        "-c",
        "1",
        "-w",
        "10",
        "-i",
        "0.2",
        address,
    ]
    restarts = _GUEST_RESTARTS
    while " 1 received" not in system.run(command, check=False):
        handle = connection.lookupByName(guest.name)
        ended = not handle.isActive()
        if ended and restarts:
            # Seen when the machine that emulates all this is busy: it fails before it says a word.
            restarts -= 1
            system.say(f"{guest.name} to start once more: it ended by itself")
            handle.create()
            _after_start(connection, here, guest)
            continue
        if ended or time.monotonic() > deadline:
            console = RUN / f"{guest.name}.log"
            said = console.read_text(errors="replace")[-600:] if console.exists() else ""
            raise VmlatError(
                f"guest {guest.name} {'ended by itself' if ended else 'does not answer ping'}",
                f"waited for {address}; last on its console: {said or 'nothing'}",
            )


def _write_environment(connection: Any, here: Scenario) -> None:
    variables = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PYTHONPYCACHEPREFIX": "/tmp/pycache",
        "VMLAT_LAB": "1",
        "VMLAT_LAB_KERNEL": kernel(),
        "VMLAT_LAB_SCENARIO": here.name,
        "VMLAT_UPLINK": here.uplink,
        "VMLAT_UPLINK_MEMBERS": " ".join(here.members),
        "VMLAT_BRIDGE": BRIDGE,
        "VMLAT_REMOTE_NS": REMOTE_NS,
        "VMLAT_REMOTE_IP4": REMOTE_IP4,
        "VMLAT_REMOTE_IP6": REMOTE_IP6,
        "VMLAT_REMOTE_DEVICE": here.remote_device,
        "VMLAT_DOMAINS": " ".join(each.name for each in here.domains),
    }
    for each in here.domains:
        variables[f"{each.variable}_IP4"] = each.ip4
        variables[f"{each.variable}_IP6"] = each.ip6
        variables[f"{each.variable}_MAC"] = each.mac
        variables[f"{each.variable}_VNET"] = domains.tap(connection, each.name) or ""
    fresh = ENVIRONMENT.with_suffix(".new")
    fresh.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    os.replace(fresh, ENVIRONMENT)


@contextlib.contextmanager
def _failures_of_threads() -> Any:
    """Run things beside the block; at its end wait for them and raise what went wrong in them."""
    threads: list[threading.Thread] = []
    failures: list[BaseException] = []

    def start(work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=guarded)
        threads.append(thread)
        thread.start()

    yield start
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


if __name__ == "__main__":
    sys.exit(main())
