"""Offsets of the kernel's structures, handed to the compiler as macros.

They come from the running kernel's BTF; where a kernel has none, from ``offsetof`` on its installed
headers, which is the only use of headers and takes most of a minute on a slow machine.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from vmlat_tui.errors import UsageError
from vmlat_tui.probes.btf import Btf, BtfError
from vmlat_tui.probes.compiler import header_layout

_log = logging.getLogger(__name__)

#: The kernel function whose type marks a program that walks over a map.
ITERATOR = "bpf_iter_bpf_map_elem"

#: macro -> (structure, member).  Members that are bit fields give <macro>_BYTE and <macro>_MASK.
MEMBERS: dict[str, tuple[str, str]] = {
    "SKB_DEV": ("sk_buff", "dev"),
    "SKB_LEN": ("sk_buff", "len"),
    "SKB_DATA_LEN": ("sk_buff", "data_len"),
    "SKB_HEAD": ("sk_buff", "head"),
    "SKB_DATA": ("sk_buff", "data"),
    "SKB_END": ("sk_buff", "end"),
    "SKB_MAC_HEADER": ("sk_buff", "mac_header"),
    "SKB_NETWORK_HEADER": ("sk_buff", "network_header"),
    "SKB_PKT_TYPE": ("sk_buff", "pkt_type"),
    "SKB_CLONED": ("sk_buff", "cloned"),
    "NETDEV_IFINDEX": ("net_device", "ifindex"),
    "NETDEV_ND_NET": ("net_device", "nd_net"),
    "NET_NS": ("net", "ns"),
    "NS_INUM": ("ns_common", "inum"),
    "SHINFO_GSO_SIZE": ("skb_shared_info", "gso_size"),
    "TASK_PID": ("task_struct", "pid"),
    "TASK_COMM": ("task_struct", "comm"),
    "MSG_CONTROL": ("msghdr", "msg_control"),
    "IRQACTION_NAME": ("irqaction", "name"),
    # The last member: two pointers follow.
    "WAIT_ENTRY": ("wait_queue_entry", "entry"),
}

#: Bit fields: the kernel's own zero-length marker before the byte, and the mask within it.
#: ``offsetof`` does not apply to a bit field.
_MARKERS = {"SKB_PKT_TYPE": ("__pkt_type_offset", 7), "SKB_CLONED": ("__cloned_offset", 1)}


@dataclass(frozen=True)
class Offsets:
    """Macros for the compiler, and where they are from (``btf`` or ``headers``)."""

    macros: Mapping[str, int]
    source: str


def kernel_btf(tracepoints: list[str], functions: list[str], path: Optional[Path] = None) -> Btf:
    """The running kernel's BTF with everything indexed that vmlat asks of it."""
    names = sorted({structure for structure, _ in MEMBERS.values()})
    names += ["skb_drop_reason", ITERATOR]
    names += [*functions, *(f"btf_trace_{name}" for name in tracepoints)]
    return Btf.of_kernel(names, path) if path else Btf.of_kernel(names)


def from_btf(btf: Btf) -> Offsets:
    """Raises :class:`BtfError` when a member is not there."""
    macros = {}
    for macro, (structure, name) in MEMBERS.items():
        place = btf.member(structure, name)
        if place.bits:
            macros[f"{macro}_BYTE"] = place.offset
            macros[f"{macro}_MASK"] = place.mask
        else:
            macros[macro] = place.offset
    return Offsets(macros, "btf")


def headers_directory() -> Optional[Path]:
    """Build directory of the running kernel's headers, None if they are not installed."""
    build = Path("/lib/modules") / os.uname().release / "build"
    return build if (build / "include").is_dir() else None


def from_headers() -> Offsets:
    """Offsets by ``offsetof`` on the installed headers.

    Each offset becomes the length of an array member of a map's value, which BCC describes to us
    after compiling; no program is loaded.  Raises :class:`UsageError` without headers.
    """
    if headers_directory() is None:
        raise UsageError(
            "the layout of this kernel is unknown",
            "it has neither BTF nor installed headers",
            f"install linux-headers-{os.uname().release}",
        )
    rows, lengths = [], []
    for macro, (structure, name) in MEMBERS.items():
        member = _MARKERS[macro][0] if macro in _MARKERS else name
        # BCC 0.18 would describe the structure named in the length: give the length a name.
        lengths.append(f"LENGTH_{macro} = offsetof(struct {structure}, {member}) + 1,")
        rows.append(f"char {macro}[LENGTH_{macro}];")
    source = (
        "#include <linux/skbuff.h>\n#include <linux/netdevice.h>\n#include <linux/sched.h>\n"
        "#include <linux/interrupt.h>\n"
        f"enum {{ {' '.join(lengths)} }};\n"
        f"struct places {{ {' '.join(rows)} }};\nBPF_ARRAY(places, struct places, 1);\n"
    )
    macros: dict[str, int] = {}
    for macro, length in header_layout(source).items():
        if macro in _MARKERS:
            macros[f"{macro}_BYTE"] = length - 1
            macros[f"{macro}_MASK"] = _MARKERS[macro][1]
        else:
            macros[macro] = length - 1
    return Offsets(macros, "headers")


def find(btf: Optional[Btf]) -> Offsets:
    """Offsets from BTF where there is one, else from headers."""
    if btf is not None:
        try:
            return from_btf(btf)
        except BtfError as error:
            _log.warning("no offsets from BTF: %s; trying the kernel headers", error)
    return from_headers()
