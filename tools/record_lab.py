"""Records a session that ships with vmlat, in the lab: ``python tools/record_lab.py NAME``.

Boots a hypervisor with traffic in it, measures every VM, and writes the frame stream to
vmlat_tui/recordings.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from vmlat_tui.lab import machine, releases, store
from vmlat_tui.lab.visit import visit
from vmlat_tui.model.requested import Requested
from vmlat_tui.protocol.commands import Configure
from vmlat_tui.recording.write import Tee
from vmlat_tui.session.headless import Headless
from vmlat_tui.transport.hosts import Host
from vmlat_tui.transport.source import Source

DIRECTORY = Path(__file__).resolve().parent.parent / "vmlat_tui" / "recordings"
#: UDP to and from port 7001 waits on the uplink; the other flows pass it by.
SLOW = """
tc qdisc add dev "$VMLAT_UPLINK" root handle 1: prio bands 4 \
    priomap 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 &&
tc qdisc add dev "$VMLAT_UPLINK" parent 1:4 netem delay 40ms 15ms limit 1000 &&
tc filter add dev "$VMLAT_UPLINK" parent 1: protocol ip u32 match ip protocol 17 0xff flowid 1:4
"""
MENDED = 'tc qdisc del dev "$VMLAT_UPLINK" root'


@dataclass(frozen=True)
class Take:
    """What is recorded: ``events`` are shell lines for the hypervisor, and when they come."""

    scenario: str
    seconds: float
    events: tuple[tuple[float, str], ...] = ()


TAKES = {
    "two-vms": Take("two-vms", 60),
    "slow-uplink": Take("ovs", 60, ((15, SLOW), (45, MENDED))),
}


class Recorder(Headless):
    """Measures every VM, and has what comes written down when it is told to."""

    def connect(self) -> Source:
        self.tee = Tee(super().connect())
        return self.tee


def main(name: str) -> None:
    """Record one of the takes."""
    take, path = TAKES[name], DIRECTORY / f"{name}.vmlat.gz"
    release = releases.release(releases.DEFAULT_KERNEL)
    with visit(release, take.scenario, machine.DEFAULT_MEMORY_MB, store.stderr_say) as lab:
        lab.wait_ready()
        command = ["sh", "tools/demo.sh", "lab-python", "-m", "vmlat_tui", "agent"]
        with Recorder(Host("the lab", tuple(lab.line(command)), far=True)) as agent:
            agent.start(Configure(discover=True, measure=False))
            vnics = [vnic for domain in agent.look().domains for vnic in domain.vnics]
            taps = tuple(vnic.tap for vnic in vnics if vnic.tap)
            agent.measure(Requested(taps, max_rate=20))
            path.unlink(missing_ok=True)
            agent.tee.record(path)
            begin, events = time.monotonic(), list(take.events)
            while time.monotonic() < begin + take.seconds:
                agent.step()
                if events and time.monotonic() >= begin + events[0][0]:
                    line = lab.line(["sh", "-ec", events.pop(0)[1]])
                    subprocess.run(line, check=True, timeout=20, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    main(*sys.argv[1:])
