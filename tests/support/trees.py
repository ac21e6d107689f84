"""Trees of tests that look like /sys and /proc."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional, Union

from vmlat_tui.discover.vms.tuns import Tun

#: A database of Open vSwitch, as its tables are selected.
OVS_TABLES = Path(__file__).with_name("ovs_tables.json")


def plant(top: Path, tree: Mapping[str, Union[str, int]]) -> Path:
    """Write files by their path below ``top``."""
    for name, content in tree.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return top


def stat(
    tid: int,
    name: str,
    parent: int = 1,
    cpu: int = 0,
    policy: int = 0,
    rt: int = 0,
    nice: int = 0,
    started: int = 100,
    ticks: tuple[int, int] = (3, 4),
    state: str = "S",
) -> str:
    """The text of a ``stat`` file."""
    f = [0] * 50
    f[0], f[10], f[11], f[15] = parent, ticks[0], ticks[1], nice
    f[18], f[35], f[36], f[37] = started, cpu, rt, policy
    return f"{tid} ({name}) {state} " + " ".join(map(str, f)) + "\n"


class Proc:
    """The tree below ``top``, and what the kernel says of the descriptors in it."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self._tuns: dict[tuple[int, int], Tun] = {}
        (top / "self/ns").mkdir(parents=True)
        (top / "self/ns/net").symlink_to("net:[1]")

    def thread(
        self,
        pid: int,
        tid: int,
        name: str,
        cpus: str = "0-3",
        schedstat: str = "70 30 5",
        owner: int = 0,
        **fields: object,
    ) -> None:
        """One thread; that with the number of its process is the process."""
        text = stat(tid, name, **fields)  # type: ignore[arg-type]
        status = (
            f"Name:\t{name}\nUid:\t{owner}\t0\t0\t0\nCpus_allowed_list:\t{cpus}\n"
            "voluntary_ctxt_switches:\t11\nnonvoluntary_ctxt_switches:\t2\n"
        )
        for place in (self.top / f"{pid}/task/{tid}", self.top / str(tid)):
            place.mkdir(parents=True, exist_ok=True)
            (place / "stat").write_text(text)
            (place / "status").write_text(status)
            if schedstat:
                (place / "schedstat").write_text(schedstat)

    def process(self, pid: int, name: str, *arguments: str, **fields: int) -> None:
        """A process with its first thread."""
        self.thread(pid, pid, name, **fields)  # type: ignore[arg-type]
        (self.top / f"{pid}/cmdline").write_bytes(b"\0".join(map(os.fsencode, arguments)) + b"\0")
        (self.top / f"{pid}/fd").mkdir()
        (self.top / f"{pid}/fdinfo").mkdir()
        (self.top / f"{pid}/ns").mkdir()
        (self.top / f"{pid}/ns/net").symlink_to("net:[1]")

    def descriptor(
        self, pid: int, fd: int, target: str, info: str = "", flags: int = 0o2004002
    ) -> None:
        """An open descriptor."""
        (self.top / f"{pid}/fd/{fd}").symlink_to(target)
        (self.top / f"{pid}/fdinfo/{fd}").write_text(f"pos:\t0\nflags:\t0{flags:o}\n{info}")

    def tap(self, pid: int, fd: int, name: str, here: Optional[bool] = None) -> None:
        """A queue of a tap, whose namespace the kernel tells unless ``here`` is None."""
        self.descriptor(pid, fd, "/dev/net/tun", f"mnt_id:\t25\nino:\t4\niff:\t{name}\n")
        if here is not None:
            self._tuns[pid, fd] = Tun(name, here)

    def elsewhere(self, pid: int) -> None:
        """The process is in another network namespace."""
        (self.top / f"{pid}/ns/net").unlink()
        (self.top / f"{pid}/ns/net").symlink_to("net:[2]")

    def ask(self, pid: int, descriptors: Sequence[int]) -> dict[int, Tun]:
        """As :func:`vmlat_tui.discover.vms.tuns.ask`."""
        return {fd: self._tuns[pid, fd] for fd in descriptors if (pid, fd) in self._tuns}
