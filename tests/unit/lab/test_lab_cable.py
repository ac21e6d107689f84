"""A cable of the lab that is slow: what its emulator is told, and how it is reached."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.lab import monitor, scenarios
from vmlat_tui.lab.hypervisor import cable
from vmlat_tui.lab.machine import Boot, Machine
from vmlat_tui.lab.store import Image

GREETING: dict[str, Any] = {"QMP": {"version": {}, "capabilities": []}}
EVENT: dict[str, Any] = {"event": "RTC_CHANGE", "data": {}}


class Emulator:
    """Speaks QMP as QEMU does, of objects only; ``said`` is what was left unread before."""

    def __init__(self, *said: dict[str, Any], negotiated: bool = False) -> None:
        near, self._far = socket.socketpair()
        self.descriptor = near.detach()
        self.objects: dict[str, dict[str, Any]] = {}
        self._negotiated = negotiated
        for each in said:
            self._say(each)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _say(self, answer: dict[str, Any]) -> None:
        self._far.sendall(json.dumps(answer).encode() + b"\r\n")

    def _serve(self) -> None:
        with self._far, self._far.makefile("r") as lines:
            for line in lines:
                request = json.loads(line)
                problem = self._problem(request["execute"], request["arguments"])
                answer = {"error": {"class": "X", "desc": problem}} if problem else {"return": {}}
                self._say(EVENT)
                self._say({**answer, "id": request["id"]})

    def _problem(self, verb: str, arguments: dict[str, Any]) -> str:
        if verb == "qmp_capabilities":
            problem = "not found" if self._negotiated else ""
            self._negotiated = True
            return problem
        if not self._negotiated:
            return "expecting capabilities negotiation"
        if verb == "object-add":
            if arguments["id"] in self.objects:
                return "attempt to add duplicate property"
            self.objects[arguments["id"]] = arguments
            return ""
        assert verb == "object-del"
        return "" if self.objects.pop(arguments["id"], None) else "object not found"

    def end(self) -> None:
        os.close(self.descriptor)
        self._thread.join(10)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    made = Emulator(GREETING)
    yield made
    made.end()


def test_frames_that_were_sent_wait_while_the_cable_is_slow(emulator: Emulator) -> None:
    with pytest.raises(KeyError), cable.slow(cable.Monitor(emulator.descriptor), 500):
        assert list(emulator.objects.values()) == [
            {"qom-type": "filter-buffer", "id": "slow-cable", "netdev": "phy0", "queue": "rx",
             "interval": 500_000}
        ]  # fmt: skip
        raise KeyError
    assert not emulator.objects


def test_the_next_one_goes_on_where_the_last_was_killed() -> None:
    """There is no greeting, an answer is left, and so is the filter."""
    emulator = Emulator({"return": {}, "id": "1-1"}, negotiated=True)
    emulator.objects["slow-cable"] = {"interval": 1}
    try:
        with cable.slow(cable.Monitor(emulator.descriptor), 20):
            assert emulator.objects["slow-cable"]["interval"] == 20_000
        assert not emulator.objects
    finally:
        emulator.end()


def test_what_the_emulator_refuses_is_said(emulator: Emulator) -> None:
    asked = cable.Monitor(emulator.descriptor)
    with pytest.raises(VmlatError, match="refuses object-del: object not found"):
        asked.ask("object-del", {"id": "other"})


def test_an_emulator_without_an_answer_is_not_waited_for_for_ever(monkeypatch: Any) -> None:
    monkeypatch.setattr(cable, "_ANSWER_S", 0.2)
    near, far = socket.socketpair()
    with near, far:
        with pytest.raises(VmlatError, match="does not answer: waited"):
            cable.Monitor(near.fileno())
        far.shutdown(socket.SHUT_WR)
        with pytest.raises(VmlatError, match="nobody is at its end"):
            cable.Monitor(near.fileno())


@pytest.mark.parametrize("words", [[], ["0"], ["-5"], ["1e3"], ["10001"], ["5", "5"]])
def test_how_slow_must_be_said(words: list[str]) -> None:
    with pytest.raises(UsageError):
        cable.main(words)


#: Plays QEMU: is the one chardev the other end of the other one?
JOINED = """
import re, socket, sys
ends = [socket.socket(fileno=int(re.search(fr"id={name},fd=(\\d+)", " ".join(sys.argv))[1]))
        for name in ("monitor", "port")]
ends[0].send(b"hello")
print(ends[1].recv(9), flush=True)
"""


def test_in_a_pair_the_port_and_the_monitor_are_joined(tmp_path: Path) -> None:
    log = begun(tmp_path, "pair")
    assert "hello" in log


def test_a_machine_alone_has_no_way_to_its_emulator(tmp_path: Path) -> None:
    log = begun(tmp_path, "ovs")
    assert "TypeError" in log and "hello" not in log


def begun(tmp_path: Path, scenario: str) -> str:
    """Start a machine whose QEMU is :data:`JOINED`; return what that says."""
    (tmp_path / "initramfs.cpio").write_bytes(b"")
    for name in ("key", "key.pub", "host_key"):
        (tmp_path / name).write_text("")
    boot = Boot(Image(tmp_path), "6.1", scenarios.scenario(scenario), 64)
    one = Machine(tmp_path, 0, "a")
    cables = socket.socketpair() if boot.scenario.paired else ()
    before = set(os.listdir("/proc/self/fd"))
    one.start(boot, [sys.executable, "-c", JOINED], [each.fileno() for each in cables])
    try:
        assert set(os.listdir("/proc/self/fd")) == before, "this process keeps no end"
        end = time.monotonic() + 20
        while one.running() and time.monotonic() < end:
            time.sleep(0.05)
        return one._qemu_log()
    finally:
        one.stop()
        for each in cables:
            each.close()


def test_its_options_are_for_two_descriptors() -> None:
    options = monitor.options([7, 9])
    assert "socket,id=monitor,fd=7" in options and "socket,id=port,fd=9" in options
    assert f"virtserialport,chardev=port,name={monitor.PORT}" in options
