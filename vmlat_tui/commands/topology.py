"""``vmlat topology``: the VMs of this host, their threads, and their ways to the wire."""

from __future__ import annotations

import argparse
from typing import Optional

from vmlat_tui.commands.options.host import chosen_host, host_options
from vmlat_tui.commands.options.output import chosen_output, output_options
from vmlat_tui.errors import VmlatError
from vmlat_tui.export.exporter import Record
from vmlat_tui.export.topology_text import text
from vmlat_tui.model.topology import Topology
from vmlat_tui.protocol.commands import Configure
from vmlat_tui.session.headless import Headless
from vmlat_tui.transport.hosts import Host
from vmlat_tui.words import clean


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``vmlat topology``."""
    parser.description = (
        "Show what was discovered on this host: VMs with the threads that run them, their vNICs "
        "with the way to the wire and the reason of each step, switches, halt polling, CPUs. "
        "Works without root, libvirt or Open vSwitch; what could not be seen is said at the end."
    )
    output_options(parser)
    host_options(parser)
    parser.add_argument("--connect", metavar="URI", help="libvirt's URI (default qemu:///system)")


def run(args: argparse.Namespace) -> int:
    """Print the topology."""
    topology = ask(args.connect, chosen_host(args))
    chosen_output(args).write(Record(topology.to_json, lambda: text(topology)))
    return 0


class _Looking(Headless):
    """Waits for the first topology, and no longer than until discovery fails."""

    def notice(self, text: str) -> None:
        raise VmlatError(clean(text))


def ask(uri: Optional[str], host: Optional[Host] = None) -> Topology:
    """Let an agent look at its host once."""
    with _Looking(host) as agent:
        agent.start(Configure(measure=False, discover=True, connect=uri))
        return agent.look()
