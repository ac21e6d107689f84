"""What ships with vmlat is read as it was: frames of a real agent, not of a generator."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmlat_tui.errors import UsageError
from vmlat_tui.model.packets import PacketFrame
from vmlat_tui.model.topology import Backend, DomainState
from vmlat_tui.protocol.frames import to_json
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.recording.outline import outline
from vmlat_tui.recording.read import read
from vmlat_tui.recording.shipped import SHIPPED, shipped
from vmlat_tui.session.history import History
from vmlat_tui.session.snapshot import Snapshot

DIRECTORY = Path(__file__).parents[3] / "vmlat_tui" / "recordings"


def replayed(name: str) -> tuple[Snapshot, list[Raw]]:
    """The end of a recording, and its single packets."""
    history, packets = History(), []
    with shipped(name) as path:
        for frame in read(path):
            history.take(frame)
            if isinstance(frame, PacketFrame):
                packets.append(to_json(frame))
    return history.moments()[-1], packets


def test_they_are_what_is_there_and_small() -> None:
    found = {path.name for path in DIRECTORY.glob("*.vmlat.gz")}
    assert found == {f"{name}.vmlat.gz" for name in SHIPPED}
    assert sum(path.stat().st_size for path in DIRECTORY.iterdir()) < 1_500_000


def test_one_that_is_not_there_is_said_not_to_be() -> None:
    with pytest.raises(UsageError, match="choose one of two-vms"), shipped("../x"):
        pass


@pytest.mark.parametrize(
    ("name", "vms", "taps"),
    [("two-vms", {"vm-a", "vm-b"}, ("vnet0", "vnet2")), ("slow-uplink", {"vm-a"}, ("vnet0",))],
)
def test_a_session_of_the_lab_has_its_vms_legs_and_sums(
    name: str, vms: set[str], taps: tuple[str, ...]
) -> None:
    now, packets = replayed(name)
    for frame in packets:
        times = [stage["t_ns"] for stage in frame["stages"]]
        assert times == sorted(times) and times[-1] - times[0] == frame["total_ns"]
    assert len(packets) > 100 and now.refusal is None and not now.notices
    assert now.topology is not None and now.rates is not None
    domains = {domain.name: domain for domain in now.topology.domains}
    assert set(domains) == vms
    for domain in domains.values():
        assert domain.state is DomainState.RUNNING and domain.workers
        assert [vnic.backend for vnic in domain.vnics] == [Backend.VHOST]
    assert {way.uplinks for way in now.topology.ways} == {("phy0",)}
    assert now.stats is not None and now.stats.trust.balanced
    assert now.stats.totals
    for vnic in taps:
        for direction in ("tx", "rx"):
            parts = {k: h for (v, k), h in now.stats.totals.counted.items() if v == vnic}
            total = parts[f"{direction}:total"]
            legs = [h for k, h in parts.items() if k.startswith(direction) and k[3:] != "total"]
            assert total.count > 0 and sum(h.sum_ns for h in legs) == total.sum_ns


def test_the_slow_uplink_holds_udp_back_for_half_a_minute() -> None:
    _, packets = replayed("slow-uplink")
    with shipped("slow-uplink") as path:
        whole = outline(path)
    assert whole is not None and whole.end_ns - whole.begin_ns > 55e9
    slow = [p for p in packets if p["direction"] == "tx" and p["total_ns"] > 20_000_000]
    waited = [
        after["t_ns"] - before["t_ns"]
        for p in slow
        for before, after in zip(p["stages"], p["stages"][1:])
        if after["point"] == "phy_xmit"
    ]
    assert len(slow) > 20 and min(waited) > 15_000_000
    assert {p["flow"]["protocol"] for p in slow} == {"udp"}
    times = [p["stages"][0]["t_ns"] - whole.begin_ns for p in slow]
    assert min(times) > 14e9 and 25e9 < max(times) - min(times) < 35e9
