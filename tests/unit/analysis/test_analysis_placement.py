"""What looks wrong from placement and settings alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tui import host
from vmlat_tui.analysis.findings.finding import Severity
from vmlat_tui.analysis.findings.static import headline, standing
from vmlat_tui.analysis.placement import cpu_list, node_of
from vmlat_tui.model.topology import Backend, Domain, DomainState, HaltPolling, Topology

HOST: Topology = host.topology(host.NAMES[:4])


def words(topology: Topology, domain: Domain) -> list[str]:
    """The words of all findings about a VM."""
    return [f.word for f in standing(topology, domain)]


def test_a_vm_that_is_placed_well_has_no_findings() -> None:
    assert standing(HOST, HOST.domains[0]) == [] and headline([]) == ""


def test_a_worker_bound_to_the_cpu_of_a_bound_vcpu_is_wrong() -> None:
    found = standing(HOST, HOST.domains[1])
    assert found[0].word == "worker on vCPU's CPU" and found[0].severity is Severity.WRONG
    assert "vCPU 0 are both bound to CPU 4" in found[0].sentence


def test_a_worker_away_from_the_memory_is_wrong_and_comes_first() -> None:
    found = standing(HOST, HOST.domains[2])
    assert [f.word for f in found] == ["worker on far node", "vCPUs unpinned"]
    assert headline([f.word for f in found]) == "worker on far node +1"


def test_a_worker_on_the_sibling_of_a_vcpu_is_a_note() -> None:
    domain = HOST.domains[0]
    worker = replace(domain.workers[0], thread=host.thread(9, "vhost", 3, [3]))
    vcpu = replace(domain.vcpus[0], thread=host.thread(8, "CPU 0/KVM", 2, [2]))
    moved = replace(domain, vcpus=(vcpu,), workers=(worker,))
    assert words(HOST, moved) == ["worker beside vCPU"]


def test_a_worker_that_may_run_anywhere_is_not_blamed_for_where_it_ran() -> None:
    domain = HOST.domains[1]
    worker = replace(domain.workers[0], thread=host.thread(9, "vhost", 4))
    assert words(HOST, replace(domain, workers=(worker,))) == []


def test_a_vcpu_away_from_the_memory_is_a_suspect() -> None:
    domain = HOST.domains[0]
    vcpu = replace(domain.vcpus[0], thread=host.thread(8, "CPU 0/KVM", 12, [12]))
    assert "vCPU on far node" in words(HOST, replace(domain, vcpus=(vcpu,)))


def test_a_nic_on_another_node_is_a_note() -> None:
    domain = HOST.domains[0]
    worker = replace(domain.workers[0], thread=host.thread(9, "vhost", 12))
    found = words(HOST, replace(domain, workers=(worker,), memory_nodes=()))
    assert found == ["NIC on far node"]


@pytest.mark.parametrize(("off", "word"), [(0, ["halt polling off"]), (None, []), (200_000, [])])
def test_halt_polling_that_is_off_is_a_suspect(off: int | None, word: list[str]) -> None:
    topology = replace(HOST, halt_polling=HaltPolling(off, None, None, None))
    assert words(topology, topology.domains[0]) == word


def test_a_vnic_without_vhost_or_virtio_is_a_suspect() -> None:
    domain = HOST.domains[0]
    vnic = domain.vnics[0]
    assert words(HOST, replace(domain, vnics=(replace(vnic, backend=Backend.QEMU),))) == [
        "no vhost"
    ]
    assert words(HOST, replace(domain, vnics=(replace(vnic, model="e1000"),))) == ["no virtio"]


def test_a_vm_that_does_not_run_is_not_judged() -> None:
    assert standing(HOST, replace(HOST.domains[2], state=DomainState.OFF)) == []


def test_cpus_are_listed_as_the_kernel_does() -> None:
    assert cpu_list((0, 1, 2, 8, 5, 6)) == "0-2,5-6,8" and cpu_list(()) == ""
    assert node_of(HOST, 12) == 1 and node_of(HOST, None) is None
