"""Flows and filters: what they accept, print and read back."""

from __future__ import annotations

import ipaddress
import json

import pytest

from vmlat_tui.model.flows import Filter, Flow, Protocol, protocol_of

V4 = ipaddress.ip_address("192.0.2.1")
V6 = ipaddress.ip_address("2001:db8::1")


def test_protocols_have_a_number_for_each_ip_version() -> None:
    for version in (4, 6, None):
        assert Protocol.TCP.numbers(version) == (6,)
        assert Protocol.UDP.numbers(version) == (17,)
    assert Protocol.ICMP.numbers(4) == (1,)
    assert Protocol.ICMP.numbers(6) == (58,)
    assert Protocol.ICMP.numbers(None) == (1, 58)
    for protocol in Protocol:
        assert all(protocol_of(n) is protocol for n in protocol.numbers(None))
    with pytest.raises(KeyError):
        protocol_of(47)


def test_a_flow_reads_back_and_prints() -> None:
    flow = Flow("192.0.2.1", "192.0.2.2", 40000, 80, "tcp")
    assert Flow(**json.loads(json.dumps(flow.to_json()))) == flow
    assert str(flow) == "192.0.2.1:40000 -> 192.0.2.2:80 (TCP)"
    assert str(Flow("2001:db8::1", "::2", 1, 2, "udp")) == "[2001:db8::1]:1 -> [::2]:2 (UDP)"


@pytest.mark.parametrize(
    "chosen",
    [
        Filter(),
        Filter(src_ip=V4),
        Filter(dst_ip=V6, either=True),
        Filter(V4, V4, 0, 65535, Protocol.ICMP, True),
    ],
)
def test_a_filter_reads_back(chosen: Filter) -> None:
    assert Filter.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen


def test_a_filter_knows_its_ip_version_and_whether_it_excludes_anything() -> None:
    assert (Filter(src_ip=V4).version, Filter(dst_ip=V6).version, Filter().version) == (4, 6, None)
    assert Filter().matches_all
    assert Filter(either=True).matches_all
    for narrow in (
        Filter(src_ip=V4),
        Filter(dst_ip=V4),
        Filter(src_port=0),
        Filter(dst_port=0),
        Filter(protocol=Protocol.TCP),
    ):
        assert not narrow.matches_all


def test_contradictions_are_refused() -> None:
    with pytest.raises(ValueError, match="not of one IP version"):
        Filter(src_ip=V4, dst_ip=V6)
    for port in (-1, 65536):
        with pytest.raises(ValueError, match="is not a port"):
            Filter(src_port=port)
        with pytest.raises(ValueError, match="is not a port"):
            Filter(dst_port=port)


@pytest.mark.parametrize(
    "value",
    [
        {"src_ip": "nonsense"},
        {"src_ip": "192.0.2.256"},
        {"src_ip": "192.0.2.1", "dst_ip": "::1"},
        {"src_port": "80"},
        {"dst_port": 70000},
        {"src_port": 1.5},
        {"protocol": "gre"},
        {"protocol": ["tcp"]},
        {"colour": "red"},
    ],
)
def test_what_is_no_filter_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Filter.from_json(value)


def test_a_boolean_is_no_port() -> None:
    with pytest.raises(ValueError):
        Filter.from_json({"src_port": True})


def test_a_filter_without_fields_matches_all() -> None:
    assert Filter.from_json({}) == Filter()
