"""What an agent is told is looked at once, and a wrong command is refused in a line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vmlat_tui.model.requested import Requested
from vmlat_tui.protocol import commands
from vmlat_tui.protocol.commands import Measure, Refused


def line(command: str, **fields: Any) -> bytes:
    return json.dumps({"command": command, "id": 7, **fields}).encode()


def test_what_the_screens_say_is_understood() -> None:
    for name, fields in (("measure", Requested().to_json()), ("stop", {})):
        found = commands.decode(line(name, **fields))
        assert commands.name_of(found) == name and found.id == 7
        assert commands.decode(commands.encode(found)) == found
        assert name == "stop" or found == Measure(Requested(), 7)


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("measure", {"vm_interfaces": 5}, "vm_interfaces"),
        ("measure", {"vm_interfaces": [5]}, "vm_interfaces"),
        ("measure", {"uplinks": [["eth0"]]}, "uplinks"),
        ("measure", {"rung": []}, "rung"),
        ("measure", {"offsets": "guess"}, "offsets"),
        ("measure", {"directions": "tx"}, "directions"),
        ("measure", {"directions": [["tx"]]}, "directions"),
        ("measure", {"filters": {"src_ip": 1}}, "filters"),
        ("measure", {"filters": [[]]}, "filters"),
        ("measure", {"filters": ["x"]}, "filters"),
        ("measure", {"filters": [{"src_ip": "1:2:3"}]}, "not an address"),
        ("measure", {"filters": [{"src_ip": "10.0.0.1", "dst_ip": "::1"}]}, "one IP version"),
        ("measure", {"filters": [{"src_port": True}]}, "src_port"),
        ("measure", {"filters": [{"either": "no"}]}, "either"),
        ("measure", {"filters": [{"x" * 9999: 1}]}, "a filter has no 'xxx"),
        ("measure", {"sample": "10"}, "sample"),
        ("measure", {"sample": 1.5}, "sample"),
        ("measure", {"max_rate": 1 << 70}, "max_rate"),
        ("measure", {"threshold_ns": -1}, "threshold_ns"),
        ("measure", {"detail": []}, "detail"),
        ("configure", {"interval_s": "1"}, "interval_s"),
        ("configure", {"interval_s": -1}, "interval_s"),
        ("configure", {"connect": ["qemu:///system"]}, "connect"),
        ("configure", {"timeout_ns": 0}, "timeout_ns"),
        ("configure", {"guest": 1}, "guest"),
        ("log", {"level": "loud"}, "level"),
        ("log", {"level": None}, "level"),
        ("dance", {}, "there is no such command: 'dance'"),
        ("x" * 99_999, {}, "there is no such command: 'xxx"),
    ],
)
def test_a_wrong_command_is_refused_by_its_number(
    name: str, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(Refused) as caught:
        commands.decode(line(name, **fields))
    assert said in str(caught.value) and len(str(caught.value)) < 400
    assert caught.value.number == 7 and caught.value.exit_status == 2


@pytest.mark.parametrize(
    "odd",
    [
        b"", b"x", b"[]", b"7", b"null", b"\xff", b"{}", b'{"command":null}',
        b'{"command":["stop"]}',
        b'{"command":"configure","interval_s":NaN}', b'{"command":"configure","interval_s":1e999}',
        b'{"command":"measure","vm_interfaces":' + b"[" * 100_000, b"[" * 900 + b"]" * 900,
        b'{"command":"measure","sample":' + b"9" * 5000 + b"}",
        b'{"command":"stop","id":[1]}', b'{"command":"stop","id":"\\ud800"}',
    ],
)  # fmt: skip
def test_what_is_no_command_is_refused_without_a_number(odd: bytes) -> None:
    with pytest.raises(Refused) as caught:
        commands.decode(odd)
    assert caught.value.number is None and len(str(caught.value)) < 400


def test_a_measurement_may_begin_without_a_direction_and_be_given_one_later() -> None:
    found = commands.decode(line("measure", directions=[]))
    assert isinstance(found, Measure) and found.requested.directions == ()
