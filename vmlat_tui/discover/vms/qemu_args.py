"""What the command line of a QEMU process says of its VM.

Anybody can run a process with any command line: what no QEMU would have started with is named as an
oddity, and not used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from vmlat_tui.discover.files import decimal, parse_list
from vmlat_tui.model.topology import Backend

_PROGRAM = re.compile(r"(qemu-system-[\w.-]+|qemu-kvm|kvm|qemu)", re.ASCII)
_VIRTIO = re.compile(r"virtio-net(-(pci|ccw|device)([-\w]*)?)?", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
MAC = re.compile(r"[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}", re.IGNORECASE)
_SIZE = re.compile(r"([0-9]{1,18})(\.[0-9]{1,9})?([BKMGT]?)i?B?", re.IGNORECASE)
_SIZES = {"B": 1 / 1024, "K": 1, "M": 1 << 10, "G": 1 << 20, "T": 1 << 30}
_DEFAULT_MEMORY_KB = 128 << 10
#: As many KiB as 64 bits can address.
MOST_MEMORY_KB = 1 << 54

#: KVM_MAX_VCPUS of x86, the largest there is.
MOST_VCPUS = 4096
MOST_NICS = 256
#: MAX_QUEUE_NUM of QEMU; tun itself has 256.
MOST_QUEUES = 1024
#: MAX_NUMNODES.
_MOST_NODES = 1024
#: fs.nr_open can be no more.
_MOST_DESCRIPTORS = 1 << 30
_MOST_NAME, _MOST_WORD, _MOST_INTERFACE = 256, 64, 15
#: Brackets in an option's JSON: the options that are read here nest twice.
_MOST_BRACKETS = 64
_MOST_ODDITIES = 4
#: The options of which anything is used.
_READ = ("machine", "M", "name", "uuid", "m", "smp", "object", "netdev", "device", "nic")

Options = dict[str, str]


@dataclass(frozen=True)
class Nic:
    """A vNIC as the command line has it; ``descriptors`` are those of its tap's queues."""

    mac: Optional[str]
    model: Optional[str]
    backend: Backend
    ifname: Optional[str]
    bridge: Optional[str]
    descriptors: tuple[int, ...]
    queues: int
    mtu: Optional[int]
    busy_poll_us: int


@dataclass(frozen=True)
class Guest:
    """A VM as the command line has it."""

    name: Optional[str]
    uuid: Optional[str]
    memory_kb: int
    vcpus: int
    nics: tuple[Nic, ...]
    #: NUMA nodes that the guest's memory is bound to, none if it is not.
    memory_nodes: tuple[int, ...]
    #: What it says that no QEMU would run with, and what was not read of it.
    oddities: tuple[str, ...] = ()


def unread(why: str) -> Guest:
    """A VM of whose command line nothing is known."""
    return Guest(None, None, _DEFAULT_MEMORY_KB, 1, (), (), (why,))


class _Strict:
    """Takes values from options, and remembers which were none."""

    def __init__(self) -> None:
        self.oddities: dict[str, None] = {}

    def odd(self, what: str) -> None:
        if len(self.oddities) < _MOST_ODDITIES:
            self.oddities[what] = None

    def number(self, what: str, text: Optional[str], below: int) -> Optional[int]:
        if text is None:
            return None
        value = decimal(text, below)
        if value is None:
            self.odd(f"{what} {_short(text)}")
        return value

    def word(self, what: str, text: Optional[str], most: int) -> Optional[str]:
        if text is not None and len(text) > most:
            self.odd(f"{what} of {len(text)} characters")
            return text[:most] + "…"
        return text or None

    def matching(self, what: str, text: Optional[str], pattern: re.Pattern[str]) -> Optional[str]:
        if not text:
            return None
        if not pattern.fullmatch(text):
            self.odd(f"{what} {_short(text)}")
            return None
        return text.lower()

    def interface(self, what: str, text: Optional[str]) -> Optional[str]:
        if text and len(text.encode("utf-8", "surrogateescape")) > _MOST_INTERFACE:
            self.odd(f"{what} {_short(text)}")
            return None
        return text or None


