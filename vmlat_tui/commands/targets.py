"""Where the screens look: this host, another one, or the built-in hypervisor, booted for it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Callable, Optional

from vmlat_tui.errors import VmlatError
from vmlat_tui.lab import machine, releases, scenarios, store
from vmlat_tui.lab.visit import Visit, visit
from vmlat_tui.model.topology import DomainState
from vmlat_tui.protocol.commands import Configure
from vmlat_tui.session.headless import Headless
from vmlat_tui.transport import hosts
from vmlat_tui.transport.hosts import Host
from vmlat_tui.transport.persistent import Persistent
from vmlat_tui.transport.process import AgentProcess
from vmlat_tui.transport.source import Source

#: The connection to a machine that crashes breaks before it is gone.
_CRASH_S = 5.0


def _configuration(uri: Optional[str]) -> Configure:
    return Configure(discover=True, measure=False, connect=uri)


def _agent(uri: Optional[str]) -> AgentProcess:
    """An agent on this host that discovers."""
    made = AgentProcess(hosts.here())
    try:
        made.send(_configuration(uri))
    except VmlatError:
        made.close()
        raise
    return made


@contextlib.contextmanager
def on(host: Host, uri: Optional[str] = None) -> Iterator[Callable[[], Source]]:
    """Gives what makes a source of this host's frames.

    Another host is connected to at once: why it cannot be is said before there are any screens.
    """
    if not host.far:
        yield lambda: _agent(uri)
        return
    print(f"vmlat: connecting to {host.name}", file=sys.stderr, flush=True)
    first = Persistent(host, _configuration(uri))
    ready = [first]
    try:
        first.open()
        yield lambda: ready.pop() if ready else Persistent(host, _configuration(uri))
    finally:
        first.close()


def has_running_vms(uri: Optional[str] = None) -> bool:
    """Whether this host has a VM that runs and whose packets pass a tap."""
    with contextlib.suppress(VmlatError), Headless() as agent:
        agent.start(_configuration(uri))
        # Usually a second, but in an incident there may be no processor to spare, and a lab instead
        # of this host's VMs would be the wrong answer.
        return any(
            domain.state is DomainState.RUNNING and any(vnic.tap for vnic in domain.vnics)
            for domain in agent.look().domains
        )
    return False


@contextlib.contextmanager
def in_lab(kernel: str, scenario: str) -> Iterator[Callable[[], Source]]:
    """Boot a lab with traffic in it; gives what starts an agent there.  Says its progress."""
    chosen, wanted = releases.release(kernel), scenarios.scenario(scenario)
    with visit(chosen, wanted.name, machine.DEFAULT_MEMORY_MB, store.stderr_say) as lab:
        lab.wait_ready()
        yield lambda: Persistent(_lab_host(lab), _configuration(None))


def _lab_host(lab: Visit) -> Host:
    """The lab sees this very checkout: nothing has to travel."""
    command = ["sh", "tools/demo.sh", "lab-python", "-m", "vmlat_tui", "agent"]
    return Host(
        "the lab", tuple(lab.line(command)), far=True, check=lambda: lab.check_alive(_CRASH_S)
    )
