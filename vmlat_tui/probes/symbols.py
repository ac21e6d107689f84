"""Names of kernel addresses and of drop reasons; both are read only when first needed."""

from __future__ import annotations

import bisect
from typing import Optional

from vmlat_tui.probes.btf import Btf, BtfError

#: Functions that free on behalf of their caller.
_FREEING = (
    "kfree_skb",
    "consume_skb",
    "sk_skb_reason_drop",
    "__kfree_skb",
    "ovs_kfree_skb",
    "kfree_skbmem",
)
#: Bits of a drop reason that name the subsystem (6.2 and later).
_SUBSYSTEM_SHIFT = 16


class Symbols:
    """/proc/kallsyms, sorted.  Read again after a module was loaded or removed."""

    def __init__(self) -> None:
        self._addresses: list[int] = []
        self._names: list[str] = []

    def _load(self) -> None:
        rows: list[tuple[int, str]] = []
        try:
            with open("/proc/kallsyms") as file:
                for line in file:
                    fields = line.split(None, 3)
                    if fields[1] in "tTwW":
                        rows.append((int(fields[0], 16), fields[2]))
        except OSError:
            pass
        rows.sort()
        self._addresses = [address for address, _ in rows]
        self._names = [name for _, name in rows]

    def forget(self) -> None:
        """Read anew at the next question."""
        self._addresses = []

    def name(self, address: int) -> Optional[str]:
        """The function that contains an address, None if unknown."""
        if not self._addresses:
            self._load()
        at = bisect.bisect_right(self._addresses, address) - 1
        if at < 0 or not self._addresses[at] or address - self._addresses[at] > 1 << 20:
            return None
        return self._names[at].split(".")[0]

    def freer(self, location: int, stack: tuple[int, ...]) -> Optional[str]:
        """The function that freed a packet: the first that only frees on behalf of none."""
        for address in (location, *stack):
            # A return address may already lie in the next function.
            name = self.name(address - 1) if address else None
            if name and not name.startswith(_FREEING) and not name.startswith(("bpf_", "__bpf_")):
                return name
        return self.name(location) if location else None


class DropReasons:
    """Names of ``enum skb_drop_reason`` (5.17 and later)."""

    def __init__(self, btf: Optional[Btf]) -> None:
        self._names: dict[int, str] = {}
        if btf:
            try:
                self._names = btf.enumerators("skb_drop_reason")
            except BtfError:
                pass

    def name(self, reason: int) -> Optional[str]:
        """Without its prefix, e.g. ``FULL_RING``; None where the kernel gave none."""
        if not reason:
            return None
        name = self._names.get(reason)
        if name:
            return name.replace("SKB_DROP_REASON_", "", 1)
        if reason >> _SUBSYSTEM_SHIFT:
            return f"subsystem {reason >> _SUBSYSTEM_SHIFT} reason {reason & 0xFFFF}"
        return f"reason {reason}"
