"""What a hypervisor of a pair has besides: a name, the management cable, and ways to everybody.

The management cable joins the second NICs.  Hypervisors have addresses on it, and forward a port to
the sshd of their guests; the measured network carries nothing of it.
"""

from __future__ import annotations

import socket
from pathlib import Path

from vmlat_tui.lab.hypervisor.system import ip, run
from vmlat_tui.lab.scenarios import Scenario

#: The hypervisor's port behind which its guest's sshd is.
GUEST_SSH_PORT = 2222

_DEVICE = "phy1"
_SSHD_CONFIG = Path("/etc/ssh/lab_sshd_config")
_HOST_KEY_NAME = "lab"


def address(hypervisor: int) -> str:
    """The address of a hypervisor, by its index, on the management cable."""
    return f"192.168.78.{2 + hypervisor}"


def prepare(scenario: Scenario, hypervisor: int) -> None:
    """Make this hypervisor one of the pair."""
    socket.sethostname(scenario.hypervisors[hypervisor])
    # Both come with the same hardware addresses.
    ip([f"link set {name} address {_mac(hypervisor, name)}" for name in ("phy0", "phy1")])
    ip([f"address add {address(hypervisor)}/24 dev {_DEVICE}", f"link set {_DEVICE} up"])
    with open("/etc/hosts", "a", encoding="ascii") as hosts:
        hosts.write(hosts_lines(scenario))
    home = Path("/root/.ssh")
    (home / "config").write_text(ssh_config(scenario))
    public = run(["ssh-keygen", "-y", "-f", "/lab/host_key"])
    (home / "known_hosts").write_text(f"{_HOST_KEY_NAME} {public}")
    _start_sshd(address(hypervisor))


def hosts_lines(scenario: Scenario) -> str:
    """Lines of /etc/hosts: the hypervisors, and the guests in the measured network."""
    pairs = [(address(n), name) for n, name in enumerate(scenario.hypervisors)]
    pairs += [(domain.ip4, domain.name) for domain in scenario.domains]
    return "".join(f"{where} {name}\n" for where, name in pairs)


def ssh_config(scenario: Scenario) -> str:
    """Everybody's ways: by name or by address, and never by the measured network."""
    lines = []
    for number, name in enumerate(scenario.hypervisors):
        lines += [f"Host {name} {address(number)}", f"    HostName {address(number)}"]
    for domain in scenario.domains:
        lines += [
            f"Host {domain.name} {domain.ip4} {domain.ip6}",
            f"    HostName {address(domain.hypervisor)}",
            f"    Port {GUEST_SSH_PORT}",
        ]
    options = {
        "User": "root",
        "IdentityFile": "/lab/key",
        "IdentitiesOnly": "yes",
        "HostKeyAlias": _HOST_KEY_NAME,
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": "60",
        # The cheapest to emulate.
        "KexAlgorithms": "curve25519-sha256",
    }
    lines += ["Host *", *(f"    {name} {value}" for name, value in options.items())]
    return "\n".join(lines) + "\n"


def _mac(hypervisor: int, device: str) -> str:
    return f"52:54:00:4c:{0x11 + hypervisor:02x}:{int(device[-1]):02x}"


def _start_sshd(where: str) -> None:
    """Another sshd, as the first one is only for the machine that started this one."""
    lines = _SSHD_CONFIG.read_text().splitlines()
    changed = {"ListenAddress": where, "PidFile": "/run/lab/sshd-pair.pid"}
    path = Path("/run/lab/sshd_config")
    kept = [line for line in lines if line.split(" ")[0] not in changed]
    path.write_text("\n".join([*kept, *(" ".join(each) for each in changed.items())]) + "\n")
    run(["/usr/sbin/sshd", "-f", str(path), "-E", "/run/lab/sshd-pair.log"])
