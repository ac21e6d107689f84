"""VMs as libvirt describes them: real texts, its own test driver, and what it may answer oddly."""

from __future__ import annotations

import functools
import threading
import time
from typing import Any, Callable

import pytest

from vmlat_tui.discover.bounded import BoundedCall
from vmlat_tui.discover.vms import domains
from vmlat_tui.discover.vms.domains import (
    GuestAgents,
    Libvirt,
    decode_addresses,
    describe,
    state_of,
)
from vmlat_tui.model.topology import Address, Backend, DomainState

#: virsh dumpxml of a running VM (libvirt 9, Debian 12), shortened, with vNICs of every kind.
XML = """
<domain type='kvm' id='1'>
  <name>vm&lt;a&gt;</name>
  <uuid>4c4a4242-0000-4000-8000-000000000101</uuid>
  <memory unit='KiB'>196608</memory>
  <currentMemory unit='KiB'>196608</currentMemory>
  <vcpu placement='static' current='1'>2</vcpu>
  <devices>
    <interface type='bridge'>
      <mac address='52:54:00:77:00:0A'/>
      <source bridge='br0'/>
      <virtualport type='openvswitch'>
        <parameters interfaceid='c1a3c8e7-1111-4222-8333-000000000000'/>
      </virtualport>
      <target dev='vnet0'/>
      <model type='virtio'/>
      <driver name='vhost' queues='2'/>
      <mtu size='9000'/>
      <alias name='net0'/>
    </interface>
    <interface type='network'>
      <source network='default' portid='x' bridge='virbr0'/>
      <target dev='vnet1'/><model type='virtio'/><driver name='qemu'/>
    </interface>
    <interface type='direct'>
      <mac address='52:54:00:00:00:02'/><source dev='eth0' mode='bridge'/>
      <target dev='macvtap0'/><model type='e1000'/>
    </interface>
    <interface type='vhostuser'>
      <source type='unix' path='/run/vhost.sock' mode='server'/><model type='virtio'/>
    </interface>
    <interface type='hostdev'><source><address type='pci'/></source></interface>
    <interface type='ethernet'><target dev='tap7'/><model type='virtio'/></interface>
    <channel type='unix'>
      <target type='virtio' name='org.qemu.guest_agent.0' state='connected'/>
    </channel>
  </devices>
</domain>"""


def test_every_kind_of_vnic_is_described() -> None:
    one = describe(XML, DomainState.RUNNING)
    assert (one.name, one.uuid[-4:], one.memory_kb, one.vcpus) == ("vm<a>", "0101", 196608, 2)
    assert one.agent
    rows = [(v.tap, v.model, v.backend.value, v.queues, v.source) for v in one.vnics]
    assert rows == [
        ("vnet0", "virtio", "vhost", 2, "br0"),
        ("vnet1", "virtio", "qemu", 1, "default"),
        ("macvtap0", "e1000", "qemu", 1, "eth0"),
        (None, "virtio", "vhost-user", 1, "/run/vhost.sock"),
        (None, None, "other", 1, None),
        ("tap7", "virtio", "vhost", 1, None),
    ]
    assert one.named == {0, 1, 3, 4}, "of the others the back end is only presumed"
    assert one.vnics[0].mac == "52:54:00:77:00:0a" and one.vnics[0].mtu == 9000


def test_a_vm_that_is_off_has_no_tap() -> None:
    assert [v.tap for v in describe(XML, DomainState.OFF).vnics] == [None] * 6


@pytest.mark.parametrize("agent", ["disconnected", ""])
def test_an_agent_counts_only_when_it_is_there(agent: str) -> None:
    assert not describe(XML.replace("connected", agent or "x"), DomainState.RUNNING).agent


@pytest.mark.parametrize("xml", ["", "<domain>", "nonsense"])
def test_what_is_no_description_is_refused(xml: str) -> None:
    with pytest.raises(ValueError):
        describe(xml, DomainState.RUNNING)


@pytest.mark.parametrize(
    ("numbers", "state"),
    [
        ((1, 1), DomainState.RUNNING),
        ((2, 0), DomainState.RUNNING),
        ((3, 1), DomainState.PAUSED),
        ((3, 11), DomainState.STARTING),
        ((4, 1), DomainState.STOPPING),
        ((5, 2), DomainState.OFF),
        ((6, 1), DomainState.CRASHED),
        ((7, 0), DomainState.SUSPENDED),
        ((0, 0), DomainState.UNKNOWN),
        ((99, 0), DomainState.UNKNOWN),
    ],
)
def test_states_have_the_models_words(numbers: tuple[int, int], state: DomainState) -> None:
    assert state_of(*numbers) is state


