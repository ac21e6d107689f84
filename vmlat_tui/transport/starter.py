"""Under sudo only what measures stays root: the program splits before it reads anything.

``sudo vmlat`` becomes two processes.  The first one stays root and does nothing but start, end and
watch agents of this host, when the second one asks for it in messages of a fixed form.  The second
one becomes the user who called sudo, for good: the screens, every parser of what an agent, another
host or a file says, and all files that are written are that user's.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import pwd
import select
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import IO, Optional, Protocol

from vmlat_tui import programs
from vmlat_tui.errors import UsageError

_log = logging.getLogger(__name__)

#: A request: what is asked, and of which agent.  The answer: a number, and one more.
_REQUEST, _ANSWER = struct.Struct("<cI"), struct.Struct("<ii")
_START, _POLL, _KILL = b"s", b"p", b"k"
#: So many agents at the same time; a ping has four.
_MOST = 16
#: How long agents may take to end when the second process has.
_PATIENCE_S = 2.0
_POLL_S = 0.02


class Child(Protocol):
    """An agent's process, as :class:`subprocess.Popen` has it."""

    stdin: Optional[IO[bytes]]
    stdout: Optional[IO[bytes]]
    stderr: Optional[IO[bytes]]

    @property
    def pid(self) -> int:
        """Of the process."""

    def poll(self) -> Optional[int]:
        """Its exit status, negative for a signal; None while it runs."""

    def wait(self, timeout: Optional[float] = None) -> int:
        """The same, when it has ended; raises :class:`subprocess.TimeoutExpired`."""

    def kill(self) -> None:
        """End it by force."""


# ---- the second process: the user's -------------------------------------------------------------


