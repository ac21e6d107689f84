"""The VMs that libvirt knows.

Everything here may hang: only the thread of a :class:`.bounded.BoundedCall` calls it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Callable, Optional

from vmlat_tui.discover.files import decimal
from vmlat_tui.discover.vms.qemu_args import MAC, MOST_MEMORY_KB, MOST_NICS, MOST_QUEUES, MOST_VCPUS
from vmlat_tui.model.topology import Address, Backend, DomainState, Vnic

#: Numbers of libvirt's ABI, so that states can be read where the library is not installed.
_STATES = {
    1: DomainState.RUNNING,
    2: DomainState.RUNNING,  # blocked on a resource, says Xen
    3: DomainState.PAUSED,
    4: DomainState.STOPPING,
    5: DomainState.OFF,
    6: DomainState.CRASHED,
    7: DomainState.SUSPENDED,
}
_PAUSED, _STARTING_UP = 3, 11
_LEASE, _AGENT = 0, 1
#: A connection that does not answer for so long is given up.
_KEEPALIVE = (5, 3)
_SOURCE = {"bridge": "bridge", "network": "network", "direct": "dev", "vhostuser": "path"}
_UNITS = {"b": 1 / 1024, "bytes": 1 / 1024, "KB": 1000 / 1024, "k": 1, "KiB": 1,
          "MB": 1e6 / 1024, "M": 1 << 10, "MiB": 1 << 10, "GB": 1e9 / 1024, "G": 1 << 20,
          "GiB": 1 << 20, "TB": 1e12 / 1024, "T": 1 << 30, "TiB": 1 << 30}  # fmt: skip
#: Descriptions that libvirt itself would take are shorter.
_MOST_XML = 4 << 20
_MOST_TEXT, _MOST_ADDRESSES = 256, 64


@dataclass(frozen=True)
class Described:
    """A VM as libvirt describes it; ``named`` are the vNICs whose back end it names itself."""

    name: str
    uuid: str
    state: DomainState
    memory_kb: Optional[int]
    vcpus: int
    vnics: tuple[Vnic, ...]
    named: frozenset[int]
    agent: bool
    #: Why less is known of it than libvirt could say.
    problem: str = ""


def state_of(state: int, reason: int) -> DomainState:
    """A state in the words of the model."""
    if state == _PAUSED and reason == _STARTING_UP:
        return DomainState.STARTING
    return _STATES.get(state, DomainState.UNKNOWN)


def describe(xml: str, state: DomainState) -> Described:
    """Read libvirt's description of a VM; raises ``ValueError`` if it is none."""
    if len(xml) > _MOST_XML:
        raise ValueError(f"a description of {len(xml)} characters")
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise ValueError(f"no description: {error}") from None
    memory = root.find("memory")
    active = state not in (DomainState.OFF, DomainState.CRASHED)
    vnics, with_backend = [], set()
    interfaces = root.findall("devices/interface")
    for i, interface in enumerate(interfaces[:MOST_NICS]):
        vnic, named = _vnic(interface, active)
        vnics.append(vnic)
        if named:
            with_backend.add(i)
    targets = root.iterfind("devices/channel/target")
    return Described(
        name=root.findtext("name", "")[:_MOST_TEXT],
        uuid=root.findtext("uuid", "")[:_MOST_TEXT].lower(),
        state=state,
        memory_kb=None if memory is None else _kilobytes(memory),
        vcpus=_number("vcpu", root.findtext("vcpu", "1"), MOST_VCPUS + 1),
        vnics=tuple(vnics),
        named=frozenset(with_backend),
        agent=any(
            t.get("name") == "org.qemu.guest_agent.0" and t.get("state") == "connected"
            for t in targets
        ),
    )


def _kilobytes(memory: ElementTree.Element) -> int:
    amount = _number("memory", memory.text or "0", 1 << 63)
    size = int(amount * _UNITS.get(memory.get("unit", "KiB"), 1))
    return _number("memory", str(size), MOST_MEMORY_KB)


def _number(what: str, text: str, below: int) -> int:
    value = decimal(text.strip(), below)
    if value is None:
        raise ValueError(f"its {what} is {text[:24]!r}")
    return value


def _vnic(element: ElementTree.Element, active: bool) -> tuple[Vnic, bool]:
    def get(tag: str, attribute: str) -> Optional[str]:
        found = element.find(tag)
        return None if found is None else found.get(attribute)

    kind, model = element.get("type", ""), get("model", "type")
    driver = get("driver", "name")
    backend = Backend.VHOST if model == "virtio" else Backend.QEMU
    named = driver in ("vhost", "qemu")
    if kind == "vhostuser":
        backend, named = Backend.VHOST_USER, True
    elif kind not in ("bridge", "network", "direct", "ethernet"):
        backend, named = Backend.OTHER, True
    elif named:
        backend = Backend(driver)
    mac, mtu = get("mac", "address"), get("mtu", "size")
    vnic = Vnic(
        tap=get("target", "dev") if active else None,
        mac=mac.lower() if mac else None,
        model=model,
        backend=backend,
        queues=_number("queues", get("driver", "queues") or "1", MOST_QUEUES + 1),
        mtu=_number("mtu", mtu, 1 << 32) if mtu else None,
        source=get("source", _SOURCE.get(kind, "dev")),
        addresses=(),
    )
    return vnic, named


