"""The command line of trace is checked before anything is started."""

from __future__ import annotations

import argparse

import pytest

from vmlat_tui.commands import trace
from vmlat_tui.commands.options import packets as request
from vmlat_tui.errors import UsageError
from vmlat_tui.model.flows import Protocol


def parsed(*words: str) -> request.PrintRequest:
    parser = argparse.ArgumentParser()
    trace.configure(parser)
    return request.parse(parser.parse_args(words))


def test_without_options_everything_is_watched_both_ways() -> None:
    request = parsed()
    assert request.packets.filters == () and request.packets.directions == ("tx", "rx")
    assert request.packets.vm_interfaces == () and request.packets.uplinks == ()
    assert (request.duration_s, request.count, request.threshold_ns) == (None, None, 0)


def test_the_requirements_options_make_one_filter() -> None:
    request = parsed(
        *[
            "--src-ip",
            "192.168.1.10",
            "--dst-ip",
            "192.168.1.20",
            "--src-port",
            "8080",
            "--dst-port",
            "80",
        ],
        *[
            "--protocol",
            "TCP",
            "--direction",
            "tx",
            "--vm-interface",
            "vnet0",
            "--phy-interface",
            "eth0,eth1",
        ],
        *["--latency-threshold", "100.5"],
    )
    (wanted,) = request.packets.filters
    assert str(wanted.src_ip) == "192.168.1.10" and str(wanted.dst_ip) == "192.168.1.20"
    assert (wanted.src_port, wanted.dst_port) == (8080, 80)
    assert wanted.protocol is Protocol.TCP and not wanted.either
    assert request.packets.uplinks == ("eth0", "eth1") and request.threshold_ns == 100_500


def test_with_both_directions_a_filter_matches_the_answers_too() -> None:
    assert parsed("--dst-port", "80").packets.filters[0].either


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--src-ip 10.0.0.256", "is not an address"),
        ("--src-ip 10.0.0.1 --dst-ip fd00::1", "not of one IP version"),
        ("--src-port 0", "from 1 to 65535"),
        ("--dst-port http", "whole number"),
        ("--protocol sctp", "choose tcp, udp or icmp"),
        ("--protocol icmp --src-port 7", "has no ports"),
        ("--vm-interface vnet0 --phy-interface vnet0", "cannot be both"),
        ("--vm-interface vnet0,,vnet1", "empty name"),
        ("--duration -1", "from 0.1"),
        ("--duration nan", "must be a number"),
        ("--count 0", "from 1"),
        ("--max-rate -5", "from 0"),
        ("--latency-threshold soon", "must be a number"),
        ("--stats --latency-threshold 5", "leave one out"),
    ],
)
def test_bad_options_are_refused_with_cause_and_remedy(words: str, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(*words.split())
    assert text in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.exit_status == 2
