"""Processes that mean no good, and their command lines: any user can start each of them."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import subprocess
import threading
from collections.abc import Sequence
from typing import Callable

#: Case -> arguments.  A real QEMU would have refused to start with the odd ones.
ODD: dict[str, tuple[str, ...]] = {
    "vcpus": ("-smp", "3000000"),
    "product of vCPUs": ("-smp", "sockets=4000,cores=4000"),
    "superscript": ("-smp", "²"),
    "digits": ("-smp", "9" * 5000),
    "JSON number": ("-smp", '{"cpus":' + "9" * 4000 + "}"),
    "nodes": ("-object", "memory-backend-ram,policy=bind,host-nodes=0-5000000"),
    "superscript of a node": ("-object", "memory-backend-ram,policy=bind,host-nodes=²"),
    "superscript of an MTU": ("-netdev", "tap,id=n,fd=³", "-device",
                              "virtio-net,netdev=n,host_mtu=²"),
    "infinite memory": ("-m", "9" * 400),
    "infinite terabytes": ("-m", "9" * 308 + "T"),
    "memory of 64 bits": ("-m", "99999999999999T"),
    "queues": ("-netdev", "tap,id=n,ifname=x,vhost=on,queues=99999999", "-device",
               "virtio-net,netdev=n"),
    "deep machine": ("-machine", '{"type":' + "[" * 900 + "]" * 900 + "}"),
    "deep name": ("-name", '{"guest":' + "[" * 700 + "]" * 700 + "}"),
    "very deep name": ("-name", '{"guest":' + "[" * 60000 + "]" * 60000 + "}"),
    "long name": ("-name", "guest=" + "x" * 9000),
    "vNICs": tuple(w for i in range(3000) for w in
                   ("-netdev", f"tap,id=n{i},ifname=v{i}", "-device", f"virtio-net,netdev=n{i}")),
    "model": ("-netdev", "tap,id=n", "-device", "virtio-net-" + "-a" * 60000 + "!,netdev=n"),
    "long line": ("x" * 120000,) * 2,
    "interface": ("-netdev", "tap,id=n,ifname=" + "x" * 500, "-device", "virtio-net,netdev=n"),
    "address": ("-netdev", "tap,id=n", "-device", "virtio-net,netdev=n,mac=" + "a" * 9000),
    "UUID": ("-uuid", "x" * 9000),
}  # fmt: skip
#: What is no oddity, but no name that a screen should show as it is, or no name of his.
NASTY: dict[str, tuple[str, ...]] = {
    "plain": ("-name", "guest=evil", "-m", "64"),
    "escapes": ("-name", "guest=\x1b[2J\x1b]0;owned\x07[red]x[/red]\u202eRTL\u2066\x9b31m"),
    "lines": ("-name", "guest=a\nvmlat: all is well\rroot#"),
    "no text": ("-name", "guest=\udcff\udcfe\udc80"),
    "object for a name": ("-name", '{"guest":{"a":1}}'),
}
CASES = {**ODD, **NASTY}

#: A user whom nobody knows; the group has the same number.
USER = 65533
_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _TAP = 0x400454CA, 0x1002


class Crowd:
    """Real processes of that user with all of these command lines, as long as a ``with`` lasts.

    The first ones hold the queue of a tap of the ``tap``'s name, in a network namespace of their
    own, and have its VM's name and UUID: any user can make that for himself.
    """

    def __init__(self, count: int, tap: str, name: str = "web", uuid: str = "") -> None:
        self._count = count
        self._tap = tap
        self._thief = ("-name", f"guest={name}", *(("-uuid", uuid) if uuid else ()))
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Crowd:
        cases = list(CASES.values())
        tap = _in_thread(lambda: _elsewhere(self._tap))
        try:
            for n in range(self._count):
                thief = n < 10
                words = self._thief if thief else cases[n % len(cases)]
                self.processes.append(_start(words, (tap,) if thief else ()))
        except BaseException:
            self.__exit__()
            raise
        finally:
            os.close(tap)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.communicate()


def _start(words: Sequence[str], descriptors: Sequence[int]) -> subprocess.Popen[bytes]:
    """A shell that waits; the words are arguments that it never looks at."""
    command = [
        b"qemu-kvm",
        b"-c",
        b"read x",
        *(w.encode("utf-8", "surrogateescape") for w in words),
    ]
    return subprocess.Popen(
        command, executable="/bin/sh", stdin=subprocess.PIPE, pass_fds=descriptors, cwd="/",
        user=USER, group=USER, extra_groups=[],
    )  # fmt: skip


def _elsewhere(name: str) -> int:
    """The queue of a new tap, in a namespace that lives as long as it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP))
    return descriptor


def _in_thread(work: Callable[[], int]) -> int:
    """In a thread, as that changes its namespace for good."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]