def library() -> Any:
    """The libvirt binding; raises ``ImportError``.  It prints nothing by itself from now on."""
    import libvirt

    libvirt.registerErrorHandler(lambda context, error: None, None)
    return libvirt


class _Events:
    """libvirt's event loop: one for the process, started when first needed."""

    _started = False
    _lock = threading.Lock()

    @classmethod
    def start(cls, libvirt: Any) -> None:
        with cls._lock:
            if cls._started:
                return
            libvirt.virEventRegisterDefaultImpl()
            cls._started = True

        def run() -> None:
            while True:
                libvirt.virEventRunDefaultImpl()

        threading.Thread(target=run, name="libvirt-events", daemon=True).start()


class Libvirt:
    """A read-only connection, made when first needed and again after it broke."""

    def __init__(self, uri: str, changed: Callable[[], None]) -> None:
        """``changed`` is called, from another thread, whenever libvirt tells of an event."""
        self._uri = uri
        self._changed = changed
        self._connection: Optional[Any] = None

    def _open(self) -> Any:
        if self._connection is not None and self._connection.isAlive():
            return self._connection
        libvirt = library()
        _Events.start(libvirt)
        self._connection = None
        connection = libvirt.openReadOnly(self._uri)
        try:
            connection.setKeepAlive(*_KEEPALIVE)
        except libvirt.libvirtError:  # not a remote one
            pass
        for name in ("LIFECYCLE", "DEVICE_ADDED", "DEVICE_REMOVED", "AGENT_LIFECYCLE"):
            event = getattr(libvirt, f"VIR_DOMAIN_EVENT_ID_{name}")
            try:
                connection.domainEventRegisterAny(None, event, self._happened, None)
            except libvirt.libvirtError:  # a driver without this event: the poll will see it
                pass
        self._connection = connection
        return connection

    def _happened(self, *_: object) -> None:
        self._changed()

    def read(self) -> tuple[Described, ...]:
        """Every domain.  One that vanishes meanwhile is left out."""
        connection = self._open()
        libvirt = library()
        found = []
        for domain in connection.listAllDomains(0):
            with contextlib.suppress(libvirt.libvirtError):
                found.append(_described(libvirt, domain))
        return tuple(found)


def _described(libvirt: Any, domain: Any) -> Described:
    """One domain, however odd what libvirt says of it; its own errors pass."""
    state = state_of(*domain.state()[:2])
    try:
        one = describe(domain.XMLDesc(0), state)
        leases = addresses(libvirt, domain, _LEASE) if state is DomainState.RUNNING else {}
    except libvirt.libvirtError:
        raise
    except Exception as error:  # one VM's oddity is no other's
        name, uuid = str(domain.name())[:_MOST_TEXT], str(domain.UUIDString()).lower()
        why = f"{error}" if isinstance(error, ValueError) else type(error).__name__
        return Described(name, uuid, state, None, 0, (), frozenset(), False, why)
    vnics = (replace(v, addresses=leases.get(v.mac or "", ())) for v in one.vnics)
    return replace(one, vnics=tuple(vnics))


class GuestAgents:
    """Asks the guests themselves for their addresses.

    libvirt forbids that on a read-only connection, so this is another one, used for nothing else;
    an agent that does not answer holds up nobody but the thread that asks it.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._connection: Optional[Any] = None

    def read(self, names: frozenset[str]) -> dict[str, Mapping[str, tuple[Address, ...]]]:
        """Domain -> hardware address -> addresses, of these domains."""
        libvirt = library()
        if self._connection is None or not self._connection.isAlive():
            self._connection = libvirt.open(self._uri)
        found: dict[str, Mapping[str, tuple[Address, ...]]] = {}
        for name in names:
            try:
                domain = self._connection.lookupByName(name)
            except libvirt.libvirtError:
                continue
            found[name] = addresses(libvirt, domain, _AGENT)
        return found


def addresses(libvirt: Any, domain: Any, source: int) -> dict[str, tuple[Address, ...]]:
    """Hardware address -> addresses, as one source has them; empty if it has none."""
    try:
        answer = domain.interfaceAddresses(source)
    except libvirt.libvirtError:
        return {}
    return decode_addresses(answer, "agent" if source == _AGENT else "lease")


def decode_addresses(answer: Mapping[str, Any], source: str) -> dict[str, tuple[Address, ...]]:
    """Of libvirt's answer, what is not the guest's loopback."""
    found: dict[str, tuple[Address, ...]] = {}
    # A guest says what it likes, and libvirt passes it on.
    for interface in list(answer.values())[:MOST_NICS]:
        mac = (interface.get("hwaddr") or "").lower()
        words = (a.get("addr") for a in (interface.get("addrs") or ())[:_MOST_ADDRESSES])
        ips = [word for word in words if is_ip(word)]
        if MAC.fullmatch(mac) and mac != "00:00:00:00:00:00" and ips:
            every = found.get(mac, ()) + tuple(Address(ip, source) for ip in ips)
            found[mac] = every[:_MOST_ADDRESSES]
    return found


def is_ip(word: object) -> bool:
    """Whether this writes an IP address."""
    try:
        return isinstance(word, str) and bool(ipaddress.ip_address(word))
    except ValueError:
        return False
