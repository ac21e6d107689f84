"""What the agent is told, and the filter line that people write."""

from __future__ import annotations

import json
from random import Random

from tests.fuzz.support import Target, harmless, made, mutated, shaken, to_line
from vmlat_tui.agent import measurement
from vmlat_tui.errors import VmlatError
from vmlat_tui.model import filters
from vmlat_tui.model.flows import Filter
from vmlat_tui.model.requested import Requested
from vmlat_tui.probes import layout
from vmlat_tui.protocol import commands

_FILTER = Filter(src_port=5, either=True).to_json()
_MEASURE = {
    "id": 1, "vm_interfaces": ["vnet0"], "uplinks": ["eth0"], "filters": [_FILTER, _FILTER],
    "directions": ["tx", "rx"], "detail": True, "emit": True, "sample": 1, "max_rate": 0,
    "threshold_ns": 10, "rung": "full", "offsets": "btf",
}  # fmt: skip
_COMMANDS = (
    {"command": "configure", "interval_s": 1.0, "discover": True, "connect": "qemu:///system",
     "measure": True, "guest": False, "timeout_ns": 5, **_MEASURE},
    {"command": "measure", **_MEASURE},
    {"command": "stop", "id": 4},
)  # fmt: skip
_WORDS = (
    "tcp", "udp", "icmp", "and", "or", "host", "port", "src", "dst", "src-ip", "dst-port", "=",
    "protocol", "proto", "10.0.0.1", "10.0.0.2", "fd00::9", "fe80::1%eth0", "1.2.3", "443", "0",
    "80", "65536", "²", "٣", "-1", "--", "&&", "||", "source", "\x1b[2J", "::ffff:1.2.3.4",
    "0x7f000001", "010.0.0.1", "10.0.0.1/8", "9" * 5000, ":" * 300, "1" * 300, "", "\udcff",
    "not", "(", "ip", "ICMP", "1e3", "1_0",
)  # fmt: skip
#: Of these alone most lines say something.
_GOOD = (
    "tcp",
    "udp",
    "and",
    "or",
    "src",
    "dst",
    "host 10.0.0.1",
    "host fd00::9",
    "port 443",
    "10.0.0.2",
)


def _odd_command(random: Random) -> bytes:
    line = to_line(random, mutated(random, random.choice(_COMMANDS)))
    return shaken(random, line) if random.randrange(5) == 0 else line


def _obey(line: bytes) -> None:
    command = commands.decode(line)
    assert commands.decode(commands.encode(command)) == command
    requested = getattr(command, "requested", Requested())
    measurement._settings(requested)
    assert Requested.from_json(json.loads(json.dumps(requested.to_json()))) == requested
    layout.rules(list(requested.filters))


def _odd_line(random: Random) -> bytes:
    known = random.choice((_WORDS, _GOOD))
    words = [random.choice(known) for _ in range(random.choice((1, 2, 3, 4, 6, 9, 20, 300)))]
    text = random.choice((" ", "  ", "\t", "\u00a0", "=")).join(words)
    return text.encode("utf-8", "surrogateescape")


def _parse(data: bytes) -> None:
    try:
        found = filters.parse(data.decode("utf-8", "surrogateescape"))
    except VmlatError as error:
        harmless(str(error))
        raise
    again = filters.parse(filters.words(found)) if found else ()
    assert filters.words(again) == filters.words(found)
    for one in found:
        assert Filter.from_json(json.loads(json.dumps(one.to_json()))) == one


TARGETS = (
    Target("command", made(_odd_command), _obey, 150),
    Target("filter", made(_odd_line), _parse, 150),
)
