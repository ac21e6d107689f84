"""Root starts vmlat where somebody else can write: nothing of theirs runs, whatever it is called.

The directory belongs to another user.  It is the current one, it is on PYTHONPATH and first on
PATH, and its owner's modules and programs have every name that is looked for.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.native.nobody import LETS_IN, by_nobody
from tests.support.far import FarHost
from vmlat_tui.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
VMLAT = ROOT / ".venv" / "bin" / "vmlat"
RECORDING = ROOT / "vmlat_tui" / "recordings" / "two-vms.vmlat.gz"
STRANGER = 65533

#: The interpreter imports these by itself, or vmlat and what it uses does.
MODULES = (
    "sitecustomize", "usercustomize", "json", "ctypes", "socket", "select", "signal", "subprocess",
    "tempfile", "ipaddress", "struct", "typing", "dataclasses", "logging", "bcc", "libvirt", "ovs",
    "pyroute2", "textual", "rich", "encodings", "zipfile", "gzip", "vmlat_tui",
)  # fmt: skip
PROGRAMS = (
    "ssh", "sudo", "sh", "env", "python3", "ping", "modprobe", "uname", "readlink", "dirname",
    "cc", "gcc", "clang", "ldconfig", "ip", "ethtool", "qemu-system-x86_64", "mmdebstrap",
)  # fmt: skip


class Trap:
    """Somebody else's directory, and what of it has run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "theirs"
        self.directory.mkdir()
        self._log = self.directory / "log"
        site = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
        user = self.directory / ".local" / site
        user.mkdir(parents=True)
        text = f"open({str(self._log)!r}, 'a').write('module ' + __file__ + '\\n')\n"
        for place in (self.directory, user):
            for name in MODULES:
                (place / f"{name}.py").write_text(text)
        for name in PROGRAMS:
            program = self.directory / name
            program.write_text(f"#!/bin/bash\necho program {name} >>{self._log}\nexit 1\n")
            program.chmod(0o755)
        for path in [self.directory, *self.directory.rglob("*")]:
            os.chown(path, STRANGER, STRANGER)
        self.directory.chmod(0o777)
        #: Others must be able to reach it.
        for parent in directory.parents[: len(directory.parents) - 2]:
            parent.chmod(parent.stat().st_mode | 0o011)

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run vmlat in it; the cache of compiled programs is empty."""
        there = str(self.directory)
        environment = {
            "PATH": os.pathsep.join([variables.pop("FIRST", there), there, "/usr/bin:/bin"]),
            "HOME": there, "PYTHONPATH": there, "PYTHONSTARTUP": f"{there}/json.py",
            "XDG_STATE_HOME": f"{there}/state", "VMLAT_CACHE": f"{self.directory.parent}/cache",
            "BCC_KERNEL_SOURCE": there, "LD_LIBRARY_PATH": there, **variables,
        }  # fmt: skip
        return subprocess.run(
            [str(VMLAT), *words], cwd=self.directory, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    @property
    def sprung(self) -> str:
        return self._log.read_text() if self._log.exists() else ""


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    yield Trap(tmp_path)


def test_the_trap_works(trap: Trap) -> None:
    there = str(trap.directory)
    line = [sys.executable, "-m", "vmlat_tui", "--version"]
    subprocess.run(line, cwd=there, capture_output=True, check=False, timeout=30)
    subprocess.run(["env", "-i"], env={"PATH": f"{there}:/usr/bin"}, check=False)
    assert "vmlat_tui.py" in trap.sprung and "program env" in trap.sprung


#: Each command so that it comes as far as it can where no VM runs.
LOCAL: dict[str, tuple[str, ...]] = {
    "trace": ("--duration", "1"),
    "irq": ("--duration", "1"),
    "kick": ("--duration", "1"),
    "icmp": ("--duration", "1"),
    "ping": ("--sender", "localhost/a", "--receiver", "localhost/b", "--count", "1"),
    "guest": ("--duration", "1"),
    "topology": (),
    "doctor": (),
    "record": ("r.vmlat", "--duration", "1"),
    "replay": (str(RECORDING),),
    "demo": ("two-vms",),
    "analyze": (".",),
    "compare": (".", "."),
    "lab": ("status",),
    "agent": (),
}


def test_every_command_is_tried() -> None:
    assert set(LOCAL) == set(COMMANDS)


@pytest.mark.parametrize("command", [*LOCAL, ""])
def test_nothing_of_theirs_runs_on_this_host(trap: Trap, command: str) -> None:
    done = trap.run(*((command, *LOCAL[command]) if command else ()))
    assert trap.sprung == "", done.stderr
    assert "Traceback" not in done.stderr and "No module" not in done.stderr


def test_nor_while_a_program_is_compiled_and_measures(trap: Trap) -> None:
    done = trap.run("doctor")
    assert "The main path can be measured" in done.stdout, done.stdout + done.stderr
    assert list((trap.directory.parent / "cache").rglob("*.json")), "nothing was compiled"
    assert trap.sprung == ""


@pytest.mark.parametrize("sudo", [False, True])
@pytest.mark.parametrize("command", ["topology", "doctor", "trace", "guest", "record", ""])
def test_nor_on_the_way_to_another_host(trap: Trap, command: str, sudo: bool) -> None:
    """An ssh of ours stands in for the real one; there, their directory is the current one, too."""
    ours = trap.directory.parent / "far"
    ours.mkdir()
    far = FarHost(ours)
    words = (*((command, *LOCAL[command]) if command else ()), "--host", "hv1")
    done = trap.run(*words, *(["--sudo"] if sudo else []), FIRST=f"{ours}/bin")
    assert far.arguments, "ssh was not reached"
    assert trap.sprung == "", done.stderr
    assert "Traceback" not in done.stderr


def test_nor_when_sudo_keeps_the_environment_of_the_user(trap: Trap) -> None:
    there = str(trap.directory)
    kept = {"PYTHONPATH": there, "PYTHONHOME": there, "HOME": there, "PYTHONSTARTUP": there,
            "XDG_CONFIG_HOME": there, "BCC_KERNEL_SOURCE": there}  # fmt: skip
    done = by_nobody(trap.directory, LETS_IN, "sudo", "-n", "-E", str(VMLAT), "doctor", **kept)
    assert done.returncode == 0 and "The main path can be measured" in done.stdout, done.stderr
    assert trap.sprung == ""


def test_their_ssh_is_not_the_one_that_is_started(trap: Trap) -> None:
    done = trap.run("topology", "--host", "host.invalid")
    assert done.returncode == 2 or "cannot be reached" in done.stderr, done
    assert trap.sprung == ""
