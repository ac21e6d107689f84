"""A woken worker or vCPU had to wait for its CPU to leave an idle state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Optional

from vmlat_tui.analysis.findings.evidence import Evidence
from vmlat_tui.analysis.findings.finding import (
    Explained,
    Finding,
    Kind,
    Severity,
    Sureness,
    found,
)
from vmlat_tui.analysis.findings.spent import capped, explained, slowest, waiting
from vmlat_tui.analysis.findings.wakes import Wake, wakes
from vmlat_tui.analysis.findings.words import percent, quantiles
from vmlat_tui.model.topology import IdleState
from vmlat_tui.model.wakeups import Role, Wakeups

#: Exit latency from which an idle state is deep: C1 and C1E have 1 to 10 µs, C2 and C6 18 to 890.
DEEP_US = 15
#: The firmware's exit latency is not a bound; what takes more than this many has other causes.
_BEYOND = 2
_MOST, _SURE = 0.5, 0.9

_MEANING = (
    "The CPU slept deeply when the wake-up came and needed that long to wake itself. It is the "
    "more likely the less the host has to do: an idle host answers slower than a busy one."
)
_REMEDY = (
    "Limit the idle states of CPU {cpu}: grep . /sys/devices/system/cpu/cpu{cpu}/cpuidle/state*/"
    "{{name,latency,disable}} shows them; cpupower idle-set -D 10, tuned's latency-performance, or "
    "intel_idle.max_cstate=1 on the kernel's command line keep them shallow. It costs power."
)
DEEP = {
    Role.WORKER: Kind(
        "worker-deep-idle", "worker's CPU sleeps deeply", Severity.WRONG, _MEANING, _REMEDY
    ),
    Role.VCPU: Kind(
        "vcpu-deep-idle", "vCPU's CPU sleeps deeply", Severity.WRONG, _MEANING, _REMEDY
    ),
}
POLLING_OFF = Kind(
    "vhost-polling-off", "vhost does not poll", Severity.NOTE,
    "The worker sleeps as soon as its queues are empty, and the next packet has to wake it on an "
    "idle CPU.",
    "Where CPU time is to spare, let vhost poll for a while before it sleeps: poll-us of QEMU's "
    "tap. It takes time from whoever shares CPU {cpu}.",
)  # fmt: skip
POLLING_SHORT = Kind(
    "vhost-polling-short", "vhost polls too short", Severity.NOTE,
    "The worker polls before it sleeps, but packets come later than that.",
    "A longer poll-us would bridge the gaps between packets, at the cost of CPU {cpu}'s time; if "
    "they are far longer, polling only costs.",
)  # fmt: skip


class _Slept(NamedTuple):
    """Idle wake-ups of a thread that left a deep state.

    ``share`` is of all its idle wake-ups; where their states are not ``counted``, of the time that
    its CPU was idle.  ``state`` is the most frequent deep one, ``most_us`` the longest exit
    latency.
    """

    tid: int
    share: float
    counted: bool
    state: IdleState
    most_us: int


def deep_idle(evidence: Evidence) -> Iterator[Finding]:
    """Exits from deep idle states.

    Which states the wake-ups left is counted, but not how long each took: the slowest are taken
    for those from deep states, and none for longer than twice the exit latency.
    """
    for wake in wakes(evidence):
        slept = [one for row in wake.rows for one in (_slept(evidence, row),) if one is not None]
        if not slept:
            continue
        exits = sum(row.idle.count for row in wake.rows)
        deep = sum(one.share * evidence.wakeups[one.tid].idle.count for one in slept)
        part = slowest(wake.parts.idle, deep / exits)
        part = capped(part, _BEYOND * 1000 * max(one.most_us for one in slept))
        time = explained(evidence, wake.direction, (part,))
        if time is not None:
            worst = max(slept, key=lambda one: one.share * evidence.wakeups[one.tid].idle.sum_ns)
            yield _found(evidence, wake, worst, time)


def _found(evidence: Evidence, wake: Wake, slept: _Slept, time: Explained) -> Finding:
    row, cpu = evidence.wakeups[slept.tid], evidence.cpu_of(slept.tid)
    sureness = wake.sureness if slept.share >= _SURE else Sureness.LIKELY
    if slept.share < _MOST or not slept.counted:
        sureness = Sureness.POSSIBLE
    half_ns, most_ns = row.idle.quantiles(0.5, 0.99)
    numbers: dict[str, int | float | str] = {
        "tid": row.tid,
        "idle_wakeups": row.idle.count,
        "idle_p50_ns": half_ns,
        "idle_p99_ns": most_ns,
        "state": slept.state.name,
        "exit_latency_us": slept.state.latency_us,
        "deep_share": slept.share,
    }
    where = ""
    if cpu is not None:
        numbers["cpu"] = cpu
        where = f" of CPU {cpu}"
        slept_share = _residency(evidence, cpu).get(slept.state.name)
        if slept_share is not None:
            numbers["residency"] = slept_share
            where += f", which was in {slept.state.name} {percent(slept_share)} of the time,"
    how = (
        f"{percent(slept.share)} of them left {slept.state.name} or deeper"
        if slept.counted
        else f"{percent(slept.share)} of its idle time is in deep states"
    )
    how += f" (exit latency {slept.state.latency_us} µs)"
    return found(
        DEEP[wake.role],
        f"{evidence.name(row.tid)} waited for an idle exit{where} in {row.idle.count} of"
        f" {row.count} wake-ups ({quantiles(row.idle)}); {how}",
        sureness,
        numbers,
        time,
        (wake.leg_id,),
    )


def _slept(evidence: Evidence, row: Wakeups) -> Optional[_Slept]:
    number = evidence.cpu_of(row.tid)
    cpu = evidence.cpu(number)
    states = cpu.idle_states if cpu else ()
    if not row.idle.count or cpu is None:
        return None
    known = {n: count for n, count in row.idle_states.items() if 0 <= n < len(states) and count}
    counts = {states[n]: float(count) for n, count in known.items()}
    if not known:
        residency = _residency(evidence, cpu.number)
        counts = {state: residency.get(state.name, 0.0) for state in states}
    deep = {state: count for state, count in counts.items()
            if state.latency_us >= DEEP_US and count}  # fmt: skip
    whole = row.idle.count if known else sum(counts.values())
    if not deep or not whole:
        return None
    return _Slept(
        row.tid,
        min(1.0, sum(deep.values()) / whole),
        bool(known),
        max(deep, key=lambda state: deep[state]),
        max(state.latency_us for state in deep),
    )


def _residency(evidence: Evidence, cpu: int) -> Mapping[str, float]:
    """Idle state -> share of time in it."""
    return evidence.rates.idle.get(str(cpu), {}) if evidence.rates else {}


def vhost_polling(evidence: Evidence) -> Iterator[Finding]:
    """Wake-ups of the worker on an idle CPU, which busy polling would avoid if packets came soon.

    Only those that took much longer than code takes: else polling has nothing to win.
    """
    poll_us = evidence.topology.busy_poll_us.get(evidence.tap)
    if poll_us is None:
        return  # it is not visible
    for wake in wakes(evidence):
        if wake.role is not Role.WORKER:
            continue
        part = waiting(evidence, wake.direction, wake.parts.idle)
        time = explained(evidence, wake.direction, (part,))
        if time is None:
            continue
        row = max(wake.rows, key=lambda row: row.idle.sum_ns)
        numbers: dict[str, int | float | str] = {"tid": row.tid, "poll_us": poll_us}
        cpu = evidence.cpu_of(row.tid)
        if cpu is not None:
            numbers["cpu"] = cpu
        woken = f"was woken on an idle CPU {row.idle.count} times ({quantiles(row.idle)})"
        polls = f"it polls {poll_us} µs" if poll_us else "it never polls"
        yield found(
            POLLING_SHORT if poll_us else POLLING_OFF,
            f"{evidence.name(row.tid)} {woken}; {polls} before it sleeps",
            Sureness.POSSIBLE,
            numbers,
            time,
            (wake.leg_id,),
        )