def test_addresses_are_by_vnic_and_without_loopback() -> None:
    answer = {
        "lo": {"hwaddr": "00:00:00:00:00:00", "addrs": [{"addr": "127.0.0.1", "type": 0}]},
        "eth0": {"hwaddr": "52:54:00:77:00:0A", "addrs": [{"addr": "10.0.0.1", "type": 0}]},
        "eth0.7": {"hwaddr": "52:54:00:77:00:0a", "addrs": [{"addr": "fd00::1", "type": 1}]},
        "down": {"hwaddr": "52:54:00:77:00:0b", "addrs": None},
        "odd": {"hwaddr": None, "addrs": [{"addr": "10.0.0.2", "type": 0}]},
    }
    assert decode_addresses(answer, "agent") == {
        "52:54:00:77:00:0a": (Address("10.0.0.1", "agent"), Address("fd00::1", "agent"))
    }


def test_a_guests_agent_may_say_anything() -> None:
    """libvirt passes on what the guest answers."""
    mac = "52:54:00:77:00:0a"
    many = [{"addr": f"10.0.{n >> 8}.{n & 255}"} for n in range(5000)]
    answer = {
        "odd": {"hwaddr": mac, "addrs": [{"addr": a} for a in ("x", "²", "\x1b[2J", "9" * 5000)]},
        "none": {"hwaddr": mac, "addrs": [{}]},
        "mac": {"hwaddr": "x" * 5000, "addrs": [{"addr": "10.0.0.9"}]},
        **{f"eth{n}": {"hwaddr": mac, "addrs": many} for n in range(3)},
    }
    found = decode_addresses(answer, "agent")
    assert set(found) == {mac} and len(found[mac]) == 64


@pytest.mark.parametrize(
    ("unit", "kilobytes"), [("KiB", 4), ("GB", 3906250), ("MiB", 4096), ("b", 0), ("TiB", 4 << 30)]
)
def test_memory_has_libvirts_units(unit: str, kilobytes: int) -> None:
    xml = f"<domain><memory unit='{unit}'>4</memory></domain>"
    assert describe(xml, DomainState.RUNNING).memory_kb == kilobytes


class Domain:
    """A domain of libvirt's that it describes so."""

    def __init__(self, name: str, xml: str) -> None:
        self._name = name
        self._xml = xml

    def state(self) -> list[int]:
        return [5, 0]

    def name(self) -> str:
        return self._name

    def UUIDString(self) -> str:
        return "4C4A4242-0000-4000-8000-000000000101"

    def XMLDesc(self, flags: int) -> str:
        return self._xml


class Connection:
    """An open one."""

    def __init__(self, *domains: Domain) -> None:
        self._domains = domains

    def isAlive(self) -> bool:
        return True

    def listAllDomains(self, flags: int) -> tuple[Domain, ...]:
        return self._domains


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        ("<vcpu>²</vcpu>", "its vcpu is '²'"),
        ("<vcpu>99999</vcpu>", "its vcpu is '99999'"),
        ("<memory>" + "9" * 5000 + "</memory>", "its memory is '99999"),
        ("<memory unit='TiB'>" + "9" * 18 + "</memory>", "its memory is"),
        ("<memory>1.5</memory>", "its memory is '1.5'"),
        ("<devices><interface><driver queues='²'/></interface></devices>", "its queues is '²'"),
        ("<devices><interface><mtu size='-1'/></interface></devices>", "its mtu is '-1'"),
        ("<vcpu>", "no description"),
        ("<!--" + "x" * (5 << 20) + "-->", "a description of"),
    ],
)
def test_a_domain_that_is_described_oddly_is_there_and_named(inner: str, words: str) -> None:
    source = Libvirt("test:///default", lambda: None)
    source._connection = Connection(
        Domain("odd", f"<domain><name>odd</name>{inner}</domain>"),
        Domain("good", "<domain><name>good</name><vcpu>2</vcpu></domain>"),
    )
    odd, good = source.read()
    assert (good.name, good.vcpus, good.problem) == ("good", 2, "")
    assert (odd.name, odd.uuid, odd.state) == (
        "odd", "4c4a4242-0000-4000-8000-000000000101", DomainState.OFF)  # fmt: skip
    assert words in odd.problem and len(odd.problem) < 100


# ---- against libvirt itself (its test driver) ---------------------------------------------------


