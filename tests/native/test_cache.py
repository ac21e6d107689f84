"""The cache of compiled programs: whatever is done to it, what the kernel runs is what we made."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import command
from tests.support.frames import next_object
from vmlat_tui.probes import compiler
from vmlat_tui.probes.guest import GuestEngine
from vmlat_tui.probes.ladder import Kernel
from vmlat_tui.protocol.commands import Stop
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.transport.process import AgentProcess


def measure(kernel: Kernel) -> None:
    """Load what is compiled into the kernel and attach it."""
    GuestEngine(kernel).close()


def changed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """What somebody does who knows what an entry looks like."""

    def damage(path: Path) -> None:
        content = path.read_bytes()
        begin = content.index(b"{")
        value = json.loads(content[begin:])
        change(value)
        path.write_bytes(content[:begin] + json.dumps(value).encode())

    return damage


def flipped(value: dict[str, Any]) -> None:
    name = min(value["functions"])
    code = bytearray(base64.b64decode(value["functions"][name]))
    code[len(code) // 16 * 8] ^= 0xFF
    value["functions"][name] = base64.b64encode(code).decode()


def replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.rename(path.with_name("before"))
        make(path)

    return damage


def full_directory(path: Path) -> None:
    path.mkdir()
    (path / "x").touch()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: os.truncate(path, 40_000),
    "empty": lambda path: os.truncate(path, 0),
    "huge": lambda path: os.truncate(path, 1 << 33),
    "a flipped byte of code": changed(flipped),
    "a function is missing": changed(lambda value: value["functions"].popitem()),
    "no code": changed(lambda value: value.update(functions=dict.fromkeys(value["functions"], ""))),
    "another size of a map": changed(lambda value: value["maps"][0].__setitem__(3, 4)),
    "maps of text": changed(lambda value: value.update(maps=[["x"] * 6])),
    "deep": lambda path: path.write_text("[" * 200_000),
    "others can write to it": lambda path: path.chmod(0o666),
    "another owner": lambda path: os.chown(path, 65533, 65533),
    "another name": lambda path: os.link(path, path.with_name("other")),
    "a link": replaced(lambda path: path.symlink_to("before")),
    "a directory": replaced(full_directory),
    "a pipe": replaced(lambda path: os.mkfifo(path, 0o600)),
}


@pytest.fixture
def entry(kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The entry that a first measurement has left."""
    monkeypatch.setenv("VMLAT_CACHE", str(tmp_path / "cache"))
    before = os.umask(0)
    try:
        measure(kernel)
    finally:
        os.umask(before)
    (found,) = (tmp_path / "cache" / "bpf").iterdir()
    return found


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_made_again_and_takes_its_place(
    damage: str, entry: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = entry.read_bytes()
    DAMAGES[damage](entry)
    measure(kernel)
    info = entry.lstat()
    assert stat.S_ISREG(info.st_mode) and entry.read_bytes() == good, "it is met once"
    assert (info.st_mode & 0o777, info.st_uid, info.st_nlink) == (0o600, os.geteuid(), 1)

    def fail(*_: object) -> None:
        raise AssertionError("it was compiled again")

    monkeypatch.setattr(compiler, "compile_all", fail)
    measure(kernel)


def test_the_cache_is_its_owners_alone_whatever_the_umask(entry: Path) -> None:
    assert entry.stat().st_mode & 0o777 == 0o600
    assert {path.stat().st_mode & 0o777 for path in list(entry.parents)[:2]} == {0o700}


def test_an_agent_says_once_that_it_does_without_a_cache(entry: Path) -> None:
    before = entry.read_bytes()
    entry.parent.chmod(0o777)
    with AgentProcess() as agent:
        agent.send(command("configure", guest=True, timeout_ns=10**9, measure=True))
        agent.send(Stop())
        said: list[Raw] = []
        while not said or not (said[-1]["type"] == "stats" and said[-1]["final"]):
            frame = next_object(agent, 60)
            assert frame is not None
            said.append(frame)
    (notice,) = [frame["text"] for frame in said if "cache" in str(frame.get("text")).lower()]
    assert f"{entry.parent} is not trusted: others can write to it; set VMLAT_CACHE to" in notice
    assert said[0]["type"] == "hello" and entry.read_bytes() == before
