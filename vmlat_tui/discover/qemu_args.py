"""What the command line of a QEMU process says of its VM."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from vmlat_tui.discover.files import parse_list
from vmlat_tui.model.topology import Backend

_PROGRAM = re.compile(r"(qemu-system-[\w.-]+|qemu-kvm|kvm|qemu)")
_VIRTIO = re.compile(r"virtio-net(-(pci|ccw|device)([-\w]*)?)?")
_SIZES = {"B": 1 / 1024, "K": 1, "M": 1 << 10, "G": 1 << 20, "T": 1 << 30}
_DEFAULT_MEMORY_KB = 128 << 10

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


def is_qemu(arguments: Sequence[str]) -> bool:
    """Whether this is the command line of a system emulator that runs a VM."""
    if not arguments or not _PROGRAM.fullmatch(arguments[0].rpartition("/")[2]):
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
    if text.lstrip().startswith("{"):
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


def _flat(text: str) -> Options:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {key: _word(item) for key, item in value.items()} if isinstance(value, dict) else {}


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ":".join(map(_word, value))
    return str(value)


def _values(arguments: Sequence[str], *options: str, implied: str = "") -> Iterator[Options]:
    wanted = {f"-{o}" for o in options} | {f"--{o}" for o in options}
    for option, value in zip(arguments, arguments[1:]):
        if option in wanted:
            yield split(value, implied)


def _size_kb(text: str) -> Optional[int]:
    """QEMU's notation of a size; without a unit it is in MiB."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([BKMGT]?)i?B?", text.strip(), re.IGNORECASE)
    if not match:
        return None
    return int(float(match.group(1)) * _SIZES[match.group(2).upper() or "M"])


def _number(text: Optional[str]) -> Optional[int]:
    return int(text) if text and text.isdigit() else None


def parse(arguments: Sequence[str]) -> Guest:
    """Everything at once."""
    name = next(iter(_values(arguments, "name", implied="guest")), {}).get("guest")
    uuid = next((o.get("", "") for o in _values(arguments, "uuid")), "")
    memory = [_size_kb(o.get("size", "")) for o in _values(arguments, "m", implied="size")]
    vcpus = [_vcpus(o) for o in _values(arguments, "smp", implied="cpus")]
    bound = {
        node
        for o in _values(arguments, "object", implied="qom-type")
        if o.get("qom-type", "").startswith("memory-backend") and o.get("policy") == "bind"
        for node in parse_list(",".join(o.get("host-nodes", "").split(":")))
    }
    return Guest(
        name=name or None,
        uuid=uuid or None,
        memory_kb=next((m for m in memory if m), None) or _DEFAULT_MEMORY_KB,
        vcpus=next(iter(vcpus), 1),
        nics=tuple(_nics(arguments)),
        memory_nodes=tuple(sorted(bound)),
    )


def _vcpus(options: Options) -> int:
    count = _number(options.get("cpus"))
    if count is not None:
        return count
    count = 1
    for part in ("sockets", "dies", "clusters", "cores", "threads"):
        count *= _number(options.get(part)) or 1
    return count


def _nics(arguments: Sequence[str]) -> Iterator[Nic]:
    backends = {o.get("id", ""): o for o in _values(arguments, "netdev", implied="type")}
    for device in _values(arguments, "device", implied="driver"):
        netdev = backends.get(device.get("netdev", ""))
        if netdev is not None:
            yield _nic(device.get("driver"), device, netdev)
    for both in _values(arguments, "nic", implied="type"):
        if both.get("type") != "none":
            yield _nic(both.get("model"), both, both)


def _nic(model: Optional[str], device: Options, netdev: Options) -> Nic:
    kind = netdev.get("type")
    words = netdev.get("fds") or netdev.get("fd") or ""
    descriptors = tuple(int(word) for word in words.split(":") if word.isdigit())
    if model and _VIRTIO.fullmatch(model):
        model = "virtio"
    mac = device.get("mac") or device.get("macaddr")
    return Nic(
        mac=mac.lower() if mac else None,
        model=model,
        backend=_backend(kind, netdev),
        ifname=netdev.get("ifname"),
        bridge=netdev.get("br") if kind in ("bridge", "tap") else None,
        descriptors=descriptors if kind == "tap" else (),
        queues=_number(netdev.get("queues")) or len(descriptors) or 1,
        mtu=_number(device.get("host_mtu")),
        busy_poll_us=_number(netdev.get("poll-us")) or 0,
    )


def _backend(kind: Optional[str], netdev: Options) -> Backend:
    if kind == "vhost-user":
        return Backend.VHOST_USER
    if kind == "tap":
        on = "on" in (netdev.get("vhost"), netdev.get("vhostforce"))
        given = netdev.get("vhostfd") or netdev.get("vhostfds")
        return Backend.VHOST if on or given else Backend.QEMU
    return Backend.QEMU if kind == "bridge" else Backend.OTHER
