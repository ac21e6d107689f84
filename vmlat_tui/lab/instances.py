"""The lab that runs in the background, and the directories of those that run in the foreground."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Optional

from vmlat_tui.errors import UsageError, VmlatError
from vmlat_tui.lab import process
from vmlat_tui.safe_files import make_own_directory

_RUN = "run-"
_BACKGROUND = "up"
_STATE = "state.json"


def default_directory() -> Path:
    """Return where running labs keep their keys and logs: ``VMLAT_LAB_STATE``, or the user's."""
    chosen = os.environ.get("VMLAT_LAB_STATE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local/state") / "vmlat" / "lab"


@dataclass(frozen=True)
class State:
    """What must be known of the background lab to reach it and to end it.

    ``machines``: the name of each hypervisor -> process id and start time of its QEMU.
    """

    machines: Mapping[str, Sequence[int]]
    port: int
    kernel: str
    scenario: str
    memory: int
    since: float

    def ended(self) -> list[str]:
        """Names of the hypervisors whose very process no longer runs."""
        return [name for name, (pid, started) in self.machines.items() if not _is(pid, started)]

    def alive(self) -> bool:
        """Tell whether all of them run."""
        return not self.ended()


class Instances:
    """The directory of running labs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def background(self) -> Path:
        """The directory of the lab in the background."""
        return self.directory / _BACKGROUND

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Path]:
        """Give a private directory that is removed at the end; remove abandoned ones as well."""
        self._make()
        self._remove_abandoned()
        path = Path(tempfile.mkdtemp(prefix=_RUN, dir=self.directory))
        try:
            with _held(path):
                yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def state(self) -> Optional[State]:
        """Return the background lab, ``None`` if nothing of it runs (any more)."""
        try:
            state = State(**json.loads((self.background / _STATE).read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return state if len(state.ended()) < len(state.machines) else None

    @contextlib.contextmanager
    def starting(self) -> Iterator[Path]:
        """Give the background lab's fresh directory; remove it again if starting fails."""
        self._make()
        with open(self.directory / "up.lock", "w", encoding="ascii") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise VmlatError(
                    "a lab is being started in the background", "", "wait for it"
                ) from None
            if self.state() is not None:
                raise VmlatError(
                    "a lab is already up", "", "use it (vmlat lab ssh) or end it (vmlat lab down)"
                )
            shutil.rmtree(self.background, ignore_errors=True)
            self.background.mkdir(mode=0o700)
            try:
                yield self.background
            except BaseException:
                shutil.rmtree(self.background, ignore_errors=True)
                raise

    def save(self, state: State) -> None:
        """Remember the background lab."""
        fresh = self.background / (_STATE + ".new")
        fresh.write_text(json.dumps(asdict(state)))
        os.replace(fresh, self.background / _STATE)

    def end(self, seconds: float = 10.0) -> bool:
        """End the background lab and remove its files; tell whether one was running."""
        state = self.state()
        if state is not None:
            running = [pid for pid, started in state.machines.values() if _is(pid, started)]
            for pid in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            deadline = time.monotonic() + seconds
            while len(state.ended()) < len(state.machines):
                if time.monotonic() > deadline:
                    raise VmlatError("the lab does not end", f"processes {running}")
                time.sleep(0.05)
        shutil.rmtree(self.background, ignore_errors=True)
        return state is not None

    def _make(self) -> None:
        try:
            make_own_directory(self.directory)
        except UsageError as error:
            raise VmlatError(
                "the lab's state directory cannot be used",
                str(error),
                "set VMLAT_LAB_STATE to a directory you may write to",
            ) from error

    def _remove_abandoned(self) -> None:
        """Remove what a killed ``vmlat lab run`` left: its lock is free."""
        for path in self.directory.glob(f"{_RUN}*"):
            with contextlib.suppress(OSError), _held(path):
                shutil.rmtree(path, ignore_errors=True)


def _is(pid: int, started: int) -> bool:
    return process.start_time(pid) == started


@contextlib.contextmanager
def _held(path: Path) -> Iterator[IO[str]]:
    """Hold a directory's lock, which ends with the process; raise ``OSError`` if it is held."""
    with open(path / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lock
