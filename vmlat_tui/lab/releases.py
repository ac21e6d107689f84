"""The hypervisors the lab can build: one Debian release, and so one kernel, each."""

from __future__ import annotations

from dataclasses import dataclass

from vmlat_tui.errors import UsageError

#: What every hypervisor needs; each release brings its own versions.
_PACKAGES = (
    "linux-image-amd64",
    "python3",
    "python3-bpfcc",
    "python3-libvirt",
    "python3-openvswitch",
    "python3-pyroute2",
    "python3-pytest",
    "bpftrace",
    "openvswitch-switch",
    "libvirt-daemon",
    "libvirt-daemon-driver-qemu",
    "libvirt-clients",
    "qemu-system-x86",
    "qemu-guest-agent",
    "openssh-server",
    "iproute2",
    "ethtool",
    "iputils-ping",
    "tcpdump",
    "iperf3",
    "socat",
    "busybox-static",
    "procps",
    "kmod",
    "mount",
)


@dataclass(frozen=True)
class Release:
    """One Debian release: its kernel series as the user names it, its suite and packages."""

    kernel: str
    suite: str
    debian: int
    extra_packages: tuple[str, ...] = ()

    @property
    def packages(self) -> tuple[str, ...]:
        """Every package the hypervisor's root file system is made of."""
        return _PACKAGES + self.extra_packages


#: Only the oldest has kernel headers: there they are compared with the kernel's own type data.
RELEASES: dict[str, Release] = {
    release.kernel: release
    for release in (
        Release("5.10", "bullseye", 11, ("linux-headers-amd64",)),
        Release("6.1", "bookworm", 12),
        Release("6.12", "trixie", 13, ("zstd",)),
    )
}

DEFAULT_KERNEL = "6.1"


def release(kernel: str) -> Release:
    """Return the release with this kernel, or say which there are."""
    try:
        return RELEASES[kernel]
    except KeyError:
        raise UsageError(
            "no such kernel", repr(kernel), f"choose one of {', '.join(RELEASES)}"
        ) from None
