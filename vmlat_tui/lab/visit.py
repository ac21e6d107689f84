"""A hypervisor for as long as somebody needs it: booted, used over ssh, switched off."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Callable

from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.lab import builder, instances, machine, process, store
from vmlat_tui.lab.instances import Instances
from vmlat_tui.lab.machine import Boot
from vmlat_tui.lab.machines import PROGRAMS, Machines
from vmlat_tui.lab.releases import Release
from vmlat_tui.lab.scenarios import scenario as named

_Say = Callable[[str], None]


def is_inside() -> bool:
    """Tell whether this process runs in the lab's hypervisor."""
    return bool(os.environ.get("VMLAT_LAB"))


def refuse_inside() -> None:
    """Raise if this process runs in the lab's hypervisor."""
    if is_inside():
        raise UsageError("this is the lab's hypervisor", "", "use vmlat lab scenario to change it")


def remote_line(directory: Path, command: Sequence[str]) -> list[str]:
    """Return the remote command of ssh: run this in a directory once the lab is ready."""
    return [shlex.join(["lab-exec", str(directory), *command])]


def obtain_image(chosen: Release, say: _Say) -> tuple[store.Image, bool]:
    """Return the image of a release and whether it had to be built."""
    cache = store.Store(store.default_directory(), say)
    digest = store.key(chosen, builder.INPUTS)
    image = cache.find(chosen, digest)
    if image is not None:
        return image, False
    begin = time.monotonic()

    def timed(line: str) -> None:
        say(f"{time.monotonic() - begin:5.1f} s  {line}")

    with cache.lock(chosen):
        image = cache.find(chosen, digest)  # somebody else may have built it meanwhile
        if image is not None:
            return image, False
        timed(f"building the hypervisor with kernel {chosen.kernel}, once (some minutes)")
        with cache.build(chosen, digest) as output:
            builder.build(chosen, output, timed, cache.check_space)
        image = cache.find(chosen, digest)
        if image is None:
            raise VmlatError("the hypervisor that was just built is damaged", str(cache.directory))
        timed("built")
        return image, True


class Visit:
    """Hypervisors that are booting or up; ``cold`` if their image had to be built."""

    def __init__(self, machines: Machines, chosen: Release, scenario: str, say: _Say) -> None:
        self._machines = machines
        self._say = say
        self._what = f"kernel {chosen.kernel}, scenario {scenario}"
        self._begin = time.monotonic()
        self.cold = False
        self.booted_s = 0.0

    def line(self, command: Sequence[str], directory: Path = machine.CHECKOUT) -> list[str]:
        """Return the line that runs a program there; it starts when the guests answer."""
        return self._machines.ssh(remote_line(directory, command))

    def wait_ready(self) -> None:
        """Wait until the guests answer, saying what for; :class:`VmlatError` at the limit."""
        self._machines.wait("ready", self._say)
        self.booted_s = time.monotonic() - self._begin
        self._say(f"{self.booted_s:5.1f} s  ready: {self._what}")

    def running(self) -> bool:
        """Tell whether all machines are alive."""
        return self._machines.running()

    def check_alive(self, within_s: float) -> None:
        """Raise if a machine ends by itself in this time."""
        if self._machines.ended(within_s):
            raise self._machines.failure()


@contextlib.contextmanager
def visit(
    chosen: Release, scenario: str, memory: int, say: _Say, counting: bool = False
) -> Iterator[Visit]:
    """Boot what a scenario needs, give it when it can be connected to, and leave nothing."""
    refuse_inside()
    process.require(*PROGRAMS)
    wanted = named(scenario)
    with process.interruptible():
        image, cold = obtain_image(chosen, say)
        with Instances(instances.default_directory()).temporary() as directory:
            machines = Machines(directory, wanted)
            try:
                made = Visit(machines, chosen, scenario, say)
                made.cold = cold
                machines.start(Boot(image, chosen.kernel, wanted, memory, counting=counting))
                machines.wait("ssh", say)
                yield made
            finally:
                machines.stop()