@pytest.fixture
def libvirt() -> Any:
    return domains.library()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_domains_and_their_states_come_from_libvirt(libvirt: Any) -> None:
    source = Libvirt("test:///default", lambda: None)
    (one,) = source.read()
    assert (one.name, one.state) == ("test", DomainState.RUNNING)
    assert one.uuid == "6695eb01-f6a4-8304-79aa-97f2502e193f"
    assert one.memory_kb == 8388608 and one.vcpus == 2


def test_events_of_libvirt_are_heard(libvirt: Any) -> None:
    heard = threading.Event()
    source = Libvirt("test:///default", heard.set)
    source.read()
    # Both connections of one process to the default test host show the same domains.
    connection = libvirt.open("test:///default")
    domain = connection.lookupByName("test")
    domain.suspend()
    try:
        assert heard.wait(10)
        assert source.read()[0].state is DomainState.PAUSED
    finally:
        domain.resume()


def test_a_host_without_libvirtd_is_a_problem_with_words() -> None:
    call = BoundedCall(Libvirt("qemu+unix:///system?socket=/nonexistent", lambda: None).read, "x")
    call.ask()
    answer = call.answer(10)
    assert answer.value is None and not answer.late and "/nonexistent" in answer.problem


def test_a_guest_without_an_agent_has_no_addresses(libvirt: Any) -> None:
    agents = GuestAgents("test:///default")
    assert agents.read(frozenset({"no such"})) == {}
    assert set(agents.read(frozenset({"test"}))) == {"test"}


# ---- what hangs ---------------------------------------------------------------------------------


def test_a_reading_that_hangs_is_waited_for_once() -> None:
    release = threading.Event()

    def read() -> str:
        release.wait(30)
        return "there"

    call = BoundedCall(read, "hangs")
    call.ask()
    begin = time.monotonic()
    assert call.answer(0.3).late and 0.25 < time.monotonic() - begin < 5
    begin = time.monotonic()
    call.ask()
    assert call.answer(5).late and time.monotonic() - begin < 1, "not waited for again"
    release.set()
    wait_for(lambda: not call.answer(0).late)
    assert call.answer(0).value == "there"


def test_the_last_answer_stays_while_the_next_is_late() -> None:
    gate = threading.Semaphore(1)
    values = iter(range(9))

    def read() -> int:
        gate.acquire()
        return next(values)

    call = BoundedCall(read, "slow")
    call.ask()
    assert call.answer(10).value == 0
    call.ask()
    answer = call.answer(0.1)
    assert answer.late and answer.value == 0
    gate.release()
    wait_for(lambda: call.answer(1).value == 1)


def test_what_was_late_once_is_waited_for_again_when_it_has_come() -> None:
    gate = threading.Semaphore(0)
    slow_s = 0.0

    def read() -> int:
        gate.acquire()
        time.sleep(slow_s)
        return 7

    call = BoundedCall(read, "late once")
    call.ask()
    assert call.answer(0.1).late
    gate.release()
    wait_for(lambda: call._done == 1)
    slow_s = 0.2
    gate.release()
    call.ask()
    assert not call.answer(10).late


def finished(call: BoundedCall[str], count: int) -> bool:
    return call._done == count


def test_a_late_answer_is_news_if_it_is_another_one() -> None:
    gate = threading.Semaphore(0)
    values, told = iter("aabb"), []

    def read() -> str:
        gate.acquire()
        return next(values)

    call = BoundedCall(read, "news", lambda: told.append(call.answer(0).value))
    for count, (late, expected) in enumerate(
        [(True, ["a"]), (True, ["a"]), (False, ["a"]), (True, ["a"])], 1
    ):
        if not late:
            gate.release()
        call.ask()
        assert call.answer(0.1 if late else 10).late is late
        if late:
            gate.release()
        wait_for(functools.partial(finished, call, count))
        time.sleep(0.05)
        assert told == expected, count


def test_an_exception_is_a_problem_and_the_next_answer_may_be_good() -> None:
    outcomes = iter([ValueError("broken"), OSError(), 5])

    def read() -> Any:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    call = BoundedCall(read, "moody")
    problems = []
    for _ in range(3):
        call.ask()
        problems.append(call.answer(10).problem)
    assert problems == ["broken", "OSError", ""]
    assert call.answer(0).value == 5


def test_the_unused_backend_words_are_libvirts() -> None:
    assert {Backend("vhost"), Backend("qemu")} == {Backend.VHOST, Backend.QEMU}
