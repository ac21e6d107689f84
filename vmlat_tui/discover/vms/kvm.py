"""KVM: halt polling's parameters, and its counters of each VM from debugfs."""

from __future__ import annotations

import re
from pathlib import Path

from vmlat_tui.discover.files import entries, number
from vmlat_tui.model.topology import HaltPolling

DEBUGFS = Path("/sys/kernel/debug/kvm")
PARAMETERS = Path("/sys/module/kvm/parameters")

COUNTERS = (
    "halt_attempted_poll",
    "halt_successful_poll",
    "halt_poll_invalid",
    "halt_wakeup",
    "halt_poll_success_ns",
    "halt_poll_fail_ns",
    "halt_wait_ns",
)


def halt_polling(parameters: Path = PARAMETERS) -> HaltPolling:
    """KVM's parameters; all None where KVM is not loaded."""
    return HaltPolling(
        number(parameters / "halt_poll_ns"),
        number(parameters / "halt_poll_ns_grow"),
        number(parameters / "halt_poll_ns_grow_start"),
        number(parameters / "halt_poll_ns_shrink"),
    )


def directories(pid: int, debugfs: Path = DEBUGFS) -> list[Path]:
    """debugfs directories of a process's VMs (one, but for a moment at its start)."""
    return [debugfs / e for e in entries(debugfs) if e.startswith(f"{pid}-")]


def vcpu_tids(pid: int, debugfs: Path = DEBUGFS) -> dict[int, int]:
    """vCPU number -> thread, where the kernel says (5.18 and later, root)."""
    found = {}
    for directory in directories(pid, debugfs):
        for entry in entries(directory):
            match = re.fullmatch(r"vcpu([0-9]{1,5})", entry)
            tid = number(directory / entry / "pid") if match else None
            if match and tid:
                found[int(match[1])] = tid
    return found


class HaltCounters:
    """The counters of one VM; the kernel adds up its vCPUs.  Which files is found out once."""

    def __init__(self, pid: int, debugfs: Path = DEBUGFS) -> None:
        self._files = [
            (name, str(directory / name))
            for directory in directories(pid, debugfs)
            for name in COUNTERS
            if (directory / name).exists()
        ]

    def read(self) -> dict[str, int]:
        """Counts since the VM began; empty where debugfs cannot be read."""
        result: dict[str, int] = {}
        for name, path in self._files:
            value = number(path)
            if value is not None:
                result[name] = result.get(name, 0) + value
        return result
