"""A slow cable: frames that this hypervisor of a pair has sent wait outside of it, in its emulator.

    lab-python -m vmlat_tui.lab.hypervisor.cable 500

holds those of the measured network back and lets them go every 500 ms, until it is told to end.
Neither hypervisor's kernel has them meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.lab import monitor
from vmlat_tui.lab.hypervisor import system

_PORTS = Path("/sys/class/virtio-ports")
_FILTER = "slow-cable"
_ANSWER_S = 60.0
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Monitor:
    """QEMU's monitor (QMP), behind a descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._read = b""
        # Who was here before may have done this already, and left answers unread.
        self.ask("qmp_capabilities", {}, may_fail=True)

    def ask(self, verb: str, arguments: dict[str, Any], may_fail: bool = False) -> None:
        """Have it do something; raises :class:`VmlatError` if it does not."""
        number = f"{os.getpid()}-{time.monotonic_ns()}"
        request = {"execute": verb, "id": number, "arguments": arguments}
        os.write(self._descriptor, json.dumps(request).encode() + b"\n")
        deadline = time.monotonic() + _ANSWER_S
        answer: dict[str, Any] = {}
        while answer.get("id") != number:
            answer = json.loads(self._line(deadline))
        if "error" in answer and not may_fail:
            raise VmlatError(f"the emulator refuses {verb}", str(answer["error"]["desc"]))

    def _line(self, deadline: float) -> bytes:
        while b"\n" not in self._read:
            left = max(deadline - time.monotonic(), 0)
            if not select.select([self._descriptor], [], [], left)[0]:
                raise VmlatError("the emulator does not answer", f"waited {_ANSWER_S:.0f} s")
            block = os.read(self._descriptor, 4096)
            if not block:
                raise VmlatError("the emulator does not answer", "nobody is at its end")
            self._read += block
        line, _, self._read = self._read.partition(b"\n")
        return line


@contextlib.contextmanager
def slow(emulator: Monitor, milliseconds: int) -> Iterator[None]:
    """Let frames go only every so often, until the end of the block."""
    this = {"id": _FILTER}
    emulator.ask("object-del", this, may_fail=True)  # of one that was killed
    where = {"netdev": monitor.CABLE, "queue": "rx", "interval": milliseconds * 1000}
    emulator.ask("object-add", {"qom-type": "filter-buffer", **this, **where})
    try:
        yield
    finally:
        emulator.ask("object-del", this)


def main(words: list[str]) -> int:
    """The program."""
    if len(words) != 1 or not words[0].isdecimal() or not 0 < int(words[0]) <= 10_000:
        raise UsageError("how slow is the cable to be?", "", "give 1 to 10000 milliseconds")
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    system.run(["modprobe", "virtio_console"])
    port = system.wait_for("the port of the emulator", _port, _ANSWER_S)
    descriptor = os.open(port, os.O_RDWR)  # only one may
    try:
        with slow(Monitor(descriptor), int(words[0])):
            print("the cable is slow", flush=True)
            signal.sigwait(_ENDS)
    finally:
        os.close(descriptor)
    return 0


def _port() -> Optional[Path]:
    for place in _PORTS.iterdir():
        with contextlib.suppress(OSError):  # it has no name yet
            if (place / "name").read_text().strip() == monitor.PORT:
                return Path("/dev") / place.name
    return None


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except VmlatError as error:
        sys.exit(f"cable: {error}")
