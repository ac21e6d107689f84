"""A stand-in for the system's ssh: runs the command here, and fails as it is told to."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

_PROGRAM = '''#!{python} -IS
"""ssh that goes nowhere: standard input and output pass through it, as through the real one."""
import os, signal, subprocess, sys, threading
from pathlib import Path

state = Path({state!r})
(state / "arguments").write_text("\\0".join(sys.argv[1:]))
said = state / "says"
if said.exists():
    status, _, words = said.read_text().partition(" ")
    print(words, file=sys.stderr)
    sys.exit(int(status))
home = {{**os.environ, "TMPDIR": str(state / "tmp"), "HOME": str(state)}}
home.pop("PYTHONPATH", None)
# Its programs are where those of a distribution are, and so is its sudo.
command = sys.argv[-1].replace("PATH=", "PATH=" + str(state / "bin") + ":", 1)
there = subprocess.Popen(
    ["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=home
)

def cut(number, frame):
    print("Connection to hv1 closed by remote host.", file=sys.stderr, flush=True)
    os._exit(255)

def copy(source, target):
    while True:
        data = os.read(source, 65536)
        if not data:
            break
        while data:
            data = data[os.write(target, data):]
    os.close(target)

signal.signal(signal.SIGUSR1, cut)
(state / "pid").write_text(str(os.getpid()))
threading.Thread(target=copy, args=(0, there.stdin.fileno()), daemon=True).start()
output = threading.Thread(target=copy, args=(there.stdout.fileno(), 1), daemon=True)
output.start()
status = there.wait()
output.join()
os._exit(status)
'''


class FarHost:
    """What is beyond our ssh; ``tmp`` is its directory of temporary files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.tmp = directory / "tmp"
        self.tmp.mkdir()
        program = directory / "bin" / "ssh"
        program.parent.mkdir()
        base = os.path.realpath(sys.executable)
        program.write_text(_PROGRAM.format(python=base, state=str(directory)))
        program.chmod(0o755)
        sudo = program.with_name("sudo")
        sudo.write_text('#!/bin/sh\n[ "$1" = -n ] && shift && VMLAT_SUDO=1 exec "$@"\n')
        sudo.chmod(0o755)
        self.path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"

    @property
    def arguments(self) -> list[str]:
        """What ssh was called with last."""
        return (self._directory / "arguments").read_text().split("\0")

    def says(self, status: int, words: str) -> None:
        """From now on ssh fails."""
        (self._directory / "says").write_text(f"{status} {words}")

    def lets_in(self) -> None:
        """From now on it does not."""
        (self._directory / "says").unlink()

    def cut(self) -> None:
        """The connection breaks."""
        pid = self._directory / "pid"
        number = int(pid.read_text())
        pid.unlink()
        os.kill(number, signal.SIGUSR1)

    def empties(self, seconds: float = 20.0) -> bool:
        """Whether nothing of ours is left there, soon."""
        end = time.monotonic() + seconds
        while any(self.tmp.iterdir()) and time.monotonic() < end:
            time.sleep(0.05)
        return not any(self.tmp.iterdir())
