"""The timeline of one packet: which tasks and CPUs it crossed, and what it left out."""

from __future__ import annotations

import copy

from textual.pilot import Pilot

from tests.support.frames import seen
from tests.tui.driving import SMALL, drive, painted, recorded, screen_text
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.tui.app import VmlatApp
from vmlat_tui.tui.messages import OpenPacket


def timeline(frame: Raw, size: tuple[int, int] = SMALL) -> str:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> str:
        app.post_message(OpenPacket(seen(frame)))
        await painted(pilot)
        return screen_text(app)

    return drive(recorded(), act, size=size)


def single(direction: str) -> Raw:
    return next(f for f in recorded() if f["type"] == "packet" and f["direction"] == direction)


def test_the_timeline_of_a_packet_has_the_cpu_and_the_task_of_every_point() -> None:
    text = timeline(single("rx"))
    lines = {line.split()[0].lstrip("▲"): line for line in text.splitlines() if line.split()}
    lines.update({line.split()[1]: line for line in text.splitlines() if line.startswith("▲")})
    tid = next(s["tid"] for s in single("rx")["stages"] if s["point"] == "vhost_take")
    assert lines["vhost_take"].rstrip().endswith(f" 1 {tid} vhost-{tid - 30}")
    assert lines["guest_entry"].rstrip().endswith(f" 4 {tid - 20} CPU 0/KVM"), "in sight at 80x24"
    assert lines["tun_out"].rstrip().endswith(" 1 –"), "an interrupt's context is no task"


def test_the_timeline_says_why_points_are_absent() -> None:
    assert "absent guest_exit … vhost_tx: came with another packet's kick" in timeline(single("tx"))
    frame = copy.deepcopy(single("rx"))
    frame["absent"] = [
        {"reason": "vcpu_polling", "points": ["vcpu_woken", "vcpu_on_cpu"]},
        {"reason": "rx_worker_awake", "points": ["vhost_woken", "vhost_on_cpu"]},
    ]
    left_out = {point for row in frame["absent"] for point in row["points"]}
    frame["stages"] = [s for s in frame["stages"] if s["point"] not in left_out]
    text = timeline(frame)
    assert "absent vcpu_woken, vcpu_on_cpu: the vCPU was polling" in text
    assert "absent vhost_woken, vhost_on_cpu: the worker was already awake" in text
    absent = [line for line in text.splitlines() if line.startswith("absent")]
    assert len(absent) == 2 and max(map(len, absent)) <= 78


def test_the_timeline_of_a_session_recorded_before_tasks_were_names_the_first_one() -> None:
    frame = copy.deepcopy(single("tx"))
    del frame["absent"]
    for stage in frame["stages"]:
        del stage["tid"], stage["comm"]
    text = timeline(frame)
    process = frame["process"]
    assert text.count(f"{process['tid']} {process['comm']}") == 1 and "absent" not in text
