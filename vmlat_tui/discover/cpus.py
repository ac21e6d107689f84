"""The host's CPUs from sysfs: where they sit, how they are clocked, how they sleep."""

from __future__ import annotations

import re
from pathlib import Path

from vmlat_tui.discover.files import entries, number, parse_list, read
from vmlat_tui.model.topology import Cpu, IdleState

SYSFS = Path("/sys")


def read_cpus(sysfs: Path = SYSFS) -> tuple[Cpu, ...]:
    """Every CPU that the kernel lists, also those that are off."""
    top = sysfs / "devices/system/cpu"
    isolated = set(parse_list(read(top / "isolated")))
    driver = read(top / "cpuidle/current_driver")
    driver = "" if driver == "none" else driver
    return tuple(
        _read_cpu(top / f"cpu{n}", n, n in isolated, driver)
        for n in sorted(int(e[3:]) for e in entries(top) if re.fullmatch(r"cpu[0-9]{1,5}", e))
    )


def _read_cpu(directory: Path, n: int, isolated: bool, driver: str) -> Cpu:
    names = entries(directory)
    node = next((int(e[4:]) for e in names if re.fullmatch(r"node[0-9]{1,5}", e)), None)
    # The boot CPU of most machines cannot be switched off and has no such file.
    online = number(directory / "online") != 0
    siblings = parse_list(read(directory / "topology/thread_siblings_list"))
    return Cpu(
        number=n,
        online=online,
        package=number(directory / "topology/physical_package_id"),
        core=number(directory / "topology/core_id"),
        node=node,
        siblings=siblings or (n,),
        isolated=isolated,
        governor=read(directory / "cpufreq/scaling_governor") or None,
        idle_driver=driver or None,
        idle_states=tuple(map(_read_state, _states(directory))),
    )


def _states(cpu: Path) -> list[Path]:
    names = [e for e in entries(cpu / "cpuidle") if re.fullmatch(r"state[0-9]{1,5}", e)]
    return [cpu / "cpuidle" / e for e in sorted(names, key=lambda e: int(e[5:]))]


def _read_state(directory: Path) -> IdleState:
    return IdleState(
        name=read(directory / "name") or directory.name,
        latency_us=number(directory / "latency") or 0,
        target_us=number(directory / "residency") or 0,
        disabled=number(directory / "disable") == 1,
        usage=number(directory / "usage") or 0,
        time_us=number(directory / "time") or 0,
    )


class IdleClock:
    """Time spent in every idle state, read again and again: which files is found out once."""

    def __init__(self, cpus: tuple[Cpu, ...], sysfs: Path = SYSFS) -> None:
        top = sysfs / "devices/system/cpu"
        self._files = [
            (str(cpu.number), [(s.name, f"{d}/time") for s, d in zip(cpu.idle_states, places)])
            for cpu in cpus
            if cpu.online and cpu.idle_states
            for places in [_states(top / f"cpu{cpu.number}")]
        ]

    def read(self) -> dict[str, dict[str, int]]:
        """CPU number -> state -> µs since boot."""
        return {
            cpu: {name: number(path) or 0 for name, path in states} for cpu, states in self._files
        }


def nodes(sysfs: Path = SYSFS) -> tuple[int, ...]:
    """The NUMA nodes that have memory."""
    top = sysfs / "devices/system/node"
    return parse_list(read(top / "has_memory") or read(top / "online"))
