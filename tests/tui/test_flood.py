"""A far host that floods: the screens stay small, answer keys, and are left at once."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.frames import encoded
from tests.tui.streams import Stream
from tests.tui.terminal import LEFT, ROOT, Terminal

_BEGIN = """
import json, os, sys, threading
directory = sys.argv[1]
def read():
    while os.read(0, 65536):
        pass
    os._exit(0)
threading.Thread(target=read, daemon=True).start()
def say(frame):
    data = json.dumps(frame).encode() + b"\\n"
    while data:
        data = data[os.write(1, data):]
given = [json.loads(line) for line in open(directory + "/frames")]
for frame in given:
    say(frame)
stats = given[-1]
drop, t_ns = stats["drops"][0], stats["t_ns"]
n = 0
while True:
    n += 1
    t_ns += 50_000_000
    drops = [{**drop, "point": f"p{n * 4000 + k}", "packets": 1} for k in range(4000)]
    say({**stats, "t_ns": t_ns, "drops": drops})
"""
_PROGRAM = """
import sys
from vmlat_tui.cli import main
from vmlat_tui.transport import hosts
from vmlat_tui.transport.hosts import Host
agent = (sys.executable, "-IS", sys.argv[1] + "/agent.py", *sys.argv[1:])
hosts.reached_by_ssh = lambda place, sudo=False, option="": Host(place, agent, far=True)
sys.exit(main(["--host", "hv1"]))
"""
#: How long it floods, and MiB that it may take then: before this was bounded it took 190 at once.
FLOOD_S, MOST_MIB = 5.0, 150
#: One second to answer in, and one more for a busy machine.
SOON_S = 1.0 + 1.0


def resident_mib(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) >> 10


@pytest.fixture
def flooded(tmp_path: Path) -> Iterator[Terminal]:
    stream = Stream(("web-1",), flows=1)
    opening = [stream.hello(), stream.topology(), stream.vitals(), stream.measuring()]
    said = [*opening, stream.links(), stream.stats()]
    (tmp_path / "frames").write_bytes(b"".join(map(encoded, said)))
    (tmp_path / "agent.py").write_text(_BEGIN)
    terminal = Terminal(["-c", _PROGRAM, str(tmp_path)], PYTHONPATH=str(ROOT))
    yield terminal
    terminal.close()


def test_a_host_that_floods_takes_neither_memory_nor_keys(flooded: Terminal) -> None:
    assert flooded.until(b"web-1")
    flooded.type(b"\r")
    assert flooded.until(b"vnet0")
    flooded.read(FLOOD_S)
    assert resident_mib(flooded.child.pid) < MOST_MIB
    flooded.output = b""
    begin = time.monotonic()
    flooded.type(b"?")
    assert flooded.until(b"keys and columns", 10)
    assert time.monotonic() - begin < SOON_S
    flooded.type(b"\x1b")
    flooded.read(0.3)
    begin = time.monotonic()
    flooded.type(b"q")
    assert flooded.until(LEFT, 10)
    assert time.monotonic() - begin < SOON_S
    assert flooded.ended(5) == 0 and time.monotonic() - begin < 2 * SOON_S
