"""``vmlat kick``: from the guest's kick through the vhost worker to the tap."""

from __future__ import annotations

from vmlat_tui.commands.chain import command
from vmlat_tui.export.chain import KICK

_COMMAND = command(
    KICK,
    "Print how each packet that a VM sends gets from the guest's kick to the vhost worker, from "
    "there to the tap, and into the host's network stack; then statistics. A latency is in "
    "microseconds.",
)
configure = _COMMAND.configure
run = _COMMAND.run
