"""Lines that the known tools print around their records, and that say nothing of a packet."""

from __future__ import annotations

import re

from vmlat_tui.importers.parser import Parser

_KNOWN = re.compile(
    r"=== (Kernel ICMP RTT Tracer|ICMP Drop Detector|ICMP Flow Statistics) ==="
    r"|[=\-]{20,}$"
    r"|(Trace Direction|Ping Session|Local IP|Remote IP|SRC_IP_FILTER|DST_IP_FILTER|Monitoring"
    r"|Reporting only RTT|BPF program loaded|Verifying probe|Tracing|Source IP|Destination IP"
    r"|Timeout|Flow path|Possibly lost|Debug Counters|Debug counters|Device filter|Discover mode"
    r"|Discovered TID|Wrote profile|Summary Statistics|Exact averages|Packet Counters)\b"
    r"|\[(OK|WARN|INFO|final|\d{1,3})\]"
    r"|P[12]:S\d\s+\w+\s*:\s*\d+$"
    r"|(Total flows tracked|Complete flows|Request internal drops|External drops"
    r"|Reply internal drops): \d+$"
    r"|(Request received at|Request sent from|Reply received at) .*\bNOT\b"
    r"|(Total|Interval) (samples|misses|FIFO|S0 path|S1 path|S2 path):"
    r"|us\s*:\s*count\s+distribution$"
    r"|\[[\d:]+\] KVM -> vhost -> TUN latency"
    r"|TID\s+Queue\s+Count\s+Eventfd"
    r"|TUN TX (QUEUE INTERRUPT TRACING|INTERRUPT CHAIN)|Overall Stage Distribution:"
    r"|Stage \d \[\w+\]: \d+ events$|Queue: |Chain Completeness:|(COMPLETE|PARTIAL) CHAIN:"
    r"|Interrupt Latency Analysis:|Average delay:|P(50|90|99) delay:|Packet Type Distribution:"
    r"|hint:|#"
)


class Banners(Parser):
    """Asked last."""

    name = "banner"

    def take(self, line: str) -> bool:
        """Known and void, or not."""
        return _KNOWN.match(line) is not None


class Histograms(Parser):
    """``vm_network_latency_summary`` counts all traffic in buckets and names no packet."""

    name = "vm_network_latency_summary"
    words = ("[",)
    _inside = False

    def take(self, line: str) -> bool:
        """The head of a report; it lasts to the next line that another tool claims."""
        self._inside = "Flow Latency Report (" in line
        if self._inside:
            self.result.tool(self.name)
            self.source.note(
                f"{self.name} has histograms of all traffic and names no packet: not used"
            )
        return self._inside

    def body(self, line: str) -> bool:
        """Everything under that head."""
        return self._inside
