"""``vmlat irq``: from the tap to the guest's interrupt, and to the vCPU that takes it."""

from __future__ import annotations

from vmlat_tui.commands.chain import command
from vmlat_tui.export.chain import IRQ

_COMMAND = command(
    IRQ,
    "Print how each packet that a VM receives gets from its tap through vhost to the guest's "
    "interrupt: S1 tun_net_xmit, S2 vhost's signal, S3 eventfd, S4 irqfd, S5 the interrupt's "
    "delivery, then the entry of the guest; then statistics. A latency is in microseconds.",
)
configure = _COMMAND.configure
run = _COMMAND.run
