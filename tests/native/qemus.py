"""Processes that look like a QEMU, and hold what one holds."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence

#: Names its threads as QEMU does, says which they are, and waits to be ended.
_SCRIPT = """
import ctypes, os, sys, threading, time
def named(name):
    ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)
    print(threading.get_native_id(), flush=True)
    time.sleep(1000)
for n in range(2):
    threading.Thread(target=named, args=(f"CPU {n}/KVM",), daemon=True).start()
    time.sleep(0.05)
sys.stdin.read()
"""


class Qemu:
    """A running one; ``vcpus`` are the threads that it calls so."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid = process.pid
        assert process.stdout
        self.vcpus = dict(enumerate(int(process.stdout.readline()) for _ in range(2)))


@contextlib.contextmanager
def qemu(
    *words: str, descriptors: Sequence[int] = (), user: int = 0, namespace: str = ""
) -> Iterator[Qemu]:
    """Run one with these arguments, which holds these descriptors.

    ``namespace`` is the path of a network namespace that it is in.
    """
    enter = ("nsenter", f"--net={namespace}") if namespace else ()
    command = (
        "bash",
        "-c",
        'exec -a qemu-system-x86_64 "$@"',
        "bash",
        sys.executable,
        "-c",
        _SCRIPT,
    )
    process = subprocess.Popen(
        (*enter, *command, *words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        pass_fds=descriptors, user=user, group=user, extra_groups=[],
    )  # fmt: skip
    try:
        yield Qemu(process)
    finally:
        process.kill()
        process.communicate()
