"""How this program starts others: nothing is found by name in a place that others can write.

vmlat runs as root on machines with other users.  ``python -m`` looks into the current directory
first, PYTHONPATH and the user's site-packages come before the distribution's, PATH may name a
directory that anybody can write, and libraries, libvirt and clang read many more variables.  So
every Python of ours starts isolated, with an environment that is made for it; and other programs
get a PATH of directories that only root or this user can change.

Standard library only; importable from every layer, and it travels to other hosts.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import stat
import sys
from typing import Optional

from vmlat_tui.sources import PACKAGE

#: Where a distribution has its programs.
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
#: What measures.
AGENT = "vmlat_tui.agent.agent"
#: What an agent and its compilers get of the user's environment.
_KEPT = ("VMLAT_CACHE",)
#: What only they need who are not root: libvirt's session is found by it.
_OWN = ("HOME", "XDG_RUNTIME_DIR")

_PR_SET_PDEATHSIG = 1
#: Loaded now: a child may not be able to, between fork and its program.
_libc = ctypes.CDLL(None)

_START = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from {} import main; raise SystemExit(main())"
)


def isolated(module: str) -> tuple[str, ...]:
    """The command line that runs ``main()`` of a module of this package with this interpreter.

    Isolated (-I): neither the current directory nor the environment nor the user's site-packages
    take the place of a module.  Bytecode is where this interpreter has it, if it has any.
    """
    flags = ["-IB" if sys.dont_write_bytecode else "-I"]
    if sys.pycache_prefix is not None:
        flags += ["-X", f"pycache_prefix={sys.pycache_prefix}"]
    return (sys.executable, *flags, "-c", _START.format(module), str(PACKAGE.parent))


def end_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Tie this process to the one that forked it: it gets a signal when ``parent`` ends.

    Also if that has ended already.  Between fork and exec it may be called, too.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def environment() -> dict[str, str]:
    """For what :func:`isolated` starts: few variables, and those of root are root's own."""
    kept = _KEPT if os.geteuid() == 0 else _KEPT + _OWN
    clean = {name: os.environ[name] for name in kept if name in os.environ}
    if os.geteuid() == 0:
        clean["HOME"] = pwd.getpwuid(0).pw_dir
    return {**clean, "PATH": SYSTEM_PATH}


def inherited() -> dict[str, str]:
    """The user's environment for the user's programs (ssh, ping), with the PATH of :func:`path`."""
    return {**os.environ, "PATH": path()}


def path() -> str:
    """PATH without the directories that others can change, then :data:`SYSTEM_PATH`."""
    given = map(ours, os.environ.get("PATH", "").split(os.pathsep))
    return os.pathsep.join(dict.fromkeys([*filter(None, given), *SYSTEM_PATH.split(":")]))


def ours(directory: str) -> Optional[str]:
    """The place that a directory's path leads to, if only root and this user can change it.

    It and every directory above belong to one of them, and nobody else may write there; above, a
    sticky directory such as /tmp will do, in which everything is its owner's.
    """
    if not os.path.isabs(directory):
        return None
    place = os.path.realpath(directory)
    trusted = (0, os.geteuid())
    above, others = place, stat.S_IWGRP | stat.S_IWOTH
    while True:
        try:
            info = os.lstat(above)
        except OSError:
            return None
        sticky = info.st_mode & stat.S_ISVTX and above != place
        if not stat.S_ISDIR(info.st_mode) or info.st_uid not in trusted:
            return None
        if info.st_mode & others and not sticky:
            return None
        if above == "/":
            return place
        above = os.path.dirname(above)
