"""A halted vCPU had to be woken: what KVM's halt polling did about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Optional

from vmlat_tui.analysis.findings.evidence import Evidence
from vmlat_tui.analysis.findings.finding import Finding, Kind, Numbers, Severity, Sureness, found
from vmlat_tui.analysis.findings.spent import explained
from vmlat_tui.analysis.findings.wakes import wakes
from vmlat_tui.analysis.findings.words import percent, us
from vmlat_tui.model.points import Direction
from vmlat_tui.model.rates import HaltRate
from vmlat_tui.model.wakeups import Role

#: The kernel's own value of halt_poll_ns on x86.
_USUAL_NS = 200_000
#: Halts that polling never, or seldom, tried to bridge; polls that are mostly lost.
_NEVER, _SELDOM, _LOST = 0.05, 0.5, 0.5
#: A window so many times as long is one that an administrator may set.
_REACH = 4

OFF = Kind(
    "halt-polling-off", "halt polling off", Severity.SUSPECT,
    "An idle vCPU sleeps at once, and every interrupt for it has to wake it through the scheduler. "
    "With halt polling it would look for a while first, and take what comes meanwhile at once.",
    "Check who switched it off: grep . /sys/module/kvm/parameters/halt_poll*; 200000 is the "
    "kernel's own value of halt_poll_ns. It costs CPU time while vCPUs are idle.",
)  # fmt: skip
SHORT = Kind(
    "halt-polling-short", "halt polling too short", Severity.SUSPECT,
    "A halted vCPU is polled for, but what it waits for mostly comes after the window has closed: "
    "the poll was for nothing, and it is woken all the same. KVM shortens or closes the window "
    "where halts are longer than halt_poll_ns.",
    "A larger /sys/module/kvm/parameters/halt_poll_ns reaches further and costs CPU time; look at "
    "halt_poll_ns_grow and halt_poll_ns_shrink, too.",
)  # fmt: skip
LOSING = Kind(
    "halt-polling-losing", "halt polling loses", Severity.SUSPECT,
    "Most polls end without an event, and halts are far longer than any window: polling burns CPU "
    "time and avoids few wake-ups.",
    "No window will bridge such gaps. If CPU time is short, a smaller halt_poll_ns gives it back; "
    "to make the wake-ups themselves faster, limit deep idle states and keep the vCPU's CPU free.",
)  # fmt: skip
OVERRIDDEN = Kind(
    "halt-polling-overridden", "guest overrides halt polling", Severity.SUSPECT,
    "KVM would poll, but does not for this VM: a guest that polls itself before it halts "
    "(cpuidle-haltpoll, cpuidle_haltpoll.force, kvm-hint-dedicated) switches the host's polling "
    "off, and whatever comes after its own window has to wake the vCPU.",
    "In the guest: cat /sys/devices/system/cpu/cpuidle/current_driver, and grep . "
    "/sys/module/haltpoll/parameters/*. Choose one of both to poll.",
)  # fmt: skip


class _Judged(NamedTuple):
    kind: Kind
    sureness: Sureness
    sentence: str


def halt_polling(evidence: Evidence) -> Iterator[Finding]:
    """The wake-ups of vCPUs on idle CPUs, where polling does not avoid them."""
    judged = _judge(evidence)
    if judged is None:
        return
    for wake in wakes(evidence):
        if wake.role is not Role.VCPU:
            continue
        time = explained(evidence, wake.direction, (wake.parts.idle,))
        if time is not None:
            numbers = _numbers(evidence)
            polled = evidence.absences.get(Direction.RX, {}).get("vcpu_polling", 0)
            if polled:
                numbers = {**numbers, "packets_polled": polled}
            yield found(
                judged.kind, judged.sentence, judged.sureness, numbers, time, (wake.leg_id,)
            )


def _numbers(evidence: Evidence) -> Numbers:
    numbers: dict[str, int | float | str] = {
        "halt_poll_ns": evidence.topology.halt_polling.halt_poll_ns or 0
    }
    halt = evidence.halt
    if halt is not None:
        numbers.update(
            attempted_per_second=halt.attempted,
            successful_per_second=halt.successful,
            invalid_per_second=halt.invalid,
            wakeups_per_second=halt.wakeups,
            poll_share=halt.poll_share,
        )
        if halt.mean_wait_ns:
            numbers["mean_wait_ns"] = round(halt.mean_wait_ns)
    return numbers


def _judge(evidence: Evidence) -> Optional[_Judged]:
    window_ns = evidence.topology.halt_polling.halt_poll_ns
    if window_ns is None:
        return None
    halt = evidence.halt
    # Kernels without that counter give 0.
    wait_ns = halt.mean_wait_ns or None if halt else None
    waits = f", and sleeps {us(wait_ns)} on average" if wait_ns else ""
    if window_ns == 0:
        short = wait_ns is not None and wait_ns <= _USUAL_NS
        return _Judged(
            OFF,
            Sureness.LIKELY if short else Sureness.POSSIBLE,
            f"halt_poll_ns is 0: a vCPU that halts sleeps at once{waits}",
        )
    if halt is None or not halt.wakeups:
        return None
    return _judge_polls(halt, window_ns, wait_ns, waits)


def _judge_polls(
    halt: HaltRate, window_ns: int, wait_ns: Optional[float], waits: str
) -> Optional[_Judged]:
    window = f"halt_poll_ns is {us(window_ns)}"
    if halt.attempted and halt.invalid >= _LOST * halt.attempted:
        share = percent(halt.invalid / halt.attempted)
        return _Judged(
            OVERRIDDEN, Sureness.LIKELY, f"{window}, but {share} of the polls were invalid{waits}"
        )
    halts = halt.wakeups + halt.successful
    tried = f"{window}, but {halt.attempted:.1f} of {halts:.0f} halts a second are polled for"
    # What seldom polls burns nothing: a few lost polls do not make it a loser.
    if halt.attempted < _SELDOM * halts and wait_ns is not None and wait_ns > window_ns:
        return _Judged(SHORT, Sureness.POSSIBLE, f"{tried}{waits}: KVM closed the window")
    if halt.attempted < _NEVER * halts:
        # A window opens as soon as halts are shorter than that, unless the guest forbids it.
        sureness = Sureness.POSSIBLE if wait_ns is None else Sureness.LIKELY
        return _Judged(OVERRIDDEN, sureness, f"{tried}{waits}")
    lost = halt.failed / halt.attempted if halt.attempted else 0.0
    if lost < _LOST:
        return None
    sentence = f"{window}, and {percent(lost)} of {halt.attempted:.0f} polls a second fail{waits}"
    if wait_ns is not None and wait_ns <= _REACH * window_ns:
        return _Judged(SHORT, Sureness.LIKELY, sentence)
    return _Judged(
        LOSING,
        Sureness.POSSIBLE if wait_ns is None else Sureness.LIKELY,
        f"{sentence}; polling takes {percent(halt.poll_share)} of a CPU",
    )
