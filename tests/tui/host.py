"""A hypervisor that does not exist: its topology and vitals, the same at every run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from vmlat_tui.model.topology import (
    Address,
    Backend,
    Cpu,
    Domain,
    DomainState,
    HaltPolling,
    Hop,
    IdleState,
    Interface,
    Irq,
    Known,
    Neighbour,
    Ovs,
    OvsBridge,
    OvsInterface,
    OvsPort,
    Thread,
    ThreadUse,
    Topology,
    Vcpu,
    Vitals,
    Vnic,
    Way,
    Worker,
)

#: VM names; the second has its worker on a vCPU's CPU, the third runs on the far node.
NAMES = ("web-1", "db-1", "cache-2", "mail", "build-7", "ci-runner", "ldap", "proxy")
CPUS = 16
_MONO_NS = 1_000_000_000_000


def cpus() -> tuple[Cpu, ...]:
    """Two nodes of eight CPUs, siblings side by side."""
    return tuple(
        Cpu(
            number=n,
            online=True,
            package=n // 8,
            core=n // 2,
            node=n // 8,
            siblings=(n - n % 2, n - n % 2 + 1),
            isolated=False,
            governor="performance",
            idle_driver="intel_idle",
            idle_states=(
                IdleState("C1", 2, 2, False, 0, 0),
                IdleState("C6", 133, 600, False, 0, 0),
            ),
        )
        for n in range(CPUS)
    )


def thread(tid: int, name: str, cpu: int, affinity: Optional[Sequence[int]] = None) -> Thread:
    """A thread that may run on ``affinity`` (everywhere if None)."""
    return Thread(tid, name, cpu, tuple(range(CPUS) if affinity is None else affinity), "other", 0)


def domain(number: int, name: str) -> Domain:
    """VM ``number``: two vCPUs, one vNIC with one queue, one vhost worker."""
    pid = 2000 + 100 * number
    node = 1 if number % 4 == 2 else 0
    first = (2 + 2 * number) % 8 + 8 * node
    pinned = number % 3 != 2
    vcpus = tuple(
        Vcpu(n, thread(pid + 10 + n, f"CPU {n}/KVM", first + n, [first + n] if pinned else None),
             pinned)
        for n in range(2)
    )  # fmt: skip
    worker_cpu = first if number % 4 == 1 else (0 if node else first + 4) % CPUS
    worker = Worker(
        thread(pid + 30, f"vhost-{pid}", worker_cpu, [worker_cpu]), True, (f"{tap(number)}/0",)
    )
    return Domain(
        name=name,
        uuid=f"00000000-0000-4000-8000-{number:012d}",
        known=Known.LIBVIRT,
        state=DomainState.RUNNING,
        pid=pid,
        memory_kb=4 << 20,
        memory_nodes=(node,),
        vcpus=vcpus,
        vnics=(
            Vnic(
                tap=tap(number),
                mac=f"52:54:00:00:00:{number:02x}",
                model="virtio",
                backend=Backend.VHOST,
                queues=1,
                mtu=1500,
                source="br-int",
                addresses=(Address(f"10.0.0.{10 + number}", "agent"),),
            ),
        ),
        workers=(worker,),
        emulator=(thread(pid, "qemu-system-x86", first),),
    )


def tap(number: int) -> str:
    """The device of VM ``number``."""
    return f"vnet{number}"


def interface(name: str, ifindex: int, kind: str, **fields: object) -> Interface:
    """An interface with whatever is not said left unknown."""
    values: dict[str, object] = {
        "mac": f"02:00:00:00:00:{ifindex:02x}",
        "mtu": 1500,
        "up": True,
        "carrier": True,
        "master": None,
        "lowers": (),
        "driver": None,
        "node": None,
        "speed_mbps": None,
        "queue_length": 1000,
        "peer_namespace": None,
        "details": {},
        "statistics": {},
        "coalescing": {},
        "offloads": {},
        "qdiscs": (),
        "irqs": (),
        **fields,
    }
    return Interface(name, ifindex, kind, **values)  # type: ignore[arg-type]


def topology(
    names: Sequence[str] = NAMES[:3], notes: Sequence[str] = (), t_ns: int = _MONO_NS
) -> Topology:
    """The host with these VMs on one Open vSwitch bridge with one uplink."""
    taps = [tap(n) for n in range(len(names))]
    ports = [
        OvsPort(
            name, None, (), None, None, None, (OvsInterface(name, "system", n + 1, None, {}, {}),)
        )
        for n, name in enumerate([*taps, "ens1f0"])
    ]
    nic = interface(
        "ens1f0",
        2,
        "device",
        driver="ice",
        node=0,
        speed_mbps=25000,
        master="ovs-system",
        irqs=(Irq(120, "ice-ens1f0-TxRx-0", (1,), (1,)),),
    )
    return Topology(
        t_ns=t_ns,
        host="hv1",
        kernel="6.1.0-44-amd64",
        cpus=cpus(),
        domains=tuple(domain(n, name) for n, name in enumerate(names)),
        interfaces=(
            nic,
            *(interface(t, 10 + n, "tun", master="ovs-system") for n, t in enumerate(taps)),
        ),
        ovs=Ovs("running", "3.1.0", (OvsBridge("br-int", "system", tuple(ports)),)),
        ways=tuple(
            Way(
                t,
                (
                    Hop(t, "tap of the vNIC"),
                    Hop("br-int", "port of the bridge"),
                    Hop("ens1f0", "its only uplink"),
                ),
                ("ens1f0",),
                None,
            )
            for t in taps
        ),
        halt_polling=HaltPolling(200_000, 2, 10_000, 0),
        busy_poll_us={},
        notes=tuple(notes),
    )


def wandered(one: Thread, tick: int) -> Optional[int]:
    """Where a thread is at a tick: one that may run everywhere goes away now and then."""
    if one.cpu is None or len(one.cpus) < CPUS:
        return one.cpu
    return (one.cpu + {5: -2, 6: -2, 9: 8}.get((tick + one.tid) % 10, 0)) % CPUS


def vitals(host: Topology, tick: int, seconds: float = 1.0) -> Vitals:
    """Counters after ``tick`` intervals; every VM is a little busier than the one before."""
    t_ns = host.t_ns + int(tick * seconds * 1e9)
    threads = []
    neighbours = []
    halt = {}
    interfaces = {}
    for n, vm in enumerate(host.domains):
        work = tick * seconds * (1 + n % 5)
        for thread_ in [*(v.thread for v in vm.vcpus if v.thread), *(w.thread for w in vm.workers)]:
            threads.append(
                ThreadUse(
                    thread_.tid,
                    wandered(thread_, tick),
                    int(work * 90_000_000),
                    int(work * 1_500_000),
                    int(work * 2100),
                    int(work * 37),
                )
            )
        for worker in vm.workers:
            cpu = worker.thread.cpu or 0
            neighbours += [
                Neighbour(cpu, 9000 + cpu, f"ksoftirqd/{cpu}", int(work * 4_000_000)),
                Neighbour(cpu, 9100 + cpu, "node_exporter", int(work * 23_000_000)),
            ]
        halt[vm.name] = {
            "halt_attempted_poll": int(work * 820),
            "halt_successful_poll": int(work * 590),
            "halt_poll_invalid": int(work * 3),
            "halt_wakeup": int(work * 240),
            "halt_poll_success_ns": int(work * 590 * 21_000),
            "halt_poll_fail_ns": int(work * 230 * 48_000),
            "halt_wait_ns": int(work * 240 * 1_900_000),
        }
        for vnic in vm.vnics:
            interfaces[vnic.tap or ""] = {
                "rx_packets": int(work * 5200),
                "tx_packets": int(work * 4700),
                "rx_bytes": int(work * 5200 * 180),
                "tx_bytes": int(work * 4700 * 910),
                "rx_dropped": 0,
                "tx_dropped": int(work * 2) if n == 1 else 0,
            }
    interfaces["ens1f0"] = {"rx_packets": tick * 30000, "tx_packets": tick * 33000}
    return Vitals(t_ns, tuple(threads), tuple(neighbours), halt, interfaces, {})