class Starter:
    """What the user's process has of root: agents of this host.  For any thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def ask(self, what: bytes, pid: int = 0, descriptors: Sequence[int] = ()) -> tuple[int, int]:
        """One request and its answer; raises ``OSError`` where the first process is gone."""
        with self._lock:
            request = _REQUEST.pack(what, pid)
            socket.send_fds(self._connection, [request], descriptors)
            answer = self._connection.recv(_ANSWER.size)
            if len(answer) != _ANSWER.size:
                raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            number, other = _ANSWER.unpack(answer)
            return number, other

    def start(self) -> Child:
        """A new agent; raises ``OSError``."""
        theirs, ours = [], []
        for reading in (True, False, False):
            pair = os.pipe()
            theirs.append(pair[0 if reading else 1])
            ours.append(pair[1 if reading else 0])
        try:
            pid, number = self.ask(_START, 0, theirs)
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        if not pid:
            _log.error("root's process starts no agent: %s", os.strerror(number))
            for descriptor in ours:
                os.close(descriptor)
            raise OSError(number, os.strerror(number))
        return _Started(self, pid, ours)


class _Started:
    """An agent that the first process started."""

    def __init__(self, starter: Starter, pid: int, pipes: Sequence[int]) -> None:
        self._starter = starter
        self.pid = pid
        self._status: Optional[int] = None
        self.stdin: Optional[IO[bytes]] = os.fdopen(pipes[0], "wb", buffering=0)
        self.stdout: Optional[IO[bytes]] = os.fdopen(pipes[1], "rb", buffering=0)
        self.stderr: Optional[IO[bytes]] = os.fdopen(pipes[2], "rb", buffering=0)

    def poll(self) -> Optional[int]:
        if self._status is None:
            try:
                ended, status = self._starter.ask(_POLL, self.pid)
            except OSError:  # root's process is gone, and its agents end with their input
                ended, status = 1, 1
            self._status = status if ended else None
        return self._status

    def wait(self, timeout: Optional[float] = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            status = self.poll()
            if status is not None:
                return status
            if deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(programs.AGENT, timeout or 0)
            time.sleep(_POLL_S)

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self._starter.ask(_KILL, self.pid)


#: Of this process, once it has given up root.
_starter: Optional[Starter] = None


def start(argv: Sequence[str], environment: dict[str, str], here: bool, session: bool) -> Child:
    """Start an agent, unbuffered, with three pipes; raises ``OSError``.

    ``here``: it is this host's, so that it is root's where root was given up.  ``session``: in one
    of its own, where the terminal's Ctrl-C does not reach it.
    """
    if here and _starter is not None:
        return _starter.start()
    return subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        bufsize=0,
        start_new_session=session,
    )


# ---- the split ----------------------------------------------------------------------------------


def invoker() -> Optional[pwd.struct_passwd]:
    """Who made this very program root with sudo or pkexec; None if nobody did.

    In a root shell, which sudo may have started as well, root is meant to be root.
    """
    if os.geteuid() != 0:
        return None
    command = os.environ.get("SUDO_COMMAND", "").split(" ")[0]
    direct = os.path.basename(command) == "vmlat"
    word = os.environ.get("SUDO_UID", "") if direct else os.environ.get("PKEXEC_UID", "")
    if not (word.isascii() and word.isdigit() and len(word) < 11) or not int(word):
        return None
    try:
        return pwd.getpwuid(int(word))
    except (KeyError, OverflowError):
        raise UsageError("sudo was called by an unknown user", f"user {word}") from None


def give_up_root(user: pwd.struct_passwd) -> Optional[int]:
    """Split.  Returns None in the user's process, in root's the exit status when that has ended.

    For the main thread of a process that has no other.
    """
    global _starter
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    first = os.getpid()
    child = os.fork()
    if child:
        theirs.close()
        return _Root(child, ours).run()
    ours.close()
    _become(user, first)
    _starter = Starter(theirs)
    return None


def _become(user: pwd.struct_passwd, first: int) -> None:
    os.initgroups(user.pw_name, user.pw_gid)
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)
    programs.end_with(first, signal.SIGTERM)


# ---- the first process: root's ------------------------------------------------------------------


class _Root:
    """Serves the user's process until it ends; reads nothing but requests of a fixed form."""

    def __init__(self, child: int, connection: socket.socket) -> None:
        self._child = child
        self._connection = connection
        self._agents: dict[int, subprocess.Popen[bytes]] = {}

    def run(self) -> int:
        """The exit status of the user's process; ends by the same signal as it."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # What the terminal sends reaches the whole group; what sudo hands on is handed on.
        for number in (signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: os.kill(self._child, number))
        requests = self._connection.fileno()
        watched = [requests, woken]
        while True:
            ended, status = os.waitpid(self._child, os.WNOHANG)
            if ended:
                break
            ready = select.select(watched, [], [])[0]
            if woken in ready:
                os.read(woken, 512)
            if requests in ready and not self._serve():
                watched.remove(requests)
        self._end_agents()
        if os.WIFSIGNALED(status):
            with contextlib.suppress(OSError):  # nobody catches SIGKILL
                signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
            os.kill(os.getpid(), os.WTERMSIG(status))
        return os.WEXITSTATUS(status)

    def _serve(self) -> bool:
        """Answer one request; False when there will be no more."""
        try:
            request, descriptors, _, _ = socket.recv_fds(self._connection, _REQUEST.size, 3)
        except OSError:
            return False
        try:
            if len(request) != _REQUEST.size:
                return False
            what, pid = _REQUEST.unpack(request)
            if what == _START:
                answer = self._start(descriptors)
            else:
                answer = self._about(what, self._agents.get(pid))
            self._connection.send(_ANSWER.pack(*answer))
        except OSError:
            return False
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _start(self, descriptors: Sequence[int]) -> tuple[int, int]:
        """(pid, 0), or (0, error number)."""
        running = sum(agent.poll() is None for agent in self._agents.values())
        if len(descriptors) != 3 or running >= _MOST:
            return 0, errno.EAGAIN
        try:
            agent = subprocess.Popen(
                programs.isolated(programs.AGENT),
                stdin=descriptors[0],
                stdout=descriptors[1],
                stderr=descriptors[2],
                env=programs.environment(),
            )
        except OSError as error:
            return 0, error.errno or errno.EIO
        self._agents[agent.pid] = agent
        return agent.pid, 0

    def _about(self, what: bytes, agent: Optional[subprocess.Popen[bytes]]) -> tuple[int, int]:
        """(whether it has ended, its status)."""
        if agent is None:
            return 1, 1
        if what == _KILL:
            agent.kill()
        status = agent.poll()
        return (0, 0) if status is None else (1, status)

    def _end_agents(self) -> None:
        """Their input has ended; who does not notice is killed."""
        deadline = time.monotonic() + _PATIENCE_S
        for agent in self._agents.values():
            try:
                agent.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                agent.kill()
                agent.wait()
