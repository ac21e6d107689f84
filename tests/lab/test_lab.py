"""The lab itself: every scenario is what it says, seen from inside its hypervisor."""

import glob
import os
import platform
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from vmlat_tui.lab import inside, scenarios
from vmlat_tui.probes import cache

ALL = scenarios.ALONE


def addresses(vm: Any) -> Any:
    return [vm.ip4, vm.ip6]


def vmlat_lab(*words: Any, **options: Any) -> Any:
    """Run ``vmlat lab`` as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "vmlat_tui", "lab", *words],
        capture_output=True, timeout=90, check=False, **options
    )  # fmt: skip


def capture(device: Any, expression: Any, work: Any, count: int = 200) -> Any:
    """Return what tcpdump sees (link headers included) while ``work`` runs."""
    with subprocess.Popen(
        ["tcpdump", "-l", "-n", "-e", "-U", "-i", device, "-c", str(count), expression],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as sniffer:  # fmt: skip
        assert sniffer.stdout and sniffer.stderr
        for line in sniffer.stderr:
            if b"listening on" in line:
                break
        work()
        time.sleep(1.5)
        sniffer.terminate()
        return sniffer.stdout.read().decode(errors="replace")


@pytest.mark.parametrize("name", ALL)
def test_scenario(name: Any, scenario: Any, remote: Any, guest: Any) -> None:
    """Everything that every scenario promises; one test, so that each is set up once."""
    lab = scenario(name)
    assert lab.scenario == name
    assert os.environ["VMLAT_LAB_SCENARIO"] == name
    check_environment(lab)
    for vm in lab.vms.values():
        for address in addresses(vm):
            done = remote(["ping", "-n", "-c", "3", "-i", "0.2", "-w", "15", address])
            assert done.status == 0, done
            wanted = b"sent 64 received 64 distinct 64 wrong 0\n"
            check_sometime(wanted, remote, ["traffic", "udp", address, "7001", "64"])
            done = remote(["traffic", "tcp", address, "7000", str(1 << 20)], seconds=120)
            assert done.stdout == b"sent 1048576 received 1048576 wrong 0\n", done
        for address in (lab.remote_ip4, lab.remote_ip6):
            done = guest(vm.name, "ping -c 2 " + address)
            assert done.status == 0, done
            wanted = b"sent 20 received 20 distinct 20 wrong 0\n"
            command = f"traffic udp {address} 7001 20 200 0.005"
            check_sometime(wanted, guest, vm.name, command)
            done = guest(vm.name, f"traffic tcp {address} 7000 300000")
            assert done.stdout == b"sent 300000 received 300000 wrong 0\n", done
    {
        "ovs": check_openvswitch,
        "bridge": check_bridge,
        "vlan": check_vlan,
        "qinq": check_qinq,
        "bond": check_bond,
        "two-vms": check_two_vms,
        "qemu": check_qemu,
    }[name](lab, remote, guest)


def check_sometime(wanted: bytes, run: Any, *arguments: Any) -> None:
    """Datagrams get lost when the machine that emulates all this is busy; not in every try."""
    for _ in range(5):
        done = run(*arguments)
        if done.stdout == wanted:
            return
    raise AssertionError(done)


def check_environment(lab: Any) -> None:
    fresh = inside.environment()
    assert fresh["VMLAT_LAB"] == "1"
    assert fresh["VMLAT_LAB_KERNEL"] == lab.kernel
    assert platform.release().startswith(lab.kernel + ".")
    assert fresh["VMLAT_UPLINK"] == lab.uplink
    assert fresh["VMLAT_UPLINK_MEMBERS"].split() == list(lab.uplink_members)
    assert fresh["VMLAT_DOMAINS"].split() == list(lab.vms)
    assert (fresh["VMLAT_REMOTE_IP4"], fresh["VMLAT_REMOTE_IP6"]) == (
        lab.remote_ip4,
        lab.remote_ip6,
    )
    for device in [lab.uplink, lab.bridge, *lab.uplink_members]:
        assert os.path.exists("/sys/class/net/" + device)
    for vm in lab.vms.values():
        stem = "VMLAT_" + vm.name.upper().replace("-", "_")
        assert fresh[stem + "_IP4"] == vm.ip4
        assert fresh[stem + "_IP6"] == vm.ip6
        assert fresh[stem + "_MAC"] == vm.mac
        assert fresh[stem + "_VNET"] == vm.vnet
        assert os.path.exists(f"/sys/class/net/{vm.vnet}/tun_flags")


def vhost_threads(pid: Any) -> Any:
    """Return the vhost workers of a QEMU, kernel threads and threads of its own."""
    found = []
    for path in glob.glob("/proc/[0-9]*/task/*/comm"):
        try:
            with open(path) as file:
                if file.read().strip() == f"vhost-{pid}":
                    found.append(path)
        except OSError:
            pass
    return found


def qemu_pid(name: Any) -> Any:
    with open(f"/run/libvirt/qemu/{name}.pid") as file:
        return int(file.read())


def check_openvswitch(lab: Any, remote: Any, guest: Any) -> None:
    done = subprocess.run(
        ["ovs-vsctl", "list-ports", lab.bridge], stdout=subprocess.PIPE, check=True, timeout=30
    )
    assert sorted(done.stdout.decode().split()) == sorted(["phy0", lab.vms["vm-a"].vnet])
    assert vhost_threads(qemu_pid("vm-a"))
    for place in ("/sys/kernel/debug/kvm", "/sys/kernel/tracing/events", "/sys/kernel/btf/vmlinux"):
        assert os.path.exists(place), place


def check_bridge(lab: Any, remote: Any, guest: Any) -> None:
    for device in ("phy0", lab.vms["vm-a"].vnet):
        assert os.path.exists(f"/sys/class/net/{lab.bridge}/brif/{device}")


def ping_remote(guest: Any, lab: Any) -> Any:
    return lambda: guest("vm-a", "ping -c 2 " + lab.remote_ip4)


def check_vlan(lab: Any, remote: Any, guest: Any) -> None:
    on_wire = capture("phy0", "vlan 100 and icmp", ping_remote(guest, lab))
    assert len(re.findall(r"vlan 100, .*echo request", on_wire)) == 2, on_wire
    at_guest = capture(lab.vms["vm-a"].vnet, "icmp", ping_remote(guest, lab))
    assert "echo reply" in at_guest and "vlan" not in at_guest, at_guest


def check_qinq(lab: Any, remote: Any, guest: Any) -> None:
    on_wire = capture("phy0", "", ping_remote(guest, lab))
    double = r"ethertype 802.1Q-QinQ \(0x88a8\), .*vlan 200, .*vlan 10, .*echo {}"
    assert len(re.findall(double.format("request"), on_wire)) == 2, on_wire
    assert len(re.findall(double.format("reply"), on_wire)) == 2, on_wire
    at_guest = capture(lab.vms["vm-a"].vnet, "", ping_remote(guest, lab))
    assert re.search(r"vlan 10, .*echo reply", at_guest) and "vlan 200" not in at_guest, at_guest


def check_bond(lab: Any, remote: Any, guest: Any) -> None:
    with open("/sys/class/net/bond0/bonding/slaves") as file:
        assert sorted(file.read().split()) == ["phy0", "phy1"]
    # The wire survives the loss of the active member.
    with open("/sys/class/net/bond0/bonding/active_slave") as file:
        active = file.read().strip()
    subprocess.run(["ip", "link", "set", active, "down"], check=True, timeout=30)
    try:
        done = remote(["ping", "-n", "-c", "3", "-i", "0.5", "-w", "20", lab.vms["vm-a"].ip4])
        assert done.status == 0, done
    finally:
        subprocess.run(["ip", "link", "set", active, "up"], check=True, timeout=30)


def check_two_vms(lab: Any, remote: Any, guest: Any) -> None:
    assert guest("vm-b", "grep -c ^processor /proc/cpuinfo").stdout == b"2\n"
    queues = glob.glob("/sys/class/net/{}/queues/rx-*".format(lab.vms["vm-b"].vnet))
    assert len(queues) == 2
    assert len(glob.glob("/sys/class/net/{}/queues/rx-*".format(lab.vms["vm-a"].vnet))) == 1
    inner = guest("vm-b", "ls /sys/class/net/eth0/queues").stdout.split()
    assert inner == [b"rx-0", b"rx-1", b"tx-0", b"tx-1"]
    assert len(vhost_threads(qemu_pid("vm-b"))) == 2
    command = "traffic udp {} 7001 64".format(lab.vms["vm-b"].ip4)
    check_sometime(b"sent 64 received 64 distinct 64 wrong 0\n", guest, "vm-a", command)


def check_qemu(lab: Any, remote: Any, guest: Any) -> None:
    assert vhost_threads(qemu_pid("vm-a")) == []


@pytest.mark.once
def test_parallel_connections(scenario: Any, remote: Any) -> None:
    """Several bulk streams at once, all intact."""
    lab = scenario("ovs")
    done = {}

    def stream(number: Any, address: Any) -> None:
        done[number] = remote(["traffic", "tcp", address, "7000", "2000000"], seconds=120)

    threads = [
        threading.Thread(target=stream, args=(number, addresses(lab.vms["vm-a"])[number % 2]))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.stdout for each in done.values()] == [
        b"sent 2000000 received 2000000 wrong 0\n"
    ] * 4


@pytest.mark.once
def test_guest_command(scenario: Any) -> None:
    """``lab guest`` gives back both streams, the exit status, and does not need the network."""
    lab = scenario("ovs")
    subprocess.run(["ip", "link", "set", lab.vms["vm-a"].vnet, "down"], check=True, timeout=30)
    try:
        done = vmlat_lab("guest", "vm-a", "--", "cat; echo err >&2; exit 7", input=b"in\n")
    finally:
        subprocess.run(["ip", "link", "set", lab.vms["vm-a"].vnet, "up"], check=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"in\n", b"err\n")


@pytest.mark.once
def test_guest_command_refused() -> None:
    """What cannot be done is said in one line."""
    done = vmlat_lab("guest", "vm-z", "--", "true", input=b"")
    assert done.returncode == 2
    assert done.stderr.startswith(b"vmlat: no such domain in the lab: vm-z; there are: vm-a")
    done = vmlat_lab("guest", "--timeout", "2", "vm-a", "--", "sleep 60", input=b"")
    assert done.returncode == 1
    assert b"waited 2 s for: " in done.stderr
    assert inside.guest("vm-a", "pidof sleep | wc -w").stdout == b"1\n"  # only init's own


def test_guest_comes_back(scenario: Any, remote: Any) -> None:
    """A destroyed guest is started again and has a new tap."""
    lab = scenario("ovs")
    before = lab.vms["vm-a"].vnet
    subprocess.run(
        ["virsh", "-q", "destroy", "vm-a"], check=True, timeout=60, stdout=subprocess.PIPE
    )
    assert inside.lab().vms["vm-a"].vnet is None
    assert not os.path.exists("/sys/class/net/" + before)
    assert os.path.exists("/sys/class/net/" + inside.start_domain("vm-a"))
    assert remote(["ping", "-n", "-c", "1", "-w", "10", lab.vms["vm-a"].ip6]).status == 0


@pytest.mark.once
def test_openvswitch_restarts(scenario: Any, remote: Any) -> None:
    """The switch's daemons can be ended and started by hand."""
    lab = scenario("ovs")
    subprocess.run(["lab-ovs", "restart"], check=True, timeout=60, stderr=subprocess.PIPE)
    done = remote(["ping", "-n", "-c", "3", "-w", "20", lab.vms["vm-a"].ip4])
    assert done.status == 0, done


def test_uplink_has_napi(scenario: Any, guest: Any) -> None:
    """The uplink is a NIC with NAPI: GRO runs on what comes from the wire."""
    lab = scenario("ovs")
    trace = Path("/sys/kernel/tracing/instances/test_lab")
    trace.mkdir()
    try:
        event = trace / "events/net/napi_gro_receive_entry"
        (event / "filter").write_text('name == "phy0"')
        (event / "enable").write_text("1")
        done = guest("vm-a", f"traffic tcp {lab.remote_ip4} 7000 200000")
        assert done.status == 0, done
        (event / "enable").write_text("0")
        hits = (trace / "trace").read_text().count("dev=phy0")
    finally:
        trace.rmdir()
    assert hits > 50


def test_what_was_compiled_is_found_again_although_reads_are_short_here() -> None:
    """They come over 9p, which gives at most 252 KiB a read."""
    key, content = "f" * 64, os.urandom(1 << 20)
    cache.store(key, content)
    try:
        assert cache.load(key) == content
    finally:
        Path(f"/var/cache/vmlat/bpf/{key[:32]}.json").unlink()
