"""The measured network of a scenario: bridge, uplink, wire and the remote side."""

from __future__ import annotations

from pathlib import Path

from vmlat_tui.lab.hypervisor.system import ip, run, wait_for
from vmlat_tui.lab.scenarios import (
    BRIDGE,
    PREFIX4,
    PREFIX6,
    REMOTE_IP4,
    REMOTE_IP6,
    REMOTE_NS,
    Scenario,
)

_PHYSICAL = ("phy0", "phy1")
_REMOTE = ("remote0", "remote1")


def prepare(scenario: Scenario) -> None:
    """Do once what every scenario needs: quiet uplinks, and unless paired, the remote namespace."""
    # The hypervisor itself takes no part in the measured network.
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
    for name in _PHYSICAL:
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
    if scenario.paired:
        return
    ip([f"netns add {REMOTE_NS}", *(f"link set {name} netns {REMOTE_NS}" for name in _REMOTE)])
    run(
        ["ip", "netns", "exec", REMOTE_NS, "sh", "-c",
         "for f in default all; do echo 0 >/proc/sys/net/ipv6/conf/$f/accept_dad; done;"
         "for d in remote0 remote1; do echo 0 >/proc/sys/net/ipv6/conf/$d/accept_dad; done;"
         "ip link set lo up; exec traffic serve --detach"],
    )  # fmt: skip


def set_up(scenario: Scenario) -> None:
    """Make a scenario's bridge, uplink and remote side."""
    if not scenario.paired:
        _remote_side(scenario)
    if scenario.bond:
        ip(
            [
                "link add bond0 type bond mode active-backup miimon 100",
                *(f"link set {name} down" for name in scenario.members),
                *(f"link set {name} master bond0" for name in scenario.members),
                "link set bond0 up",
            ]
        )
    else:
        ip([f"link set {scenario.uplink} mtu {_mtu(scenario)} up"])
    if scenario.openvswitch:
        wait_for_openvswitch()
        command = ["ovs-vsctl", "--timeout=60", "--may-exist", "add-br", BRIDGE]
        run([*command, "--", "--may-exist", "add-port", BRIDGE, scenario.uplink])
    else:
        ip(
            [
                f"link add {BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                f"link set {scenario.uplink} master {BRIDGE}",
            ]
        )
    ip([f"link set {BRIDGE} up"])


def tear_down(scenario: Scenario) -> None:
    """Remove what :func:`set_up` made, and any queueing discipline put on the uplinks since."""
    if scenario.openvswitch:
        run(["ovs-vsctl", "--timeout=60", "--if-exists", "del-br", BRIDGE])
    else:
        ip([f"link del {BRIDGE}"], force=True)
    ip(["link del bond0"] if scenario.bond else [], force=True)
    ip([f"link set {name} down" for name in _PHYSICAL], force=True)
    for name in _PHYSICAL:
        run(["tc", "qdisc", "del", "dev", name, "root"], check=False)
    ip(
        [
            *(f"link del {name}" for name in ("inner", "tagged", "outer", "rbr0")),
            *(f"addr flush dev {name}" for name in _REMOTE),
            *(f"link set {name} down" for name in _REMOTE),
        ],
        namespace=REMOTE_NS,
        force=True,
    )


def double_tag(scenario: Scenario, port: str) -> None:
    """Let the switch put the outer tag around the frames that a guest's port sends."""
    if scenario.outer_tag is not None:
        run(
            ["ovs-vsctl", "--timeout=60", "set", "port", port, "vlan_mode=dot1q-tunnel",
             f"tag={scenario.outer_tag}", f"cvlans={scenario.tag}"],
        )  # fmt: skip


def wait_for_openvswitch(seconds: float = 60.0) -> None:
    """Wait until the switch daemon answers."""
    socket = Path("/run/openvswitch/db.sock")
    pid = Path("/run/openvswitch/ovs-vswitchd.pid")
    wait_for("Open vSwitch to start", lambda: socket.exists() and pid.exists(), seconds)


def _mtu(scenario: Scenario) -> int:
    """Return the MTU of the wire: the kernel's switch counts an inner tag as payload."""
    return 1500 if scenario.outer_tag is None else 1504


def _remote_side(scenario: Scenario) -> None:
    wires = _REMOTE[: len(scenario.members)]
    lines: list[str] = [f"link set {name} mtu {_mtu(scenario)} up" for name in wires]
    if scenario.bond:  # a bridge learns which member of the bond is the active one
        lines.append("link add rbr0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
        lines += [f"link set {name} master rbr0" for name in wires]
    elif scenario.outer_tag is not None:
        lines.append(
            f"link add link remote0 name outer type vlan protocol 802.1ad id {scenario.outer_tag}"
        )
        lines.append("link set outer up")
        lines.append(f"link add link outer name inner type vlan id {scenario.tag}")
    elif scenario.tag is not None:
        lines.append(f"link add link remote0 name tagged type vlan id {scenario.tag}")
    device = scenario.remote_device
    lines += [
        f"link set {device} up",
        f"addr add {REMOTE_IP4}/{PREFIX4} dev {device}",
        f"addr add {REMOTE_IP6}/{PREFIX6} dev {device} nodad",
    ]
    ip(lines, namespace=REMOTE_NS)