def _short(text: str) -> str:
    return repr(text if len(text) <= 24 else text[:24] + "…")


def is_program(word: str) -> bool:
    """Whether this is the path, or the name, of a system emulator."""
    return bool(_PROGRAM.fullmatch(word.rpartition("/")[2]))


def is_qemu(arguments: Sequence[str]) -> bool:
    """Whether this is the command line of a system emulator that runs a VM."""
    if not arguments or not is_program(arguments[0]):
        return False
    # libvirt starts QEMU without a machine to ask what it can do.
    return len(arguments) > 1 and not _probe(arguments)


def _probe(arguments: Sequence[str]) -> bool:
    machines = [o.get("", "") for o in _values(arguments, "machine", "M")]
    return any(m.split(",")[0] == "none" for m in machines) or "-version" in arguments


def split(text: str, implied: str = "") -> Options:
    """``key=value,key=value`` or a JSON object as options.  A doubled comma stands for itself.

    The first word may stand without a key; it is given the ``implied`` one.
    """
    if _is_json(text):
        return _flat(text)
    options: Options = {}
    for i, part in enumerate(text.replace(",,", "\0").split(",")):
        key, equals, value = part.replace("\0", ",").partition("=")
        if equals:
            options.setdefault(key, value)
        elif i == 0:
            options[implied] = key
        else:  # the old short form of a switch
            options.setdefault(key[2:] if key.startswith("no") else key,
                               "off" if key.startswith("no") else "on")  # fmt: skip
    return options


def _is_json(text: str) -> bool:
    return text.lstrip().startswith("{")


def _flat(text: str) -> Options:
    words = ((key, _word(item)) for key, item in (_object(text) or {}).items())
    return {key: word for key, word in words if word is not None}


def _object(text: str) -> Optional[dict[str, Any]]:
    """A JSON object; None for anything else, and for what nests too deep to be an option."""
    if text.count("[") + text.count("{") > _MOST_BRACKETS:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _word(value: Any) -> Optional[str]:
    """A value as it would stand in ``key=value``; None for what could not, as an object."""
    if isinstance(value, list):
        words = [_scalar(item) for item in value]
        return ":".join(word for word in words if word is not None)
    return _scalar(value)


def _scalar(value: Any) -> Optional[str]:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value) if isinstance(value, (str, int, float)) else None


def _values(arguments: Sequence[str], *options: str, implied: str = "") -> Iterator[Options]:
    wanted = {f"-{o}" for o in options} | {f"--{o}" for o in options}
    for option, value in zip(arguments, arguments[1:]):
        if option in wanted:
            yield split(value, implied)


def _size_kb(strict: _Strict, text: str) -> Optional[int]:
    """QEMU's notation of a size; without a unit it is in MiB."""
    match = _SIZE.fullmatch(text.strip())
    unit = _SIZES[match[3].upper() or "M"] if match else 0
    size = int(int(match[1]) * unit + float(match[2] or 0) * unit) if match else 0
    if not match or size >= MOST_MEMORY_KB:
        strict.odd(f"-m {_short(text)}")
        return None
    return size


def parse(arguments: Sequence[str]) -> Guest:
    """Everything at once."""
    strict = _Strict()
    for option, value in zip(arguments, arguments[1:]):
        if option.lstrip("-") in _READ and _is_json(value) and _object(value) is None:
            strict.odd(f"{option} {_short(value)}")
    name = next(iter(_values(arguments, "name", implied="guest")), {}).get("guest")
    uuid = next((o.get("", "") for o in _values(arguments, "uuid")), "")
    memory = [
        _size_kb(strict, o["size"])
        for o in _values(arguments, "m", implied="size")
        if o.get("size")
    ]
    vcpus = [_vcpus(strict, o) for o in _values(arguments, "smp", implied="cpus")]
    bound = {
        node
        for o in _values(arguments, "object", implied="qom-type")
        if o.get("qom-type", "").startswith("memory-backend") and o.get("policy") == "bind"
        for node in _nodes(strict, o.get("host-nodes", ""))
    }
    return Guest(
        name=strict.word("-name", name, _MOST_NAME),
        uuid=strict.matching("-uuid", uuid, _UUID),
        memory_kb=next((m for m in memory if m), None) or _DEFAULT_MEMORY_KB,
        vcpus=next(iter(vcpus), 1),
        nics=tuple(_nics(strict, arguments)),
        memory_nodes=tuple(sorted(bound)),
        oddities=tuple(strict.oddities),
    )


