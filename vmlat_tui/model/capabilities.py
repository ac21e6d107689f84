"""The capabilities (capabilities(7)) that vmlat's agent uses, and what each is for.

The only such table: what the agent keeps, what ``vmlat doctor`` says and what docs/privileges.md
explains are this.  What is lost without each is measured in the lab: tests/lab/test_privileges.py.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Optional


class Use(enum.Enum):
    """How the agent uses a capability."""

    #: Kept as long as the agent runs.
    KEPT = "kept"
    #: Kept by a process of its own beside the agent (:mod:`vmlat_tui.probes.opener`).
    APART = "apart"
    #: Used when it starts, and given up before it reads anything.
    START = "start"


class CapabilityState(enum.Enum):
    """What a running agent has of a capability."""

    HELD = "held"
    APART = "apart"
    GIVEN_UP = "given up"
    MISSING = "missing"


@dataclass(frozen=True)
class Capability:
    """One capability.

    ``needed``: nothing can be measured without it, where it is of use.  ``until`` is the first
    kernel that has no use for it.
    """

    name: str
    number: int
    use: Use
    purpose: str
    loss: str
    needed: bool = False
    until: Optional[tuple[int, int]] = None

    def useful(self, release: str) -> bool:
        """Whether a kernel of this release has a use for it."""
        return self.until is None or _version(release) < self.until


def _version(release: str) -> tuple[int, int]:
    major, _, rest = release.partition(".")
    minor = rest.partition(".")[0].partition("-")[0]
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else (0, 0)


BPF = Capability(
    "CAP_BPF", 39, Use.KEPT,
    "makes maps, in the compilers too, and loads programs",
    "nothing can be measured",
    needed=True,
)  # fmt: skip
PERFMON = Capability(
    "CAP_PERFMON", 38, Use.KEPT,
    "attaches programs to tracepoints and functions",
    "nothing can be measured",
    needed=True,
)  # fmt: skip
SYS_PTRACE = Capability(
    "CAP_SYS_PTRACE", 19, Use.KEPT,
    "sees taps, namespaces and memory nodes of a VM's process",
    "taps are matched by addresses only; no vCPU is followed",
)  # fmt: skip
DAC_READ_SEARCH = Capability(
    "CAP_DAC_READ_SEARCH", 2, Use.KEPT,
    "looks into other users' processes; not root: debugfs, too",
    "as without CAP_SYS_PTRACE; not root: no halt polling counters",
)  # fmt: skip
NET_ADMIN = Capability(
    "CAP_NET_ADMIN", 12, Use.KEPT,
    "asks a tap's descriptor for its network namespace",
    "taps of the same name in several namespaces cannot be told apart",
)  # fmt: skip
SYSLOG = Capability(
    "CAP_SYSLOG", 34, Use.KEPT,
    "sees the addresses of kernel functions in /proc/kallsyms",
    "functions that drop packets have no names",
)  # fmt: skip
DAC_OVERRIDE = Capability(
    "CAP_DAC_OVERRIDE", 1, Use.KEPT,
    "reaches Open vSwitch's database, which is another user's here",
    "bridges and ports of Open vSwitch are not known",
)  # fmt: skip
SYS_ADMIN = Capability(
    "CAP_SYS_ADMIN", 21, Use.APART,
    "opens the BTF of modules, for fentry; on Debian and Ubuntu kprobes",
    "kprobes for fentry in modules; on Debian and Ubuntu no kprobes",
)  # fmt: skip
SYS_RESOURCE = Capability(
    "CAP_SYS_RESOURCE", 24, Use.START,
    "lifts the limit on locked memory, which BPF maps count against",
    "nothing can be measured, but after `ulimit -l unlimited`",
    needed=True,
    until=(5, 11),
)  # fmt: skip
SETPCAP = Capability(
    "CAP_SETPCAP", 8, Use.START,
    "keeps what the agent starts from being root again",
    "what root's agent starts has what the agent keeps",
)  # fmt: skip

#: In the order in which people read them.
CAPABILITIES = (
    BPF,
    PERFMON,
    SYS_PTRACE,
    DAC_READ_SEARCH,
    NET_ADMIN,
    SYSLOG,
    DAC_OVERRIDE,
    SYS_ADMIN,
    SYS_RESOURCE,
    SETPCAP,
)
