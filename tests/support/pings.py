"""Log lines as the tools print them, for packets whose times are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PINGS = Path(__file__).resolve().parents[1] / "pings"

#: A round trip that adds up, in µs; the cable takes 10 each way.
USUAL = {"A": 18, "U1": 7, "B": 13, "C": 10, "D": 12, "E": 35, "U2": 20, "F": 24, "G": 8, "H": 7,
         "U3": 6, "I": 9, "J": 10, "K": 8, "L": 31, "U4": 19, "M": 15}  # fmt: skip


@dataclass(frozen=True)
class Ping:
    """One round trip; ``us`` by segment."""

    sequence: int
    id: int = 77
    us: Mapping[str, float] = field(default_factory=lambda: dict(USUAL))

    def sum(self, segments: Iterable[str]) -> float:
        return sum(self.us[s] for s in segments)

    @property
    def rtt(self) -> float:
        return self.sum(self.us)

    @property
    def receiver(self) -> float:
        return self.sum(("D", "E", "U2", "F", "G", "H", "U3", "I"))

    @property
    def external(self) -> float:
        return self.us["C"] + self.receiver + self.us["J"]


def pings(count: int, **changes: float) -> list[Ping]:
    return [Ping(n, us={**USUAL, **changes}) for n in range(1, count + 1)]


def guest(
    direction: str,
    number: int,
    sequence: int,
    times: tuple[float, float, float, float],
    end: str = "dev_queue_xmit",
) -> list[str]:
    """``times``: Path 1, Path 2, Inter-Path, total."""
    word = "TX (Local -> Remote)" if direction == "tx" else "RX (Remote -> Local)"
    path1, path2, inter, total = times
    return [
        "=" * 80,
        f"=== ICMP RTT Trace: 2026-01-08 14:20:31.412 ({word}) ===",
        f"Session: 10.0.0.5 -> 10.0.0.9 (ID: {number}, Seq: {sequence})",
        "Path 1 (Request: TX to 10.0.0.9)             : PID=4711   COMM=ping         IF=eth0",
        "Path 2 (Reply:   RX from 10.0.0.9)           : PID=0      COMM=swapper/1    IF=eth0",
        "",
        "SKB Pointers:",
        f"  Stage 0 ({'P1:S0 (ip_local_out)':<40s}): 0xffff888100000000",
        "",
        "Path 1 Latencies (us):",
        f"  [0->1] {'P1:S0 (ip_local_out)':<40s} -> {f'P1:S1 ({end})':<40s}: {path1:7.3f} us",
        f"  Total Path 1: {path1:7.3f} us",
        "",
        "Path 2 Latencies (us):",
        f"  Total Path 2: {path2:7.3f} us",
        "",
        f"Total RTT (Path1 Start to Path2 End): {total:7.3f} us",
        f"Inter-Path Latency (P1 end -> P2 start): {inter:7.3f} us",
        "",
        "Kernel Stack Traces:",
        "  Stage 0 (P1:S0 (ip_local_out)):",
        "    ip_local_out+0x1",
        "    <No stack trace: id=-14>",
        "=" * 80,
        "",
    ]


_HOST_NAMES = ("ReqInternal", "External", "RepInternal", "Total")


def host(
    number: int, sequence: int, times: tuple[float, float, float, float], action: str = "complete"
) -> list[str]:
    """``times``: ReqInternal, External, RepInternal, Total."""
    return [
        f"2026-01-08 15:01:10.100 [{action}] ID={number} Seq={sequence} "
        "ReqRX:Y ReqTX:Y RepRX:Y RepTX:Y",
        "  Latency(us): "
        + "  ".join(f"{name}={value:.1f}" for name, value in zip(_HOST_NAMES, times)),
        "-" * 80,
    ]


def host_banner(rx: str, tx: str) -> list[str]:
    return [
        "=== ICMP Drop Detector ===",
        "Source IP: 10.0.0.5",
        f"RX Interface(s): {rx}(ifindex=7)",
        f"TX Interface(s): {tx}(ifindex=3)",
        "Timeout: 1000 ms",
        "",
        "Flow path:",
        "  [0] ReqRX",
        "Tracing... Hit Ctrl-C to end.",
    ]


def chain(
    packet: str, delays_us: tuple[float, float, float, float], queue: str = "vnet2:q2"
) -> list[str]:
    """``delays_us`` of stages 2 to 5 as the tool counts them: stage 4 from stage 2."""
    head, when = f"TUN TX INTERRUPT [{queue}]", "Time=1970-01-03 04:05:06.789"
    tail = "CPU=36 PID=73868 COMM=vhost-73850"
    d2, d3, d4, d5 = (f"Delay={us / 1000:.3f}ms" for us in delays_us)
    return [
        f"{head} Stage 1 [tun_net_xmit]: {when} Queue=2 Sock(tfile)=0xa1 CPU=1 PID=0 COMM=ping"
        f"{packet}",
        f"{head} Stage 2 [vhost_signal]: {when} Sock(vq)=0xa1 EventFD(vq)=0xb2 VQ=0xc3 {d2} {tail}",
        f"{head} Stage 3 [eventfd_signal]: {when} EventFD(arg)=0xb2 {d3} {tail}",
        f"{head} Stage 4 [irqfd_wakeup]: {when} EventFD(irqfd)=0xb2 GSI(irqfd)=26 {d4} {tail}",
        f"{head} Stage 5 [posted_int]: {when} Vector(arg)=37 VCPU=0xd4 {d5} {tail}",
        f"  -> Total(S1->S5): {sum(delays_us) / 1000:.3f}ms",
    ]


def echo(kind: int, number: int, sequence: int) -> str:
    return f" ICMP 10.0.0.5 -> 10.0.0.9 type={kind} code=0 id={number} seq={sequence}"


def logs(found: Iterable[Ping]) -> dict[str, list[str]]:
    """The six logs of one measurement, by file name; U1 to U4 are in none of them."""
    files: dict[str, list[str]] = {
        "guest-send.log": [],
        "guest-recv.log": [],
        "host-send.log": host_banner("vnet2", "eth0"),
        "host-recv.log": host_banner("eth0", "vnet5"),
        "vhost-request.log": [],
        "vhost-reply.log": [],
    }
    for p in found:
        us, key = p.us, (p.id, p.sequence)
        a, m = us["A"], us["M"]
        files["guest-send.log"] += guest("tx", *key, (a, m, p.rtt - a - m, p.rtt))
        f, g, h = us["F"], us["G"], us["H"]
        files["guest-recv.log"] += guest("rx", *key, (f, h, g, f + g + h))
        b, k, x = us["B"], us["K"], p.external
        files["host-send.log"] += host(*key, (b, x, k, b + x + k))
        d, i, r = us["D"], us["I"], p.receiver
        files["host-recv.log"] += host(*key, (d, r - d - i, i, r))
        for name, kind, segment in (("request", 8, "E"), ("reply", 0, "L")):
            delays = (us[segment] - 13, 7, 10, 3)
            files[f"vhost-{name}.log"] += chain(echo(kind, *key), delays)
    return files


def write(directory: Path, files: Mapping[str, Iterable[str]]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        (directory / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return directory
