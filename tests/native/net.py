"""A small network made for one test: taps, a bridge and a veth into a namespace of its own.

The tap stands for the VM, the veth for the uplink.  Nothing in it has an address, so no stack
answers, and no packet but the test's own is seen.  All of it goes when the bed is closed; if
the process is killed the kernel removes everything but the bridge, which the next bed removes.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, Optional

from tests.native.wire import GUEST_MAC, PEER_MAC

_TUNSETIFF, _TUNSETIFINDEX = 0x400454CA, 0x400454DA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_CLONE_NEWNET, _CLONE_NEWNS = 0x40000000, 0x00020000
_ETH_P_ALL = 0x0003
_PREFIX = "vmt"
_libc = ctypes.CDLL(None, use_errno=True)
_made = 0


def run(*command: str) -> str:
    """Run a command; its error output is the message if it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _in_thread(work: Callable[[], object]) -> object:
    """Run where the thread's namespace may be changed; a thread ends with its namespace."""
    box: list[object] = []

    def body() -> None:
        try:
            box.append(work())
        except BaseException as error:
            box.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if isinstance(box[0], BaseException):
        raise box[0]
    return box[0]


class Namespace:
    """A network namespace that lives as long as this object's descriptor."""

    def __init__(self) -> None:
        def make() -> int:
            if _libc.unshare(_CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "unshare")
            return os.open(
                f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC
            )

        descriptor = _in_thread(make)
        assert isinstance(descriptor, int)
        self.descriptor = descriptor

    @property
    def path(self) -> str:
        """For commands that take a namespace."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    def run(self, *command: str) -> str:
        """Run a command inside."""
        return run("nsenter", f"--net={self.path}", *command)

    def packet_socket(self, interface: str) -> socket.socket:
        """A raw socket on an interface inside that sends frames and receives nothing."""

        def make() -> socket.socket:
            if _libc.setns(self.descriptor, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            made.bind((interface, 0))
            return made

        made = _in_thread(make)
        assert isinstance(made, socket.socket)
        return made

    def close(self) -> None:
        """Let the kernel remove it."""
        os.close(self.descriptor)


class Tap:
    """A tap device that this process holds open, as QEMU does.

    ``ifindex`` is the number it gets; 0 leaves that to the kernel.
    """

    def __init__(
        self, name: str, vnet_header: bool = False, queue: int = 4000, ifindex: int = 0
    ) -> None:
        self.name = name
        self.vnet_header = vnet_header
        self.descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        if ifindex:
            fcntl.ioctl(self.descriptor, _TUNSETIFINDEX, struct.pack("I", ifindex))
        flags = _IFF_TAP | _IFF_NO_PI | (_IFF_VNET_HDR if vnet_header else 0)
        fcntl.ioctl(self.descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        run("sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1")
        run("ip", "link", "set", name, "txqueuelen", str(queue), "up")

    def send(self, frame: bytes) -> None:
        """What the VM sends."""
        os.write(self.descriptor, frame)

    def receive(self, seconds: float = 2.0) -> Optional[bytes]:
        """What the VM receives next, None if nothing came."""
        if not select.select([self.descriptor], [], [], seconds)[0]:
            return None
        return os.read(self.descriptor, 70000)

    def drain(self) -> int:
        """Take whatever waits; returns how many frames."""
        count = 0
        while True:
            try:
                os.read(self.descriptor, 70000)
            except BlockingIOError:
                return count
            count += 1

    def close(self) -> None:
        """Close it, and with it the device."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Task:
    """A forked process that runs a function; ``wait`` gives its JSON-able result."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.write(write, json.dumps(work()).encode())
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(write)

    def wait(self) -> object:
        """Wait for its end."""
        with os.fdopen(self._read, "rb") as pipe:
            text = pipe.read()
        _, status = os.waitpid(self.pid, 0)
        if status:
            raise RuntimeError(f"a task of the test ended with status {status}")
        return json.loads(text)


def alone(work: Callable[[], object]) -> object:
    """What ``work`` returns; it runs in a process and a network namespace of its own."""

    def body() -> object:
        if _libc.unshare(_CLONE_NEWNET | _CLONE_NEWNS):
            raise OSError(ctypes.get_errno(), "unshare")
        run("mount", "--make-rprivate", "/")
        run("mount", "-t", "sysfs", "sysfs", "/sys")
        return work()

    return Task(body).wait()


def _remove_leftovers() -> None:
    for entry in Path("/sys/class/net").iterdir():
        parts = entry.name.split("-")
        if parts[0].startswith(_PREFIX) and len(parts) == 2:
            owner = parts[0][len(_PREFIX) :]
            if owner.isdigit() and not Path("/proc", owner).exists():
                subprocess.run(("ip", "link", "del", entry.name), stderr=subprocess.DEVNULL)


class Bed:
    """VM <-> tap <-> bridge <-> uplink (veth) <-> peer in a namespace."""

    def __init__(self, taps: int = 1, vnet_header: bool = False) -> None:
        global _made
        _made += 1
        # At most 15 characters; the process id lets a later run recognise what is left over.
        self._stem = f"{_PREFIX}{os.getpid()}-"
        self._letter = chr(ord("a") + _made % 26)
        self.bridge = f"{self._stem}{self._letter}b"
        self.uplink = f"{self._stem}{self._letter}u"
        self.peer = f"{self._stem}{self._letter}p"
        self._close = contextlib.ExitStack()
        try:
            self._make(taps, vnet_header)
        except BaseException:
            self.close()
            raise

    def _make(self, taps: int, vnet_header: bool) -> None:
        _remove_leftovers()
        self.namespace = Namespace()
        self._close.callback(self.namespace.close)
        run("ip", "link", "add", self.bridge, "type", "bridge", "mcast_snooping", "0")
        self._close.callback(self._delete, self.bridge)
        veth = ("type", "veth", "peer", "name", self.peer, "netns", self.namespace.path)
        run("ip", "link", "add", self.uplink, *veth)
        self._close.callback(self._delete, self.uplink)
        for name in (self.bridge, self.uplink):
            run("sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1")
        self.namespace.run("sysctl", "-qw", f"net.ipv6.conf.{self.peer}.disable_ipv6=1")
        self.namespace.run("ip", "link", "set", self.peer, "arp", "off", "up")
        run("ip", "link", "set", self.bridge, "arp", "off", "up")
        run("ip", "link", "set", self.uplink, "arp", "off", "master", self.bridge, "up")
        self.taps: list[Tap] = []
        for _ in range(taps):
            self.add_tap(vnet_header)
        self.tap = self.taps[0]
        # Known addresses, so that nothing is flooded.
        self.learn(PEER_MAC, self.uplink)
        self.learn(GUEST_MAC, self.tap.name)
        self.socket = self.namespace.packet_socket(self.peer)
        self._close.callback(self.socket.close)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
        for name in (self.uplink, self.tap.name):
            assert wait_until(lambda name=name: _forwarding(name)), f"{name} does not forward"  # type: ignore[misc]

    @staticmethod
    def _delete(name: str) -> None:
        subprocess.run(("ip", "link", "del", name), stderr=subprocess.DEVNULL)

    def add_tap(self, vnet_header: bool = False, name: str = "", ifindex: int = 0) -> Tap:
        """One more tap on the bridge."""
        name = name or f"{self._stem}{self._letter}{len(self.taps)}"
        tap = Tap(name, vnet_header, ifindex=ifindex)
        self._close.callback(tap.close)
        self.taps.append(tap)
        run("ip", "link", "set", tap.name, "arp", "off", "master", self.bridge)
        return tap

    def learn(self, mac: bytes, port: str) -> None:
        """Tell the bridge for good where an address is."""
        run("bridge", "fdb", "replace", mac.hex(":"), "dev", port, "master", "static")

    def receive_in_namespace(self) -> socket.socket:
        """A socket at the far end that receives every frame that left the host."""
        listening = self.namespace.packet_socket(self.peer)
        listening.close()

        def make() -> socket.socket:
            _libc.setns(self.namespace.descriptor, _CLONE_NEWNET)
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 << 20)
            made.bind((self.peer, _ETH_P_ALL))
            made.settimeout(2.0)
            return made

        made = _in_thread(make)
        assert isinstance(made, socket.socket)
        self._close.callback(made.close)
        return made

    def deliver(self, frame: bytes) -> None:
        """What comes in from the wire."""
        self.socket.send(frame)

    def hold(self) -> None:
        """From now on the uplink's qdisc lets nothing out; see :meth:`release`."""
        tbf = ("rate", "8bit", "burst", "1540", "limit", "100mb")
        run("tc", "qdisc", "replace", "dev", self.uplink, "root", "tbf", *tbf)
        self.tap.send(self._plain(1510))

    def release(self) -> None:
        """Let out what :meth:`hold` kept, in its order."""
        tbf = ("rate", "100gbit", "burst", "100mb", "limit", "100mb")
        run("tc", "qdisc", "change", "dev", self.uplink, "root", "tbf", *tbf)
        self.tap.send(self._plain(60))

    def unhold(self) -> None:
        """Back to no qdisc at all; what it kept is dropped."""
        subprocess.run(
            ("tc", "qdisc", "del", "dev", self.uplink, "root"), stderr=subprocess.DEVNULL
        )

    def _plain(self, size: int) -> bytes:
        header = bytes(10) if self.tap.vnet_header else b""
        return header + (PEER_MAC + GUEST_MAC + b"\x88\xb5").ljust(size, b"f")

    def close(self) -> None:
        """Remove everything."""
        self._close.close()

    def __enter__(self) -> Bed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _forwarding(name: str) -> bool:
    try:
        return Path("/sys/class/net", name, "brport/state").read_text().strip() == "3"
    except OSError:
        return False


def interface_counters(name: str) -> dict[str, int]:
    """The kernel's own statistics of an interface."""
    directory = Path("/sys/class/net", name, "statistics")
    return {file.name: int(file.read_text()) for file in directory.iterdir()}


def write_all(descriptor: int, frames: Sequence[bytes], count: int, offset: int = 0) -> int:
    """Write ``count`` frames as fast as it goes, over and over from the same list."""
    write, size = os.write, len(frames)
    for i in range(offset, offset + count):
        write(descriptor, frames[i % size])
    return count


def send_all(sender: socket.socket, frames: Sequence[bytes], count: int) -> int:
    """The same from the wire's side."""
    send, size = sender.send, len(frames)
    for i in range(count):
        send(frames[i % size])
    return count


def read_all(descriptor: int, count: int, seconds: float) -> int:
    """Read ``count`` frames; returns how many came before ``seconds`` passed without any."""
    got = 0
    while got < count:
        try:
            os.read(descriptor, 70000)
            got += 1
        except BlockingIOError:
            if not select.select([descriptor], [], [], seconds)[0]:
                break
    return got
