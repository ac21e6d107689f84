"""The filter line selects what it says, in tcpdump's words and in those of trace."""

from __future__ import annotations

import pytest

from vmlat_tui.errors import UsageError
from vmlat_tui.model.filters import of_flow, parse, words
from vmlat_tui.model.flows import Flow


def shown(line: str) -> list[dict[str, object]]:
    """The filters of a line without the fields that match everything."""
    return [{k: v for k, v in f.to_json().items() if v is not None} for f in parse(line)]


def test_nothing_typed_is_everything() -> None:
    assert parse("  ") == () and words(()) == "all"


def test_a_host_and_a_port_may_be_on_either_side_and_on_different_ones() -> None:
    assert shown("tcp and host 10.0.0.9 and port 443") == [
        {"src_ip": "10.0.0.9", "src_port": 443, "protocol": "tcp", "either": True},
        {"src_ip": "10.0.0.9", "dst_port": 443, "protocol": "tcp", "either": True},
    ]


@pytest.mark.parametrize(
    ("line", "filters"),
    [
        ("udp", [{"protocol": "udp", "either": True}]),
        ("TCP port 80", [{"src_port": 80, "protocol": "tcp", "either": True}]),
        ("fd00::9", [{"src_ip": "fd00::9", "either": True}]),
        ("src host 10.0.0.1", [{"src_ip": "10.0.0.1", "either": False}]),
        ("src 10.0.0.1 dst port 53",
         [{"src_ip": "10.0.0.1", "dst_port": 53, "either": False}]),
        ("--src-ip 10.0.0.1 --dst-port=53 --protocol udp",
         [{"src_ip": "10.0.0.1", "dst_port": 53, "protocol": "udp", "either": False}]),
        ("host 10.0.0.1 and host 10.0.0.2",
         [{"src_ip": "10.0.0.1", "dst_ip": "10.0.0.2", "either": True}]),
        ("src port 1 and host 10.0.0.1",
         [{"src_ip": "10.0.0.1", "src_port": 1, "either": False},
          {"dst_ip": "10.0.0.1", "src_port": 1, "either": False}]),
        ("icmp or tcp",
         [{"protocol": "icmp", "either": True}, {"protocol": "tcp", "either": True}]),
    ],
)  # fmt: skip
def test_a_line_means(line: str, filters: list[dict[str, object]]) -> None:
    assert shown(line) == filters


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("sctp", "'sctp' is not a word of a filter; for example: tcp and host"),
        ("proto sctp", "protocol 'sctp' is not measured; choose tcp, udp or icmp"),
        ("host example.org", "'example.org' is not an address; give IPv4"),
        ("10.0.0", "'10.0.0' is not an address"),
        ("port 0", "port '0' is wrong; give a number"),
        ("port ssh", "port 'ssh' is wrong"),
        ("host", "host is followed by nothing"),
        ("src", "src is followed by nothing"),
        ("tcp or", "an alternative is empty"),
        ("and", "the filter is empty"),
        ("tcp udp", "a packet cannot be udp and another protocol at once"),
        ("icmp port 1", "ICMP echo has no ports"),
        ("port 1 port 2 port 3", "two ports, not three"),
        ("src 10.0.0.1 src 10.0.0.2", "src is given twice"),
        ("src 10.0.0.1 dst 10.0.0.2 host 10.0.0.3", "too many hosts"),
        ("src 10.0.0.1 dst fd00::1", "contradict"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_a_remedy(line: str, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(line)
    assert what in str(caught.value) and "\n" not in str(caught.value)


def test_the_filter_of_a_flow_takes_its_answers_too() -> None:
    one = of_flow(Flow("10.0.0.1", "10.0.0.2", 4000, 443, "tcp"))
    assert one.either and (one.src_port, one.dst_port) == (4000, 443)
    assert words((one,)) == "tcp and host 10.0.0.1 and host 10.0.0.2 and port 4000 and port 443"
    assert of_flow(Flow("10.0.0.1", "10.0.0.2", 0, 0, "132")).protocol is None


def test_filters_in_words_are_parsed_back() -> None:
    for line in ("tcp and src host 10.0.0.1", "icmp", "host fd00::1 and port 53", "icmp or udp"):
        assert parse(words(parse(line))) == parse(line)
