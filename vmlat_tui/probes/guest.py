"""The probe inside a guest: echo packets at their points, by bpf/guest.bpf.c.

For the agent's one thread.  Times are ``bpf_ktime_get_ns`` (CLOCK_MONOTONIC).
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct

from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.model.guest import GuestPoint, Sighting
from vmlat_tui.probes import ladder, layout, offsets, opener, syscalls
from vmlat_tui.probes.ladder import Kernel
from vmlat_tui.probes.program import Program
from vmlat_tui.probes.ring import Ring

_log = logging.getLogger(__name__)

_SOURCE = "guest.bpf.c"
_RING_BYTES, _THREADS = 1 << 20, 4096
_ZERO = bytes(4)
_read_sighting = layout.STRUCTURES["sighting"].reader(
    "t", "also", "flow", "id1", "id2", "ifindex", "tgid", "point", "comm"
)
#: Points that nothing can be measured without, and their tracepoints.
_TRACEPOINTS = (
    "sys_enter", "sys_exit", "net_dev_queue", "net_dev_start_xmit", "netif_receive_skb",
    "skb_copy_datagram_iovec", "net_dev_xmit", "irq_handler_entry", "irq_handler_exit",
)  # fmt: skip
#: A kernel without it has GRO elsewhere; the next point is a little later.
_EARLIER = "napi_gro_receive_entry"
#: How drivers of virtio devices kick the host: over PCI or MMIO, and with a new feature of these.
_NOTIFY = ("vp_notify", "vp_notify_with_data", "vm_notify", "vm_notify_with_data")
#: Point -> its program, and functions, best first, for each IP version.  ``ip_local_out`` itself is
#: also there, but nobody on the way of a reply calls it: the compiler puts it into its callers in
#: the same file (seen on 5.10, 6.1 and 6.12).  That of IPv6 has none in its file.
_FUNCTIONS = {
    GuestPoint.ICMP: ("kp_icmp", (("icmp_rcv",), ("icmpv6_rcv",))),
    GuestPoint.REPLY: (
        "kp_local_out",
        (("__ip_local_out", "ip_local_out"), ("ip6_local_out", "__ip6_local_out")),
    ),
}


def macros() -> dict[str, int]:
    """What the source uses besides what the path's does."""
    return {**layout.macros(), **{point.macro: int(point) for point in GuestPoint}}


class GuestEngine:
    """Owns the program, its probes and its maps; they work from the beginning to :meth:`close`."""

    def __init__(self, kernel: Kernel) -> None:
        """Compile, load and attach.

        Raises :class:`UsageError` where nothing can be measured, :class:`VmlatError` if loading
        fails.
        """
        if kernel.rung == ladder.NONE:
            raise UsageError(
                "this kernel cannot be measured", kernel.btf_problem, "run `vmlat doctor`"
            )
        places = offsets.find(kernel.btf)
        sizes = {"sightings": _RING_BYTES, "sends": _THREADS}
        self._program = Program(_SOURCE, {**macros(), **places.macros}, sizes)
        self._descriptors: list[int] = []
        #: Why the time within the receiver's guest is not divided, if it is not.
        self.undivided = ""
        try:
            netns = os.stat("/proc/self/ns/net").st_ino & 0xFFFFFFFF
            self._program.map("guest_netns").put(_ZERO, struct.pack("<I", netns))
            self._lost = self._program.map("guest_lost")
            self._ring = Ring(self._program.map("sightings").descriptor, _RING_BYTES)
            self._attach(kernel)
            _log.info("probes attached in this guest; undivided: %s", self.undivided or "no")
        except BaseException:
            self.close()
            raise

    def _attach(self, kernel: Kernel) -> None:
        for name in (*_TRACEPOINTS, _EARLIER):
            try:
                self._tracepoint(name)
            except OSError as error:
                if name != _EARLIER:
                    raise VmlatError(
                        f"{name} cannot be observed", str(error.strerror), "run `vmlat doctor`"
                    ) from None
        if not kernel.kprobes:
            self.undivided = "this kernel has no kprobes"
            return
        for program, (ipv4, ipv6) in _FUNCTIONS.values():
            problem = self._function(program, ipv4)
            self._function(program, ipv6)  # a kernel may do without IPv6
            self.undivided = self.undivided or problem
        notify = self._program.load("kp_notify", syscalls.PROG_TYPE_KPROBE)
        self._descriptors.append(notify)
        for name in _NOTIFY:
            # Without any the last point of a packet is where the driver gets it.
            with contextlib.suppress(OSError):
                self._descriptors.append(opener.attach_kprobe(name, notify))

    def _tracepoint(self, name: str) -> None:
        kind = syscalls.PROG_TYPE_RAW_TRACEPOINT
        self._descriptors.append(self._program.load(f"tp_{name}", kind))
        self._descriptors.append(syscalls.open_raw_tracepoint(name, self._descriptors[-1]))

    def _function(self, program: str, names: tuple[str, ...]) -> str:
        """Attach the first that there is; returns why none is, empty if one is."""
        problem = ""
        self._descriptors.append(self._program.load(program, syscalls.PROG_TYPE_KPROBE))
        for name in names:
            try:
                self._descriptors.append(opener.attach_kprobe(name, self._descriptors[-1]))
                return ""
            except OSError as error:
                problem = problem or f"{name}: {error.strerror}"
        return problem

    def sightings(self, interfaces: dict[int, str], limit: int = 4096) -> list[Sighting]:
        """Those since the last call; ``interfaces`` are names by number.  Never waits."""
        return [sighting(data, interfaces) for data in self._ring.records(limit)]

    @property
    def lost(self) -> int:
        """Sightings for which the ring had no room."""
        value = self._lost.get(_ZERO)
        return int.from_bytes(value or b"", "little")

    def close(self) -> None:
        """Detach and free everything."""
        for descriptor in reversed(self._descriptors):
            os.close(descriptor)
        self._descriptors.clear()
        self._program.close()


def sighting(data: bytes, interfaces: dict[int, str]) -> Sighting:
    """Decode ``struct sighting``."""
    t_ns, also_ns, raw, id1, id2, ifindex, tgid, point, comm = _read_sighting(data)
    flow = layout.flow_of(raw)
    echo = layout.echo_of(flow, id1, id2)
    assert echo is not None, "the program tells of echo packets only"
    name = comm.split(b"\0")[0].decode(errors="replace")
    return Sighting(
        GuestPoint(point), t_ns, also_ns or None, flow, echo, interfaces.get(ifindex), tgid, name
    )
