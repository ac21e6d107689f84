"""The guests of a scenario: defined and started through libvirt."""

from __future__ import annotations

import contextlib
import xml.etree.ElementTree as ElementTree
from typing import Any, Optional
from xml.sax.saxutils import quoteattr

from vmlat_tui.errors import VmlatError
from vmlat_tui.lab.hypervisor.pair import GUEST_SSH_PORT
from vmlat_tui.lab.hypervisor.system import wait_for
from vmlat_tui.lab.hypervisor.whole import INITRAMFS
from vmlat_tui.lab.scenarios import BRIDGE, PREFIX4, PREFIX6, Domain, Scenario

_SHARE = "/usr/share/lab"
_MEMORY_MB = 192
#: A compiler runs in it.
_WHOLE_MEMORY_MB = 768

#: The disk with the root file system, and a vNIC that libvirt does not know of, so that nobody
#: takes it for one to be measured: QEMU itself carries what is forwarded to the guest's sshd.
_WHOLE_DISK = """
    <disk type='block' device='disk'>
      <driver name='qemu' type='raw'/>
      <source dev='/dev/vda'/>
      <target dev='vda' bus='virtio'/>
      <readonly/>
    </disk>"""
_WHOLE_OPTIONS = f"""
  <qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
    <qemu:arg value='-netdev'/>
    <qemu:arg value='user,id=mgmt,restrict=on,hostfwd=tcp::{GUEST_SSH_PORT}-10.0.2.15:22'/>
    <qemu:arg value='-device'/>
    <qemu:arg value='virtio-net-pci,netdev=mgmt,mac=52:54:00:4c:00:02,romfile=,addr=0x10'/>
  </qemu:commandline>"""

#: Where the vCPUs run.  On processor 0 the hypervisor's kernel dies now and then when a guest is
#: left, by an interrupt that comes before the host's state is back.  Most likely (read in QEMU's
#: sources): whichever processor restores its FPU state clears a flag of the first one without a
#: lock (cpu_clear_ignne), and so undoes that one's clearing of GIF.
_VCPU_PROCESSOR = 1


def connect(seconds: float = 90.0) -> Any:
    """Return a connection to libvirt, waiting for the daemon to start."""
    import libvirt  # of the distribution; only inside the hypervisor

    libvirt.registerErrorHandler(lambda context, error: None, None)

    def attempt() -> Any:
        try:
            return libvirt.open("qemu:///system")
        except libvirt.libvirtError:
            return None

    return wait_for("libvirtd to answer", attempt, seconds)


def start(connection: Any, scenario: Scenario, domain: Domain) -> None:
    """Define a domain and start it."""
    connection.defineXML(describe(scenario, domain)).create()


def destroy_all(connection: Any) -> None:
    """Stop and forget every domain."""
    import libvirt

    for domain in connection.listAllDomains():
        with contextlib.suppress(libvirt.libvirtError):
            if domain.isActive():
                domain.destroy()
        domain.undefine()


def tap(connection: Any, name: str) -> Optional[str]:
    """Return the tap device of a running domain's vNIC, ``None`` if it does not run."""
    import libvirt

    try:
        description = connection.lookupByName(name).XMLDesc(0)
    except libvirt.libvirtError as error:
        raise VmlatError("no such domain in the lab", name) from error
    target = ElementTree.fromstring(description).find("devices/interface/target")
    return None if target is None else target.get("dev")


def describe(scenario: Scenario, domain: Domain) -> str:
    """Return a domain's libvirt description."""
    words: list[str] = [
        "quiet", "nokaslr", "console=ttyS0", "panic=-1", "random.trust_cpu=on",
        f"lab.name={domain.name}",
        f"lab.ip4={domain.ip4}/{PREFIX4}",
        f"lab.ip6={domain.ip6}/{PREFIX6}",
    ]  # fmt: skip
    port = "<virtualport type='openvswitch'/>" if scenario.openvswitch else ""
    if scenario.outer_tag is not None:
        words.append(f"lab.vlan={scenario.tag}")
    elif scenario.tag is not None:
        port += f"<vlan><tag id='{scenario.tag}'/></vlan>"
    queues = f" queues='{domain.queues}'" if domain.queues > 1 else ""
    driver = f"<driver name='{'vhost' if domain.vhost else 'qemu'}'{queues}/>"
    pins = "".join(
        f"<vcpupin vcpu='{number}' cpuset='{_VCPU_PROCESSOR}'/>" for number in range(domain.vcpus)
    )
    return f"""
<domain type='kvm'>
  <name>{domain.name}</name>
  <uuid>4c4a4242-0000-4000-8000-0000000001{domain.number:02x}</uuid>
  <memory unit='MiB'>{_WHOLE_MEMORY_MB if domain.whole else _MEMORY_MB}</memory>
  <vcpu>{domain.vcpus}</vcpu>
  <cputune>{pins}</cputune>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{_SHARE}/vmlinux</kernel>
    <initrd>{INITRAMFS if domain.whole else f"{_SHARE}/guest.cpio"}</initrd>
    <cmdline>{" ".join(words)}</cmdline>
  </os>
  <features><acpi/></features>
  <!-- The emulated nested XSAVE corrupts signal frames of a 5.10 guest. -->
  <cpu mode='host-passthrough'><feature policy='disable' name='xsave'/></cpu>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>destroy</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>{_WHOLE_DISK if domain.whole else ""}
    <interface type='bridge'>
      <source bridge={quoteattr(BRIDGE)}/>
      <mac address='{domain.mac}'/>
      <model type='virtio'/>
      {driver}
      {port}
      <rom enabled='no'/>
    </interface>
    <serial type='file'><source path='/run/lab/{domain.name}.log'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
  </devices>{_WHOLE_OPTIONS if domain.whole else ""}
</domain>
"""
