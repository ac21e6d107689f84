"""The lab as seen from inside its hypervisor: for tests and for ``vmlat lab`` itself.

Everything is read when asked for, so it is right after a change of scenario or a restarted guest.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, NamedTuple, Optional

from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.lab import scenarios
from vmlat_tui.lab.hypervisor import agent, boot, domains
from vmlat_tui.lab.hypervisor.agent import Completed

_connection: Optional[Any] = None


class Vm(NamedTuple):
    """A guest of the current scenario; ``vnet`` is its tap's name while it runs."""

    name: str
    ip4: str
    ip6: str
    mac: str
    vnet: Optional[str]


class Lab(NamedTuple):
    """The current scenario, with the guests of this hypervisor.  A pair has no remote namespace."""

    kernel: str
    scenario: str
    uplink: str
    uplink_members: tuple[str, ...]
    bridge: str
    remote_ns: str
    remote_ip4: str
    remote_ip6: str
    remote_device: str
    vms: dict[str, Vm]


def is_inside() -> bool:
    """Tell whether this process runs in the lab's hypervisor."""
    return bool(os.environ.get("VMLAT_LAB")) and boot.ENVIRONMENT.exists()


def environment() -> dict[str, str]:
    """Return the lab's environment variables, with the taps' names of this moment."""
    _require()
    variables = boot.read_environment()
    for domain in boot.domains_here(boot.current()):
        variables[f"{domain.variable}_VNET"] = domains.tap(connection(), domain.name) or ""
    return variables


def lab() -> Lab:
    """Return the current scenario."""
    _require()
    scenario = boot.current()
    vms = {
        domain.name: Vm(
            domain.name, domain.ip4, domain.ip6, domain.mac, domains.tap(connection(), domain.name)
        )
        for domain in boot.domains_here(scenario)
    }
    return Lab(
        kernel=boot.kernel(),
        scenario=scenario.name,
        uplink=scenario.uplink,
        uplink_members=scenario.members,
        bridge=scenarios.BRIDGE,
        remote_ns=scenarios.REMOTE_NS,
        remote_ip4=scenarios.REMOTE_IP4,
        remote_ip6=scenarios.REMOTE_IP6,
        remote_device=scenario.remote_device,
        vms=vms,
    )


def switch(name: str, again: bool = False) -> Lab:
    """Change to a scenario; with ``again``, set it up anew even if it is the current one."""
    _require()
    wanted = scenarios.scenario(name)
    if again or not boot.is_ready() or boot.current() != wanted:
        boot.change(connection(), wanted)
    os.environ.update(environment())
    return lab()


def start_domain(name: str) -> str:
    """Start a guest that was stopped, wait until it answers and return its tap's name."""
    _require()
    boot.start_again(connection(), name)
    os.environ.update(environment())
    return os.environ[f"{boot.domain(name).variable}_VNET"]


def guest(name: str, command: str, stdin: bytes = b"", seconds: float = 60.0) -> Completed:
    """Run a shell command inside a guest, without using the measured network."""
    _require()
    return agent.execute(connection(), name, command, stdin, seconds)


def remote(command: list[str], seconds: float = 60.0) -> Completed:
    """Run a program in the remote namespace."""
    _require()
    line = ["ip", "netns", "exec", scenarios.REMOTE_NS, *command]
    try:
        result = subprocess.run(
            line, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise VmlatError(
            "the command on the remote side did not end",
            f"waited {seconds:.0f} s for: {' '.join(command)}",
        ) from None
    return Completed(result.returncode, result.stdout, result.stderr)


def connection() -> Any:
    """Return this process's connection to libvirt."""
    global _connection
    if _connection is None or not _connection.isAlive():
        _connection = domains.connect()
    return _connection


def _require() -> None:
    if not Path(boot.ENVIRONMENT).exists():
        raise UsageError(
            "this is not the lab's hypervisor", "", "run it there: vmlat lab run -- COMMAND"
        )
