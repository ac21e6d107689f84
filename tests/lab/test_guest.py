"""``vmlat guest`` on this kernel: the lab's hypervisor is a guest, too, with a virtio NIC.

What it pings is the emulator's own gateway.  Only what pytest 6.0 has may be used here.
"""

import subprocess
import sys
from typing import Any

GATEWAY = "10.0.2.2"
PINGS = 20
#: BCC compiles first.
START_S, END_S = 200.0, 60.0


def test_a_guest_sees_its_kick_and_the_interrupt_of_the_reply() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "vmlat_tui", "guest", "--dst-ip", GATEWAY, "--count", str(PINGS),
         "--duration", str(START_S)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        try:
            assert child.stderr and child.stderr.readline() == "vmlat: watching pings\n"
            ping = ["ping", "-q", "-n", "-i", "0.1", "-c", str(PINGS), GATEWAY]
            said: Any = subprocess.run(ping, capture_output=True, timeout=END_S, text=True)
            out, err = child.communicate(timeout=END_S)
        finally:
            child.kill()
    assert (child.returncode, err) == (0, ""), (err, said)
    assert out.count("=== ICMP RTT Trace: ") == PINGS, out
    # Interrupts may be for other packets as well: ssh uses the same NIC.
    for hook in ("P1:S1 (virtio notify)", "P2:S0 (irq_handler_entry)"):
        assert out.count(hook) >= PINGS / 2, (hook, out)
