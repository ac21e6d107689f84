"""The screens in a real terminal (tmux) on the lab: what a new user does in the first minutes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmlat_tui.lab import machine


class Terminal:
    """A tmux server of our own with one window."""

    def __init__(self, columns: int, lines: int, command: str) -> None:
        self._socket = f"vmlat-test-{uuid.uuid4().hex[:8]}"
        # The shell stays, so that what the program left behind can be seen.
        shell = f"unset COLUMNS LINES; {command}; echo left with $?; stty -a; exec sleep 600"
        self._tmux("-f", os.devnull, "new-session", "-d", "-x", str(columns), "-y", str(lines),
                   "-c", str(machine.CHECKOUT), "sh", "-c", shell)  # fmt: skip

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._socket, *words], capture_output=True, text=True, timeout=20
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def keys(self, *names: str) -> None:
        """Press keys, by tmux's names."""
        for name in names:
            self._tmux("send-keys", name)
            time.sleep(0.3)

    def type(self, text: str) -> None:
        """Write text."""
        self._tmux("send-keys", "-l", text)

    def text(self) -> str:
        """What is on the screen."""
        return self._tmux("capture-pane", "-p")

    def wait(self, pattern: str, seconds: float = 30.0) -> str:
        """Until the screen matches; returns it."""
        end = time.monotonic() + seconds
        while True:
            text = self.text()
            if re.search(pattern, text):
                return text
            assert time.monotonic() < end, f"waited {seconds} s for {pattern!r}:\n{text}"
            time.sleep(0.3)

    def close(self) -> None:
        """End everything in it."""
        self._tmux("kill-server")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of our own, with the images of everybody."""
    from vmlat_tui.lab import store

    monkeypatch.setenv("VMLAT_LAB_CACHE", str(store.default_directory()))
    monkeypatch.setenv("VMLAT_LAB_STATE", str(tmp_path / "lab"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture
def screens(home: Path) -> Iterator[Terminal]:
    words = [sys.executable, "-m", "vmlat_tui", "--lab", "--scenario", "two-vms"]
    terminal = Terminal(120, 40, shlex.join(words))
    try:
        yield terminal
    finally:
        terminal.close()


def left_over(home: Path) -> list[str]:
    """Processes that name this test's directory: machines, ssh connections, the program."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if os.fsencode(home) in line and b"tmux" not in line and b"pytest" not in line:
            found.append(line.replace(b"\0", b" ").decode(errors="replace"))
    return found


def test_from_the_list_of_vms_to_a_packet_and_back_out(screens: Terminal, home: Path) -> None:
    text = screens.wait(r"vm-a +running +vnet\d+ +vhost", 600)
    assert "vm-b" in text
    # The VM that is chosen is measured.
    screens.keys("Enter")
    text = screens.wait(r"total +\d+ +\d", 300)  # the first time it is compiled, emulated
    assert "vhost workers" in text and "halt polling" in text
    for leg in ("vnet_rx", "switch_in", "ovs_dp", "switch_out", "phy_queue", "phy_xmit", "tun_out"):
        assert leg in text, text
    assert re.search(r"vhost.*\d+", text) and "phy0" in text
    # A flow of its own.
    screens.keys("f")
    text = screens.wait(r"7001")
    screens.keys("F")
    screens.type("udp and port 7001")
    screens.keys("Enter", "Escape")
    screens.wait(r"udp.*7001")
    # Into the slowest leg, and to one packet.
    screens.wait(r"total +\d+ +\d", 60)
    screens.keys("j", "Enter")
    screens.wait(r"p50|histogram")
    screens.keys("Escape")
    screens.keys("p")
    screens.wait(r"7001", 60)
    screens.keys("Enter")
    text = screens.wait(r"tun_in|phy_rx")
    screens.keys("e")
    screens.wait(r"export to", 20)
    screens.keys("Enter")
    screens.wait(r"written|\.json", 20)
    written = list(home.rglob("*.json"))
    assert written and json.loads(written[0].read_text())
    screens.keys("q")
    text = screens.wait(r"left with \d+", 60)
    assert "left with 0" in text and re.search(r"(?<!-)\becho\b", text), text
    deadline = time.monotonic() + 20
    while left_over(home) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left_over(home) == []
    assert list((home / "lab").iterdir()) == []


def test_without_a_terminal_the_same_is_printed(home: Path) -> None:
    words = [sys.executable, "-m", "vmlat_tui", "--lab"]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, timeout=800, cwd=machine.CHECKOUT
    )
    text, progress = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 0, progress
    assert "ready: kernel" in progress
    assert re.search(r"^vm-a +running +vnet\d+ +vhost", text, re.MULTILINE), text
    assert len(re.findall(r"^total +[1-9]", text, re.MULTILINE)) == 2, text
    assert left_over(home) == [] and list((home / "lab").iterdir()) == []


def test_sigterm_while_the_lab_is_shown_leaves_nothing(screens: Terminal, home: Path) -> None:
    screens.wait(r"vm-a +running +vnet\d+ +vhost", 600)
    (program,) = [
        path
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"--lab\0--scenario" in path.read_bytes() and b"sh\0-c" not in path.read_bytes()
    ]
    os.kill(int(program.parent.name), signal.SIGTERM)
    text = screens.wait(r"left with \d+", 60)
    assert "left with 143" in text and re.search(r"(?<!-)\becho\b", text), text
    deadline = time.monotonic() + 20
    while left_over(home) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left_over(home) == [] and list((home / "lab").iterdir()) == []
