"""Bring the hypervisor to a scenario: at boot, and on request from one to another."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Callable

from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.lab.hypervisor import domains, network, pair, system, whole
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
#: Where vmlat keeps what it has compiled.
_COMPILED = Path("/var/cache/vmlat")

_GUEST_SECONDS = 180.0
_GUEST_RESTARTS = 2

#: It waits itself: it ends with the first answer, or early when there is no such neighbour.
_PING = ("ping", "-n", "-q", "-c", "1", "-w", "10", "-i", "0.2")
#: The same over ssh.
_LOG_IN = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
_ANSWER = ("echo", "1 received")


def main() -> int:
    """Boot: everything up to guests that answer."""
    system.report_to_console()
    try:
        wanted = scenario((_HANDED_OVER / "scenario").read_text())
        _keep_compiled()
        network.prepare(wanted)
        if wanted.paired:
            pair.prepare(wanted, hypervisor())
            whole.write_initramfs(pair.hosts_lines(wanted))
        with _failures_of_threads() as start:
            start(lambda: network.set_up(wanted))
            system.say("libvirtd to answer")
            connection = domains.connect()
        _start_guests(connection, wanted)
        if wanted.paired and hypervisor() == 0:
            _wait_for_the_other(wanted)
        _READY.write_text("")
        print("@lab ready", flush=True)
    except Exception as error:  # whoever waits must hear of it
        print("@lab failed", " ".join(str(error).split()) or repr(error), flush=True)
        return 1
    return 0


def _keep_compiled() -> None:
    """The next lab finds the programs that this one compiles: its own disk does not outlive it."""
    _COMPILED.mkdir(parents=True, exist_ok=True)
    options = "trans=virtio,version=9p2000.L,msize=262144,access=any"
    system.run(["mount", "-t", "9p", "-o", options, "compiled", str(_COMPILED)])
    os.chown(_COMPILED, 0, 0)
    _COMPILED.chmod(0o755)


def change(connection: Any, wanted: Scenario) -> None:
    """Tear the current scenario down and set up another one."""
    before = current()
    for each in (before, wanted):
        if each.paired:
            raise UsageError(
                f"scenario {each.name} needs machines of its own",
                f"this is scenario {before.name}",
                f"end this lab, then: vmlat lab up --scenario {wanted.name}",
            )
    _READY.unlink()
    domains.destroy_all(connection)
    network.tear_down(before)
    network.set_up(wanted)
    _start_guests(connection, wanted)
    _READY.write_text("")


def start_again(connection: Any, name: str) -> None:
    """Start a stopped guest of the current scenario and wait until it answers."""
    here = current()
    guest = domain(name)
    handle = connection.lookupByName(name)
    if not handle.isActive():
        handle.create()
    _after_start(connection, here, guest)
    _wait_for_guests(connection, here, (guest,))
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


def hypervisor() -> int:
    """Return the index of this hypervisor among those of the scenario."""
    place = _HANDED_OVER / "hypervisor"
    return int(place.read_text()) if place.exists() else 0


def domains_here(scenario: Scenario) -> tuple[Domain, ...]:
    """Return the domains of a scenario that run on this hypervisor."""
    return scenario.domains_on(hypervisor())


def domain(name: str) -> Domain:
    """Return a domain of the current scenario that runs here."""
    here = domains_here(current())
    for candidate in here:
        if candidate.name == name:
            return candidate
    known = ", ".join(each.name for each in here)
    raise UsageError("no such domain in this scenario", name, f"there are: {known}")


def read_environment() -> dict[str, str]:
    """Return the variables that commands in the lab get."""
    pairs = (line.partition("=") for line in ENVIRONMENT.read_text().splitlines())
    return {name: value for name, _, value in pairs}


def _start_guests(connection: Any, wanted: Scenario) -> None:
    _CURRENT.write_text(wanted.name)
    here = domains_here(wanted)
    system.say(f"{' and '.join(each.name for each in here)} to start")
    for each in here:
        domains.start(connection, wanted, each)
        _after_start(connection, wanted, each)
    _write_environment(connection, wanted)
    _wait_for_guests(connection, wanted, here)
    _write_environment(connection, wanted)


def _after_start(connection: Any, here: Scenario, guest: Domain) -> None:
    tap = domains.tap(connection, guest.name)
    if tap is not None:
        network.double_tag(here, tap)


def _wait_for_guests(connection: Any, here: Scenario, guests: Iterable[Domain]) -> None:
    for guest in guests:
        if guest.whole:
            _wait_for_answer(connection, here, guest, "ssh", [*_LOG_IN, guest.name, *_ANSWER])
        else:
            for address in (guest.ip4, guest.ip6):
                command = ["ip", "netns", "exec", REMOTE_NS, *_PING, address]
                _wait_for_answer(connection, here, guest, f"ping at {address}", command)


def _wait_for_the_other(here: Scenario) -> None:
    """Wait until the guests of the pair reach one another over the cable, and ssh the far one."""
    near, far = here.domains
    for what, command in (
        (f"{far.name} to answer ssh", [*_LOG_IN, far.name, *_ANSWER]),
        (f"{near.name} to reach {far.name}", [*_LOG_IN, near.name, *_PING, far.ip4]),
    ):
        system.say(what)
        system.wait_for(what, functools.partial(_answers, command), _limit_s(here))


def _limit_s(here: Scenario) -> float:
    return _GUEST_SECONDS * len(here.hypervisors)


def _answers(command: Sequence[str]) -> bool:
    return "1 received" in system.run(command, check=False)


def _wait_for_answer(
    connection: Any, here: Scenario, guest: Domain, what: str, command: Sequence[str]
) -> None:
    system.say(f"{guest.name} to answer {what}")
    deadline = time.monotonic() + _limit_s(here)
    restarts = _GUEST_RESTARTS
    while not _answers(command):
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
                f"guest {guest.name} {'ended by itself' if ended else 'does not answer'}",
                f"waited for {what}; last on its console: {said or 'nothing'}",
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
        "VMLAT_DOMAINS": " ".join(each.name for each in domains_here(here)),
    }
    if here.paired:
        variables["VMLAT_PEER"] = here.hypervisors[1 - hypervisor()]
    else:
        variables["VMLAT_REMOTE_NS"] = REMOTE_NS
        variables["VMLAT_REMOTE_IP4"] = REMOTE_IP4
        variables["VMLAT_REMOTE_IP6"] = REMOTE_IP6
        variables["VMLAT_REMOTE_DEVICE"] = here.remote_device
    for each in here.domains:
        variables[f"{each.variable}_IP4"] = each.ip4
        variables[f"{each.variable}_IP6"] = each.ip6
        variables[f"{each.variable}_MAC"] = each.mac
    for each in domains_here(here):
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
