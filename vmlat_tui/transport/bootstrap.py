"""What runs first on another host: unpacks the agent there, runs it, and leaves nothing.

It goes there as text (see :mod:`vmlat_tui.transport.bundle`), so it stands alone, and keeps to what
every Python 3 can read.  Standard input holds the archive, then the agent's commands.
"""

import io
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from typing import Optional

#: The other side says something every few seconds.  When it is silent for this long the connection
#: is dead, whatever TCP believes: no probe stays attached for nobody.
SILENCE_S = 60.0
#: How long the agent may take to remove its probes.
PATIENCE_S = 10.0

#: What the agent gets of the login's environment; libraries and compilers read much more.
KEPT = ("PATH", "HOME", "VMLAT_CACHE", "XDG_RUNTIME_DIR")

#: The distribution's packages come before those that travelled along.
AGENT = """
import sys
sys.path.insert(0, sys.argv[1])
sys.path.append(sys.argv[1] + "/vendor")
from vmlat_tui.agent.agent import main
sys.exit(main())
"""


def _end(number: int, frame: object) -> None:
    for other in (signal.SIGHUP, signal.SIGTERM):  # cleaning up is not interrupted
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _received(size: int) -> Optional[bytes]:
    """So many bytes of standard input; None if it ends before."""
    parts = []
    while size:
        part = os.read(0, min(size, 1 << 16))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _relay(agent: "subprocess.Popen[bytes]", ended: int) -> None:
    """Hand on commands until the agent ends, the connection does, or nobody is there any more."""
    heard = time.monotonic()
    while True:
        ready = select.select([0, ended], [], [], SILENCE_S)[0]
        if ended in ready:
            return
        if 0 in ready:
            data = os.read(0, 1 << 16)
            if not data:
                return
            heard = time.monotonic()
            assert agent.stdin
            try:
                agent.stdin.write(data)
            except BrokenPipeError:
                return
        elif time.monotonic() - heard >= SILENCE_S:
            agent.kill()  # it may be blocked in writing to the dead connection
            return


def _run(directory: str) -> int:
    ended, held = os.pipe()
    command = [sys.executable, "-IB", "-c", AGENT, directory]
    agent = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        bufsize=0,
        pass_fds=(held,),
        cwd=directory,
        env={name: value for name, value in os.environ.items() if name in KEPT},
    )
    os.close(held)
    try:
        _relay(agent, ended)
        assert agent.stdin
        agent.stdin.close()
        return agent.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        return 1
    finally:
        agent.kill()
        agent.wait()


def main(size: int) -> int:
    """Receive an archive of ``size`` bytes and run the agent in it; return its exit status."""
    if sys.version_info < (3, 9):  # noqa: UP036 the other host's
        sys.exit("vmlat needs Python 3.9, this is " + sys.version.split()[0])
    archive = _received(size)
    if archive is None:
        return 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, _end)
    directory = tempfile.mkdtemp(prefix="vmlat-")  # for this user only
    try:
        zipfile.ZipFile(io.BytesIO(archive)).extractall(directory)
        status = _run(directory)
        # A signal is said as a shell says it: ssh passes on only numbers.
        return 128 - status if status < 0 else status
    finally:
        shutil.rmtree(directory, ignore_errors=True)
