"""``vmlat record`` as a process: what it asks of an agent, what it writes, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Optional

import pytest

from tests.support.frames import objects

ROOT = Path(__file__).resolve().parents[3]
#: The command with another agent; argv: limit of a file's size, log of the agent, arguments.
PROGRAM = """
import resource, sys
from vmlat_tui.cli import main
from vmlat_tui.transport import hosts
from vmlat_tui.transport.hosts import Host
limit, log, *arguments = sys.argv[1:]
agent = (sys.executable, "-m", "tests.support.agents", log)
hosts.here = lambda: Host("this host", agent)
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
sys.exit(main(["record", *arguments]))
"""


def started(directory: Path, *arguments: str, limit: int = 0) -> subprocess.Popen[str]:
    log = str(directory / "commands")
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(limit), log, *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def recorded(directory: Path, *arguments: str, limit: int = 0) -> tuple[int, str]:
    """Status and messages of one run; it has nothing for standard output."""
    with started(directory, *arguments, limit=limit) as process:
        out, err = process.communicate(timeout=60)
    assert out == ""
    return process.returncode, err


def commands(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "commands").read_text().splitlines()]


def test_a_session_is_recorded_for_as_long_as_was_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.vmlat.gz"
    status, err = recorded(tmp_path, str(path), "--duration", "0.5", "--connect", "test:///x")
    assert status == 0, err
    (line,) = err.splitlines()
    assert line.startswith("vmlat: recorded ") and " packets, " in line and "KiB on hv1" in line
    assert line.endswith(f"`vmlat replay {path}` shows it")
    frames = objects(path)
    assert [f["type"] for f in frames[:4]] == ["hello", "topology", "vitals", "measuring"]
    assert frames[-1]["type"] == "stats" and frames[-1]["final"], "complete to the end"
    assert any(f["type"] == "packet" for f in frames)
    assert path.stat().st_mode & 0o777 == 0o600
    configure, measure, stop = commands(tmp_path)
    assert configure["discover"] and configure["connect"] == "test:///x"
    assert measure["filters"] == [] and measure["vm_interfaces"] == [] and measure["emit"]
    assert measure["max_rate"] == 50 and stop["command"] == "stop"


def test_which_packets_is_said_like_everywhere(tmp_path: Path) -> None:
    status, err = recorded(
        tmp_path, str(tmp_path / "a.vmlat"), "--duration", "0.2", "--protocol", "tcp",
        "--dst-port", "443", "--direction", "rx", "--vm-interface", "vnet1",
        "--phy-interface", "eth0", "--latency-threshold", "200", "--max-rate", "7",
    )  # fmt: skip
    assert status == 0, err
    measure = commands(tmp_path)[1]
    (wanted,) = measure["filters"]
    assert (wanted["protocol"], wanted["dst_port"]) == ("tcp", 443)
    assert measure["directions"] == ["rx"] and measure["uplinks"] == ["eth0"]
    assert measure["vm_interfaces"] == ["vnet1"] and measure["threshold_ns"] == 200_000
    assert measure["max_rate"] == 7


def test_a_vm_stands_for_its_taps(tmp_path: Path) -> None:
    status, err = recorded(tmp_path, str(tmp_path / "a.vmlat"), "--duration", "0.2", "--vm", "db-1")
    assert status == 0, err
    assert commands(tmp_path)[1]["vm_interfaces"] == ["vnet1"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_the_file_is_complete(number: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "a.vmlat.gz"
    with started(tmp_path, str(path)) as process:
        wait_for(path, 2000)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0 and err.startswith("vmlat: recorded"), err
    *_, last = objects(path)
    assert last["type"] == "stats" and last["final"]


def wait_for(path: Path, size: int) -> None:
    deadline = time.monotonic() + 30
    while not (path.exists() and path.stat().st_size > size):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_file_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "a.vmlat"
    path.write_text("precious")
    status, err = recorded(tmp_path, str(path), "--duration", "0.2")
    assert (status, len(err.splitlines())) == (2, 1) and "--force" in err
    assert path.read_text() == "precious" and not (tmp_path / "commands").exists()
    forced = (str(path), "--duration", "0.2", "--force")
    assert recorded(tmp_path, *forced, "--vm-interface", "vnet9")[0] == 2
    assert path.read_text() == "precious", "nothing was recorded in its place"
    assert recorded(tmp_path, *forced)[0] == 0
    assert next(iter(objects(path)))["type"] == "hello"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["/nowhere/x.vmlat"], "/nowhere is not a directory"),
        (["/dev/full", "--force"], "not a regular file"),
        (["/proc/x.vmlat"], "cannot be made"),
        (["{}/x", "--vm", "a", "--vm-interface", "b"], "say the same"),
        (["{}/x", "--duration", "soon"], "--duration 'soon' is wrong"),
        (["{}/x", "--connect", ""], "--connect is empty"),
        (["{}/x", "--vm-interface", "vnet9"], "vnet9 cannot be watched"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_no_file(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    status, err = recorded(tmp_path, *(word.format(tmp_path) for word in arguments))
    assert (status, len(err.splitlines())) == (2, 1) and words in err, err
    assert not list(tmp_path.glob("*x*"))


def test_a_vm_that_is_not_there_is_said_with_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vmlat_tui.commands import record
    from vmlat_tui.errors import UsageError
    from vmlat_tui.session import limits
    from vmlat_tui.transport import hosts
    from vmlat_tui.transport.hosts import Host

    log, path = str(tmp_path / "commands"), tmp_path / "x.vmlat"
    argv = (sys.executable, "-m", "tests.support.agents", log)
    monkeypatch.setattr(hosts, "here", lambda: Host("this host", argv))
    monkeypatch.setattr(limits, "NAME_S", 1.5)
    request = record.parse(arguments(str(path), "--vm", "web-9"))
    with pytest.raises(UsageError, match=r"there is no VM 'web-9': on this host: web-1, db-1"):
        record._Recorder(request).run()
    assert not path.exists()


def arguments(*words: str) -> Any:
    import argparse

    from vmlat_tui.commands import record

    parser = argparse.ArgumentParser()
    record.configure(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("name", ["a.vmlat", "a.vmlat.gz"])
def test_a_full_disk_is_one_line_and_what_was_written_can_be_read(
    name: str, tmp_path: Path
) -> None:
    limit = 60_000 if name == "a.vmlat" else 12_000
    status, err = recorded(tmp_path, str(tmp_path / name), limit=limit)
    summary, problem = err.splitlines()
    assert status == 1 and "recorded" in summary
    assert "ended: File too large; what was written is kept" in problem
    kinds: list[Optional[str]] = [frame["type"] for frame in objects(tmp_path / name)]
    assert kinds[0] == "hello" and "stats" in kinds
