"""The probe engine: one loaded path program, configured by maps and read by polling.

Everything here runs in the agent's one thread.  Times are ``bpf_ktime_get_ns`` (CLOCK_MONOTONIC).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vmlat_tui.discover.links.interfaces import Link, Selection
from vmlat_tui.discover.vms.vcpus import VcpuThreads
from vmlat_tui.errors import UsageError
from vmlat_tui.model.absences import ABSENCE_ROOM
from vmlat_tui.model.bins import Bin
from vmlat_tui.model.flows import Filter
from vmlat_tui.model.hooks import BY_ID, HOOKS, NUMBER, steps_of
from vmlat_tui.model.legs import LegTable
from vmlat_tui.model.points import BOTH, FUNCTION, Direction
from vmlat_tui.model.wakeups import Wakeups
from vmlat_tui.probes import layout, offsets
from vmlat_tui.probes.attach import attach_again, attach_all, has_drop_reason, replace_hook
from vmlat_tui.probes.compiler import compiled
from vmlat_tui.probes.fentry import Fentry
from vmlat_tui.probes.ladder import NONE, Kernel
from vmlat_tui.probes.layout import PacketRecord
from vmlat_tui.probes.program import Program, available_bytes, possible_processors
from vmlat_tui.probes.reading import KernelCounts, Reader
from vmlat_tui.probes.ring import Ring
from vmlat_tui.probes.roles import BESIDE_ROOM, Roles
from vmlat_tui.probes.selfcheck import silent_hooks
from vmlat_tui.probes.threads import Threads

_log = logging.getLogger(__name__)

_ZERO = bytes(4)
_SOURCE = "path.bpf.c"


#: The part of the memory that is free which the tables may take.
_SHARE = 4
#: What the kernel keeps beside each key and value of a hash table, at most.
_ELEMENT = 80


@dataclass(frozen=True)
class Limits:
    """Sizes of the kernel's maps, fixed when the program is loaded."""

    vnics: int = 8
    packets: int = 32768
    parked: int = 2048
    flows: int = 16384
    tasks: int = 4096
    drops: int = 1024
    ring_bytes: int = 1 << 20
    #: vhost workers and vCPUs, and the vhost works of the former.
    threads: int = 512
    works: int = 1024
    #: After this long without a step a packet counts as expired.
    expire_ns: int = 5_000_000_000

    @classmethod
    def of(cls, vnics: int) -> Limits:
        """For a measurement of so many vNICs, and some that appear while it runs."""
        return cls(
            vnics=vnics + max(3, vnics // 4),
            drops=max(cls.drops, 4 * vnics),
            tasks=max(cls.tasks, 4 * vnics),
            threads=max(cls.threads, 8 * vnics),
            works=max(cls.works, 16 * vnics),
        )

    def require(self, sizes: Mapping[str, int], free_bytes: int) -> None:
        """Raise :class:`UsageError` if maps of these sizes would crowd the host's memory."""
        needed = sum(
            count if name == "events" else count * (layout.SIZES.get(name, 8) + _ELEMENT)
            for name, count in sizes.items()
        )
        if needed > free_bytes // _SHARE:
            raise UsageError(
                f"{self.vnics} VM interfaces are too many for one measurement here",
                f"tables for them on {sizes['statistics']} processors take {needed >> 20:,} MiB,"
                f" a {_SHARE}th of the free memory is {free_bytes // _SHARE >> 20:,} MiB",
                "choose some with --vm-interface",
            )

    def map_sizes(self, legs: int, processors: int, functions: bool = True) -> dict[str, int]:
        """``max_entries`` of the maps sized here, with ``legs`` a vNIC; the ring in bytes.

        Without ``functions`` those of threads and of the guests' rings are not used.
        """
        threads = {
            "tun_entries": self.tasks,
            "taken": min(4 * self.vnics, self.vnics + 192) * layout.TAKEN_ROOM,
            "works": self.works,
            "workers": self.threads,
            "vcpus": self.threads,
            "wakes": 2 * self.threads,
            "vcpu_threads": self.vnics * layout.VCPU_ROOM,
        }
        return {
            **(threads if functions else dict.fromkeys(threads, 1)),
            "statistics": processors,
            "packets": self.packets,
            "parked": self.parked,
            "legs": processors * self.vnics * legs,
            "flows": self.flows,
            "drops": self.drops,
            "events": self.ring_bytes,
            "absences": processors * self.vnics * ABSENCE_ROOM,
            # Who moves is in it twice for a moment.
            "roles_beside": 2 * BESIDE_ROOM,
        }


@dataclass(frozen=True)
class Settings:
    """What may change while packets run.  ``max_rate`` is packets a second, 0 without limit."""

    directions: tuple[Direction, ...] = BOTH
    detail: bool = True
    emit: bool = True
    sample: int = 1
    max_rate: int = 0
    threshold_ns: int = 0


def precompile(kernel: Kernel, *, functions: bool = True, headers: bool = False) -> None:
    """Compile what :class:`PathEngine` will load, so that it finds it in the cache.

    For any thread.  Raises as :class:`PathEngine` does.
    """
    known = replace(kernel, btf=None) if headers else kernel
    used = functions and kernel.kprobes
    fentry = Fentry(known.btf if used else None)
    fentry.close()
    compiled(_SOURCE, _macros(known, offsets.find(known.btf), used, fentry))


def _macros(
    kernel: Kernel, places: offsets.Offsets, functions: bool, fentry: Fentry
) -> dict[str, int]:
    return {
        **layout.macros(),
        **places.macros,
        **fentry.macros(),
        "TP_DIRECT": int(kernel.btf is not None),
        "FUNCTIONS": int(functions),
        "DROP_REASON": int(has_drop_reason(kernel)),
        "GRO_SLOTS": 256,
    }


class PathEngine:
    """Owns the program, its probes and its maps."""

    def __init__(
        self, kernel: Kernel, limits: Limits, *, functions: bool = True, headers: bool = False
    ) -> None:
        """Compile, load and attach; nothing is measured until :meth:`configure`.

        ``functions`` false stays on the tracepoint rung; ``headers`` takes the offsets from the
        kernel headers even if there is BTF.  Raises :class:`UsageError` where nothing can be
        measured at all or the tables would take too much memory,
        :class:`vmlat_tui.errors.VmlatError` if loading fails.
        """
        if kernel.rung == NONE:
            raise UsageError(
                "this kernel cannot be measured",
                f"{kernel.btf_problem or 'no BTF'}, and no kernel headers"
                if kernel.ring_buffer
                else "it has no BPF ring buffers",
                "run `vmlat doctor`",
            )
        self._limits = limits
        self._kernel = replace(kernel, btf=None) if headers else kernel
        #: Whether function hooks are used (the full rung).
        self.functions = functions and kernel.kprobes
        self.offsets = offsets.find(self._kernel.btf)
        hooks = [hook for hook in HOOKS if self.functions or not hook.full]
        table = LegTable(step.number for hook in hooks for step in steps_of(hook))
        sizes = limits.map_sizes(table.room, possible_processors(), self.functions)
        _log.info(
            "kernel %s: rung %s, functions %s, offsets from %s",
            *(kernel.release, kernel.rung, self.functions, self.offsets.source),
        )
        _log.debug("entries of maps: %s", sizes)
        limits.require(sizes, available_bytes())
        self._fentry = Fentry(self._kernel.btf if self.functions else None)
        macros = _macros(self._kernel, self.offsets, self.functions, self._fentry)
        self._program = program = Program(_SOURCE, macros, sizes)
        self._roles = Roles(program)
        self._rulesets = program.map("rulesets")
        self._controls = program.map("controls")
        self._ring = Ring(program.map("events").descriptor, limits.ring_bytes)
        self._active_rules = 0
        self._switched = False
        self._tun_tracepoint = False
        self._settings = Settings(directions=())
        self._netns = os.stat("/proc/self/ns/net").st_ino
        self._apply()
        self.attached = attach_all(program, self._kernel, self._fentry, self.functions)
        unarmed = self.attached.unarmed()
        if unarmed:
            _log.info("not called though attached by fentry: %s", [hook.id for hook in unarmed])
            self._fentry.exclude(hook.symbol for hook in unarmed)
            macros = _macros(self._kernel, self.offsets, self.functions, self._fentry)
            program.compile_again(macros)
            attach_again(self.attached, unarmed)
        self._choose_tun_out()
        program.map("leg_tables").put(_ZERO, layout.leg_table(table, limits.vnics))
        if self._kernel.btf:
            program.open_iterators(self._kernel.btf.function(offsets.ITERATOR))
        self._reader = Reader(program, table, limits.vnics, limits.flows)
        self._threads = Threads(program, limits.vnics, limits.threads)

    def _choose_tun_out(self) -> None:
        self._tun_tracepoint = not any(
            hook.kind == FUNCTION
            for state in self.attached.points
            if state.point == "tun_out"
            for hook in state.hooks
        )

    # ---- configuration: by maps, never by compiling again ---------------------------------

    def configure(self, settings: Settings) -> None:
        """Apply settings at once; packets already on the way finish under the new ones."""
        self._settings = settings
        self._apply()

    def _apply(self) -> None:
        settings = self._settings
        self._controls.put(
            _ZERO,
            layout.control(
                active_rules=self._active_rules,
                directions=sum(1 << d for d in settings.directions),
                detail=settings.detail,
                switched=self._switched,
                emit=settings.emit,
                sample=settings.sample,
                max_rate=settings.max_rate,
                tun_tracepoint=self._tun_tracepoint,
                threshold_ns=settings.threshold_ns,
            ),
        )

    def set_filters(self, filters: Sequence[Filter]) -> None:
        """Measure what any of the filters matches; none at all means everything.

        The new set is written beside the old one and put in force by one store, so every packet
        is judged by one of the two.  Raises :class:`UsageError` when they are too many.
        """
        packed = layout.rules(list(filters))
        fresh = 1 - self._active_rules
        self._rulesets.put(fresh.to_bytes(4, "little"), packed)
        self._active_rules = fresh
        self._apply()

    def set_links(self, selection: Selection, links: Mapping[str, Link]) -> None:
        """Give the interfaces their roles; call again whenever interfaces change.

        A vNIC's slot is its place in ``selection.vnets``.  Raises :class:`UsageError` for more
        vNICs than the program has slots.
        """
        if len(selection.vnets) > self._limits.vnics:
            raise UsageError(
                f"{len(selection.vnets)} VM interfaces are too many",
                f"this measurement has room for {self._limits.vnics}",
                "begin another one",
            )
        wanted: dict[int, bytes] = {}
        slots = {name: slot for slot, name in enumerate(selection.vnets)}

        def give(names: Sequence[str], kind: int) -> None:
            for name in names:
                link = links.get(name)
                if link is None:
                    continue
                vnet = kind == layout.ROLE_VNET
                slot = slots[name] if vnet else layout.NO_SLOT
                wanted[link.ifindex] = layout.role(
                    link.ifindex, kind, slot, vnet and not link.napi_tun, self._netns
                )

        give(selection.elsewhere, layout.ROLE_ELSEWHERE)
        give(selection.tops, layout.ROLE_TOP)
        give(selection.leaves, layout.ROLE_LEAF)
        give(selection.vnets, layout.ROLE_VNET)
        self._roles.set(wanted)
        self._switched = selection.switched
        _log.debug("roles of interfaces: %s", selection)
        self._apply()

    def set_vcpus(self, vcpus: Mapping[int, VcpuThreads]) -> None:
        """Name the vCPU threads behind each vNIC, by its slot; see :meth:`Threads.set_vcpus`."""
        if self.functions:
            self._threads.set_vcpus(vcpus)

    @property
    def capacity(self) -> int:
        """How many vNICs this program has slots for."""
        return self._limits.vnics

    def replace_silent(self, reading: KernelCounts) -> list[str]:
        """Report hooks that never fire where they must, and put the next alternative in place.

        Each is reported once.
        """
        if any(account.bins[Bin.DROPPED] for account in reading.accounts.values()):
            return []  # where packets are dropped, a hook may rightly see none of them
        hits = {id_: reading.hits[number] for id_, number in NUMBER.items()}
        found = []
        for hook_id, neighbour, count in silent_hooks({h.id for h in self.attached.hooks()}, hits):
            after = f"{hook_id} never fires although {neighbour} did {count} times"
            replacement = replace_hook(self.attached, BY_ID[hook_id])
            if replacement:
                after += f"; {replacement} takes its place"
            found.append(after)
        if found:
            self._choose_tun_out()
            self._apply()
        return found

    def forget(self, slot: int) -> None:
        """Drop what was counted for the vNIC of a slot, which another one gets."""
        self._reader.forget(slot)
        if self.functions:
            self._threads.forget(slot)

    # ---- results -------------------------------------------------------------------------

    def packets(self, limit: int = 4096) -> list[PacketRecord]:
        """Single packets given to user space since the last call; never waits."""
        return [layout.packet(data) for data in self._ring.records(limit)]

    def read(self, exact: bool = True) -> KernelCounts:
        """Everything counted since the start; see :meth:`Reader.read`."""
        reading = self._reader.read(exact)
        counters = {**reading.counters, "vcpus_left_out": self._threads.vcpus_left_out}
        counters["unplaced"] += self._threads.unplaced
        return replace(reading, counters=counters)

    def wakeups(self) -> list[tuple[int, Wakeups]]:
        """(slot of a worker's vNIC, NO_SLOT for a vCPU; its wake-ups) of each thread."""
        return self._threads.wakeups() if self.functions else []

    def sweep(self) -> list[PacketRecord]:
        """Expire what was lost from sight and keep room in the tables; call about once a second."""
        if self.functions:
            self._threads.sweep()
        now = time.monotonic_ns()
        expired, crowded = self._reader.sweep(
            self._limits.packets, now - 1_000_000_000, now - self._limits.expire_ns
        )
        if crowded:
            self._apply()  # which also ends the crowded mode of the program
        return expired

    def settle(self, patience_s: float = 0.2) -> None:
        """Start no more packets, and let those on the way arrive."""
        self.configure(replace(self._settings, directions=()))
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline and self._reader.waiting():
            time.sleep(0.01)

    def stop(self, patience_s: float = 0.2) -> None:
        """Settle, then detach every probe; what was counted can still be read."""
        self.settle(patience_s)
        self.attached.close()

    def close(self) -> None:
        """Detach and free everything; reading is over."""
        self.attached.close()
        self._ring.close()
        self._program.close()
        self._fentry.close()
