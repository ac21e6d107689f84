"""CPUs, nodes and the kernel's small files, from trees that look like /sys."""

from __future__ import annotations

from pathlib import Path
from typing import Union

import pytest

from tests.support.trees import plant
from vmlat_tui.discover import cpus, files


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0-3,8,10-11", (0, 1, 2, 3, 8, 10, 11)),
        ("5", (5,)),
        ("", ()),
        ("(null)", ()),
        ("3-1", ()),
        ("1,-2,x-3", (1,)),
        ("2,0-1,1", (0, 1, 2)),
    ],
)
def test_the_kernels_lists_are_read(text: str, numbers: tuple[int, ...]) -> None:
    assert files.parse_list(text) == numbers


def test_what_cannot_be_read_is_nothing(tmp_path: Path) -> None:
    assert files.read(tmp_path / "absent") == ""
    assert files.number(tmp_path) is None
    assert files.entries(tmp_path / "absent") == []
    assert files.link_name(tmp_path) is None
    (tmp_path / "odd").write_bytes(b"a\xffb\n")
    assert files.read(tmp_path / "odd") == "a\udcffb"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Two CPUs of one core, one more on another node, and one that is off."""
    cpu = "devices/system/cpu"
    tree: dict[str, Union[str, int]] = {
        f"{cpu}/isolated": "2-3",
        f"{cpu}/cpuidle/current_driver": "intel_idle",
        f"{cpu}/cpu10/online": 0,
        "devices/system/node/has_memory": "0-1",
    }
    for n, node in ((0, 0), (1, 0), (2, 1)):
        tree.update(
            {
                f"{cpu}/cpu{n}/topology/physical_package_id": node,
                f"{cpu}/cpu{n}/topology/core_id": 4,
                f"{cpu}/cpu{n}/topology/thread_siblings_list": "2" if n == 2 else "0-1",
                f"{cpu}/cpu{n}/node{node}/x": "",
                f"{cpu}/cpu{n}/cpufreq/scaling_governor": "performance",
            }
        )
    for state, name, latency in ((0, "POLL", 0), (2, "C6", 133), (10, "C10", 900)):
        where = f"{cpu}/cpu0/cpuidle/state{state}"
        tree.update({f"{where}/name": name, f"{where}/latency": latency, f"{where}/residency": 600,
                     f"{where}/disable": int(name == "C10"), f"{where}/usage": 7,
                     f"{where}/time": 100 + state})  # fmt: skip
    return plant(tmp_path, tree)


def test_every_field_of_a_cpu_is_found(machine: Path) -> None:
    first, second, third, off = cpus.read_cpus(machine)
    assert [c.number for c in (first, second, third, off)] == [0, 1, 2, 10]
    assert (first.online, first.package, first.core, first.node) == (True, 0, 4, 0)
    assert first.siblings == (0, 1) and third.siblings == (2,)
    assert third.node == 1 and third.isolated and not first.isolated
    assert first.governor == "performance" and first.idle_driver == "intel_idle"
    assert not off.online and off.siblings == (10,) and off.package is None and not off.idle_states


def test_idle_states_come_in_their_order_with_their_costs(machine: Path) -> None:
    states = cpus.read_cpus(machine)[0].idle_states
    assert [s.name for s in states] == ["POLL", "C6", "C10"]
    deep = states[1]
    assert (deep.latency_us, deep.target_us, deep.usage, deep.time_us) == (133, 600, 7, 102)
    assert states[2].disabled and not deep.disabled


def test_time_in_idle_states_is_read_anew(machine: Path) -> None:
    clock = cpus.IdleClock(cpus.read_cpus(machine), machine)
    assert clock.read() == {"0": {"POLL": 100, "C6": 102, "C10": 110}}
    (machine / "devices/system/cpu/cpu0/cpuidle/state2/time").write_text("500\n")
    assert clock.read()["0"]["C6"] == 500


def test_nodes_without_memory_do_not_count(machine: Path) -> None:
    assert cpus.nodes(machine) == (0, 1)


def test_no_driver_is_none_and_a_machine_without_anything_has_no_cpus(tmp_path: Path) -> None:
    assert cpus.read_cpus(tmp_path) == ()
    plant(tmp_path, {"devices/system/cpu/cpuidle/current_driver": "none",
                     "devices/system/cpu/cpu0/x": ""})  # fmt: skip
    assert cpus.read_cpus(tmp_path)[0].idle_driver is None
