"""What a host can measure, and what is missing, for people."""

from __future__ import annotations

from collections.abc import Iterator

from vmlat_tui.model.capabilities import CapabilityState
from vmlat_tui.protocol.session import HostFrame
from vmlat_tui.words import clean

#: rung -> what a measurement on it has.
_RUNGS = {
    "full": "full: tracepoints and functions (fentry, else kprobes)",
    "tracepoints": "tracepoints only: the switch and tun are not divided into stages",
    "none": "nothing can be measured with BPF",
}


def _row(good: object, name: str, words: str) -> str:
    return f"  {'ok  ' if good else 'MISS'}  {name:<14} {words}"


def text(host: HostFrame) -> str:
    """The report for people."""
    btf, bcc = host.btf, host.bcc
    lockdown = host.lockdown
    layout = "present" if btf.present else f"absent ({clean(btf.problem)})"
    if not btf.present:
        layout += ", kernel headers take its place" if host.headers else ", and no kernel headers"
    lines = [
        f"vmlat on Linux {clean(host.kernel)} ({clean(host.machine)})",
        "",
        _row(not lacking(host), "privileges", _privileges(host)),
        _row(btf.present or host.headers, "BTF", layout),
        _row(host.kprobes, "kprobes", "available" if host.kprobes else "this kernel has none"),
        _row(host.ring_buffer, "ring buffer", "available" if host.ring_buffer else "needs 5.8"),
        _row(bcc.version, "BCC", clean(bcc.version or bcc.problem)),
        _row(lockdown != "confidentiality", "lockdown", clean(lockdown)),
        _row(host.rung != "none", "rung", _RUNGS.get(host.rung, "unknown")),
        *_capabilities(host),
        "",
        f"  {'point':<14}{'direction':<11}hook",
    ]
    for point in host.points:
        hooks = ", ".join(f"{hook.function} ({hook.kind})" for hook in point.hooks)
        where = "/".join(point.directions)
        lines.append(f"  {point.point:<14}{where:<11}{hooks or 'none: ' + clean(point.reason)}")
    lines += [
        "",
        f"  VM interfaces: {', '.join(map(clean, host.vm_interfaces)) or 'none here now'}",
        f"  uplinks:       {', '.join(map(clean, host.uplinks)) or 'none here now'}",
        "",
        _verdict(host),
    ]
    return "\n".join(lines)


def lacking(host: HostFrame) -> list[str]:
    """The capabilities without which an agent cannot measure, and which it does not have."""
    rows = host.capabilities
    return [row.name for row in rows if row.needed and row.state is CapabilityState.MISSING]


def obstacle(host: HostFrame) -> str:
    """Why the main path of a host cannot be measured; empty if it can."""
    if host.measurable:
        return ""
    missing = lacking(host)
    if missing:
        return f"this agent has no {' and '.join(missing)}; run as root"
    if host.problem:
        return clean(host.problem)
    return f"no hook for {', '.join(host.missing)}"


def _privileges(host: HostFrame) -> str:
    who = "root" if host.user == 0 else f"user {host.user}"
    if lacking(host):
        return f"{who}: the hooks below are judged from outside; root would attach them and measure"
    count = sum(row.state is CapabilityState.HELD for row in host.capabilities)
    return f"{who} with {count} capabilities: the hooks below were really attached"


def _capabilities(host: HostFrame) -> Iterator[str]:
    if not host.capabilities:
        return
    yield ""
    yield f"  {'capability':<22}{'agent':<11}for what, and what is lost without it"
    for row in host.capabilities:
        yield f"  {clean(row.name):<22}{row.state.value:<11}{clean(row.purpose)}"
        yield f"  {'':<33}without it: {clean(row.loss)}"


def _verdict(host: HostFrame) -> str:
    if host.measurable:
        return "The main path can be measured."
    return f"The main path cannot be measured: {obstacle(host)}"
