"""What other users of a host can put before discovery: command lines, names, descriptions."""

from __future__ import annotations

import copy
import json
from functools import cache
from random import Random
from typing import Any

from tests.fuzz.support import ODD, Target, made, places, shaken
from tests.support.trees import OVS_TABLES
from tests.unit.discover.test_discover_domains import XML
from vmlat_tui.discover import files, threads
from vmlat_tui.discover.links import ethtool
from vmlat_tui.discover.switches import ovs
from vmlat_tui.discover.vitals import parse_counters
from vmlat_tui.discover.vms import domains, qemu_args
from vmlat_tui.model.topology import DomainState

_PROGRAMS = ("qemu-system-x86_64", "/usr/bin/qemu-kvm", "kvm", "qemu", "bash")
_ARGUMENTS = (
    "-name", "-m", "-smp", "-machine", "-M", "-uuid", "-netdev", "-device", "-nic", "-object",
    "--smp", "guest=a,debug-threads=on", "4", "²", "cpus=4,sockets=2", "sockets=2,cores=2", "{",
    '{"type":"tap","id":"n","fds":[1,2]}', "tap,id=n,ifname=x,fds=3:4:²", "tap,id=n,fd=٣,queues=9",
    "virtio-net-pci,netdev=n,mac=AA:bb,host_mtu=9000",
    "memory-backend-ram,policy=bind,host-nodes=0-3",
    "1.5G", "1e5", "-1", "9" * 30, "9" * 5000, "99999999999999T", "٣", ",", ",,", "=", "a=b=c", "",
    "none", "type=none", "-version", '{"a":' * 30 + "1" + "}" * 30, "[" * 900 + "]" * 900,
    '{"a":' * 700 + "1" + "}" * 700, "[1]", "vhost-user,id=n,queues=²", "user,model=virtio",
    "\udcff",
    "size=1G,maxmem=99999999999999999999T", "cpus=" + "9" * 4000, "x" * 9000,
)  # fmt: skip


def _command_line(random: Random) -> bytes:
    words = [random.choice(_PROGRAMS)]
    words += [random.choice(_ARGUMENTS) for _ in range(random.choice((1, 3, 6, 12)))]
    data = "\0".join(words).encode("utf-8", "surrogateescape")
    return shaken(random, data) if random.randrange(4) == 0 else data


def _qemu(data: bytes) -> None:
    words = data.decode("utf-8", "surrogateescape").split("\0")
    if qemu_args.is_qemu(words):
        qemu_args.parse(words)


def _stat_line(random: Random) -> bytes:
    names = (b"a", b") S 1", b"\n", b"", b"CPU 0/KVM", b"((((")
    numbers = (b"1", b"\xc2\xb2", b"-1", b"x", b"9" * 20, b"9" * 5000)
    fields = b" ".join(random.choice(numbers) for _ in range(random.choice((5, 50))))
    line = b"%s (%s) S 1 %s" % (random.choice(numbers), random.choice(names), fields)
    return shaken(random, line) if random.randrange(2) else line


def _stat(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    threads.parse_stat(text)
    parse_counters(text)


def _description(random: Random) -> bytes:
    return shaken(random, XML.encode())


def _describe(data: bytes) -> None:
    domains.describe(data.decode("utf-8", "surrogateescape"), DomainState.RUNNING)


@cache
def _tables() -> Any:
    return json.loads(OVS_TABLES.read_bytes())


def _rows(random: Random) -> bytes:
    """Other values of the types that the database's schema has for its columns."""
    tables = copy.deepcopy(_tables())
    found = list(places(tables))
    for _ in range(random.choice((1, 2, 5, 20))):
        *above, key = random.choice(found)
        holder = tables
        for step in above:
            holder = holder[step]
        same = [odd for odd in ODD if type(odd) is type(holder[key])]
        words = isinstance(holder, list) and holder[0] in ("uuid", "set", "map") and key == 0
        if same and not words and isinstance(holder[key], (str, int, bool)):
            holder[key] = random.choice(same)
    return json.dumps(tables).encode()


def _switch(data: bytes) -> None:
    ovs.decode(json.loads(data), "running")


def _bits(random: Random) -> bytes:
    def attribute(depth: int) -> bytes:
        inner = (
            b"".join(attribute(depth - 1) for _ in range(random.randrange(4)))
            if depth
            else random.choice((b"", b"rx-gro\0", b"\xff\0", b"\1\0\0\0", b"\xff" * 8, b"x"))
        )
        return ethtool.attribute(random.randrange(8), inner)

    data = b"".join(attribute(3) for _ in range(random.randrange(1, 4)))
    return shaken(random, data) if random.randrange(2) else data


def _ethtool(data: bytes) -> None:
    list(ethtool.attributes(data))
    ethtool.bitset(data)
    ethtool.feature_names(data)


def _list(random: Random) -> bytes:
    parts = ("0", "1", "3", "17", "99999", ",", ",", "-", "-", " ", "²", "a", "\n")
    return "".join(random.choice(parts) for _ in range(random.randrange(12))).encode()


def _parse_list(data: bytes) -> None:
    files.parse_list(data.decode())


TARGETS = (
    Target("qemu", made(_command_line), _qemu, 150),
    Target("stat", made(_stat_line), _stat, 100),
    Target("libvirt", made(_description), _describe, 60, (ValueError,)),
    Target("ovs", made(_rows), _switch, 40),
    Target("ethtool", made(_bits), _ethtool, 100),
    Target("cpu-list", made(_list), _parse_list, 100),
)
