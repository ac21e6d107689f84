"""A round trip inside a guest: text in the requirement's terms, and the statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Optional

from vmlat_tui.export.summary import FIGURES, figures, figures_json
from vmlat_tui.model.guest import GUEST_VIEW, PARTS, RoundTrip
from vmlat_tui.model.histogram import Histogram
from vmlat_tui.model.segments import ORDER, QUANTITIES, Observer
from vmlat_tui.ping.capture import GUEST_SIDES, missing
from vmlat_tui.words import clean, microseconds, wall_clock

_RULE = "=" * 80
_TITLE = 48
#: Name of a time -> stage of the requirement, and what is observed there.
_STAGES = {
    "send": ("P1:S0", "sendto, sendmsg"),
    "request_xmit": ("P1:S1", "net_dev_start_xmit"),
    "reply_receive": ("P2:S0", "netif_receive_skb"),
    "read": ("P2:S1", "skb_copy_datagram_iovec"),
    "request_receive": ("P1:S0", "netif_receive_skb"),
    "icmp": ("P1:S1", "icmp_rcv"),
    "reply": ("P2:S0", "ip_local_out"),
    "reply_xmit": ("P2:S1", "net_dev_start_xmit"),
}
#: The same stages, where the guest's last or first moment is known.
_OUTER = {
    "request_kick": "virtio notify",
    "reply_kick": "virtio notify",
    "request_interrupt": "irq_handler_entry",
    "reply_interrupt": "irq_handler_entry",
}
_PATHS = {
    Observer.SENDER_GUEST: (("send", "request_xmit"), ("reply_receive", "read")),
    Observer.RECEIVER_GUEST: (("request_receive", "icmp"), ("reply", "reply_xmit")),
}


def _microseconds(ns: Optional[int]) -> str:
    return "N/A" if ns is None else f"{microseconds(ns)} us"


def trip_text(trip: RoundTrip, wall_offset_ns: int) -> str:
    """One block, or a line about a ping that nothing came of."""
    when = wall_clock(trip.start_ns + wall_offset_ns)
    packet, (source, target) = trip.packet, trip.ends
    session = f"{source} -> {target} (ID: {packet.id}, Seq: {packet.sequence})"
    if not trip.complete:
        return f"[WARN] {when} {missing(trip)}: {session}"
    sends = trip.observer is Observer.SENDER_GUEST
    device = clean(trip.interface)
    who = f"PID={trip.tgid} COMM={clean(trip.comm)} " if sends else ""
    path1, inter, path2, total = trip.parts_ns
    return "\n".join(
        [
            _RULE,
            f"=== ICMP RTT Trace: {when} "
            f"({'TX (Local -> Remote)' if sends else 'RX (Remote -> Local)'}) ===",
            f"Session: {session}",
            f"Path 1 (Request: {'TX to' if sends else 'RX from'} {target if sends else source}): "
            f"{who}IF={device}",
            f"Path 2 (Reply: {'RX from' if sends else 'TX to'} {target if sends else source}): "
            f"{who}IF={device}",
            "",
            *_path_lines(trip, 0, path1),
            "",
            *_path_lines(trip, 1, path2),
            "",
            f"Total RTT (Path1 Start to Path2 End): {_microseconds(total)}",
            f"Inter-Path Latency (P1 end -> P2 start): {_microseconds(inter)}",
            _RULE,
            "",
        ]
    )


def _path_lines(trip: RoundTrip, number: int, ns: Optional[int]) -> list[str]:
    (start, first), (end, last) = (_stage(trip, name) for name in _PATHS[trip.observer][number])
    leg = f"  [{2 * number}->{2 * number + 1}] {start} ({first}) -> {end} ({last})"
    return [
        f"Path {number + 1} Latencies (us):",
        f"{leg}: {_microseconds(ns)}",
        f"  Total Path {number + 1}: {_microseconds(ns)}",
    ]


def _stage(trip: RoundTrip, time: str) -> tuple[str, str]:
    stage, hook = _STAGES[time]
    return stage, _OUTER.get(trip.seen_at(time), hook)


class Figures:
    """What the round trips took, by side and quantity."""

    def __init__(self) -> None:
        """None yet."""
        self._complete: Counter[Observer] = Counter()
        self._missing: Counter[Observer] = Counter()
        self._parts: dict[Observer, dict[str, Histogram]] = {}

    def add(self, trip: RoundTrip) -> None:
        """Count one."""
        if not trip.complete:
            self._missing[trip.observer] += 1
            return
        self._complete[trip.observer] += 1
        found = self._parts.setdefault(trip.observer, {})
        for name, ns in trip.intervals_ns.items():
            found.setdefault(name, Histogram()).add(ns)

    def _rows(self, observer: Observer) -> list[tuple[str, str, Histogram]]:
        found = self._parts.get(observer, {})
        named = zip(GUEST_VIEW[observer], PARTS)
        return [(name, part, found[name]) for name, part in named if name in found]

    def text(self, counters: Mapping[str, int], interrupted: str) -> str:
        """The statistics; ``interrupted`` says why they are not the final ones."""
        lines = [f"[INFO] Not final: {interrupted}"] if interrupted else []
        for observer, side in GUEST_SIDES.items():
            if not self._complete[observer] and not self._missing[observer]:
                continue
            lines += [
                f"[INFO] {side}: {self._complete[observer]} pings, "
                f"{self._missing[observer]} without an answer",
                f"[INFO]   {'(us)':<{_TITLE}}{'count':>9}" + "".join(f"{n:>12}" for n in FIGURES),
            ]
            for name, part, histogram in self._rows(observer):
                letter = f"{name}: " if name in ORDER else ""
                title = f"{part} ({letter}{QUANTITIES[name].title})"
                numbers = "".join(f"{microseconds(value):>12}" for value in figures(histogram))
                lines.append(f"[INFO]   {title:<{_TITLE}}{histogram.count:>9}{numbers}")
        if not lines:
            lines.append("[INFO] no ping was seen")
        if counters.get("lost"):
            lines.append(f"[WARN] {counters['lost']} points were lost: the event buffer was full")
        if counters.get("given_up"):
            lines.append(
                f"[WARN] {counters['given_up']} pings were lost from sight: "
                "too many were on their way"
            )
        if counters.get("waiting"):
            lines.append(f"[INFO] {counters['waiting']} pings were on their way")
        return "\n".join(lines)

    def json(self, counters: Mapping[str, int]) -> dict[str, Any]:
        """The ``summary`` object."""
        return {
            "type": "summary",
            "sides": [
                {
                    "side": side,
                    "complete": self._complete[observer],
                    "unanswered": self._missing[observer],
                    "parts": [
                        {"part": part, "quantity": name, **figures_json(histogram)}
                        for name, part, histogram in self._rows(observer)
                    ],
                }
                for observer, side in GUEST_SIDES.items()
            ],
            "counters": dict(counters),
        }
