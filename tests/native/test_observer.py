"""An independent program, bpftrace, measures one leg of the same packets in the same run."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from tests.native.meter import PHY_QUEUE, PHY_XMIT, Meter
from tests.native.net import run, wait_until
from tests.native.wire import V4
from vmlat_tui.model.bins import Bin
from vmlat_tui.probes.engine import Settings

_PROGRAM = """
tracepoint:net:net_dev_queue /str(args->name) == "%(uplink)s"/ { @t[args->skbaddr] = nsecs; }
tracepoint:net:net_dev_start_xmit /@t[args->skbaddr]/ {
  printf("%%d %%d\\n", args->len, nsecs - @t[args->skbaddr]);
  delete(@t[args->skbaddr]);
}
BEGIN { printf("ready\\n"); }
"""


class Observer:
    """A running bpftrace; what it prints goes to a file."""

    def __init__(self, program: str, output: Path) -> None:
        self._output = output
        with output.open("w") as file:
            self._child = subprocess.Popen(
                ("bpftrace", "-B", "line", "-e", program), stdout=file, stderr=subprocess.STDOUT
            )

    def text(self) -> str:
        """What it has printed so far."""
        return self._output.read_text()

    def close(self) -> None:
        """End it; it prints what it still has."""
        self._child.terminate()
        self._child.wait(20)


def _wait(meter: Meter, count: int) -> None:
    assert wait_until(lambda: meter.result().bin(Bin.COMPLETED) == count, 10), meter.result()


@pytest.mark.skipif(shutil.which("bpftrace") is None, reason="bpftrace is not installed")
def test_bpftrace_and_vmlat_agree_on_a_leg_of_the_same_packets(
    meter: Meter, tmp_path: Path
) -> None:
    """The leg through the uplink's qdisc.  A slow qdisc makes it last milliseconds, so that what
    either program adds between the two hooks (below a microsecond) does not matter."""
    bed, bursts, size = meter.bed, 15, 25
    tbf = ("rate", "2mbit", "burst", "1540", "limit", "1mb")
    run("tc", "qdisc", "replace", "dev", bed.uplink, "root", "tbf", *tbf)
    observer = Observer(_PROGRAM % {"uplink": bed.uplink}, tmp_path / "observed")
    try:
        assert wait_until(lambda: "ready" in observer.text(), 30), observer.text()
        time.sleep(0.3)
        meter.begin(Settings())
        frame = V4.with_(payload=200)
        for burst in range(bursts):
            for number in range(size):
                bed.tap.send(frame.frame(burst * size + number))
            time.sleep(0.04)
        _wait(meter, bursts * size)
        records = meter.packets(bursts * size)
    finally:
        observer.close()
    theirs = [int(s.split()[1]) for s in observer.text().splitlines() if s[:1].isdigit()]
    ours = [r.times[PHY_XMIT] - r.times[PHY_QUEUE] for r in records]
    assert len(ours) == len(theirs) == bursts * size
    median = statistics.median(ours)
    assert median > 1_000_000
    assert statistics.median(theirs) == pytest.approx(median, rel=0.10)
    # A first-in first-out queue: the n-th of one list is the n-th of the other.
    far = [(a, b) for a, b in zip(ours, theirs) if abs(a - b) > 0.10 * max(a, b) + 20_000]
    assert len(far) <= len(ours) // 50, far
    leg = meter.result().legs[0, "tx:phy_queue>phy_xmit"]
    assert leg.quantile(0.5) == pytest.approx(statistics.median(theirs), rel=0.10)
