"""Sizes of the kernel's tables: enough for what is measured, and not more than a host can give."""

from __future__ import annotations

import pytest

from vmlat_tui.errors import UsageError
from vmlat_tui.probes import layout
from vmlat_tui.probes.engine import Limits

LEGS = 172  # of the full rung


@pytest.mark.parametrize("vnics", [1, 4, 8, 300, 1000])
def test_there_is_room_for_more_than_there_are_now(vnics: int) -> None:
    limits = Limits.of(vnics)
    assert vnics + 3 <= limits.vnics <= max(vnics + 3, vnics * 5 // 4)
    assert limits.threads >= max(512, 8 * vnics) and limits.works >= 2 * limits.threads
    assert limits.drops >= max(1024, 4 * vnics) and limits.tasks >= 4096
    sizes = limits.map_sizes(LEGS, 2)
    assert sizes["wakes"] >= sizes["workers"] + sizes["vcpus"], "each thread has its wake-ups"
    assert sizes["vcpu_threads"] == limits.vnics * layout.VCPU_ROOM


def test_without_functions_the_tables_of_threads_take_nothing() -> None:
    sizes = Limits.of(1000).map_sizes(18, 2, functions=False)
    threads = ("taken", "works", "workers", "vcpus", "wakes", "vcpu_threads", "tun_entries")
    assert {sizes[name] for name in threads} == {1}


def test_what_would_crowd_the_memory_is_refused_with_the_figures() -> None:
    limits = Limits.of(1000)
    sizes = limits.map_sizes(LEGS, 256)
    with pytest.raises(UsageError) as refused:
        limits.require(sizes, 64 << 30)
    text = str(refused.value)
    assert "1250 VM interfaces are too many" in text and "on 256 processors" in text
    assert "16,384 MiB" in text and "--vm-interface" in text
    assert refused.value.exit_status == 2
    limits.require(sizes, 1 << 40)


@pytest.mark.parametrize(("vnics", "processors", "free_gb"), [(1, 4, 1), (50, 128, 16)])
def test_an_ordinary_host_is_never_refused(vnics: int, processors: int, free_gb: int) -> None:
    limits = Limits.of(vnics)
    limits.require(limits.map_sizes(LEGS, processors), free_gb << 30)