def _nodes(strict: _Strict, text: str) -> tuple[int, ...]:
    found = parse_list(text.replace(":", ","), _MOST_NODES)
    if text and not found:
        strict.odd(f"host-nodes {_short(text)}")
    return found


def _vcpus(strict: _Strict, options: Options) -> int:
    count = strict.number("-smp", options.get("cpus"), MOST_VCPUS + 1)
    if count is not None:
        return count
    count = 1
    for part in ("sockets", "dies", "clusters", "cores", "threads"):
        count *= strict.number(f"-smp {part}", options.get(part), MOST_VCPUS + 1) or 1
    if count > MOST_VCPUS:
        strict.odd(f"-smp of {count} vCPUs")
        return 1
    return count


def _nics(strict: _Strict, arguments: Sequence[str]) -> Iterator[Nic]:
    backends = {o.get("id", ""): o for o in _values(arguments, "netdev", implied="type")}
    pairs = [
        (device.get("driver"), device, backends[device.get("netdev", "")])
        for device in _values(arguments, "device", implied="driver")
        if device.get("netdev", "") in backends
    ]
    pairs += [
        (both.get("model"), both, both)
        for both in _values(arguments, "nic", implied="type")
        if both.get("type") != "none"
    ]
    if len(pairs) > MOST_NICS:
        strict.odd(f"{len(pairs)} vNICs, of which {MOST_NICS} are read")
    return (_nic(strict, *pair) for pair in pairs[:MOST_NICS])


def _nic(strict: _Strict, model: Optional[str], device: Options, netdev: Options) -> Nic:
    kind = netdev.get("type")
    words = (netdev.get("fds") or netdev.get("fd") or "").split(":")
    # A monitor's client names a descriptor that it passes; that is not a number and is allowed.
    numbers = (decimal(word, _MOST_DESCRIPTORS) for word in words[:MOST_QUEUES])
    descriptors = tuple(number for number in numbers if number is not None)
    model = strict.word("a device's name", model, _MOST_WORD)
    if model and _VIRTIO.fullmatch(model):
        model = "virtio"
    queues = strict.number("queues", netdev.get("queues"), MOST_QUEUES + 1)
    return Nic(
        mac=strict.matching("mac", device.get("mac") or device.get("macaddr"), MAC),
        model=model,
        backend=_backend(kind, netdev),
        ifname=strict.interface("ifname", netdev.get("ifname")),
        bridge=strict.interface("br", netdev.get("br")) if kind in ("bridge", "tap") else None,
        descriptors=descriptors if kind == "tap" else (),
        queues=queues or len(descriptors) or 1,
        mtu=strict.number("host_mtu", device.get("host_mtu"), 1 << 16),
        busy_poll_us=strict.number("poll-us", netdev.get("poll-us"), 1 << 32) or 0,
    )


def _backend(kind: Optional[str], netdev: Options) -> Backend:
    if kind == "vhost-user":
        return Backend.VHOST_USER
    if kind == "tap":
        on = "on" in (netdev.get("vhost"), netdev.get("vhostforce"))
        given = netdev.get("vhostfd") or netdev.get("vhostfds")
        return Backend.VHOST if on or given else Backend.QEMU
    return Backend.QEMU if kind == "bridge" else Backend.OTHER
