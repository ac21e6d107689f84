"""Open vSwitch's upcalls, tun's ring, and the number of queues."""

from __future__ import annotations

from collections.abc import Iterator

from vmlat_tui.analysis.findings.evidence import Evidence
from vmlat_tui.analysis.findings.finding import Finding, Kind, Numbers, Severity, Sureness, found
from vmlat_tui.analysis.findings.spent import explained
from vmlat_tui.analysis.findings.words import percent, quantiles
from vmlat_tui.model.points import BOTH, Direction

#: A worker that is busier than that is what packets wait for.
_BUSY = 0.7
_RX = Direction.RX

UPCALLS = Kind(
    "ovs-upcalls", "OVS upcalls", Severity.SUSPECT,
    "The datapath does not know what to do with these packets and asks ovs-vswitchd, a process "
    "that has to be woken and scheduled. It is normal for the first packet of a flow only.",
    "ovs-appctl upcall/show and ovs-dpctl show (hit, missed, lost); many short flows, a flow limit "
    "or max-idle that is too low, or rules that match too closely make more of them.",
)  # fmt: skip
RING = Kind(
    "tun-ring-full", "tun's ring full", Severity.WRONG,
    "The guest or its vhost worker takes packets more slowly than they come: those that find tun's "
    "ring full are dropped, and those in it have waited for all before them.",
    "See what keeps the worker or the guest from taking them (the findings about both); a longer "
    "ring (ip link set {interface} txqueuelen 10000) drops less and waits more, more queues take "
    "faster.",
)  # fmt: skip
ONE_QUEUE = Kind(
    "one-queue", "one queue for many vCPUs", Severity.SUSPECT,
    "All packets of the vNIC pass one queue and one worker, which is busy nearly all the time: "
    "they wait for each other.",
    "Give the vNIC more queues (libvirt: driver queues='N'; in the guest ethtool -L DEVICE "
    "combined N), so that several workers and vCPUs share the work.",
)  # fmt: skip


def upcalls(evidence: Evidence) -> Iterator[Finding]:
    """From the upcall until the packet is back in the datapath."""
    for direction in BOTH:
        ids = evidence.ids(direction, ("ovs_upcall",))
        leg, total = evidence.leg(*ids), evidence.total(direction)
        time = explained(evidence, direction, (leg,)) if leg.count else None
        if time is not None:
            share = min(1.0, leg.count / total.count)
            yield found(
                UPCALLS,
                f"{percent(share)} of {total.count} packets went through ovs-vswitchd"
                f" ({quantiles(leg)})",
                Sureness.MEASURED,
                {"upcalls": leg.count, "upcall_share": share},
                time,
                ids,
            )


def ring(evidence: Evidence) -> Iterator[Finding]:
    """Packets that tun dropped, and the time that others waited in its ring."""
    total = evidence.total(_RX)
    reported = sum(
        d.packets for d in evidence.drops if d.direction is _RX and d.reason == "FULL_RING"
    )
    # Kernels before 5.17 give no reason: nothing else frees packets there.
    silent = sum(
        d.packets
        for d in evidence.drops
        if d.direction is _RX and d.reason is None and d.function == "tun_net_xmit"
    )
    dropped = reported + silent
    counters = evidence.rates.interfaces.get(evidence.tap, {}) if evidence.rates else {}
    if dropped:
        lost = dropped / (total.count + dropped)
        words = f"{dropped} packets ({percent(lost)})"
    else:
        rate = counters.get("tx_dropped", 0.0)
        if not rate:
            return
        lost = rate / (rate + counters.get("tx_packets", 0.0))
        words = f"{rate:.1f} packets a second ({percent(lost)}, by the tap's own counter)"
    ids = evidence.ids(_RX, ("tun_out",))
    time = explained(evidence, _RX, (evidence.leg(*ids),), lost=lost)
    if time is not None:
        sureness = Sureness.MEASURED if reported else Sureness.LIKELY
        numbers: Numbers = {"interface": evidence.tap, "dropped": dropped, "lost_share": lost}
        sentence = f"{evidence.tap} dropped {words} because its ring was full"
        yield found(RING, sentence, sureness, numbers, time, ids)


def one_queue(evidence: Evidence) -> Iterator[Finding]:
    """The time until a worker that was awake, busy with others, took the packet."""
    vnic, workers = evidence.vnic, evidence.workers
    vcpus = len(evidence.domain.vcpus)
    if vnic is None or vnic.queues != 1 or vcpus < 2 or len(workers) != 1:
        return
    tid = workers[0].thread.tid
    use = evidence.use(tid)
    if use is None or use < _BUSY:
        return
    awake = "rx:tun_out>vhost_take"
    time = explained(evidence, _RX, (evidence.leg(awake),))
    if time is not None:
        yield found(
            ONE_QUEUE,
            f"{evidence.tap} has one queue for {vcpus} vCPUs, and vhost worker {tid} uses"
            f" {percent(use)} of a CPU; packets that found it awake waited"
            f" {quantiles(evidence.leg(awake))}",
            Sureness.LIKELY,
            {"tid": tid, "queues": 1, "vcpus": vcpus, "use": use},
            time,
            (awake,),
        )
