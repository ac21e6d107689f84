"""What this host can measure: the ``host`` frame behind ``vmlat doctor``."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from vmlat_tui.agent.encode import point_hooks
from vmlat_tui.agent.privileges import Privileges
from vmlat_tui.discover.links.interfaces import default_uplinks, default_vnets, read_links
from vmlat_tui.errors import VmlatError
from vmlat_tui.model.points import BOTH
from vmlat_tui.probes import ladder
from vmlat_tui.probes.compiler import bcc_version
from vmlat_tui.probes.engine import Limits, PathEngine
from vmlat_tui.probes.ladder import Kernel, PointState
from vmlat_tui.protocol.session import Bcc, Btf, HostFrame


def _lockdown() -> str:
    try:
        text = Path("/sys/kernel/security/lockdown").read_text()
    except OSError:
        return "none"
    return text[text.find("[") + 1 : text.find("]")] if "[" in text else "none"


def _bcc() -> Bcc:
    try:
        return Bcc(bcc_version(), "")
    except VmlatError as error:
        return Bcc(None, str(error))


def _attach(kernel: Kernel) -> tuple[list[PointState], str]:
    """Nothing is guessed by who may: the program is compiled, loaded, attached, then removed."""
    try:
        engine = PathEngine(kernel, Limits(vnics=1))
    except VmlatError as error:
        return ladder.plan(kernel), str(error)
    try:
        return engine.attached.points, ""
    finally:
        engine.close()


def host_frame(privileges: Privileges) -> HostFrame:
    """Look at everything a measurement needs.  Takes a second or two where it may attach."""
    kernel = ladder.inspect()
    bcc = _bcc()
    if not kernel.lacking and kernel.rung != ladder.NONE and bcc.version:
        points, problem = _attach(kernel)
    else:
        points, problem = ladder.plan(kernel), bcc.problem
    missing = ladder.missing_main_points([p.point for p in points if p.hooks], list(BOTH))
    links = read_links()
    vnets = default_vnets(links)
    return HostFrame(
        kernel=kernel.release,
        machine=platform.machine(),
        rung=kernel.rung,
        btf=Btf(kernel.btf is not None, kernel.btf_problem),
        headers=kernel.headers,
        kprobes=kernel.kprobes,
        ring_buffer=kernel.ring_buffer,
        bcc=bcc,
        lockdown=_lockdown(),
        problem=problem,
        points=point_hooks(points),
        missing=tuple(missing),
        measurable=not kernel.lacking and not missing and not problem,
        vm_interfaces=tuple(vnets),
        uplinks=tuple(default_uplinks(links, vnets)),
        user=os.geteuid(),
        capabilities=privileges.report(),
    )
