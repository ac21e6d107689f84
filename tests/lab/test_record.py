"""``vmlat record`` on a hypervisor, and ``vmlat replay`` of what it wrote."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab.measure import Lab, Remote
from tests.support.frames import objects
from vmlat_tui.errors import VmlatError

VMLAT = [sys.executable, "-m", "vmlat_tui"]


def types(path: Path) -> list[str]:
    """The frames that are in the file so far."""
    try:
        return [str(frame["type"]) for frame in objects(path)]
    except VmlatError:
        return []


@pytest.mark.once
@pytest.mark.scenario("ovs")
def test_a_vm_is_recorded_until_ctrl_c_and_replayed(
    lab: Lab, remote: Remote, tmp_path: Path
) -> None:
    vm, path = lab.vms["vm-a"], tmp_path / "a.vmlat.gz"
    process = subprocess.Popen(
        [*VMLAT, "record", str(path), "--vm", "vm-a", "--protocol", "icmp"],
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    try:
        deadline = time.monotonic() + 240
        while "stats" not in types(path):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(1)
        assert remote(["ping", "-n", "-q", "-c", "20", "-i", "0.1", vm.ip4]).status == 0
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0 and "recorded" in err, err
    found = objects(path)
    assert found[-1]["type"] == "stats" and found[-1]["final"]
    assert sum(row["completed"] for row in found[-1]["bins"].values()) >= 40
    packets = [frame for frame in found if frame["type"] == "packet"]
    assert packets and {frame["flow"]["protocol"] for frame in packets} == {"icmp"}
    done = subprocess.run(
        [*VMLAT, "replay", str(path)], stdout=subprocess.PIPE, text=True, timeout=60
    )
    assert done.returncode == 0 and "phy_queue → phy_xmit" in done.stdout, done.stdout
    assert vm.vnet and f"{vm.vnet} RX, since the start" in done.stdout
